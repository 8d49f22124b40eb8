"""Label maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont


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
    return np.asarray(table[labels])


def overlay(
    image: np.ndarray, labels: np.ndarray, colormap: np.ndarray, alpha: float = 0.5, ignore_label: int | None = 255
) -> np.ndarray:
    """Lay the colours of a label map over its photograph.

    Args:
        image: uint8 RGB ``(H, W, 3)``.
        labels: whole numbers ``(H, W)`` from 0 to 255.
        colormap: uint8 RGB ``(K, 3)``; labels from K on are black.
        alpha: share of the colours, from 0 (photograph alone) to 1 (colours alone).
        ignore_label: pixels with this label show the photograph unchanged; None for no such label.

    Returns:
        uint8 RGB ``(H, W, 3)``.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
    labels, colormap = _checked(labels, colormap)
    if image.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        raise ValueError(
            f"expected a uint8 image {(*labels.shape, 3)} as the labels are, got {image.dtype} {image.shape}"
        )
    # Fixed point with 8 bits: no float image of the photograph's size is needed, and the result is the same everywhere.
    share = round(alpha * 256)
    mixed = image.astype(np.uint16) * np.uint16(256 - share)
    mixed += colorize(labels, colormap).astype(np.uint16) * np.uint16(share)
    result = ((mixed + 128) >> 8).astype(np.uint8)
    if ignore_label is not None:
        ignored = labels == ignore_label
        result[ignored] = image[ignored]
    return result


def legend(
    names: Sequence[str],
    colormap: np.ndarray,
    *,
    width: int | None = None,
    font_size: int = 16,
    present: np.ndarray | None = None,
) -> np.ndarray:
    """Draw names beside patches of their colours, in rows.

    Args:
        names: of labels 0, 1, 2, ...
        colormap: uint8 RGB ``(K, 3)``, at least as long as ``names``.
        width: of the picture in pixels; entries go on in a new row where it is full. None puts them all in one row.
        font_size: height of the letters in pixels.
        present: a label map; only the labels that occur in it are drawn. None draws them all.

    Returns:
        uint8 RGB ``(height, width, 3)``, white behind black letters.
    """
    if len(names) > len(colormap):
        raise ValueError(f"{len(names)} names, but {len(colormap)} colours")
    shown = range(len(names)) if present is None else [k for k in np.unique(present).tolist() if 0 <= k < len(names)]
    font = ImageFont.load_default(font_size)
    gap, patch = font_size // 2, font_size
    placed, x, y, right = [], gap, gap, 0
    for label in shown:
        extent = patch + gap + round(font.getlength(names[label]))
        if width is not None and x > gap and x + extent + gap > width:
            x, y = gap, y + patch + gap
        placed.append((label, x, y))
        x += extent + 2 * gap
        right = max(right, x - gap)
    picture = Image.new("RGB", (width or max(right, 1), y + patch + gap), "white")
    draw = ImageDraw.Draw(picture)
    for label, x, y in placed:
        colour = tuple(int(value) for value in colormap[label])
        draw.rectangle((x, y, x + patch - 1, y + patch - 1), fill=colour, outline="black")
        draw.text((x + patch + gap, y + patch // 2), names[label], fill="black", font=font, anchor="lm")
    return np.array(picture)


def beside(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Put pictures of one height side by side, white between them.

    Args:
        pictures: uint8 RGB ``(H, W_i, 3)``.
        gap: pixels between two.

    Returns:
        uint8 RGB ``(H, sum of W_i and gaps, 3)``.
    """
    if not pictures or len({len(picture) for picture in pictures}) != 1:
        raise ValueError(f"expected pictures of one height, got heights {[len(picture) for picture in pictures]}")
    space = np.full((len(pictures[0]), gap, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (space, picture)]
    return np.concatenate(parts[1:], axis=1)


def _checked(labels: np.ndarray, colormap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, colormap = np.asarray(labels), np.asarray(colormap)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected whole-number labels (H, W), got {labels.dtype} {labels.shape}")
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        raise ValueError(f"labels must be from 0 to 255, got {labels.min()} to {labels.max()}")
    if colormap.ndim != 2 or colormap.shape[1] != 3 or len(colormap) > 256 or colormap.dtype != np.uint8:
        raise ValueError(f"expected a uint8 colormap (K, 3) with K up to 256, got {colormap.dtype} {colormap.shape}")
    return labels, colormap
