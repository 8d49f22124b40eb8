"""Write DeepLab's lists of a data set; every pair is checked before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deeplab_caffe.data.classes import BESIDE
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.images import image_size, save_image
from deeplab_caffe.data.prepare.labels import IGNORED, LabelRule
from deeplab_caffe.data.prepare.layouts import Layout, Pair
from deeplab_caffe.data.workers import worker_pool
from deeplab_caffe.errors import MOST_LISTED, DataError, listed
from deeplab_caffe.files.atomic import all_or_none

# Threads help, because Pillow decodes without Python's GIL.
_THREADS = 4


@dataclass
class SplitCounts:
    """The counts of a split.

    Attributes:
        images: number of images.
        pixels: number of pixels of each label, int64 ``(256,)``.
        images_with: number of images that have each label, int64 ``(256,)``.
        rewritten: ids whose annotations the data layers cannot read as labels.
    """

    images: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    images_with: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    rewritten: set[str] = field(default_factory=set)

    @property
    def ignored(self) -> int:
        """Return the number of pixels without a class."""
        return int(self.pixels[IGNORED])


def check_pairs(layout: Layout, done: Callable[[], None] = lambda: None) -> dict[str, SplitCounts]:
    """Read all annotations, and the images' sizes.

    Args:
        layout: the data set.
        done: function that is called after each pair.

    Returns:
        The counts of each split.

    Raises:
        DataError: a file cannot be read, sizes differ, or labels are not those of the classes. The message names up to
            20 such files, and their number.
    """
    faults: list[DataError] = []
    counts = {split: SplitCounts() for split in layout.splits}

    def check(pair: Pair) -> tuple[np.ndarray, bool] | DataError:
        try:
            return _check(pair, layout.rule)
        except DataError as error:
            return error

    with worker_pool(_THREADS, "check") as pool:
        for split, pairs in layout.splits.items():
            count = counts[split]
            for pair, found in zip(pairs, pool.map(check, pairs), strict=True):
                done()
                if isinstance(found, DataError):
                    faults.append(found)
                    continue
                histogram, as_is = found
                count.images += 1
                count.pixels += histogram
                count.images_with += histogram > 0
                if not as_is:
                    count.rewritten.add(pair.id)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        said = listed([str(fault) for fault in faults[:MOST_LISTED]], len(faults))
        raise DataError(f"{len(faults)} files are wrong: {said}", os.path.commonpath([fault.path for fault in faults]))
    return counts


def _check(pair: Pair, rule: LabelRule) -> tuple[np.ndarray, bool]:
    """Return the number of pixels of each label, and whether the data layers can read the file itself."""
    size = image_size(pair.image)
    if pair.label is None:
        return np.zeros(256, np.int64), True
    labels, as_is = rule.read(pair.label)
    if labels.shape != size:
        sizes = ["{} x {}".format(*one) for one in (labels.shape, size)]
        raise DataError(f"is {sizes[0]} (height x width), its image '{pair.image}' is {sizes[1]}", pair.label)
    return np.bincount(labels.reshape(-1), minlength=256), as_is


def write_lists(
    layout: Layout, counts: dict[str, SplitCounts], root: Path, out: Path, *, overwrite: bool = False
) -> tuple[list[Path], str]:
    """Write the lists of a data set, and the annotations that had to be converted to labels.

    For each split these are ``SPLIT.txt`` (lines ``IMAGE LABEL``, or ``IMAGE`` without annotations) and
    ``SPLIT_id.txt``; and ``classes.txt``. Converted annotations go to ``labels/ID.png``, in grey, so that every program
    reads the labels. If a file cannot be written, those written by this call are removed.

    Args:
        layout: the data set.
        counts: result of :func:`check_pairs`.
        root: the data set's folder.
        out: the folder for the lists.
        overwrite: replace existing lists.

    Returns:
        The lists' paths; and the ``root_folder`` for the prototxt: ``root``, or "", with absolute names in the lists,
        if a file is outside of ``root``.

    Raises:
        DataError: a list exists already, a name has white space, which separates names in lists, or a file cannot be
            written.
    """
    lists = {f"{split}{kind}.txt": split for split in layout.splits for kind in ("", "_id")}
    names = [*lists, BESIDE]
    there = [name for name in names if (out / name).exists()]
    if there and not overwrite:
        raise DataError("is there already", out / there[0])
    root, out = root.absolute(), out.absolute()
    listed_files = [
        path
        for split, pairs in layout.splits.items()
        for pair in pairs
        for path in (pair.image, _listed_label(pair, counts[split].rewritten, out / "labels"))
        if path is not None
    ]
    prefix = str(root) if all(path.absolute().is_relative_to(root) for path in listed_files) else ""
    for path in listed_files:
        if len(_word(path, prefix).split()) != 1:
            raise DataError("its name has white space, at which lists part names", path)
    with all_or_none() as written:
        lines = {}
        for split, pairs in layout.splits.items():
            labels = list(_rewritten(pairs, layout.rule, counts[split].rewritten, out / "labels", written))
            lines[f"{split}.txt"] = [
                " ".join(_word(path, prefix) for path in (pair.image, label) if path is not None)
                for pair, label in zip(pairs, labels, strict=True)
            ]
            lines[f"{split}_id.txt"] = [pair.id for pair in pairs]
        lines[BESIDE] = list(layout.rule.classes.names)
        for name in names:
            with atomic_write(out / name, make_folders=True) as file:
                written += [] if name in there else [out / name]
                file.write("".join(f"{line}\n" for line in lines[name]).encode("utf-8", "surrogateescape"))
    return [out / name for name in names], prefix


def _word(path: Path, prefix: str) -> str:
    """Return a file's name in a list whose ``root_folder`` is ``prefix``."""
    return str(path.absolute())[len(prefix) :]


def _listed_label(pair: Pair, rewritten: set[str], folder: Path) -> Path | None:
    """Return the label map that a list names: the pair's annotation, or the file in ``folder`` that replaces it."""
    return folder / f"{pair.id}.png" if pair.label is not None and pair.id in rewritten else pair.label


def _rewritten(
    pairs: Sequence[Pair], rule: LabelRule, ids: set[str], folder: Path, written: list[Path]
) -> Iterator[Path | None]:
    """Yield each pair's label map, after writing it if the annotation must be converted; append it to ``written``."""
    for pair in pairs:
        path = _listed_label(pair, ids, folder)
        if path is not None and pair.label is not None and pair.id in ids:
            if not path.exists():
                written.append(path)
            save_image(path, rule.read(pair.label)[0])
        yield path
