"""How numpy arrays reach the extension: as a pointer, sizes, strides and dtype."""

from __future__ import annotations

import numpy as np

from deeplab_caffe import _C


def view(array: np.ndarray) -> _C.TensorView:
    """The extension's view of an array's memory, read-only arrays included, which keeps the array alive.

    The array must be aligned and in native byte order, with strides that are whole elements.
    """
    strides = tuple(stride // array.itemsize for stride in array.strides)
    found = _C.TensorView(array.ctypes.data, array.shape, strides, array.dtype.name, -1)
    found.array = array
    return found


def float32(array: np.ndarray) -> np.ndarray:
    """The array as native, aligned float32 that :func:`view` takes; itself where it is that already."""
    array = np.asarray(array, np.float32)
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    return array if array.flags.aligned and array.dtype.isnative and whole else np.array(array, np.float32, order="C")
