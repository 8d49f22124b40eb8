"""Checks of what a caller hands in: shapes that fit, numbers that are finite."""

from __future__ import annotations

import numpy as np

from deeplab_caffe.crf._view import float32
from deeplab_caffe.errors import CRFError


def checked_scores(scores: np.ndarray, dims: int, layout: str, probabilities: bool) -> np.ndarray:
    """Scores or probabilities as float32, or CRFError where they are not fit."""
    name = "probabilities" if probabilities else "scores"
    if scores.ndim != dims:
        raise CRFError(f"{name} must be {layout}, got shape {scores.shape}")
    if not np.issubdtype(scores.dtype, np.floating):
        raise CRFError(f"{name} must be floating point, got {scores.dtype}")
    if scores.size == 0:
        raise CRFError(f"{name} are empty: {layout} = {scores.shape}")
    with np.errstate(over="ignore"):
        scores = float32(scores)
    low, high = scores.min(), scores.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise CRFError(f"{name} must be finite (in float32), got values from {low} to {high}")
    if probabilities:
        if low < 0:
            raise CRFError(f"probabilities must not be negative, got {low}")
        if not scores.max(axis=0).all():
            y, x = np.argwhere(scores.max(axis=0) == 0)[0]
            raise CRFError(f"probabilities are 0 for every label at row {y}, column {x}")
    return scores


def checked_colours(image: np.ndarray, name: str) -> np.ndarray:
    """An image's colours as float32, or CRFError where they are not fit."""
    if not (np.issubdtype(image.dtype, np.floating) or np.issubdtype(image.dtype, np.integer)):
        raise CRFError(f"{name} must be of real numbers, got {image.dtype}")
    if np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all():
        raise CRFError(f"{name} must be finite, got values that are not")
    with np.errstate(over="ignore"):
        return image.astype(np.float32, copy=False)


def misfit(scores: tuple[int, ...], image: tuple[int, ...]) -> str:
    """The message for scores (C, H, W) that do not fit their image (H, W, 3)."""
    message = f"scores are {scores} but the image is {image}"
    height_width = scores[1:]
    looks_transposed = sorted(image) == sorted((*height_width, 3)) or scores[:2] == image[:2]
    return f"{message}: transpose?" if looks_transposed else f"{message}: expected (C, H, W) and (H, W, 3)"


def sizes(data_dim: np.ndarray | None, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of each item's part, never more than the blob's (densecrf_layer.cpp:143-155)."""
    count, _, height, width = shape
    if data_dim is None:
        return [(height, width)] * count
    pairs = np.asarray(data_dim, np.float64)
    if pairs.size not in (2, 2 * count):
        raise CRFError(f"data_dim must hold (height, width) of each of {count} images, got shape {pairs.shape}")
    pairs = np.broadcast_to(pairs.reshape(-1, 2), (count, 2))
    if not (pairs >= 1).all() or not np.isfinite(pairs).all():
        raise CRFError(f"data_dim must be heights and widths of 1 or more, got {pairs.tolist()}")
    return [(min(int(h), height), min(int(w), width)) for h, w in pairs]
