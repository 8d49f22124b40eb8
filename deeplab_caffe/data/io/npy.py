"""NumPy's ``.npy`` files, whole or not at all."""

from __future__ import annotations

from os import PathLike

import numpy as np

from deeplab_caffe.data.io.atomic import atomic_write


def save_npy(path: str | PathLike[str], array: np.ndarray, *, make_folders: bool = False) -> None:
    """Write an array to a ``.npy`` file in one step.

    Args:
        path: the file.
        array: numbers of any shape and type.
        make_folders: make the folders that lead to it.

    Raises:
        DataError: the file cannot be written; nothing is left of it.
    """
    with atomic_write(path, make_folders=make_folders) as file:
        np.save(file, array)
