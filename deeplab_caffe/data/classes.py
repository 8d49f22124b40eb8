"""Names and colours of classes: of a data set, of a list in a file, or of a model, in the file beside it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_caffe.data.colormap import CAMVID_CLASSES, CAMVID_COLORMAP, VOC_CLASSES, VOC_COLORMAP
from deeplab_caffe.data.datasets import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_COLORMAP,
    CITYSCAPES_IDS,
    COCO_STUFF_CLASSES,
    PASCAL_CONTEXT_CLASSES,
    PERSON_PART_CLASSES,
)
from deeplab_caffe.data.io.lists import read_lines
from deeplab_caffe.errors import DataError, EvaluationError
from deeplab_caffe.files.names import is_file

# A model's classes stand in a file of this name in the folder of its weights or of its prototxt.
BESIDE = "classes.txt"


# What a label map's number becomes that is none of a data set's ids.
_NO_CLASS = 255


@dataclass(frozen=True)
class Classes:
    """Names of labels 0, 1, 2, ... and their colours, uint8 RGB ``(K or more, 3)``.

    Attributes:
        names: K names.
        colormap: the colours.
        ids: what label maps hold in place of 0, 1, 2, ..., K numbers below 255; None where they hold these.
    """

    names: tuple[str, ...]
    colormap: np.ndarray
    ids: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def from_file(self, labels: np.ndarray) -> np.ndarray:
        """Return a label map of a file as numbers of classes; ids of no class become 255, which does not count."""
        if self.ids is None:
            return labels
        table = np.full(256, _NO_CLASS, np.uint8)
        table[list(self.ids)] = range(len(self.ids))
        return np.where((labels >= 0) & (labels < 256), table[np.asarray(labels, np.int64) & 255], _NO_CLASS)

    def to_file(self, labels: np.ndarray) -> np.ndarray:
        """Return numbers of classes as the label map that a file holds."""
        return labels if self.ids is None else np.array(self.ids, np.uint8)[labels]

    @property
    def file_colormap(self) -> np.ndarray:
        """Return the colours of what label maps hold; ids of no class are black."""
        if self.ids is None:
            return self.colormap
        colours = np.zeros((256, 3), np.uint8)
        colours[list(self.ids)] = self.colormap[: len(self.ids)]
        return colours


KNOWN = {
    "voc12": Classes(VOC_CLASSES, VOC_COLORMAP),
    "camvid": Classes(CAMVID_CLASSES, CAMVID_COLORMAP),
    "cityscapes": Classes(CITYSCAPES_CLASSES, CITYSCAPES_COLORMAP),
    "cityscapes-ids": Classes(CITYSCAPES_CLASSES, CITYSCAPES_COLORMAP, CITYSCAPES_IDS),
    "cocostuff": Classes(COCO_STUFF_CLASSES, VOC_COLORMAP),
    "pascal-context": Classes(PASCAL_CONTEXT_CLASSES, VOC_COLORMAP),
    "person-part": Classes(PERSON_PART_CLASSES, VOC_COLORMAP),
}


def find_classes(given: str | os.PathLike[str] | Sequence[str] | Classes) -> Classes:
    """Return the classes of a data set by its name, those that a text file lists, or those of a list of names.

    The file has a name in each line, and behind it, if wanted, its colour as three numbers from 0 to 255:
    ``traffic light 250 170 30``. Classes without a colour have PASCAL VOC's of their label. Blank lines do not count.

    Raises:
        EvaluationError: neither a known name nor a file with 1 to 255 names, or a name twice.
    """
    if isinstance(given, Classes):
        return given
    if not isinstance(given, (str, os.PathLike)):
        if not isinstance(given, Iterable) or not all(isinstance(name, str) for name in given):
            raise EvaluationError(f"classes: expected a name, a file or a list of names, got {type(given).__name__}")
        return _from_lines(list(given), "classes")
    name = os.fspath(given)
    if name in KNOWN or (name.lower() in KNOWN and not Path(name).exists()):
        return KNOWN[name.lower()]
    try:
        lines = [os.fsdecode(line) for line in read_lines(name)]
    except DataError as exc:
        known = ", ".join(KNOWN)
        raise EvaluationError(
            f"classes: expected {known} or a file with a name in each line, got '{name}': {exc.reason}"
        ) from exc
    return _from_lines(lines, name)


def model_classes(
    num_classes: int | None,
    files: Iterable[str | os.PathLike[str] | None] = (),
    given: str | os.PathLike[str] | Sequence[str] | Classes | None = None,
) -> Classes:
    """Return the classes of a model.

    Args:
        num_classes: of the model; None where that is not known.
        files: its weights and its prototxt; None for one that is no file. ``classes.txt`` beside one of them is taken,
            unless it has another number of names, which is warned of.
        given: what to take in their place, see :func:`find_classes`.

    Returns:
        ``num_classes`` names. Where nothing is known they are PASCAL VOC's for 21 classes, else ``class 0``, ...

    Raises:
        EvaluationError: the names cannot be read, or are not as many as the model has classes.
    """
    if given is not None:
        found = find_classes(given)
        if num_classes not in (None, len(found)):
            raise EvaluationError(f"classes: {len(found)} names are given, the model has {num_classes} classes")
        return found
    for folder in dict.fromkeys(Path(file).parent for file in files if file is not None):
        path = folder / BESIDE
        if is_file(path):
            found = find_classes(path)
            if num_classes in (None, len(found)):
                return found
            warnings.warn(f"{path}: {len(found)} names are not the model's, which has {num_classes}", stacklevel=3)
    if num_classes == len(VOC_CLASSES):
        return KNOWN["voc12"]
    return Classes(tuple(f"class {label}" for label in range(num_classes or 0)), VOC_COLORMAP)


def _from_lines(lines: Sequence[str], origin: str) -> Classes:
    found = [_name_and_colour(line) for line in lines if line.strip()]
    names = tuple(name for name, _ in found)
    if not 1 <= len(names) <= 255:
        raise EvaluationError(f"{origin}: expected 1 to 255 names of classes, one in each line, got {len(names)}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise EvaluationError(f"{origin}: two classes are called '{twice[0]}'")
    colormap = VOC_COLORMAP.copy()
    for label, (_, colour) in enumerate(found):
        if colour is not None:
            colormap[label] = colour
    return Classes(names, colormap)


def _name_and_colour(line: str) -> tuple[str, list[int] | None]:
    words = line.split()
    numbers = [int(word) for word in words[-3:] if word.isascii() and word.isdecimal() and len(word) <= 3]
    if len(words) > 3 and len(numbers) == 3 and max(numbers) <= 255:
        return " ".join(words[:-3]), numbers
    return line.strip(), None
