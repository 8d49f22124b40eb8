"""Read a data set's annotations, in several forms, as labels 0 to K - 1 and 255."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_caffe.data.classes import Classes
from deeplab_caffe.data.colormap import VOC_COLORMAP
from deeplab_caffe.data.io.images import load_image, load_label
from deeplab_caffe.data.io.mat5 import MatFormatError, find_variable
from deeplab_caffe.errors import DataError

IGNORED = 255


@dataclass(frozen=True)
class LabelRule:
    """How to read a data set's annotations.

    Attributes:
        classes: the data set's classes, whose colours give the labels of annotations in colour.
        void: numbers, besides 255, that are not classes.
        highest: the highest number, besides 255, allowed in a file; None: the classes' highest.
        reader: function that reads files that are not images.
    """

    classes: Classes
    void: tuple[int, ...] = ()
    highest: int | None = None
    reader: Callable[[Path], np.ndarray] | None = None

    def read(self, path: Path) -> tuple[np.ndarray, bool]:
        """Read an annotation.

        Returns:
            Labels, uint8 ``(H, W)``; and whether the data layers read the same labels from the file itself.

        Raises:
            DataError: the file cannot be read, has a colour that is no class's, or a number above the highest.
        """
        if self.reader is not None:
            return self._checked(self.reader(path), path), False
        try:
            numbers = load_label(path)
        except DataError as error:
            return self._of_colours(path, error), False
        labels = self._checked(numbers, path)
        return labels, labels is numbers or np.array_equal(labels, numbers)

    def _checked(self, numbers: np.ndarray, path: Path) -> np.ndarray:
        highest = len(self.classes) - 1 if self.highest is None else self.highest
        allowed = np.zeros(256, bool)
        allowed[[*range(highest + 1), *self.void, IGNORED]] = True
        wrong = ~allowed[numbers]
        if wrong.any():
            row, column = (int(found[0]) for found in np.nonzero(wrong))
            raise DataError(
                f"label {numbers[row, column]} at row {row}, column {column}: expected 0 to {highest}, or {IGNORED} "
                "for none",
                path,
            )
        if self.void:
            numbers = np.where(np.isin(numbers, self.void), np.uint8(IGNORED), numbers)
        return np.asarray(self.classes.from_file(numbers), np.uint8)

    def _of_colours(self, path: Path, refused: DataError) -> np.ndarray:
        """Return the labels of an annotation in the classes' colours; ``refused`` is :func:`load_label`'s error."""
        codes = _codes(load_image(path, exif_orientation=False))
        if "got colours" not in refused.reason:
            raise refused
        # Later entries override earlier ones: a class's own colour overrides the colours of no class.
        known = {int(_codes(colour)): IGNORED for colour in (np.zeros(3, np.uint8), VOC_COLORMAP[IGNORED])}
        known |= {int(_codes(colour)): label for label, colour in enumerate(self.classes.colormap[: len(self.classes)])}
        found, places = np.unique(codes, return_inverse=True)
        strange = [code for code in found.tolist() if code not in known]
        if strange:
            row, column = (int(one[0]) for one in np.nonzero(codes == strange[0]))
            colour = tuple(strange[0] >> shift & 255 for shift in (16, 8, 0))
            raise DataError(f"colour {colour} at row {row}, column {column} is that of no class", path)
        return np.array([known[code] for code in found.tolist()], np.uint8)[places].reshape(codes.shape)


def _codes(colours: np.ndarray) -> np.ndarray:
    """Return RGB colours ``(..., 3)`` encoded as one number each."""
    wide = colours.astype(np.int64)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def read_cocostuff_mat(path: Path) -> np.ndarray:
    """Read COCO-Stuff 10k's annotation: variable ``S``, category numbers from 1, and 0 for none.

    Raises:
        DataError: it is not such a file.
    """
    try:
        with path.open("rb") as stream:
            found = find_variable(stream, path.stat().st_size, "S")
            if found is None or len(found.dims) != 2 or not found.dims[0] * found.dims[1]:
                raise DataError("has no matrix 'S': is it an annotation of COCO-Stuff 10k?", path)
            # MATLAB stores its first dimension, the rows, contiguously.
            categories = found.values().reshape(found.dims[::-1]).T.astype(np.int64)
    except (MatFormatError, OSError) as error:
        raise DataError(str(getattr(error, "strerror", None) or error), path) from error
    least, most = int(categories.min()), int(categories.max())
    if least < 0 or most > IGNORED:
        raise DataError(f"categories must be from 0 to {IGNORED}, got {least} to {most}", path)
    return ((categories - 1) & 255).astype(np.uint8)
