"""From an image to the input of a net (data_transformer.cpp:309-464, phase TEST without a crop)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def preprocess(image: Array, mean: Sequence[float], size: tuple[int, int]) -> Array:
    """Return bytes in R, G, B order as B, G, R planes minus the mean.

    The original pads with the mean at the bottom and right, which then is 0.

    Args:
        image: (H, W, 3) uint8, RGB.
        mean: in B, G, R order.
        size: (height, width) of the result, at least the image's.

    Returns:
        (1, 3, *size), float32.
    """
    blob = np.zeros((1, 3, *size), np.float32)
    for y, x, c in np.ndindex(*image.shape):
        blob[0, 2 - c, y, x] = np.float32(image[y, x, c]) - np.float32(mean[2 - c])
    return blob
