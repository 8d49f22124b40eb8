"""The samples of a parameter search: scores, photographs and label maps of the same images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_caffe.crf.inputs import Kind, as_kind, two_channels, validate_score_values
from deeplab_caffe.data.io.folders import find_images, folder_names, id_folders, validate_pairs
from deeplab_caffe.data.io.images import load_label, load_stored_image
from deeplab_caffe.data.io.lists import read_id_list
from deeplab_caffe.data.io.scores import ASSUMED_KIND, SUFFIXES, ScoreFormat, read_scores, score_format
from deeplab_caffe.errors import CRFError, DataError

# If an image has several files, the first format in this order is used: the original's own comes first.
_FORMATS: tuple[ScoreFormat, ...] = ("mat", "npy", "bin")


@dataclass(frozen=True)
class Content:
    """The contents of a sample's files.

    Attributes:
        scores: float32 ``(C, H, W)``.
        image: uint8 RGB ``(H, W, 3)``.
        label: uint8 ``(H, W)``.
    """

    scores: np.ndarray
    image: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class SearchSample:
    """One image's files.

    Attributes:
        name: the image's id.
        scores: ``<id>_blob_0.mat`` as MAT_WRITE writes it, or ``<id>.npy``, ``(C, H, W)`` or ``(1, C, H, W)``; if they
            are larger than the image, it is at the top left. Or ``<id>.bin``, probabilities.
        image: the photograph.
        label: the true labels, a palette or grey image.
        kind: what the scores are, see :func:`deeplab_caffe.crf.dense_crf`.
    """

    name: str
    scores: Path
    image: Path
    label: Path
    kind: Kind | None = None

    def load(self) -> Content:
        """Read the files.

        Probabilities and energies are converted to scores.

        Raises:
            DataError: a file is missing or damaged, sizes do not fit, or the scores are not of their kind.
        """
        image = load_stored_image(self.image, "scores and labels")
        label = load_label(self.label)
        size = image.shape[:2]
        if label.shape != size:
            raise DataError(
                f"the labels are {label.shape[0]} x {label.shape[1]} (height x width), but the image {self.image} is "
                f"{size[0]} x {size[1]}",
                self.label,
            )
        scores = read_scores(self.scores, _format(self.scores), size)
        return Content(self._as_scores(scores), image, label)

    def _as_scores(self, values: np.ndarray) -> np.ndarray:
        if not np.isfinite(values).all():
            raise DataError("the scores are not all finite", self.scores)
        try:
            values = two_channels(values, self.kind, -3)
            validate_score_values(-values if self.kind == "energies" else values, self.kind)
        except CRFError as exc:
            raise DataError(str(exc), self.scores) from exc
        if self.kind == "probabilities":
            values = np.log(np.maximum(values, np.finfo(np.float32).tiny))
        scores: np.ndarray = -values if self.kind == "energies" else values
        return scores

    def checksum(self) -> str:
        """Return the SHA-256 of the three files' bytes.

        Raises:
            DataError: a file cannot be read.
        """
        digest = hashlib.sha256(b"" if self.kind in (None, "scores") else self.kind.encode())
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
    kind: Kind | None = None,
) -> list[SearchSample]:
    """Pair the files of three folders by name.

    Args:
        scores: folder of ``<id>_blob_0.mat``, ``<id>.npy`` or ``<id>.bin``.
        images: folder of photographs ``<id>.*``.
        labels: folder of label maps ``<id>.*``.
        ids: file with an id at the start of each line, with folders or without; None: all scores in the folder.
        kind: what the scores are, see :func:`deeplab_caffe.crf.dense_crf`; None: probabilities in a ``.bin``.

    Returns:
        The samples in the order of the list, or else of their names.

    Raises:
        DataError: a folder or list cannot be read or is empty, an id lacks one of its files, or an image is its own
            label map.
    """
    listed = [] if ids is None else list(dict.fromkeys(read_id_list(ids)))
    found: dict[str, Path] = {}
    files = [(inner, name) for inner in id_folders(scores, listed) for name in folder_names(Path(scores) / inner)]
    for form in reversed(_FORMATS):
        for inner, name in files:
            if score_format(name) == form:
                found[str(inner / name[: -len(SUFFIXES[form])])] = Path(scores) / inner / name
    if not found:
        raise DataError(f"holds neither {_names('nor')}", scores)
    names = sorted(found) if ids is None else listed
    if not names:
        raise DataError("holds no id", scores if ids is None else ids)
    photographs, truths = find_images(images, listed), find_images(labels, listed)
    for where, what, folder in (
        (found, "scores", scores),
        (photographs, "image", images),
        (truths, "label map", labels),
    ):
        missing = [name for name in names if name not in where]
        if missing:
            raise DataError(f"holds no {what} of '{missing[0]}'{_others(len(missing) - 1)}", folder)
    validate_pairs(photographs, truths, names)
    return [
        SearchSample(
            name, found[name], photographs[name], truths[name], as_kind(kind) or ASSUMED_KIND[_format(found[name])]
        )
        for name in names
    ]


def draw_samples(samples: Sequence[SearchSample], count: int, seed: int) -> list[SearchSample]:
    """Draw ``count`` of the samples by a seed, or all if there are fewer, and return them in their old order.

    The same seed and names give the same samples on every machine. A larger count adds samples to those of a smaller
    one.
    """
    # Drawn by hash, because the random streams of numpy may change with its version.
    lots = {sample: hashlib.sha256(f"{seed}:{sample.name}".encode("utf-8", "surrogateescape")) for sample in samples}
    drawn = set(sorted(samples, key=lambda sample: lots[sample].digest())[:count])
    return [sample for sample in samples if sample in drawn]


def _format(scores: Path) -> ScoreFormat:
    form = score_format(scores.name)
    if form is None:
        raise DataError(f"expected {_names('or')}", scores)
    return form


def _names(word: str) -> str:
    return f" {word} ".join(f"*{SUFFIXES[form]}" for form in _FORMATS)


def _others(count: int) -> str:
    return f" and of {count} others" if count else ""
