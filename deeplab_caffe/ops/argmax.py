"""The highest channels of each pixel, as DeepLab v1's ARGMAX layer ranks them (layers/argmax_layer.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._direct import call
from deeplab_caffe.ops._ties import last_wins
from deeplab_caffe.ops._view import check_device, stream, view


def _check_scores(operation: str, scores: Tensor) -> None:
    if scores.dim() != 4 or scores.shape[1] < 1:
        raise ValueError(f"{operation}: expected scores (N, C, H, W) with C > 0, got shape {tuple(scores.shape)}")


@torch.library.custom_op("deeplab_caffe::argmax", mutates_args=())
def _argmax(scores: Tensor, top_k: int, out_max_val: bool) -> Tensor:
    check_device("argmax", scores)
    scores = scores.contiguous()
    output = scores.new_empty((scores.shape[0], top_k * (1 + out_max_val), *scores.shape[2:]))
    _C.argmax_top(view(scores), view(output), top_k, out_max_val, stream(scores))
    return output


@_argmax.register_fake
def _(scores: Tensor, top_k: int, out_max_val: bool) -> Tensor:
    return scores.new_empty((scores.shape[0], top_k * (1 + out_max_val), *scores.shape[2:]))


@torch.library.custom_op("deeplab_caffe::argmax_labels", mutates_args=())
def _argmax_labels(scores: Tensor, last: bool, dtype: torch.dtype) -> Tensor:
    check_device("argmax_labels", scores)
    scores = scores.contiguous()
    labels = scores.new_empty((scores.shape[0], *scores.shape[2:]), dtype=dtype)
    _C.argmax_labels(view(scores), view(labels), last, stream(scores))
    return labels


@_argmax_labels.register_fake
def _(scores: Tensor, last: bool, dtype: torch.dtype) -> Tensor:
    return scores.new_empty((scores.shape[0], *scores.shape[2:]), dtype=dtype)


def argmax(scores: Tensor, top_k: int = 1, out_max_val: bool = False) -> Tensor:
    """The ``top_k`` highest channels of each pixel, highest first; among equal values the LARGER index first.

    A NaN ranks below every number (the original leaves that undefined).

    Args:
        scores: (N, C, H, W) float32 or float64, on the CPU or a CUDA device.
        top_k: from 1 to C.
        out_max_val: append the values.

    Returns:
        (N, top_k, H, W) channel indices as numbers of the scores' dtype, as Caffe's blobs hold them; with
        ``out_max_val`` (N, 2 * top_k, H, W), the values after the indices. Not differentiable.

    Raises:
        ValueError: a wrong shape or dtype, or a ``top_k`` out of its range.
    """
    _check_scores("argmax", scores)
    if not 1 <= top_k <= scores.shape[1]:
        raise ValueError(f"argmax: top_k must be between 1 and the {scores.shape[1]} channels, got {top_k}")
    return call(_argmax, scores.detach(), top_k, out_max_val)


def argmax_labels(scores: Tensor, ties: str = "first", dtype: torch.dtype = torch.uint8) -> Tensor:
    """The label map of a score blob: each pixel's highest channel.

    A NaN is highest only where all channels are NaN.

    Args:
        scores: (N, C, H, W) float32 or float64, on the CPU or a CUDA device.
        ties: which of equal channels wins: "first", as in the densecrf programs (libDenseCRF/densecrf.cpp:201), or
            "last", as in the layers ARGMAX, SEG_ACCURACY and ACCURACY.
        dtype: torch.uint8 (up to 256 channels) or torch.int64.

    Returns:
        (N, H, W) labels. Not differentiable.

    Raises:
        ValueError: a wrong shape or dtype, another word for ``ties``, or too many channels for ``dtype``.
    """
    _check_scores("argmax_labels", scores)
    last = last_wins("argmax_labels", ties)
    return call(_argmax_labels, scores.detach(), last, dtype)
