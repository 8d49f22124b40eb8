"""The permutohedral lattice, point by point and vertex by vertex, in the original's float32 steps.

Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010, as computed by
Kraehenbuehl's code of 2011, which DeepLab v1 includes (util/permutohedral.cpp). Page numbers are the paper's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
F = np.float32


def scale_factors(dims: int) -> list[np.float32]:
    """Return the diagonal part of the elevation (p. 5), which gives the blur unit standard deviation."""
    inv_std_dev = F(np.sqrt(2.0 / 3.0) * (dims + 1))
    return [F(1.0 / np.sqrt(float((i + 2) * (i + 1))) * float(inv_std_dev)) for i in range(dims)]


def elevate(feature: Array) -> list[np.float32]:
    """Return a feature (d,) as a point of the plane of d + 1 coordinates whose sum is 0 (p. 5)."""
    dims = len(feature)
    elevated, total = [F(0)] * (dims + 1), F(0)
    for j in range(dims, 0, -1):
        scaled = F(feature[j - 1]) * scale_factors(dims)[j - 1]
        elevated[j] = total - F(j) * scaled
        total = total + scaled
    elevated[0] = total
    return elevated


def locate(feature: Array) -> tuple[list[tuple[int, ...]], list[np.float32]]:
    """Return the keys of the vertices of the simplex around a feature (d,), and their barycentric weights (p. 10)."""
    dims = len(feature)
    elevated = elevate(feature)
    nearest = [np.rint(e * F(1.0 / F(dims + 1))) for e in elevated]
    base = [n * F(dims + 1) for n in nearest]
    offset = [e - b for e, b in zip(elevated, base, strict=True)]
    rank = [0] * (dims + 1)
    for i in range(dims + 1):
        for j in range(i + 1, dims + 1):
            rank[i if offset[i] < offset[j] else j] += 1
    for i in range(dims + 1):
        rank[i] += int(sum(nearest))
        wrap = dims + 1 if rank[i] < 0 else -(dims + 1) if rank[i] > dims else 0
        rank[i] += wrap
        base[i] += F(wrap)
    weights = [F(0)] * (dims + 2)
    for i in range(dims + 1):
        share = (elevated[i] - base[i]) * F(1.0 / F(dims + 1))
        weights[dims - rank[i]] += share
        weights[dims - rank[i] + 1] -= share
    weights[0] += F(1) + weights[dims + 1]
    keys = [
        tuple(int(base[i]) + (r if rank[i] <= dims - r else r - (dims + 1)) for i in range(dims))
        for r in range(dims + 1)
    ]
    return keys, weights[: dims + 1]


def neighbours(key: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the two neighbours' keys along an axis: d more in the axis and 1 less in the others, and the opposite."""
    dims = len(key)
    before = tuple(k + dims if i == axis else k - 1 for i, k in enumerate(key))
    after = tuple(k - dims if i == axis else k + 1 for i, k in enumerate(key))
    return before, after


def lattice_filter(features: Array, values: Array, sse_padding: bool = True) -> Array:
    """Return values splatted onto the lattice, blurred along each axis, and sliced.

    Args:
        features: (N, d).
        values: (N, C).
        sse_padding: as the original's blocks of four points do: if N is not a multiple of four, the vertices around
            feature 0 exist as well.

    Returns:
        (N, C), float32.
    """
    count, dims = features.shape
    simplices = [locate(feature) for feature in features.astype(F)]
    nothing = np.zeros(values.shape[1], F)
    vertex = {key: nothing for keys, _ in simplices for key in keys}
    if sse_padding and count % 4:
        vertex.update((key, vertex.get(key, nothing)) for key in locate(np.zeros(dims, F))[0])
    for (keys, weights), value in zip(simplices, values.astype(F), strict=True):
        for key, weight in zip(keys, weights, strict=True):
            vertex[key] = vertex[key] + weight * value
    for axis in range(dims + 1):
        blurred = {}
        for key, value in vertex.items():
            before, after = neighbours(key, axis)
            blurred[key] = value + F(0.5) * (vertex.get(before, nothing) + vertex.get(after, nothing))
        vertex = blurred
    alpha = F(1) / (F(1) + F(2.0**-dims))
    sliced = np.zeros(values.shape, F)
    for i, (keys, weights) in enumerate(simplices):
        for key, weight in zip(keys, weights, strict=True):
            sliced[i] = sliced[i] + (weight * alpha) * vertex[key]
    return sliced


def image_features(
    height: int,
    width: int,
    xy_std: tuple[float, float],
    image: Array | None = None,
    rgb_std: tuple[float, float, float] | None = None,
) -> Array:
    """Return the features of an image's pixels: x and y, and R, G, B, each over its standard deviation.

    Args:
        height: of the image.
        width: of the image.
        xy_std: standard deviations of x and y in pixels.
        image: (H, W, 3); needs ``rgb_std`` too.
        rgb_std: standard deviations of the colours.

    Returns:
        (H * W, 2) or (H * W, 5), float32, as the original lays them out.
    """
    y, x = np.mgrid[:height, :width].astype(F)
    columns = [x / F(xy_std[0]), y / F(xy_std[1])]
    if image is not None and rgb_std is not None:
        columns += [image[..., c].astype(F) / F(rgb_std[c]) for c in range(3)]
    return np.stack(columns, axis=-1).reshape(height * width, -1)
