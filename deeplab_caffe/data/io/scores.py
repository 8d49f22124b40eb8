"""Read the files of an image's scores or probabilities; the endings of their names give the format."""

from __future__ import annotations

from os import PathLike
from typing import Literal

import numpy as np

from deeplab_caffe.data.io.bin import read_probabilities_bin
from deeplab_caffe.data.io.mat import SCORES_SUFFIX, read_scores_mat
from deeplab_caffe.data.io.npy import read_scores_npy
from deeplab_caffe.errors import DataError

ScoreFormat = Literal["mat", "bin", "npy"]
# What follows the image's id in a file's name.
SUFFIXES: dict[ScoreFormat, str] = {"mat": SCORES_SUFFIX, "bin": ".bin", "npy": ".npy"}
# Kind of the numbers in each format by default; None: decided by the numbers.
ASSUMED_KIND: dict[ScoreFormat, Literal["probabilities"] | None] = {"mat": None, "bin": "probabilities", "npy": None}


def score_format(name: str) -> ScoreFormat | None:
    """Return the format given by a file's name; None: it is not a file of scores."""
    return next((each for each, suffix in SUFFIXES.items() if name.endswith(suffix) and name != suffix), None)


def read_scores(path: str | PathLike[str], form: ScoreFormat, size: tuple[int, int]) -> np.ndarray:
    """Read the scores of one image.

    Args:
        path: the file.
        form: the file's format.
        size: ``(height, width)`` of the image, which is at the top left of scores that are larger; a ``.bin`` must have
            this size.

    Returns:
        float32 ``(C, H, W)``.

    Raises:
        DataError: the file cannot be read, has another format, or does not fit the image.
    """
    if form == "mat":
        return read_scores_mat(path, size)
    if form == "npy":
        return read_scores_npy(path, size)
    found = read_probabilities_bin(path)
    if found.shape[1:] != size:
        raise DataError(
            f"the probabilities are {found.shape[1]} x {found.shape[2]} (height x width), but the image is "
            f"{size[0]} x {size[1]}",
            path,
        )
    return found
