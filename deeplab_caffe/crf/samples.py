"""Scores, photographs and label maps that belong together: what the search for parameters is made on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_caffe.crf.program import find_images, folder_names
from deeplab_caffe.data.io.images import load_image, load_label
from deeplab_caffe.data.io.lists import read_id_list
from deeplab_caffe.data.io.mat import read_scores_mat
from deeplab_caffe.errors import DataError

# Where an image has both, the original's own format goes first.
_SCORE_SUFFIXES = ("_blob_0.mat", ".npy")


@dataclass(frozen=True)
class Content:
    """What is in the files of a sample.

    Attributes:
        scores: float32 ``(C, H, W)``.
        image: uint8 RGB ``(H, W, 3)``.
        label: uint8 ``(H, W)``.
    """

    scores: np.ndarray
    image: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Sample:
    """One image's files.

    Attributes:
        name: the image's id.
        scores: ``<id>_blob_0.mat`` as MAT_WRITE leaves it, or ``<id>.npy``, ``(C, H, W)`` or ``(1, C, H, W)``; the
            image lies at the top left where they are larger.
        image: the photograph.
        label: the true labels, a palette or grey image.
    """

    name: str
    scores: Path
    image: Path
    label: Path

    def load(self) -> Content:
        """Reads the files.

        Raises:
            DataError: a file that is missing or damaged, or sizes that do not fit.
        """
        # As the pixels are stored: that is what scores and labels were made for.
        image = load_image(self.image, exif_orientation=False)
        label = load_label(self.label)
        size = image.shape[:2]
        if label.shape != size:
            raise DataError(
                f"the labels are {label.shape[0]} x {label.shape[1]} (height x width), but the image {self.image} is "
                f"{size[0]} x {size[1]}",
                self.label,
            )
        read = read_scores_mat if self.scores.suffix == ".mat" else _read_scores_npy
        scores = read(self.scores, size)
        if not np.isfinite(scores).all():
            raise DataError("the scores are not all finite", self.scores)
        return Content(scores, image, label)

    def checksum(self) -> str:
        """SHA-256 of the three files' bytes."""
        digest = hashlib.sha256()
        for path in (self.scores, self.image, self.label):
            try:
                with path.open("rb") as stream:
                    digest.update(f"{os.fstat(stream.fileno()).st_size}:".encode())
                    while block := stream.read(1 << 20):
                        digest.update(block)
            except OSError as exc:
                raise DataError(f"cannot be read: {exc.strerror}", path) from exc
        return digest.hexdigest()


def find_samples(
    scores: str | os.PathLike[str],
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    ids: str | os.PathLike[str] | None = None,
) -> list[Sample]:
    """Pairs the files of three folders by name.

    Args:
        scores: folder of ``<id>_blob_0.mat`` or ``<id>.npy``.
        images: folder of photographs ``<id>.*``.
        labels: folder of label maps ``<id>.*``.
        ids: a list of ids, one at the start of each line; None takes all scores.

    Returns:
        The samples in the order of the list, or of their names.

    Raises:
        DataError: a folder or list that cannot be read or holds nothing, or an id without one of its files.
    """
    found: dict[str, Path] = {}
    for suffix in reversed(_SCORE_SUFFIXES):
        for name in folder_names(scores):
            if name.endswith(suffix) and name != suffix:
                found[name[: -len(suffix)]] = Path(scores) / name
    if not found:
        raise DataError(f"holds neither *{_SCORE_SUFFIXES[0]} nor *{_SCORE_SUFFIXES[1]}", scores)
    names = sorted(found) if ids is None else list(dict.fromkeys(read_id_list(ids)))
    if not names:
        raise DataError("the list holds no id", ids)
    photographs, truths = find_images(images), find_images(labels)
    for where, what, folder in (
        (found, "scores", scores),
        (photographs, "image", images),
        (truths, "label map", labels),
    ):
        missing = [name for name in names if name not in where]
        if missing:
            raise DataError(f"holds no {what} of '{missing[0]}'{_others(len(missing) - 1)}", folder)
    return [Sample(name, found[name], photographs[name], truths[name]) for name in names]


def draw_samples(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """``count`` of the samples, or all where there are fewer, drawn by a seed; in their old order.

    The same seed and names give the same samples on every machine, and a larger count adds to those of a smaller one.
    """
    # By hash, and not by a generator whose stream another version of numpy may change.
    lots = {sample: hashlib.sha256(f"{seed}:{sample.name}".encode("utf-8", "surrogateescape")) for sample in samples}
    drawn = set(sorted(samples, key=lambda sample: lots[sample].digest())[:count])
    return [sample for sample in samples if sample in drawn]


def _others(count: int) -> str:
    return f" and of {count} others" if count else ""


def _read_scores_npy(path: Path, size: tuple[int, int]) -> np.ndarray:
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as exc:
        raise DataError(f"cannot be read: {exc.strerror or exc}", path) from exc
    except (ValueError, EOFError) as exc:
        raise DataError(f"is no .npy file of numbers: {exc}", path) from exc
    if not isinstance(scores, np.ndarray) or not np.issubdtype(scores.dtype, np.floating):
        raise DataError("expected an array of floating-point scores", path)
    scores = scores[0] if scores.ndim == 4 and len(scores) == 1 else scores
    if scores.ndim != 3 or len(scores) == 0:
        raise DataError(f"expected scores (C, H, W), got {scores.shape}", path)
    if scores.shape[1] < size[0] or scores.shape[2] < size[1]:
        raise DataError(
            f"the scores are {scores.shape[1]} x {scores.shape[2]} (height x width), smaller than the image of "
            f"{size[0]} x {size[1]}",
            path,
        )
    return np.array(scores[:, : size[0], : size[1]], np.float32, order="C")
