"""Mean field inference of a dense CRF (Kraehenbuehl and Koltun, 2011; libDenseCRF/densecrf.cpp)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeplab_caffe.reference.lattice import Array, F, lattice_filter


def fast_exp(x: Array) -> Array:
    """Return exp(x) for x <= 0: 0 below -20, else exact; the original's polynomial is within 1e-7 of it."""
    return np.where(x < -20, F(0), np.exp(x.astype(np.float64)).astype(F))


def softmax(scores: Array) -> Array:
    """Return the softmax of scores (N, C) over C, by :func:`fast_exp`."""
    powers = fast_exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def mean_field(
    scores: Array, kernels: Sequence[tuple[Array, float]], iterations: int, sse_padding: bool = True
) -> Array:
    """Return the marginals Q after some iterations.

    Initially Q = softmax(scores). Each iteration adds the kernels' messages, a filter of Q over the filter of ones,
    to the scores (a Potts model), and takes the softmax.

    Args:
        scores: (N, C).
        kernels: (features (N, d), weight) each.
        iterations: 0 or more.
        sse_padding: see :func:`deeplab_caffe.reference.lattice_filter`.

    Returns:
        (N, C).
    """
    ones = np.ones((len(scores), 1), F)
    norms = [F(1) / (lattice_filter(features, ones, sse_padding) + F(1e-20)) for features, _ in kernels]
    q = softmax(scores)
    for _ in range(iterations):
        energy = scores.astype(F)
        for (features, weight), norm in zip(kernels, norms, strict=True):
            energy = energy + F(weight) * norm * lattice_filter(features, q, sse_padding)
        q = softmax(energy)
    return q
