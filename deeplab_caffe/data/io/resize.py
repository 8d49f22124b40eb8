"""``cv::resize`` for bytes with ``INTER_LINEAR``, bit for bit; ``new_height`` and ``new_width`` use it.

Own code, because no library guarantees OpenCV's bits, nor do other versions of OpenCV those of versions 2.4 to 4.6.
"""

from __future__ import annotations

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import NumpyArrays

# OpenCV has interpolation weights with 11 fractional bits (INTER_RESIZE_COEF_BITS in modules/imgproc/src/resize.cpp).
_ONE = 2048


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize as OpenCV 2.4 to 4.6 do by default (checked against 4.6.0: no byte differs).

    Pixel centres are aligned: output x reads input ``(x + 0.5) * W / width - 0.5``. Arithmetic is OpenCV's fixed point:
    weights of 11 bits, 4 bits dropped between the passes, one rounding at the end. An exact halving of both sides is
    the mean of 2 x 2 pixels, because OpenCV then uses INTER_AREA.

    Args:
        image: uint8 ``(H, W)`` or ``(H, W, C)``.
        height: rows of the result, positive.
        width: columns of the result, positive.

    Returns:
        uint8 ``(height, width)`` or ``(height, width, C)``; the input itself if it has that size.

    Raises:
        ValueError: the image has another type or shape or no pixel, or the size is not positive.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"expected a uint8 image (H, W) or (H, W, C), got {image.dtype} {image.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"expected a positive size, got {height} x {width}")
    in_height, in_width = image.shape[:2]
    if (in_height, in_width) == (height, width):
        return image
    if (in_height, in_width) == (2 * height, 2 * width):
        wide = image.astype(np.uint16)
        return ((wide[0::2, 0::2] + wide[1::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 1::2] + 2) >> 2).astype(np.uint8)

    column, fraction = _positions(width, in_width)
    outside = (column < 0) | (column >= in_width - 1)
    fraction[outside] = 0
    across = _taps(column.clip(0, in_width - 1), fraction, in_width)
    # Vertically OpenCV repeats the border row with both weights, which rounds differently from a single weight of one.
    down = _taps(*_positions(height, in_height), in_height)
    resized = np.empty((height, width, *image.shape[2:]), np.uint8)
    xp = NumpyArrays()
    pixels = xp.take(image.reshape(in_height, in_width, -1))
    arrays = (pixels, resized.reshape(height, width, -1), down, across)
    _C.resize_bilinear(*(xp.view(array) for array in arrays))
    return resized


def resize_nearest(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize like OpenCV's ``INTER_NEAREST``: output x reads input ``floor(x * W / width)``.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``.
        height: rows of the result, positive.
        width: columns of the result, positive.

    Returns:
        ``(height, width)`` or ``(height, width, C)``.
    """
    rows, columns = (
        np.minimum(np.floor(np.arange(out) * (1.0 / (out / size))).astype(np.int64), size - 1)
        for out, size in zip((height, width), image.shape, strict=False)
    )
    # Not image[rows[:, None], columns]: indexing holds Python's GIL, and several threads read images.
    resized: np.ndarray = image.take(rows, axis=0).take(columns, axis=1)
    return resized


def _positions(out_size: int, in_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return integer and fractional input positions of every output index, each step in OpenCV's precision."""
    scale = 1.0 / (out_size / in_size)
    position = ((np.arange(out_size) + 0.5) * scale - 0.5).astype(np.float32)
    whole = np.floor(position)
    return whole.astype(np.intp), position - whole


def _taps(whole: np.ndarray, fraction: np.ndarray, in_size: int) -> np.ndarray:
    """Return for each output index both input indices, clipped to the axis, and their weights: int32 ``(4, out)``."""
    one = np.float32(_ONE)
    indices = (whole.clip(0, in_size - 1), (whole + 1).clip(0, in_size - 1))
    return np.stack([*indices, np.rint((1 - fraction) * one), np.rint(fraction * one)]).astype(np.int32)
