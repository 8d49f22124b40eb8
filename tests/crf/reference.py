"""The lattice and mean field once more, slowly: point by point, vertex by vertex, in the original's float32 steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

F = np.float32


def scale_factors(dims: int) -> list[np.float32]:
    inv_std_dev = F(np.sqrt(2.0 / 3.0) * (dims + 1))
    return [F(1.0 / np.sqrt(float((i + 2) * (i + 1))) * float(inv_std_dev)) for i in range(dims)]


def elevate(feature: np.ndarray) -> list[np.float32]:
    dims = len(feature)
    elevated, total = [F(0)] * (dims + 1), F(0)
    for j in range(dims, 0, -1):
        scaled = F(feature[j - 1]) * scale_factors(dims)[j - 1]
        elevated[j] = total - F(j) * scaled
        total = total + scaled
    elevated[0] = total
    return elevated


def locate(feature: np.ndarray) -> tuple[list[tuple[int, ...]], list[np.float32]]:
    """Keys of the simplex' vertices, and their weights."""
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
    dims = len(key)
    before = tuple(k + dims if i == axis else k - 1 for i, k in enumerate(key))
    after = tuple(k - dims if i == axis else k + 1 for i, k in enumerate(key))
    return before, after


def lattice_filter(features: np.ndarray, values: np.ndarray, sse_padding: bool = True) -> np.ndarray:
    """features (N, d), values (N, C) -> (N, C)"""
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


def fast_exp(x: np.ndarray) -> np.ndarray:
    """exp for x <= 0 by the rule: 0 below -20, else exact (the original's polynomial is within 1e-7 of it)."""
    return np.where(x < -20, F(0), np.exp(x.astype(np.float64)).astype(F))


def softmax(scores: np.ndarray) -> np.ndarray:
    """(N, C) -> (N, C)"""
    powers = fast_exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def mean_field(
    scores: np.ndarray, kernels: Sequence[tuple[np.ndarray, float]], iterations: int, sse_padding: bool = True
) -> np.ndarray:
    """scores (N, C) and kernels of (features (N, d), weight) -> marginals (N, C)"""
    ones = np.ones((len(scores), 1), F)
    norms = [F(1) / (lattice_filter(features, ones, sse_padding) + F(1e-20)) for features, _ in kernels]
    q = softmax(scores)
    for _ in range(iterations):
        energy = scores.astype(F)
        for (features, weight), norm in zip(kernels, norms, strict=True):
            energy = energy + F(weight) * norm * lattice_filter(features, q, sse_padding)
        q = softmax(energy)
    return q


def image_features(
    height: int,
    width: int,
    xy_std: tuple[float, float],
    image: np.ndarray | None = None,
    rgb_std: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """(H * W, 2) or (H * W, 5), as the original lays them out."""
    y, x = np.mgrid[:height, :width].astype(F)
    columns = [x / F(xy_std[0]), y / F(xy_std[1])]
    if rgb_std is not None:
        columns += [image[..., c].astype(F) / F(rgb_std[c]) for c in range(3)]
    return np.stack(columns, axis=-1).reshape(height * width, -1)
