"""im2col with dilation, the paper's "hole algorithm" (section 3.1), and the convolution that multiplies it."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]


def _output_size(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    # layers/conv_layer.cpp:123-126: rounded down.
    return (size + 2 * pad - (kernel + (kernel - 1) * (dilation - 1))) // stride + 1


def im2col(x: Array, kernel: Pair, stride: Pair, pad: Pair, dilation: Pair) -> Array:
    """Return the column matrix of a convolution (util/im2col.cpp).

    Args:
        x: (N, C, H, W).
        kernel: (height, width), as for all pairs.
        stride: pixels between outputs.
        pad: zeros around the input.
        dilation: pixels from tap to tap.

    Returns:
        (N, C * kernel_h * kernel_w, OH, OW); channel ``(c * kernel_h + ky) * kernel_w + kx`` holds tap (ky, kx) of
        channel c.
    """
    count, channels, height, width = x.shape
    out_h, out_w = (_output_size(*axis) for axis in zip((height, width), kernel, stride, pad, dilation, strict=True))
    columns = np.zeros((count, channels * kernel[0] * kernel[1], out_h, out_w), x.dtype)
    for c, ky, kx, oy, ox in np.ndindex(channels, *kernel, out_h, out_w):
        y, u = oy * stride[0] - pad[0] + ky * dilation[0], ox * stride[1] - pad[1] + kx * dilation[1]
        if 0 <= y < height and 0 <= u < width:
            columns[:, (c * kernel[0] + ky) * kernel[1] + kx, oy, ox] = x[:, c, y, u]
    return columns


def col2im(columns: Array, size: Pair, kernel: Pair, stride: Pair, pad: Pair, dilation: Pair) -> Array:
    """Return the image in which each element of the columns is added to the pixel that it was read from.

    The sum of a pixel runs over the kernel's rows, then its columns: the original's order.

    Args:
        columns: in the form of :func:`im2col`.
        size: (H, W) of the image.
        kernel: (height, width), as for all pairs.
        stride: pixels between outputs.
        pad: zeros around the input.
        dilation: pixels from tap to tap.

    Returns:
        (N, C, H, W).
    """
    count, rows, out_h, out_w = columns.shape
    channels = rows // (kernel[0] * kernel[1])
    image = np.zeros((count, channels, *size), columns.dtype)
    for c, ky, kx, oy, ox in np.ndindex(channels, *kernel, out_h, out_w):
        y, u = oy * stride[0] - pad[0] + ky * dilation[0], ox * stride[1] - pad[1] + kx * dilation[1]
        if 0 <= y < size[0] and 0 <= u < size[1]:
            image[:, c, y, u] += columns[:, (c * kernel[0] + ky) * kernel[1] + kx, oy, ox]
    return image


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Return a convolution: each group's weights times its columns, plus the bias (layers/conv_layer.cpp).

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, kernel_h, kernel_w).
        bias: (O,), or None.
        stride: (height, width), as for all pairs.
        pad: zeros around the input.
        dilation: pixels from tap to tap, v1's ``hole``.
        groups: number of groups of channels, each with its own weights.

    Returns:
        (N, O, OH, OW).
    """
    outputs, channels, kernel_h, kernel_w = weight.shape
    columns = im2col(x, (kernel_h, kernel_w), stride, pad, dilation)
    count, _, out_h, out_w = columns.shape
    taps, of_group = channels * kernel_h * kernel_w, outputs // groups
    output = np.zeros((count, outputs, out_h, out_w), x.dtype)
    for o in range(outputs):
        first = o // of_group * taps
        for tap in range(taps):
            output[:, o] += weight[o].reshape(-1)[tap] * columns[:, first + tap]
        if bias is not None:
            output[:, o] += bias[o]
    return output
