"""The contenders of benchmarks/crf.py on a GPU: ours in several ways of use, and the original's arithmetic in torch.

The original (and the code that people run on GPUs) does each step on its own: rows times weights added to vertices by
atomic operations, one pass over memory for each axis' gathers, for the slice, the norm, the sum of the messages and the
softmax. That is what ``original`` does with torch's operators, on lattices of the CPU that are given to it: only its
iterations are timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from crf_floor import LatticeSize, Traffic, inference

from deeplab_caffe.crf import CRFParams, Lattice, PairwiseKernel, clear_cache, dense_crf

BATCH = 32
BUILT = "ours cuda, nothing kept"
KEPT = "ours cuda"
HALF = "ours cuda, half precision"
GRAPH = "ours cuda, graph"
BATCHED = f"ours cuda, each of {BATCH}"
ORIGINAL = "original's steps, cuda"
NAMES = (BUILT, KEPT, HALF, GRAPH, BATCHED, ORIGINAL)
# Half precision is compared with a tolerance of its own: see deeplab_caffe/crf/cuda.py.
HALF_TOLERANCE = 0.1


def features(kernel: PairwiseKernel, image: np.ndarray) -> np.ndarray:
    """Return features (H * W, 2 or 5) of a kernel on an image (H, W, 3)."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    columns = [x.ravel() / np.float32(kernel.xy_std[0]), y.ravel() / np.float32(kernel.xy_std[1])]
    if kernel.rgb_std is not None:
        columns += list((image.reshape(-1, 3).astype(np.float32) / np.asarray(kernel.rgb_std, np.float32)).T)
    return np.stack(columns, axis=1)


def neighbours(keys: np.ndarray) -> np.ndarray:
    """Return rows of each vertex' neighbours along each axis, counted from 1, 0 for none: (d + 1, 2, V)."""
    count, dims = keys.shape
    low = keys.min(axis=0) - dims - 1
    spans = (keys.max(axis=0) - low + dims + 2).astype(object)  # Python's integers, which do not overflow
    units = [int(np.prod(spans[:i], initial=1)) for i in range(dims)]
    if units[-1] * int(spans[-1]) >= 2**63:
        raise ValueError("keys do not fit 64 bits")
    packed = ((keys - low).astype(np.int64) * np.array(units, np.int64)).sum(axis=1)
    order = np.argsort(packed)
    ranked = packed[order]
    found = np.zeros((dims + 1, 2, count), np.int64)
    for axis in range(dims + 1):
        step = -sum(units) + ((dims + 1) * units[axis] if axis < dims else 0)
        for side, wanted in enumerate((packed + step, packed - step)):
            place = np.minimum(np.searchsorted(ranked, wanted), count - 1)
            found[axis, side] = np.where(ranked[place] == wanted, order[place] + 1, 0)
    return found


class OriginalFilter:
    """A kernel's filter as the original computes it, with torch's operators on any device."""

    def __init__(self, lattice: Lattice, device: torch.device) -> None:
        self.vertices = lattice.vertices
        self.alpha = 1 / (1 + 2.0**-lattice.dims)
        self.rows = torch.from_numpy(lattice.point_vertices.astype(np.int64) + 1).to(device)
        self.weights = torch.from_numpy(lattice.point_weights).to(device)[:, :, None]
        self.neighbours = torch.from_numpy(neighbours(lattice.keys)).to(device)
        self.norm = 1 / (self(torch.ones(len(self.rows), 1, device=device)) + 1e-20)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Filter (N, C)."""
        sums = values.new_zeros(self.vertices + 1, values.shape[1])
        for corner in range(self.rows.shape[1]):
            sums.index_add_(0, self.rows[:, corner], self.weights[:, corner] * values)
        for before, after in self.neighbours:
            sums[1:] = sums[1:] + 0.5 * (sums[before] + sums[after])
        sliced = torch.zeros_like(values)
        for corner in range(self.rows.shape[1]):
            sliced += self.weights[:, corner] * self.alpha * sums[self.rows[:, corner]]
        return sliced


def original(scores: torch.Tensor, filters: list[tuple[OriginalFilter, float]], iterations: int) -> torch.Tensor:
    """Return marginals (C, H, W) of scores (C, H, W), step by step."""
    unary = scores.reshape(len(scores), -1).T.contiguous()
    q = unary.softmax(1)
    for _ in range(iterations):
        energies = unary.clone()
        for gaussian, weight in filters:
            energies += weight * (gaussian(q) * gaussian.norm)
        q = energies.softmax(1)
    return q.T.reshape(scores.shape)


def original_run(
    scores: np.ndarray, image: np.ndarray, params: CRFParams, iterations: int, device: torch.device
) -> Callable[[], torch.Tensor]:
    """Return the original's iterations, on lattices built here."""
    filters = [
        (OriginalFilter(Lattice.build(features(kernel, image)), device), kernel.weight) for kernel in params.kernels
    ]
    taken = torch.from_numpy(scores).to(device)
    return lambda: original(taken, filters, iterations)


def runs(
    scores: np.ndarray, image: np.ndarray, bilateral: tuple, iterations: int, names: list[str]
) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name: each waits for the GPU, and gives marginals (C, H, W)."""
    from deeplab_caffe.crf.captured import CapturedCRF

    params = CRFParams(3, 3, *bilateral, iterations=iterations)
    own_scores, own_image = torch.from_numpy(scores).cuda(), torch.from_numpy(image).cuda()

    def built() -> torch.Tensor:
        clear_cache()
        return dense_crf(own_scores, own_image, params)

    def batched() -> torch.Tensor:
        return dense_crf([own_scores] * BATCH, [own_image] * BATCH, params)[-1]

    # Made at the first run, so that one that cannot be made leaves the others.
    @cache
    def captured() -> CapturedCRF:
        return CapturedCRF(own_scores, own_image, params)

    @cache
    def steps() -> Callable[[], torch.Tensor]:
        return original_run(scores, image, params, iterations, own_scores.device)

    found = {
        BUILT: built,
        KEPT: lambda: dense_crf(own_scores, own_image, params),
        HALF: lambda: dense_crf(own_scores, own_image, params, half=True),
        GRAPH: lambda: captured()(own_scores, own_image),
        BATCHED: batched,
        ORIGINAL: lambda: steps()(),
    }

    def waiting(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        def timed() -> torch.Tensor:
            marginals = run()
            torch.cuda.synchronize()
            return marginals

        return timed

    return {name: waiting(found[name]) for name in names}


def images_of(name: str) -> int:
    """Return images of one run."""
    return BATCH if name == BATCHED else 1


def floors(labels: int, image: np.ndarray, bilateral: tuple, iterations: int) -> dict[str, Traffic]:
    """Return the traffic of each of our ways of use, of one image: see crf_floor.py."""
    lattices = []
    for kernel in CRFParams(3, 3, *bilateral).kernels:
        lattice = Lattice.build(features(kernel, image))
        # As csrc/lattice/key_fields.cpp, from the keys that there are: a few bits fewer than of their range.
        bits = sum(int(span).bit_length() for span in np.ptp(lattice.keys, axis=0))
        lattices.append(LatticeSize(lattice.dims, lattice.vertices, bits))
    kept = [LatticeSize(one.dims, one.vertices, one.key_bits, kept=one.dims == 2) for one in lattices]
    points = image.shape[0] * image.shape[1]
    whole = inference(points, labels, lattices, iterations)
    usual = inference(points, labels, kept, iterations)
    return {
        BUILT: whole,
        KEPT: usual,
        HALF: inference(points, labels, kept, iterations, half=True),
        GRAPH: usual,
        BATCHED: usual,
    }
