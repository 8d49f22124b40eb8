"""Arrays of other libraries: in as NumPy's, out as the kind that came."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeplab_caffe import arrays
from deeplab_caffe.arrays import is_torch
from deeplab_caffe.arrays import like as as_kind_of
from deeplab_caffe.errors import CRFError

__all__ = ["as_kind_of", "is_torch", "to_numpy"]


def to_numpy(array: Any, name: str) -> np.ndarray[Any, Any]:
    """Return an array on the CPU as NumPy's, or raise CRFError if it is on a GPU."""
    return arrays.to_numpy(array, name, CRFError)
