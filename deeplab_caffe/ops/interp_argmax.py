"""Label map of coarse scores: INTERP and ARGMAX in one (layers/interp_layer.cpp, layers/argmax_layer.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._direct import call
from deeplab_caffe.ops._ties import last_wins
from deeplab_caffe.ops._view import check_device, stream, view
from deeplab_caffe.ops._window import Size, window


@torch.library.custom_op("deeplab_caffe::interp_argmax", mutates_args=())
def _interp_argmax(
    scores: Tensor,
    height: int,
    width: int,
    top: int,
    left: int,
    rows: int,
    columns: int,
    last: bool,
    dtype: torch.dtype,
) -> Tensor:
    check_device("interp_argmax", scores)
    labels = scores.new_empty((scores.shape[0], rows, columns), dtype=dtype)
    _C.interp_argmax(view(scores), view(labels), height, width, top, left, last, stream(scores))
    return labels


@_interp_argmax.register_fake
def _(
    scores: Tensor,
    height: int,
    width: int,
    top: int,
    left: int,
    rows: int,
    columns: int,
    last: bool,
    dtype: torch.dtype,
) -> Tensor:
    return scores.new_empty((scores.shape[0], rows, columns), dtype=dtype)


def interp_argmax(
    scores: Tensor,
    height: int,
    width: int,
    *,
    crop: Size | None = None,
    ties: str = "last",
    origin: Size = (0, 0),
    dtype: torch.dtype = torch.uint8,
) -> Tensor:
    """Labels at full size from coarse scores, without the scores at full size.

    The same labels as ``argmax_labels(interp(scores, height=height, width=width), ties, dtype)``, cut to ``crop``:
    what is cut away is not computed, and on the CPU neither are pixels between four of which one class leads anyway.

    Args:
        scores: (N, C, h, w) float32, float64, float16 or bfloat16 (the last two widened to float32), any strides, on
            the CPU or a CUDA device.
        height: height of the resized image, corners on corners with the coarse one.
        width: its width.
        crop: (height, width) of the part that is wanted, the image without its padding say; None: all from ``origin``
            on.
        ties: which of equal channels wins: "last", as in the layers ARGMAX, SEG_ACCURACY and ACCURACY, or "first", as
            in the densecrf programs.
        origin: row and column of the resized image where the part begins.
        dtype: torch.uint8 (up to 256 channels) or torch.int64.

    Returns:
        (N, *crop) labels. Not differentiable. The same bits for any number of threads, on the CPU and on CUDA.

    Raises:
        ValueError: a wrong shape or dtype, another word for ``ties``, too many channels for ``dtype``, or a crop that
            is not within the resized image.
    """
    part = window("interp_argmax", scores.shape, height, width, crop, origin)
    last = last_wins("interp_argmax", ties)
    return call(_interp_argmax, scores.detach(), height, width, *part, last, dtype)
