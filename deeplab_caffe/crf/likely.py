"""Inference with only those labels that are likely somewhere in the image.

In most photographs a network of 21 or 150 classes gives most labels no chance at any pixel, and the time of an
iteration grows with the number of labels. With the Potts model it is safe to leave such labels out: with normalised
kernels, the message to a label is at most the sum w of the kernels' weights times the label's largest marginal. So a
label with a marginal of at most p everywhere stays below about p exp(p w), and takes no more than that from the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deeplab_caffe.arrays import Array
from deeplab_caffe.crf.backend import Backend, Problem, infer
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.crf.params import PairwiseKernel


def infer_likely(
    backend: Backend,
    problems: Sequence[Problem],
    kernels: Sequence[PairwiseKernel],
    iterations: int,
    *,
    kind: Kind | None,
    min_probability: float,
) -> None:
    """Infer marginals like :func:`deeplab_caffe.crf.backend.infer`, but only of labels that are likely somewhere.

    Args:
        backend: as for :func:`deeplab_caffe.crf.backend.infer`; so are the next four.
        problems: the images; labels that are left out get marginals of 0.
        kernels: the kernels.
        iterations: number of mean-field iterations.
        kind: what the scores are.
        min_probability: leave out labels with smaller probabilities at all pixels before the first iteration; 0: none.

    Raises:
        CRFError: as :func:`deeplab_caffe.crf.backend.infer`.
        CRFMemoryError: as :func:`deeplab_caffe.crf.backend.infer`.
    """
    if min_probability == 0 or backend.arrays.is_capturing():  # a CUDA graph has fixed shapes
        return infer(backend, problems, kernels, iterations, kind=kind)
    # Validate all scores, including those of labels that are left out.
    backend.inspect([problem.scores for problem in problems], kind)()
    kept = [likely_labels(problem.scores, kind, min_probability) for problem in problems]
    small = [
        problem if len(labels) == len(problem.scores) else _of_labels(backend, problem, labels)
        for problem, labels in zip(problems, kept, strict=True)
    ]
    infer(backend, small, kernels, iterations, kind=kind, inspected=True)
    for problem, part, labels in zip(problems, small, kept, strict=True):
        if part is not problem:
            problem.out[...] = 0
            problem.out[labels] = part.out
    return None


def likely_labels(scores: Array, kind: Kind | None, min_probability: float) -> list[int]:
    """Return, in order, the labels that have a probability of at least ``min_probability`` at some pixel.

    Instead of a label's probability, its ratio to the pixel's largest probability is used, which is never smaller.
    Labels with NaN are kept.

    Args:
        scores: ``(C, H, W)``, of the given kind.
        kind: what the scores are; energies are given as their negatives.
        min_probability: the threshold, above 0.
    """
    if 0 in scores.shape:
        return list(range(len(scores)))
    highest = _highest(scores)
    if kind == "probabilities":
        least, bar = 0.0, min_probability * highest
    else:
        least, bar = math.log(min_probability), highest
    # One label at a time to save memory; the peaks are copied to the host together, because a copy waits for the GPU.
    peaks = scores[:, 0, 0] + 0
    for k, one in enumerate(scores):
        peaks[k] = (one - bar).max()
    return [k for k, peak in enumerate(peaks.tolist()) if not peak < least]


def _highest(scores: Array) -> Any:
    """Return the maxima over labels ``(H, W)``; torch's max returns positions too."""
    return scores.amax(0) if hasattr(scores, "amax") else scores.max(0)


def _of_labels(backend: Backend, problem: Problem, labels: list[int]) -> Problem:
    scores = problem.scores[labels]
    return Problem(scores, problem.image, backend.empty(tuple(scores.shape)))
