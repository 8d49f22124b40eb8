"""Winograd's convolution (A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016)."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]

# For each tile size, the matrices B^T, G and A^T of section 4.1.
_MATRICES = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


def winograd_weight(weight: Array, tile: int) -> Array:
    """Return G g G^T of each kernel.

    Args:
        weight: (O, C, 3, 3).
        tile: 2 or 4: outputs of a tile along each axis.

    Returns:
        (O, C, tile + 2, tile + 2).
    """
    g = np.array(_MATRICES[tile][1], weight.dtype)
    transformed: Array = g @ weight @ g.T
    return transformed


def winograd_conv2d(x: Array, weight: Array, tile: int, pad: Pair = (1, 1), dilation: Pair = (1, 1)) -> Array:
    """Convolve with stride 1: each tile is A^T (sum over the channels of (G g G^T) * (B^T d B)) A.

    A dilation d splits the image into images of every d-th pixel, and each tile lies within one of them.

    Args:
        x: (N, C, H, W).
        weight: (O, C, 3, 3).
        tile: 2 or 4: outputs of a tile along each axis.
        pad: zeros around the input, (height, width).
        dilation: pixels from tap to tap, (height, width).

    Returns:
        (N, O, OH, OW).
    """
    b, _, a = (np.array(matrix, x.dtype) for matrix in _MATRICES[tile])
    transformed = winograd_weight(weight, tile)
    height, width = (n + 2 * p - 2 * d for n, p, d in zip(x.shape[2:], pad, dilation, strict=True))
    # Enough zeros after the image that every tile is complete.
    behind = [p + (tile + 1) * d for p, d in zip(pad, dilation, strict=True)]
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0], behind[0]), (pad[1], behind[1])))
    out = np.zeros((x.shape[0], weight.shape[0], height, width), x.dtype)
    for y, u in np.ndindex(min(dilation[0], height), min(dilation[1], width)):
        image, result = padded[:, :, y :: dilation[0], u :: dilation[1]], out[:, :, y :: dilation[0], u :: dilation[1]]
        for top in range(0, result.shape[2], tile):
            for left in range(0, result.shape[3], tile):
                pixels = b @ image[:, :, top : top + tile + 2, left : left + tile + 2] @ b.T
                sums = np.einsum("ocij,ncij->noij", transformed, pixels)
                target = result[:, :, top : top + tile, left : left + tile]
                target[...] = (a @ sums @ a.T)[:, :, : target.shape[2], : target.shape[3]]
    return out
