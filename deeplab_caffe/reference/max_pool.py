"""Maximum over windows (layers/pooling_layer.cpp:166-207)."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]


def max_pool(x: Array, kernel: Pair, stride: Pair, pad: Pair, size: Pair) -> Array:
    """Return the largest number in each window.

    Windows start at ``stride * index - pad`` and are clipped to the image; a window outside gives the lowest number.

    Args:
        x: (N, C, H, W), without NaN.
        kernel: (height, width) of a window, as for all pairs.
        stride: from one window to the next.
        pad: rows and columns before the image.
        size: (OH, OW), the number of windows.

    Returns:
        (N, C, OH, OW).
    """
    out = np.full((*x.shape[:2], *size), np.finfo(x.dtype).min, x.dtype)
    for oy, ox in np.ndindex(*size):
        y, u = oy * stride[0] - pad[0], ox * stride[1] - pad[1]
        window = x[:, :, max(y, 0) : max(y + kernel[0], 0), max(u, 0) : max(u + kernel[1], 0)]
        if window.size:
            out[:, :, oy, ox] = np.maximum(out[:, :, oy, ox], window.max(axis=(2, 3)))
    return out
