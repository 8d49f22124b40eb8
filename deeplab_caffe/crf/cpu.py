"""The dense CRF on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import NumpyArrays, is_on_gpu, like, to_numpy
from deeplab_caffe.crf.backend import (
    CACHED_LATTICES,
    CACHED_POINTS,
    Backend,
    LatticeRequest,
    PairwiseTerm,
    refused_kernel,
)
from deeplab_caffe.crf.inputs import Kind, NDArray, validate_finite, validate_real, validate_score_values
from deeplab_caffe.crf.lattice import Lattice
from deeplab_caffe.crf.memory import DEFAULT_WORKSPACE, check_memory, memory_errors
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.environment import usable_cores
from deeplab_caffe.errors import CRFError

# Of lattices with more than CACHED_POINTS points, the last one is cached if it has at most so many points.
_MOST_CACHED_POINTS = 1 << 22

_ARRAYS = NumpyArrays()


class CpuField:
    """:class:`deeplab_caffe.crf.backend.Field` with numpy arrays."""

    def __init__(self, shape: tuple[int, int, int], terms: Sequence[PairwiseTerm], workspace: _C.Workspace) -> None:
        self._shape = shape
        num_classes, height, width = shape
        kernels: list[tuple[_C.Lattice, float, Any, list[float]]] = []
        for lattice, weight, compatibility, normalization in terms:
            kind = getattr(_C.Normalization, normalization.upper())
            if compatibility is None:
                kernels.append((lattice, weight, kind, []))
            else:
                kernels.append((lattice, 1.0, kind, (np.float32(weight) * compatibility).ravel().tolist()))
        self._field = _C.MeanField(num_classes, height * width, kernels, workspace)

    @property
    def iterations(self) -> int:
        """Return the number of iterations since the start."""
        return self._field.iterations

    def start(self, scores: NDArray, probabilities: bool = False) -> None:
        """See :class:`deeplab_caffe.crf.backend.Field`."""
        self._field.start(self._rows(scores), probabilities)

    def run(self, iterations: int) -> None:
        """See :class:`deeplab_caffe.crf.backend.Field`."""
        self._field.run(iterations)

    def set_marginals(self, marginals: NDArray) -> None:
        """See :class:`deeplab_caffe.crf.backend.Field`."""
        self._field.set_marginals(self._rows(marginals))

    def marginals(self, out: NDArray | None = None, *, log: bool = False) -> NDArray:
        """See :class:`deeplab_caffe.crf.backend.Field`."""
        direct = out if out is not None and out.flags.c_contiguous else np.empty(self._shape, np.float32)
        self._field.marginals(self._rows(direct), log)
        if out is None or out is direct:
            return direct
        out[...] = direct
        return out

    def energies(self) -> _C.Energies:
        """See :class:`deeplab_caffe.crf.backend.Field`."""
        return self._field.energies()

    def _rows(self, array: NDArray) -> _C.TensorView:
        return _ARRAYS.view(array.reshape(self._shape[0], -1))


class CpuBackend(Backend):
    """numpy arrays, and torch's on the CPU.

    Args:
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        workspace: keeps large buffers for the next image; by default all backends share one.
    """

    arrays = _ARRAYS
    images_at_once = 1

    def __init__(self, sse_padding: bool = True, workspace: _C.Workspace = DEFAULT_WORKSPACE) -> None:
        self.sse_padding = sse_padding
        self.workspace = workspace

    def take(self, array: Any, name: str) -> NDArray:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        if is_on_gpu(array):
            raise CRFError(f"{name} are on a GPU, but this CRF computes on the CPU: make it with device='cuda'")
        return to_numpy(array, name, CRFError)

    def like(self, array: Any, result: NDArray) -> Any:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return like(array, result.reshape(np.shape(array)))

    def colours(self, image: NDArray) -> NDArray:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        validate_real(image.dtype.name, "image")
        validate_finite(image, "image")
        with np.errstate(over="ignore"):
            return image.astype(np.float32, copy=False)

    def inspect(self, scores: Sequence[NDArray], kind: Kind | None) -> Callable[[], None]:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        for one in scores:
            validate_score_values(one, kind)
        return lambda: None

    def check_memory(self, size: tuple[int, int], kernels: Sequence[PairwiseKernel], num_classes: int = 0) -> None:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        points = size[0] * size[1]
        needed = _field_bytes(points, num_classes, len(kernels)) if num_classes else 0
        for kernel in kernels:
            dims = 2 if kernel.rgb_std is None else 5
            needed += _C.lattice_min_bytes(points, dims) + 4 * points * dims
        check_memory(needed, _what(size, num_classes), self.workspace)

    def pixel_lattices(self, requests: Sequence[LatticeRequest]) -> list[_C.Lattice]:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return [self._pixel_lattice(*request) for request in requests]

    def _pixel_lattice(self, size: tuple[int, int], kernel: PairwiseKernel, image: NDArray | None) -> _C.Lattice:
        with memory_errors(_what(size)):
            if kernel.rgb_std is None:
                if size[0] * size[1] <= _MOST_CACHED_POINTS:
                    kept = _position_lattice if size[0] * size[1] <= CACHED_POINTS else _large_position_lattice
                    return kept(size, replace(kernel, weight=1.0), self.sse_padding)
                return _build(np.empty((2, *size), np.float32), kernel, self.sse_padding, self.workspace)
            assert image is not None
            features = np.empty((5, *size), np.float32)
            with np.errstate(all="ignore"):  # the lattice refuses values that are not finite
                for channel, deviation in enumerate(np.asarray(kernel.rgb_std, np.float32)):
                    np.divide(image[..., channel], deviation, out=features[2 + channel])
            return _build(features, kernel, self.sse_padding, self.workspace)

    def feature_lattice(self, features: NDArray) -> _C.Lattice:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return Lattice.build(features, sse_padding=self.sse_padding, workspace=self.workspace).handle

    def public_lattice(self, lattice: _C.Lattice) -> Lattice:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return Lattice(lattice)

    def field(self, shape: tuple[int, int, int], terms: Sequence[PairwiseTerm]) -> CpuField:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        num_classes, *size = shape
        what = _what((size[0], size[1]), num_classes)
        # The number of vertices, and so the memory for values on them, is known only now.
        values = sum(_C.lattice_value_bytes(term.lattice.vertices, num_classes) for term in terms)
        check_memory(_field_bytes(size[0] * size[1], num_classes, len(terms)) + values, what, self.workspace)
        with memory_errors(what):
            return CpuField(shape, terms, self.workspace)


def _what(size: tuple[int, int], num_classes: int = 0) -> str:
    """Return a description of the inference that needs memory, for messages."""
    what = f"the dense CRF of a {size[1]} x {size[0]} image" if size[0] > 1 else f"the dense CRF of {size[1]:,} points"
    return f"{what} with {num_classes} labels" if num_classes else what


def _field_bytes(points: int, num_classes: int, kernels: int) -> int:
    """Return the bytes of an inference with its scores and marginals, without the values on its lattices."""
    return _C.mean_field_bytes(points, num_classes, kernels) + 8 * points * num_classes


def _positions(size: tuple[int, int], kernel: PairwiseKernel, sse_padding: bool) -> _C.Lattice:
    return _build(np.empty((2, *size), np.float32), kernel, sse_padding, DEFAULT_WORKSPACE)


_position_lattice = lru_cache(maxsize=CACHED_LATTICES)(_positions)
_large_position_lattice = lru_cache(maxsize=1)(_positions)


def _build(features: NDArray, kernel: PairwiseKernel, sse_padding: bool, workspace: _C.Workspace) -> _C.Lattice:
    """Return the lattice of features (d, H, W); this function fills in the first two, the positions."""
    dims, height, width = features.shape
    with np.errstate(all="ignore"):
        x_std, y_std = np.asarray(kernel.xy_std, np.float32)
        features[0] = np.arange(width, dtype=np.float32) / x_std
        features[1] = (np.arange(height, dtype=np.float32) / y_std)[:, None]
    try:
        return _C.Lattice.build(_ARRAYS.view(features.reshape(dims, -1).T), sse_padding, workspace)
    except ValueError as exc:
        raise refused_kernel(kernel, exc) from exc


class _ImagePool(ThreadPoolExecutor):
    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError as exc:
            # The system refuses more threads: go on with those that run.
            if not self._threads:
                raise CRFError(f"no thread can be started for the images: {exc}") from exc


def image_pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool that computes several images in parallel, each in one thread.

    It has at most as many threads as the process may use cores, and fewer if the system refuses more.
    """
    threads = min(threads, usable_cores())
    if threads == 1:
        return _ImagePool(1, "crf")
    # Threads that share an image wait for each other; threads with one image each do not.
    return _ImagePool(threads, "crf", initializer=_C.set_num_threads_here, initargs=(1,))


def clear_cache() -> None:
    """Free the lattices and buffers that are kept for the next image."""
    _position_lattice.cache_clear()
    _large_position_lattice.cache_clear()
    DEFAULT_WORKSPACE.clear()
