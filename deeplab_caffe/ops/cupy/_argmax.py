"""The highest channels of each pixel on CuPy arrays, as DeepLab v1's ARGMAX layer ranks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops._ties import last_wins
from deeplab_caffe.ops.cupy._arrays import library, stream_of, take_images, view

if TYPE_CHECKING:
    import cupy


def argmax(scores: Any, top_k: int = 1, out_max_val: bool = False) -> cupy.ndarray:
    """The ``top_k`` highest channels of each pixel: :func:`deeplab_caffe.ops.argmax.argmax` on a CuPy array.

    Args:
        scores: (N, C, H, W) float32 or float64.
        top_k: from 1 to C.
        out_max_val: append the values.

    Returns:
        (N, top_k, H, W) channel indices as numbers of the scores' dtype; with ``out_max_val`` (N, 2 * top_k, H, W), the
        values after the indices. Among equal values the LARGER index comes first.

    Raises:
        ValueError: a wrong shape or dtype, or a ``top_k`` out of its range.
    """
    scores = _taken("argmax", scores)
    if not 1 <= top_k <= scores.shape[1]:
        raise ValueError(f"argmax: top_k must be between 1 and the {scores.shape[1]} channels, got {top_k}")
    cp = library()
    with stream_of(scores) as stream:
        scores = cp.ascontiguousarray(scores)
        output = cp.empty((scores.shape[0], top_k * (1 + out_max_val), *scores.shape[2:]), scores.dtype)
        _C.argmax_top(view(scores), view(output), top_k, out_max_val, stream)
    return output


def argmax_labels(scores: Any, ties: str = "first", dtype: str = "uint8") -> cupy.ndarray:
    """The label map of a score blob: :func:`deeplab_caffe.ops.argmax.argmax_labels` on a CuPy array.

    Args:
        scores: (N, C, H, W) float32 or float64.
        ties: which of equal channels wins: "first" or "last".
        dtype: "uint8" (up to 256 channels) or "int64".

    Returns:
        (N, H, W) labels.

    Raises:
        ValueError: a wrong shape or dtype, another word for ``ties``, or too many channels for ``dtype``.
    """
    scores = _taken("argmax_labels", scores)
    last = last_wins("argmax_labels", ties)
    cp = library()
    with stream_of(scores) as stream:
        scores = cp.ascontiguousarray(scores)
        labels = cp.empty((scores.shape[0], *scores.shape[2:]), dtype)
        _C.argmax_labels(view(scores), view(labels), last, stream)
    return labels


def _taken(operation: str, scores: Any) -> cupy.ndarray:
    scores = take_images(operation, "scores", scores)
    if scores.shape[1] < 1:
        raise ValueError(f"{operation}: expected scores (N, C, H, W) with C > 0, got shape {scores.shape}")
    return scores
