"""NumPy arrays as the extension takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeplab_caffe.arrays import NumpyArrays

_NUMPY = NumpyArrays()
view = _NUMPY.view


def float32(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array as native, aligned float32 that :func:`view` takes; itself if it is that already."""
    return _NUMPY.cast(array, np.float32)
