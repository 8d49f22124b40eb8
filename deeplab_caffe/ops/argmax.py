"""The highest channels of each pixel, as DeepLab v1's ARGMAX layer ranks them (layers/argmax_layer.cpp)."""

from __future__ import annotations

from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT, arrays_of
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import last_wins


def _check_scores(operation: str, scores: Any) -> None:
    if len(scores.shape) != 4 or scores.shape[1] < 1:
        raise ValueError(f"{operation}: expected scores (N, C, H, W) with C > 0, got shape {tuple(scores.shape)}")


def _top(xp: Arrays, scores: Any, top_k: int, out_max_val: bool) -> Any:
    return xp.empty((scores.shape[0], top_k * (1 + out_max_val), *scores.shape[2:]), scores.dtype)


@operator("argmax(Tensor scores, SymInt top_k, bool out_max_val) -> Tensor", result=_top)
def _argmax(xp: Arrays, output: Any, scores: Any, top_k: int, out_max_val: bool) -> None:
    _C.argmax_top(xp.view(xp.contiguous(scores)), xp.view(output), top_k, out_max_val, xp.stream)


def _label_map(xp: Arrays, scores: Any, last: bool, dtype: Any) -> Any:
    return xp.empty((scores.shape[0], *scores.shape[2:]), dtype)


@operator("argmax_labels(Tensor scores, bool last, ScalarType dtype) -> Tensor", result=_label_map)
def _argmax_labels(xp: Arrays, labels: Any, scores: Any, last: bool, dtype: Any) -> None:
    _C.argmax_labels(xp.view(xp.contiguous(scores)), xp.view(labels), last, xp.stream)


def argmax(scores: ArrayT, top_k: int = 1, out_max_val: bool = False) -> ArrayT:
    """Return the ``top_k`` highest channels of each pixel, highest first; on ties the LARGER index comes first.

    A NaN ranks below every number (in the original its rank is undefined).

    Args:
        scores: (N, C, H, W) float32 or float64: torch's, CuPy's or NumPy's.
        top_k: from 1 to C.
        out_max_val: append the values.

    Returns:
        (N, top_k, H, W) channel indices in the scores' dtype, as in Caffe's blobs; with ``out_max_val``
        (N, 2 * top_k, H, W), the values after the indices. Not differentiable.

    Raises:
        ValueError: the shape or dtype is wrong, or ``top_k`` is out of its range.
    """
    _check_scores("argmax", scores)
    if not 1 <= top_k <= scores.shape[1]:
        raise ValueError(f"argmax: top_k must be between 1 and the {scores.shape[1]} channels, got {top_k}")
    result: ArrayT = _argmax(scores, top_k, out_max_val)
    return result


def argmax_labels(scores: ArrayT, ties: str = "first", dtype: Any = "uint8") -> ArrayT:
    """Return the label map of a score blob: each pixel's highest channel.

    A NaN is highest only if all channels are NaN.

    Args:
        scores: (N, C, H, W) float32 or float64: torch's, CuPy's or NumPy's.
        ties: the channel that wins on ties: "first", as in the densecrf programs (libDenseCRF/densecrf.cpp:201), or
            "last", as in the layers ARGMAX, SEG_ACCURACY and ACCURACY.
        dtype: "uint8" (up to 256 channels) or "int64", or the library's own dtype of that name.

    Returns:
        (N, H, W) labels. Not differentiable.

    Raises:
        ValueError: the shape or dtype is wrong, ``ties`` is another word, or there are too many channels for ``dtype``.
    """
    _check_scores("argmax_labels", scores)
    last = last_wins("argmax_labels", ties)
    result: ArrayT = _argmax_labels(scores, last, arrays_of(scores).as_dtype(dtype))
    return result
