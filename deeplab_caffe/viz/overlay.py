"""Label maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def colorize(labels: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """Paint every label in its colour.

    Args:
        labels: whole numbers ``(H, W)`` from 0 to 255.
        colormap: uint8 RGB ``(K, 3)``; labels from K on are black.

    Returns:
        uint8 RGB ``(H, W, 3)``.
    """
    labels, colormap = _checked(labels, colormap)
    table = np.zeros((256, 3), np.uint8)
    table[: len(colormap)] = colormap
    return table.take(labels, axis=0)


def overlay(
    image: np.ndarray, labels: np.ndarray, colormap: np.ndarray, alpha: float = 0.5, ignore_label: int | None = 255
) -> np.ndarray:
    """Blend the colours of a label map with its photograph.

    Args:
        image: uint8 RGB ``(H, W, 3)``.
        labels: whole numbers ``(H, W)`` from 0 to 255.
        colormap: uint8 RGB ``(K, 3)``; labels from K on are black.
        alpha: share of the colours, from 0 (only the photograph) to 1 (only the colours).
        ignore_label: pixels with this label show the photograph unchanged; None for no such label.

    Returns:
        uint8 RGB ``(H, W, 3)``.

    Raises:
        ValueError: alpha is not from 0 to 1, or the labels have another size than the image.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
    labels, colormap = _checked(labels, colormap)
    _check_image(image, labels)
    # Fixed point with 8 bits: no float image of the photograph's size is needed, and the result is the same everywhere.
    share = round(alpha * 256)
    mixed = image.astype(np.uint16) * np.uint16(256 - share)
    mixed += colorize(labels, colormap).astype(np.uint16) * np.uint16(share)
    result = ((mixed + 128) >> 8).astype(np.uint8)
    if ignore_label is not None:
        ignored = labels == ignore_label
        result[ignored] = image[ignored]
    return result


def outlined(
    picture: np.ndarray, labels: np.ndarray, *, thickness: int | None = None, ignore_label: int | None = 255
) -> np.ndarray:
    """Draw the boundaries between regions of a label map: a light line beside a dark one, visible on any photograph.

    The light line is on the side of the larger label, the dark line on the other side; a region beside ignored pixels
    gets a light line there. A pixel is on a line if there is another label among its neighbours, the square of
    ``2 thickness + 1`` pixels around it; if there are both smaller and larger labels, the line is light.

    Args:
        picture: uint8 RGB ``(H, W, 3)``, for example an overlay; not changed.
        labels: whole numbers ``(H, W)`` from 0 to 255.
        thickness: thickness of each line in pixels; None: 1 for each 600 pixels of the longer side, at least 1.
        ignore_label: pixels with this label get no line; None for no such label.

    Returns:
        uint8 RGB ``(H, W, 3)``.

    Raises:
        ValueError: the thickness is below 1.
    """
    labels, _ = _checked(labels, np.zeros((1, 3), np.uint8))
    _check_image(picture, labels)
    if thickness is not None and thickness < 1:
        raise ValueError(f"thickness must be at least 1, got {thickness}")
    reach = thickness or max(1, round(max(labels.shape) / 600))
    ranks = labels.astype(np.int16)
    if ignore_label is not None:
        ranks[labels == ignore_label] = -1
    light = _over_square(np.minimum, ranks, reach) < ranks
    dark = (_over_square(np.maximum, ranks, reach) > ranks) & ~light & (ranks >= 0)
    result = picture.copy()
    result[light] = 255
    result[dark] = 0
    return result


def beside(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Put pictures of equal height side by side, with white gaps.

    Args:
        pictures: uint8 RGB ``(H, W_i, 3)``.
        gap: pixels between two pictures.

    Returns:
        uint8 RGB ``(H, sum of W_i and gaps, 3)``.

    Raises:
        ValueError: there are no pictures, or their heights differ.
    """
    if not pictures or len({len(picture) for picture in pictures}) != 1:
        raise ValueError(f"expected pictures of one height, got heights {[len(picture) for picture in pictures]}")
    space = np.full((len(pictures[0]), gap, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (space, picture)]
    return np.concatenate(parts[1:], axis=1)


def _over_square(function: np.ufunc, values: np.ndarray, reach: int) -> np.ndarray:
    """Reduce the square of ``2 reach + 1`` pixels around each pixel, as far as it lies in the image.

    By shifts of whole rows and columns: to import scipy.ndimage takes as long as a network takes for ten photographs.

    Args:
        function: np.minimum or np.maximum.
        values: ``(H, W)``.
        reach: pixels from the middle to the side.
    """
    for _ in range(2):  # along rows, then along columns
        before = values.T
        values = before.copy()
        for step in range(1, min(reach, len(before) - 1) + 1):
            function(values[step:], before[:-step], out=values[step:])
            function(values[:-step], before[step:], out=values[:-step])
    return values


def _check_image(image: np.ndarray, labels: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        raise ValueError(
            f"expected a uint8 image {(*labels.shape, 3)} as the labels are, got {image.dtype} {image.shape}"
        )


def _checked(labels: np.ndarray, colormap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, colormap = np.asarray(labels), np.asarray(colormap)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected whole-number labels (H, W), got {labels.dtype} {labels.shape}")
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        raise ValueError(f"labels must be from 0 to 255, got {labels.min()} to {labels.max()}")
    if colormap.ndim != 2 or colormap.shape[1] != 3 or len(colormap) > 256 or colormap.dtype != np.uint8:
        raise ValueError(f"expected a uint8 colormap (K, 3) with K up to 256, got {colormap.dtype} {colormap.shape}")
    return labels, colormap
