"""Class probabilities of coarse scores at full size: INTERP and SOFTMAX in one (layers/interp_layer.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._direct import call
from deeplab_caffe.ops._view import check_device, stream, view
from deeplab_caffe.ops._window import Size, window


def _empty(scores: Tensor, rows: int, columns: int) -> Tensor:
    dtype = torch.float64 if scores.dtype == torch.float64 else torch.float32
    return scores.new_empty((*scores.shape[:2], rows, columns), dtype=dtype)


@torch.library.custom_op("deeplab_caffe::interp_softmax", mutates_args=())
def _interp_softmax(scores: Tensor, height: int, width: int, top: int, left: int, rows: int, columns: int) -> Tensor:
    check_device("interp_softmax", scores)
    probabilities = _empty(scores, rows, columns)
    _C.interp_softmax(view(scores), view(probabilities), height, width, top, left, stream(scores))
    return probabilities


@_interp_softmax.register_fake
def _(scores: Tensor, height: int, width: int, top: int, left: int, rows: int, columns: int) -> Tensor:
    return _empty(scores, rows, columns)


def interp_softmax(
    scores: Tensor, height: int, width: int, *, crop: Size | None = None, origin: Size = (0, 0)
) -> Tensor:
    """Class probabilities at full size from coarse scores, without the scores at full size.

    What ``torch.softmax(interp(scores, height=height, width=width), 1)`` says, to 4e-7 in float32, cut to ``crop``. As
    there, a pixel with a NaN or +inf among its scores is NaN in all channels. Probabilities go down to the least float
    before they are 0.

    For the dense CRF's unary, which is the scores and not their softmax, see :func:`deeplab_caffe.crf.dense_crf`.

    Args:
        scores: (N, C, h, w) float32, float64, float16 or bfloat16 (the last two widened to float32), any strides, on
            the CPU or a CUDA device.
        height: height of the resized image, corners on corners with the coarse one.
        width: its width.
        crop: (height, width) of the part that is wanted, the image without its padding say; None: all from ``origin``
            on.
        origin: row and column of the resized image where the part begins.

    Returns:
        (N, C, *crop) probabilities, float64 for float64 scores, else float32; contiguous. Not differentiable. The same
        bits for any number of threads; in float32 also on the CPU and on CUDA.

    Raises:
        ValueError: a wrong shape or dtype, or a crop that is not within the resized image.
    """
    part = window("interp_softmax", scores.shape, height, width, crop, origin)
    return call(_interp_softmax, scores.detach(), height, width, *part)
