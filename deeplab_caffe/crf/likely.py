"""Inference of those labels alone that an image can have.

A network of 21 or 150 classes gives most of them no chance at any pixel of a photograph, and the time of an iteration
grows with the number of labels. The Potts model makes it safe to leave them out: with kernels that are normalised, the
message to a label is at most the sum of weights times the largest marginal that it has anywhere. One that has at most
p everywhere stays below p exp(p w) or so, and takes no more from the others.
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
    """Infer marginals as :func:`deeplab_caffe.crf.backend.infer`, of labels that are likely somewhere.

    Args:
        backend: as there.
        problems: as there; labels left out get marginals of 0.
        kernels: as there.
        iterations: as there.
        kind: as there.
        min_probability: labels below it at all pixels, before the first iteration, are left out; 0 for none.

    Raises:
        CRFError: as there.
        CRFMemoryError: as there.
    """
    if min_probability == 0 or backend.arrays.is_capturing():  # a graph has one shape
        return infer(backend, problems, kernels, iterations, kind=kind)
    # All scores are looked at, also those of labels that go: what is wrong with them is not to be passed over.
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
    """Return the labels that have ``min_probability`` or more at a pixel, in their order.

    A label's probability is taken as its part of the likeliest label's, which is never less. Labels with NaN stay.

    Args:
        scores: ``(C, H, W)``, or probabilities, as ``kind`` says.
        kind: what the scores are; of energies there are the negatives.
        min_probability: above 0.
    """
    if 0 in scores.shape:
        return list(range(len(scores)))
    highest = _highest(scores)
    if kind == "probabilities":
        least, bar = 0.0, min_probability * highest
    else:
        least, bar = math.log(min_probability), highest
    # A label at a time, for want of memory; brought to the host together, because each time a GPU is waited for.
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
