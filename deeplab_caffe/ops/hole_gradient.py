"""The weights' gradient of a convolution with large holes, by one matrix product for each tap of the kernel.

A tap of a large hole sees the image through a window that is smaller than the image, as the rest of it lies in the
padding. oneDNN multiplies the padding too, and its bfloat16 code is slow for such holes
(``benchmarks/hole_gradient.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from deeplab_caffe.ops.packed_conv import Geometry, takes_dtype

# The share of the image that the taps' windows have at most for the products to be faster, and the share below which
# they are faster whatever the channels.
_LARGEST_SHARE = 0.7
_ALWAYS_BELOW = 0.4
# With fewer channels copying the windows takes longer than multiplying them: input and output channels in float32, one
# of both in bfloat16, which oneDNN multiplies more slowly than it could.
_LEAST_CHANNELS = 512

Window = tuple[slice, slice]


def _taps(image: int, outputs: int, kernel: int, stride: int, pad: int, dilation: int) -> Iterator[Window]:
    """Return for each tap along one axis the outputs that see the image through it, and the pixels that they see."""
    for tap in range(kernel):
        offset = tap * dilation - pad  # the pixel that output 0 sees
        first = max(0, -(offset // stride))
        count = max(0, min(outputs, (image - 1 - offset) // stride + 1) - first)
        start = first * stride + offset if count else 0
        yield slice(first, first + count), slice(start, start + count * stride, stride)


def _windows(
    image: Sequence[int], outputs: Sequence[int], kernel: Sequence[int], geometry: Geometry
) -> list[list[Window]]:
    """Return the windows of the taps, for rows and for columns."""
    numbers = zip(image, outputs, kernel, geometry.stride, geometry.pad, geometry.dilation, strict=True)
    return [list(_taps(*axis)) for axis in numbers]


def window_share(image: Sequence[int], outputs: Sequence[int], kernel: Sequence[int], geometry: Geometry) -> float:
    """Return which share of the outputs sees the image, not its padding, through a tap of the kernel, on average.

    Args:
        image: (H, W).
        outputs: (OH, OW), not 0.
        kernel: (kh, kw).
        geometry: of the convolution.
    """
    seen = [sum(to.stop - to.start for to, _ in axis) for axis in _windows(image, outputs, kernel, geometry)]
    return float(math.prod(seen) / math.prod(kernel) / math.prod(outputs))


def is_faster(x: Tensor, weight: Tensor, outputs: Sequence[int], geometry: Geometry) -> bool:
    """Return whether :func:`hole_weight_gradient` is faster than oneDNN (``benchmarks/hole_gradient.py``).

    Args:
        x: the input (N, C, H, W), on the CPU and in channels-last memory.
        weight: (O, C, kh, kw), of the same dtype.
        outputs: (OH, OW).
        geometry: of the convolution.
    """
    if geometry.groups != 1 or max(geometry.dilation) == 1 or not takes_dtype(x) or not math.prod(outputs):
        return False
    share = window_share(x.shape[2:], outputs, weight.shape[2:], geometry)
    channels = min(weight.shape[:2]) if x.dtype == torch.float32 else max(weight.shape[:2])
    return share <= (_LARGEST_SHARE if channels >= _LEAST_CHANNELS else _ALWAYS_BELOW)


def hole_weight_gradient(x: Tensor, grad: Tensor, kernel: Sequence[int], geometry: Geometry) -> Tensor:
    """Compute the gradient of a convolution's weights.

    Args:
        x: the input (N, C, H, W), float32 or bfloat16, fastest in channels-last memory.
        grad: the gradient of the output, (N, O, OH, OW), of the same dtype.
        kernel: (kh, kw).
        geometry: of the convolution, with one group.

    Returns:
        (O, C, kh, kw). Each product is summed in float32 and rounded once.
    """
    rows, columns = _windows(x.shape[2:], grad.shape[2:], kernel, geometry)
    pixels, gradients = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    taps = x.new_empty(*kernel, grad.shape[1], x.shape[1])
    for i, (to_rows, from_rows) in enumerate(rows):
        for j, (to_columns, from_columns) in enumerate(columns):
            to = gradients[:, to_rows, to_columns].flatten(0, 2)
            seen = pixels[:, from_rows, from_columns].flatten(0, 2)
            torch.mm(to.t(), seen, out=taps[i, j])
    return taps.permute(2, 3, 0, 1)
