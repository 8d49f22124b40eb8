"""Maximum over windows without the maxima's indices: for inference (layers/pooling_layer.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._view import check_device, stream, view

Pair = tuple[int, int]
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def max_pool(x: Tensor, kernel: Pair, step: Pair, pad: Pair, size: Pair) -> Tensor:
    """The largest number in each window, channel by channel.

    Windows start at ``step * index - pad`` and are cut to the image; one wholly outside gives the lowest number.
    Numbers are compared by their bits: -0 comes before 0, and a NaN, if its sign bit is 0, is above all.

    Args:
        x: (N, C, H, W) float32, float16 or bfloat16, on the CPU or a CUDA device; copied unless channels-last.
        kernel: (height, width) of a window.
        step: the stride: from one window to the next.
        pad: rows and columns before the image.
        size: (OH, OW): how many windows.

    Returns:
        (N, C, OH, OW), channels-last, of the input's dtype. Not differentiable.

    Raises:
        ValueError: not such a tensor, or numbers that make no window.
    """
    if x.dim() != 4 or x.dtype not in _DTYPES:
        came = f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
        raise ValueError(f"max_pool: expected (N, C, H, W) float32, float16 or bfloat16, got {came}")
    check_device("max_pool", x)
    x = x.detach().contiguous(memory_format=torch.channels_last)
    shape = (x.shape[0], x.shape[1], *size)
    output = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    _C.max_pool(view(x), view(output), tuple(kernel), tuple(step), tuple(pad), stream(x))
    return output
