"""One picture's scores and lattices, kept while the CRF's parameters change: :class:`Tuner`."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from deeplab_caffe.arrays.stays import Stays
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.crf.backend import Field, LatticeHandle, LatticeRequest, PairwiseTerm
from deeplab_caffe.crf.inputs import Kind, validate_fit
from deeplab_caffe.crf.likely import likely_labels
from deeplab_caffe.crf.params import PairwiseKernel, active_kernels
from deeplab_caffe.crf.place import backend_for
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.ops.argmax import argmax_labels

# Number of colour lattices; for a megapixel one takes up to 100 MB. The backend keeps position lattices.
_KEPT_LATTICES = 2


@dataclass(frozen=True)
class Refined:
    """The result of the CRF.

    Attributes:
        marginals: float32 ``(C, H, W)``.
        milliseconds: time of new lattices and of the inference.
        lattices_built: number of new colour lattices.
    """

    marginals: np.ndarray
    milliseconds: float
    lattices_built: int

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the best class of each pixel, uint8 ``(H, W)``; the first of classes that are equally good."""
        return np.asarray(argmax_labels(self.marginals[None])[0])


@dataclass(frozen=True)
class Curve:
    """The effect of each iteration, from 0, the start, to the last.

    Attributes:
        kl_divergence: KL(Q || P) for each pixel up to a constant, see :class:`deeplab_caffe.crf.Energies`.
        changed: share of the pixels, from 0 to 1, whose label the iteration changed; 0 for the start.
    """

    kl_divergence: list[float]
    changed: list[float]


class Tuner(Stays):
    """Scores of one picture, refined with one set of CRF parameters after the other.

    The marginals are those of :func:`deeplab_caffe.crf.dense_crf`, bit for bit. Lattices are kept, so that a change of
    weights or iterations needs only the inference. Threads may share it: one waits for the other.

    Args:
        image: uint8 RGB ``(H, W, 3)``.
        scores: float32 ``(C, H, W)``.
        classes: names and colours of the C classes.
        kind: kind of the scores, see :func:`deeplab_caffe.crf.dense_crf`.
        device: device of the computation: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Attributes:
        image: as given.
        classes: as given.
        before: the scores' probabilities, float32 ``(C, H, W)``: the initial marginals of the CRF.
        labels_before: the best class of each pixel before the CRF, uint8 ``(H, W)``.

    Raises:
        CRFError: scores and image do not fit together, or the scores' values are not fit.
    """

    instead = "make another of its image and the scores"

    def __init__(
        self, image: np.ndarray, scores: np.ndarray, classes: Classes, *, kind: Kind | None = None, device: str = "cpu"
    ) -> None:
        validate_fit(scores.shape, image.shape)
        self.image, self.classes = image, classes
        self._backend = backend_for(device=device)
        self._scores = self._backend.scores(self._backend.take(scores, "scores"), "(C, H, W)", kind)
        self._backend.inspect([self._scores], kind)()
        self._kind = kind
        self._likely: tuple[float, Any] = (0.0, slice(None))  # min_probability, and the labels that it leaves
        self._colours = self._backend.photograph(self._backend.take(image, "image"))
        self._host = scores
        self._lattices: OrderedDict[PairwiseKernel, LatticeHandle] = OrderedDict()
        self._lock = threading.Lock()
        start = self.refine(CRFParams(iterations=0))
        self.before, self.labels_before = start.marginals, start.labels

    def refine(self, params: CRFParams) -> Refined:
        """Return the marginals of these parameters, and the time of their computation.

        Raises:
            CRFError: standard deviations too small for the picture.
            CRFMemoryError: not enough memory.
        """
        with self._lock:
            began = time.perf_counter()
            field, built = self._start(params)
            field.run(params.iterations)
            marginals = self._marginals(field)
            return Refined(marginals, 1000 * (time.perf_counter() - began), built)

    def curve(self, params: CRFParams) -> Curve:
        """Return the effect of each iteration; it raises the errors of :meth:`refine`."""
        with self._lock:
            field, _ = self._start(params)
            pixels = self.image.shape[0] * self.image.shape[1]
            energies, changed, last = [], [], None
            for iteration in range(params.iterations + 1):
                if iteration:
                    field.run(1)
                parts = field.energies()
                energies.append((parts.entropy + parts.unary + sum(parts.pairwise)) / pixels)
                labels = argmax_labels(self._marginals(field)[None])[0]
                changed.append(0.0 if last is None else float((labels != last).mean()))
                last = labels
        return Curve(energies, changed)

    def _start(self, params: CRFParams) -> tuple[Field, int]:
        """Return a mean field at its start, and the number of colour lattices that were built."""
        kernels = active_kernels(params)
        size = (self.image.shape[0], self.image.shape[1])
        scores = self._scores[self._labels(params.min_probability)]
        self._backend.check_memory(size, kernels, len(scores))
        terms, built = [], 0
        for kernel in kernels:
            shape = replace(kernel, weight=1.0)
            lattice = self._lattices.get(shape)
            if lattice is None:
                colours = None if kernel.rgb_std is None else self._colours
                (lattice,) = self._backend.pixel_lattices([LatticeRequest(size, shape, colours)])
                built += kernel.rgb_std is not None
            if kernel.rgb_std is not None:
                self._keep(shape, lattice)
            terms.append(PairwiseTerm(lattice, kernel.weight))
        field = self._backend.field((len(scores), *size), terms)
        field.start(scores, self._kind == "probabilities")
        return field, built

    def _labels(self, min_probability: float) -> Any:
        """Return the labels that the CRF computes, as an index, cached for the last ``min_probability``."""
        if min_probability != self._likely[0]:
            some = likely_labels(self._scores, self._kind, min_probability) if min_probability else slice(None)
            self._likely = min_probability, some
        return self._likely[1]

    def _keep(self, kernel: PairwiseKernel, lattice: LatticeHandle) -> None:
        self._lattices[kernel] = lattice
        self._lattices.move_to_end(kernel)
        while len(self._lattices) > _KEPT_LATTICES:
            self._lattices.popitem(last=False)

    def _marginals(self, field: Field) -> Any:
        """Return Q of all labels, 0 for those left out, as numpy's."""
        marginals = self._backend.empty(tuple(self._scores.shape))
        marginals[...] = 0
        marginals[self._likely[1]] = field.marginals()
        return self._backend.like(self._host, marginals)
