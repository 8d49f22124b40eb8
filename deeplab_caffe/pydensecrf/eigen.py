"""The vectors and matrices of pydensecrf.eigen (1.0rc3), as numpy arrays.

pydensecrf exposes Eigen's through the buffer protocol; here they are arrays, in Eigen's column-major order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deeplab_caffe.crf.inputs import NDArray
from deeplab_caffe.errors import CRFError


class VectorXf(np.ndarray[Any, Any]):
    """A float32 vector; ``VectorXf()`` is empty."""

    def __new__(cls) -> VectorXf:
        """Make an empty one."""
        return np.empty(0, np.float32).view(cls)


class MatrixXf(np.ndarray[Any, Any]):
    """A float32 matrix; ``MatrixXf()`` is empty."""

    def __new__(cls) -> MatrixXf:
        """Make an empty one."""
        return np.empty((0, 0), np.float32, order="F").view(cls)


def vectorXf(arr: Any) -> VectorXf:
    """Return a copy of a contiguous float32 vector; it raises the errors of :func:`matrixXf`."""
    return _copy(arr, 1).view(VectorXf)


def matrixXf(arr: Any) -> MatrixXf:
    """Return a copy of a contiguous float32 matrix.

    Raises:
        TypeError: None, or not an array.
        CRFError: another dtype, number of axes or memory layout.
    """
    return _copy(arr, 2).view(MatrixXf)


def _copy(arr: Any, axes: int) -> NDArray:
    try:
        array = np.asarray(memoryview(arr))
    except (TypeError, ValueError) as exc:
        raise TypeError(f"arr must be a float32 array, got {type(arr).__name__}") from exc
    if array.ndim != axes or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise CRFError(
            f"arr must be a contiguous float32 {('vector', 'matrix')[axes - 1]}, got {array.dtype} {array.shape}"
        )
    return np.array(array, order="F")
