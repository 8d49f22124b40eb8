"""Max pooling without indices, for inference (layers/pooling_layer.cpp)."""

from __future__ import annotations

from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT
from deeplab_caffe.ops.im2col import Sizes
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import INFERENCE, Size


def _pooled(xp: Arrays, x: Any, kernel: Sizes, stride: Sizes, pad: Sizes, size: Sizes) -> Any:
    if len(x.shape) != 4 or xp.dtype(x) not in INFERENCE:
        came = f"{xp.dtype(x)} {tuple(x.shape)}"
        raise ValueError(f"max_pool: expected (N, C, H, W) float32, float16 or bfloat16, got {came}")
    for name, given in (("kernel", kernel), ("stride", stride), ("pad", pad), ("size", size)):
        if len(given) != 2:
            raise ValueError(f"max_pool: expected {name} (height, width), got {tuple(given)}")
    if min(size) < 0:
        raise ValueError(f"max_pool: expected a size without negative numbers, got {tuple(size)}")
    return xp.empty((*x.shape[:2], *size), x.dtype, channels_last=True)


@operator("max_pool(Tensor x, SymInt[] kernel, SymInt[] stride, SymInt[] pad, SymInt[] size) -> Tensor", result=_pooled)
def _max_pool(xp: Arrays, output: Any, x: Any, kernel: Size, stride: Size, pad: Size, size: Size) -> None:
    x = xp.contiguous(x, channels_last=True)
    _C.max_pool(xp.view(x), xp.view(output), kernel, stride, pad, xp.stream)


def max_pool(x: ArrayT, kernel: Size, stride: Size, pad: Size, size: Size) -> ArrayT:
    """Return the largest number in each window, channel by channel.

    Windows start at ``stride * index - pad`` and are clipped to the image; a window wholly outside gives the lowest
    number. Numbers are compared by their bits: -0 is smaller than 0, and a NaN without a sign bit is the largest.

    Args:
        x: (N, C, H, W) float32, float16 or bfloat16: torch's, CuPy's or NumPy's; copied unless channels-last.
        kernel: (height, width) of a window.
        stride: (height, width): step from one window to the next.
        pad: (height, width): rows and columns before the image.
        size: (OH, OW): number of windows.

    Returns:
        (N, C, OH, OW), channels-last, of the input's dtype. Not differentiable.

    Raises:
        ValueError: the array has another shape or dtype, or the other arguments give no valid windows.
    """
    result: ArrayT = _max_pool(x, *(list(given) for given in (kernel, stride, pad, size)))
    return result
