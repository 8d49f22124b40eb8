"""The domain transform's recursive filter (layers/domain_transform_layer.cpp)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pixel = tuple[int, int]


def domain_transform(
    x: Array,
    edges: Array,
    sizes: Sequence[tuple[int, int]] | None = None,
    iterations: int = 3,
    spatial_sigma: float = 50.0,
    range_sigma: float = 5.0,
    min_weight: float = 0.0,
    *,
    clamp: bool = True,
    grad: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the filtered channels or, with ``grad``, the gradients of x and edges.

    Each pass combines a pixel with the one before it in the direction of the pass: ``y[here] += weight * (y[before] -
    y[here])``, with the weight of the later of the two in reading order (lines 98-125). The gradient of an edge is that
    of the weight without clipping (lines 205-217).

    Args:
        x: (N, C, H, W).
        edges: (N, 1, H, W).
        sizes: height and width of each item's part that is filtered; None: all of it.
        iterations: K; the layer's num_iter.
        spatial_sigma: spatial standard deviation in pixels.
        range_sigma: range standard deviation in the edges' unit.
        min_weight: the smallest weight.
        clamp: clip weights to [min_weight, 1].
        grad: the gradient of the result.

    Returns:
        The filtered (N, C, H, W); with ``grad`` the gradients of x (N, C, H, W) and edges (N, 1, H, W). float64.
    """
    y = np.array(x, np.float64)
    through = np.zeros_like(y) if grad is None else np.array(grad, np.float64)
    grad_edges = np.zeros(edges.shape)
    for n in range(len(y)):
        size = y.shape[2:] if sizes is None else (int(sizes[n][0]), int(sizes[n][1]))
        pixels, pixels_back = (np.moveaxis(array[n], 0, -1) for array in (y, through))  # views (H, W, C)
        done = []
        for k in range(iterations):
            sigma = spatial_sigma * math.sqrt(3) * 2.0 ** (iterations - k - 1) / math.sqrt(4.0**iterations - 1)
            slope = -math.sqrt(2) / sigma * spatial_sigma / range_sigma
            weights = np.exp(-math.sqrt(2) / sigma + slope * edges[n, 0].astype(np.float64))
            if clamp:
                weights = np.minimum(np.maximum(weights, min_weight), 1)
            for here, before in _steps(*size):
                later = max(here, before)
                difference = pixels[before] - pixels[here]
                pixels[here] += weights[later] * difference
                done.append((here, before, later, weights[later], slope, difference))
        for here, before, later, weight, slope, difference in reversed(done):
            flow = weight * pixels_back[here]
            grad_edges[n, 0][later] += slope * (flow * difference).sum()
            pixels_back[before] += flow
            pixels_back[here] -= flow
    return y if grad is None else (through, grad_edges)


def _steps(height: int, width: int) -> Iterator[tuple[Pixel, Pixel]]:
    """Yield each pixel and the one before it, for the passes to the right, to the left, down and up."""
    for row in range(height):
        yield from (((row, i), (row, i - 1)) for i in range(1, width))
    for row in range(height):
        yield from (((row, i - 1), (row, i)) for i in range(width - 1, 0, -1))
    for column in range(width):
        yield from (((i, column), (i - 1, column)) for i in range(1, height))
    for column in range(width):
        yield from (((i - 1, column), (i, column)) for i in range(height - 1, 0, -1))
