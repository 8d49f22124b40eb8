"""``cv::resize`` on bytes with ``INTER_LINEAR``, bit for bit: ``new_height`` and ``new_width`` go through it.

Own code, because no library promises OpenCV's bits, and other versions of OpenCV do not promise those of 2.4 to 4.6.
"""

from __future__ import annotations

import numpy as np

# OpenCV holds interpolation weights in 11 fractional bits (INTER_RESIZE_COEF_BITS in modules/imgproc/src/resize.cpp).
_ONE = 2048


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize as OpenCV 2.4 to 4.6 do by default (checked against 4.6.0: no byte differs).

    Pixel centres are aligned: output x reads input ``(x + 0.5) * W / width - 0.5``. Arithmetic is OpenCV's fixed point:
    weights of 11 bits, 4 bits dropped between the passes, one rounding at the end. An exact halving of both sides is
    the mean of 2 x 2 pixels, as OpenCV then takes its INTER_AREA path.

    Args:
        image: uint8 ``(H, W)`` or ``(H, W, C)``.
        height: rows of the result, positive.
        width: columns of the result, positive.

    Returns:
        uint8 ``(height, width)`` or ``(height, width, C)``; the input itself if it has that size.
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
    column = column.clip(0, in_width - 1)
    across = (1, width) + (1,) * (image.ndim - 2)
    left, right = (weight.reshape(across) for weight in _weights(fraction))
    wide = image.astype(np.int32)
    rows = wide[:, column] * left + wide[:, np.minimum(column + 1, in_width - 1)] * right
    rows >>= 4

    # Down the image OpenCV repeats the border row and keeps its two weights, which rounds otherwise than weight one.
    row, fraction = _positions(height, in_height)
    down = (height, 1) + (1,) * (image.ndim - 2)
    upper, lower = (weight.reshape(down) for weight in _weights(fraction))
    total = (rows[row.clip(0, in_height - 1)] * upper) >> 16
    total += (rows[(row + 1).clip(0, in_height - 1)] * lower) >> 16
    total += 2
    total >>= 2
    return np.asarray(total, np.uint8)


def resize_nearest(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize as OpenCV's ``INTER_NEAREST``: output x reads input ``floor(x * W / width)``.

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
    resized: np.ndarray = image[rows[:, None], columns]
    return resized


def _positions(out_size: int, in_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whole and fractional input position of every output index, each step in the precision of OpenCV."""
    scale = 1.0 / (out_size / in_size)
    position = ((np.arange(out_size) + 0.5) * scale - 0.5).astype(np.float32)
    whole = np.floor(position)
    return whole.astype(np.intp), position - whole


def _weights(fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one = np.float32(_ONE)
    return np.rint((1 - fraction) * one).astype(np.int32), np.rint(fraction * one).astype(np.int32)
