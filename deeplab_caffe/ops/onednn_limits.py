"""The convolutions that oneDNN computes correctly on the CPU, in 16-bit numbers and in channels-last memory.

With torch 2.13 on a processor with AVX-512 and AMX, oneDNN's bfloat16 code read uninitialised memory if a strided
convolution gave a single column, corrupted the heap for some kernels, strides or holes that differ along the axes, and
gave wrong gradients for depthwise convolutions with holes. The convolutions that :func:`is_usual` accepts had no error
in 13,400 random tests; all others are computed in float32. In channels-last memory the process died by a segmentation
fault, in float32 too, if outputs saw only padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Pair = tuple[int, int]
HALF = (torch.bfloat16, torch.float16)


def is_usual(kernel: Pair, stride: Pair, pad: Pair, dilation: Pair) -> bool:
    """Return whether a convolution is the same along both axes, with a padding of 0 or of half its kernel."""
    if any(one != other for one, other in (kernel, stride, pad, dilation)):
        return False
    reach = dilation[0] * (kernel[0] - 1)
    return pad[0] in (0, reach // 2, dilation[0] * (kernel[0] // 2))


def is_narrow(stride: Pair, output: Sequence[int]) -> bool:
    """Return whether a convolution with a stride gives a single column; ``output`` is (OH, OW)."""
    return stride[1] > 1 and output[1] == 1


def pads_beyond_kernel(kernel: Pair, pad: Pair, dilation: Pair) -> bool:
    """Return whether the first output sees only padding, for which oneDNN's channels-last code is not safe."""
    return any(p > h * (k - 1) for k, p, h in zip(kernel, pad, dilation, strict=True))


def computed_in_half(x: Tensor) -> torch.dtype | None:
    """Return the 16-bit dtype in which torch convolves x on the CPU; None if the dtype or device is another one."""
    if x.device.type != "cpu":
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return dtype if dtype in HALF else None
