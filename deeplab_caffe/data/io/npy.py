"""NumPy's ``.npy`` files: write arrays, completely or not at all; read an image's scores."""

from __future__ import annotations

from os import PathLike

import numpy as np

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DataError


def save_npy(path: str | PathLike[str], array: np.ndarray, *, make_folders: bool = False) -> None:
    """Write an array to a ``.npy`` file atomically.

    Args:
        path: the file.
        array: an array of numbers of any shape and dtype.
        make_folders: create missing folders.

    Raises:
        DataError: the file cannot be written; no part of it is left.
    """
    with atomic_write(path, make_folders=make_folders) as file:
        np.save(file, array)


def read_npy(path: str | PathLike[str], what: str = "an array") -> np.ndarray:
    """Return the array of a ``.npy`` file, mapped into memory and read-only.

    Args:
        path: the file.
        what: the wanted content, for messages.

    Raises:
        DataError: the file cannot be read, or is damaged or another one, or its values are Python objects.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as exc:
        raise DataError(f"cannot be read: {exc.strerror or exc}", path) from exc
    except MemoryError:
        raise
    except Exception as exc:  # numpy parses the header as Python, and opens what looks like a zip archive
        reason = str(exc).partition("\n")[0][:200] or type(exc).__name__
        raise DataError(f"is no .npy file of numbers, or no readable one: {reason}", path) from exc
    if isinstance(array, np.ndarray):
        return array
    array.close()
    raise DataError(f"expected {what}, got a .npz archive: save one of its arrays by numpy.save", path)


def read_scores_npy(path: str | PathLike[str], size: tuple[int, int]) -> np.ndarray:
    """Read the scores of one image, ``(C, H, W)`` or ``(1, C, H, W)``.

    Args:
        path: the file.
        size: ``(height, width)`` of the image, which is at the top left of scores that are larger.

    Returns:
        float32 ``(C, H, W)``.

    Raises:
        DataError: the file cannot be read, is not such an array of floating-point numbers, or is smaller than ``size``.
    """
    scores = read_npy(path, "an array of floating-point scores")
    if not np.issubdtype(scores.dtype, np.floating):
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
