"""Bilinear resizing, alone and with argmax or softmax (layers/interp_layer.cpp, util/interp.cpp)."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeplab_caffe.reference.argmax import argmax_labels

Array = np.ndarray[Any, Any]


def interp(x: Array, height: int, width: int, pad_beg: int = 0, pad_end: int = 0, align_corners: bool = True) -> Array:
    """Resize images with aligned corners (util/interp.cpp:20-84) or with aligned edges (torch's F.interpolate).

    Output pixel i reads position ``i * (in - 1) / (out - 1)``; the neighbour beyond the last pixel is that pixel. The
    original keeps the ratio in float32 for any dtype; here it is a double. With aligned edges it reads position
    ``(i + 1/2) * in / out - 1/2``, or 0 if that is negative.

    Args:
        x: (N, C, H, W).
        height: height of the output.
        width: width of the output.
        pad_beg: 0 or negative: rows and columns dropped at the top and left first.
        pad_end: 0 or negative: rows and columns dropped at the bottom and right first.
        align_corners: align corners instead of edges.

    Returns:
        (N, C, height, width), float64.
    """
    x = x[:, :, -pad_beg : x.shape[2] + pad_end, -pad_beg : x.shape[3] + pad_end].astype(np.float64)
    out = np.zeros((*x.shape[:2], height, width))
    for i, j in np.ndindex(height, width):
        y, far_y = divmod(_position(i, x.shape[2], height, align_corners), 1)
        u, far_x = divmod(_position(j, x.shape[3], width, align_corners), 1)
        y0, u0 = int(y), int(u)
        y1, u1 = min(y0 + 1, x.shape[2] - 1), min(u0 + 1, x.shape[3] - 1)
        top = (1 - far_x) * x[:, :, y0, u0] + far_x * x[:, :, y0, u1]
        bottom = (1 - far_x) * x[:, :, y1, u0] + far_x * x[:, :, y1, u1]
        out[:, :, i, j] = (1 - far_y) * top + far_y * bottom
    return out


def _position(index: int, size: int, resized: int, align_corners: bool) -> float:
    if not align_corners:
        position = (index + 0.5) * size / resized - 0.5
    else:
        position = index * ((size - 1) / (resized - 1)) if resized > 1 else 0.0
    return min(max(position, 0.0), size - 1)


def interp_argmax(scores: Array, height: int, width: int, ties: str = "last", align_corners: bool = True) -> Array:
    """Return the label map of resized scores.

    Args:
        scores: (N, C, H, W).
        height: after resizing.
        width: after resizing.
        ties: as for :func:`deeplab_caffe.reference.argmax_labels`.
        align_corners: as for :func:`interp`.

    Returns:
        (N, height, width), int64.
    """
    return argmax_labels(interp(scores, height, width, align_corners=align_corners), ties)


def interp_softmax(scores: Array, height: int, width: int, align_corners: bool = True) -> Array:
    """Return the class probabilities of resized scores.

    Args:
        scores: (N, C, H, W).
        height: after resizing.
        width: after resizing.
        align_corners: as for :func:`interp`.

    Returns:
        (N, C, height, width), float64.
    """
    resized = interp(scores, height, width, align_corners=align_corners)
    powers = np.exp(resized - resized.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
