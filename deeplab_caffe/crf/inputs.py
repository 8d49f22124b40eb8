"""What a caller's numbers must be: every door to the dense CRF checks scores, images and costs here."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeplab_caffe.arrays import to_numpy
from deeplab_caffe.errors import CRFError

NDArray = np.ndarray[Any, Any]
Sizes = tuple[int, ...]


def validate_floating(dtype: str, name: str) -> None:
    """Validate the dtype of an array that is computed with in float32.

    Raises:
        CRFError: it is not floating point.
    """
    if "float" not in dtype and dtype != "longdouble":
        raise CRFError(f"{name} must be floating point, got {dtype}")


def validate_real(dtype: str, name: str) -> None:
    """Validate the dtype of colours, features or costs.

    Raises:
        CRFError: it is not a dtype of real numbers.
    """
    if not dtype.startswith(("uint", "int", "float", "bfloat", "longdouble")):
        raise CRFError(f"{name} must be of real numbers, got {dtype}")


def validate_scores(shape: Sizes, dtype: str, layout: str, probabilities: bool = False) -> None:
    """Validate what is known of scores without looking at their values.

    Args:
        shape: theirs.
        dtype: theirs, by name.
        layout: what they must be: "(C, H, W)", ...
        probabilities: what to call them.

    Raises:
        CRFError: another number of axes, numbers that are not floating point, or none at all.
    """
    name = "probabilities" if probabilities else "scores"
    if len(shape) != layout.count(",") + 1:
        raise CRFError(f"{name} must be {layout}, got shape {shape}")
    validate_floating(dtype, name)
    if 0 in shape:
        raise CRFError(f"{name} are empty: {layout} = {shape}")


def validate_score_values(scores: NDArray, probabilities: bool) -> None:
    """Validate the values of scores, or of probabilities, ``(C, H, W)`` float32.

    Raises:
        CRFError: a value that is not finite, or negative where probabilities are asked for, or only zeros at a pixel.
    """
    name = "probabilities" if probabilities else "scores"
    low, high = scores.min(), scores.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise CRFError(f"{name} must be finite (in float32), got values from {low} to {high}")
    if probabilities:
        if low < 0:
            raise CRFError(f"probabilities must not be negative, got {low}")
        if not scores.max(axis=0).all():
            y, x = np.argwhere(scores.max(axis=0) == 0)[0]
            raise CRFError(f"probabilities are 0 for every label at row {y}, column {x}")


def validate_fit(scores: Sizes, image: Sizes) -> None:
    """Validate that scores (C, H, W) and an image (H, W, 3) fit.

    Raises:
        CRFError: they do not; a transposed axis is the usual case, and named so.
    """
    if len(image) == 3 and image[2] == 3 and image[:2] == scores[1:]:
        return
    message = f"scores are {scores} but the image is {image}"
    looks_transposed = sorted(image) == sorted((*scores[1:], 3)) or scores[:2] == image[:2]
    raise CRFError(f"{message}: transpose?" if looks_transposed else f"{message}: expected (C, H, W) and (H, W, 3)")


def validate_finite(values: NDArray, name: str) -> None:
    """Validate that all of an array's values are finite.

    Raises:
        CRFError: one is not.
    """
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        raise CRFError(f"{name} must be finite, got values that are not")


def validate_compatibility(compatibility: Any) -> NDArray:
    """Validate label costs ``(C,)`` or ``(C, C)``, and return them as float32.

    Raises:
        CRFError: another shape, or values that are not real and finite.
    """
    costs = to_numpy(compatibility, "compatibility", CRFError)
    validate_real(costs.dtype.name, "compatibility")
    if costs.ndim not in (1, 2) or len(set(costs.shape)) > 1 or costs.size == 0:
        raise CRFError(f"compatibility must be (C,) or (C, C), got shape {costs.shape}; one number is a weight")
    with np.errstate(over="ignore"):
        costs = costs.astype(np.float32)
    validate_finite(costs, "compatibility")
    return costs


def image_sizes(data_dim: NDArray | None, shape: Sizes) -> list[tuple[int, int]]:
    """Return height and width of each item's part, never more than the blob's (densecrf_layer.cpp:143-155).

    Args:
        data_dim: (height, width) of each item, or of all; None for all of the blob.
        shape: the blob's, (N, C, H, W).

    Raises:
        CRFError: ``data_dim`` holds something else.
    """
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
