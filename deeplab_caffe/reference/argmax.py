"""The highest channels of each pixel (layers/argmax_layer.cpp)."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def argmax(scores: Array, top_k: int = 1) -> tuple[Array, Array]:
    """Return the ``top_k`` highest channels of each pixel, highest first; among equal values the larger index first.

    The original sorts (value, index) pairs in descending order. NaN, undefined there, ranks below all numbers here.

    Args:
        scores: (N, C, H, W).
        top_k: from 1 to C.

    Returns:
        Indices in the scores' dtype, and values, each (N, top_k, H, W).
    """
    count, channels, height, width = scores.shape
    indices = np.zeros((count, top_k, height, width), scores.dtype)
    values = np.zeros_like(indices)
    for n, y, x in np.ndindex(count, height, width):
        pairs = [(not np.isnan(scores[n, c, y, x]), scores[n, c, y, x], c) for c in range(channels)]
        pairs = [(number, value if number else 0, c) for number, value, c in pairs]
        pairs.sort(reverse=True)
        for k, (_, _, c) in enumerate(pairs[:top_k]):
            indices[n, k, y, x], values[n, k, y, x] = c, scores[n, c, y, x]
    return indices, values


def argmax_labels(scores: Array, ties: str = "first") -> Array:
    """Return each pixel's highest channel.

    Args:
        scores: (N, C, H, W).
        ties: which of equal channels wins: "last", as in ARGMAX; or "first", as in the densecrf programs
            (libDenseCRF/densecrf.cpp:201). Which of several NaN wins follows the same rule.

    Returns:
        (N, H, W), int64.
    """
    if ties == "last":
        return argmax(scores)[0][:, 0].astype(np.int64)
    # In reversed order, the first of equal channels is the last one.
    from_the_end = argmax(scores[:, ::-1])[0][:, 0].astype(np.int64)
    labels: Array = scores.shape[1] - 1 - from_the_end
    return labels
