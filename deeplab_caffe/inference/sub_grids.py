"""A dilated convolution as dense convolutions on sub-grids (space to batch), exact.

A dilated convolution never combines pixels whose rows or columns differ modulo the dilation. So a convolution with
dilation d of an image is a convolution without dilation of d * d smaller images, for which libraries may have faster
kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers import Pair

# Up to so many sub-grids are joined one by one, each by a strided copy; more of them by one permuting copy.
_COPIES = 16


def dense_padding(pad: Pair, dilation: Pair) -> Pair:
    """Return the padding of the dense convolution: if the dilation divides the padding, it need not be copied in."""
    height, width = (p // h if p % h == 0 else 0 for p, h in zip(pad, dilation, strict=True))
    return height, width


def split(x: Tensor, dilation: Pair, pad: Pair) -> Tensor:
    """Return the sub-grids of ``x`` (N, C, H, W) as (hole_h * hole_w * N, C, h, w), channels-last.

    Args:
        x: the image, channels-last.
        dilation: (height, width).
        pad: padding of the dilated convolution. What :func:`dense_padding` does not leave to the dense convolution is
            added here, as are zeros at the end up to a multiple of the dilation.
    """
    n, channels = x.shape[:2]
    begin, end = [], []
    for length, p, h, left in zip(x.shape[2:], pad, dilation, dense_padding(pad, dilation), strict=True):
        own = 0 if left or p == 0 else p
        begin.append(own)
        end.append(own + -(length + 2 * own) % h)
    if any((*begin, *end)):
        x = F.pad(x, (begin[1], end[1], begin[0], end[0]))
    image = x.permute(0, 2, 3, 1)
    height, width = image.shape[1] // dilation[0], image.shape[2] // dilation[1]
    grids = image.reshape(n, height, dilation[0], width, dilation[1], channels).permute(2, 4, 0, 1, 3, 5)
    return grids.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def join(grids: Tensor, dilation: Pair, n: int, size: Pair) -> Tensor:
    """Return the image (n, C, *size), channels-last, with these sub-grids; pixels beyond the size are dropped."""
    image = grids.permute(0, 2, 3, 1)
    image = image.reshape(dilation[0], dilation[1], n, *image.shape[1:])
    channels = image.shape[-1]
    if dilation[0] * dilation[1] > _COPIES:
        whole = image.permute(2, 3, 0, 4, 1, 5).reshape(
            n, image.shape[3] * dilation[0], image.shape[4] * dilation[1], channels
        )
        return whole[:, : size[0], : size[1]].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    whole = image.new_empty((n, *size, channels))
    for y in range(min(dilation[0], size[0])):
        for x in range(min(dilation[1], size[1])):
            target = whole[:, y :: dilation[0], x :: dilation[1]]
            target.copy_(image[y, x, :, : target.shape[1], : target.shape[2]])
    return whole.permute(0, 3, 1, 2)


def convolve(x: Tensor, dilation: Pair, pad: Pair, kernel: Pair, dense: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute a dilated convolution of stride 1 by a dense one, ``dense``, padded by :func:`dense_padding`."""
    height, width = (
        length + 2 * p - h * (k - 1) for length, p, h, k in zip(x.shape[2:], pad, dilation, kernel, strict=True)
    )
    return join(dense(split(x, dilation, pad)), dilation, x.shape[0], (height, width))
