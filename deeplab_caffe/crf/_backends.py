"""Where a :class:`deeplab_caffe.crf.DenseCRF` computes: the same operations on the CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._arrays import as_kind_of, is_torch, to_numpy
from deeplab_caffe.crf._checks import checked_colours, checked_scores
from deeplab_caffe.crf._device import Arrays, arrays_of, arrays_on, is_on_gpu, real_colours
from deeplab_caffe.crf._view import float32, view
from deeplab_caffe.crf.inference import _lattice
from deeplab_caffe.crf.lattice import Lattice
from deeplab_caffe.crf.memory import check_memory, memory_errors
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.errors import CRFError

# Lattice, weight or costs, normalization.
Kernel = tuple[Any, float | np.ndarray, str]


class Field(Protocol):
    """One mean field inference; scores and marginals ``(C, N)`` are float32 arrays of its backend."""

    iterations: int

    def start(self, scores: Any, probabilities: bool = False) -> None:
        """Q = softmax(scores), or of their logarithms."""

    def run(self, iterations: int) -> None:
        """Does so many iterations."""

    def set_marginals(self, marginals: Any) -> None:
        """Goes on from these."""

    def marginals(self) -> Any:
        """Q, a new array."""

    def energies(self) -> _C.Energies:
        """The parts of the free energy."""


class CpuField:
    """:class:`Field` with numpy arrays."""

    def __init__(self, field: _C.MeanField, labels: int, points: int) -> None:
        self._field = field
        self._shape = (labels, points)

    @property
    def iterations(self) -> int:
        """Iterations since the start."""
        return self._field.iterations

    def start(self, scores: np.ndarray, probabilities: bool = False) -> None:
        """See :class:`Field`."""
        self._field.start(view(scores), probabilities)

    def run(self, iterations: int) -> None:
        """See :class:`Field`."""
        self._field.run(iterations)

    def set_marginals(self, marginals: np.ndarray) -> None:
        """See :class:`Field`."""
        self._field.set_marginals(view(marginals))

    def marginals(self) -> np.ndarray:
        """See :class:`Field`."""
        out = np.empty(self._shape, np.float32)
        self._field.marginals(view(out))
        return out

    def energies(self) -> _C.Energies:
        """See :class:`Field`."""
        return self._field.energies()


class CpuBackend:
    """numpy arrays, and torch's on the CPU."""

    def take(self, array: Any, name: str) -> np.ndarray:
        """An array of anybody's as this backend's."""
        if is_on_gpu(array):
            raise CRFError(f"{name} are on a GPU, but this CRF computes on the CPU: make it with device='cuda'")
        return to_numpy(array, name)

    def like(self, array: Any, result: np.ndarray) -> Any:
        """A result ``(C, N)`` as the kind and shape of ``array``."""
        return as_kind_of(array, result.reshape(tuple(array.shape)))

    def scores(self, array: np.ndarray, layout: str, probabilities: bool) -> np.ndarray:
        """Scores as float32, or CRFError where they are not fit; ``layout`` (C, N) or (C, H, W)."""
        return checked_scores(array, layout.count(",") + 1, layout, probabilities)

    def float32(self, array: np.ndarray, name: str) -> np.ndarray:
        """Floating point numbers as float32."""
        if not np.issubdtype(array.dtype, np.floating):
            raise CRFError(f"{name} must be floating point, got {array.dtype}")
        return float32(array)

    def feature_lattice(self, features: np.ndarray, sse_padding: bool) -> _C.Lattice:
        """The lattice of features ``(N, d)``."""
        return Lattice.build(features, sse_padding=sse_padding)._handle

    def pixel_lattice(
        self, size: tuple[int, int], kernel: PairwiseKernel, image: np.ndarray | None, sse_padding: bool
    ) -> _C.Lattice:
        """The lattice of an image's pixels; ``image`` ``(H, W, 3)`` RGB, or None for positions alone."""
        points, dims = size[0] * size[1], 2 if image is None else 5
        what = f"the dense CRF of a {size[1]} x {size[0]} image"
        check_memory(_C.lattice_min_bytes(points, dims) + 4 * dims * points, what)  # before colours are converted
        with memory_errors(what):
            colours = None if image is None else checked_colours(image, "image")
            return _lattice(*size, kernel, colours, "rgb", sse_padding)

    def lattice(self, lattice: _C.Lattice) -> Lattice:
        """What a caller sees of a lattice."""
        return Lattice(lattice)

    def field(self, labels: int, points: int, kernels: Sequence[Kernel]) -> CpuField:
        """An inference that is not started."""
        what = f"the dense CRF of {points:,} points with {labels} labels"
        needed = _C.mean_field_bytes(points, labels, len(kernels))
        check_memory(needed + sum(_C.lattice_value_bytes(one.vertices, labels) for one, _, _ in kernels), what)
        arguments = []
        for lattice, costs, normalization in kernels:
            kind = getattr(_C.Normalization, normalization.upper())
            weight, flat = (costs, []) if isinstance(costs, float) else (1.0, costs.ravel().tolist())
            arguments.append((lattice, weight, kind, flat))
        with memory_errors(what):
            return CpuField(_C.MeanField(labels, points, arguments), labels, points)


class CudaField:
    """:class:`Field` with arrays on a GPU."""

    def __init__(self, arrays: Arrays, labels: int, points: int, kernels: Sequence[Kernel]) -> None:
        from deeplab_caffe.crf import cuda

        self._arrays = arrays
        self._shape = (labels, 1, points)  # one row of pixels
        self._field = cuda.CudaField(arrays, (1, points), labels, kernels)

    @property
    def iterations(self) -> int:
        """Iterations since the start."""
        return self._field.iterations

    def start(self, scores: Any, probabilities: bool = False) -> None:
        """See :class:`Field`."""
        self._field.start(scores.reshape(self._shape), probabilities)

    def run(self, iterations: int) -> None:
        """See :class:`Field`."""
        self._field.run(iterations)

    def set_marginals(self, marginals: Any) -> None:
        """See :class:`Field`."""
        self._field.set_marginals(marginals.reshape(self._shape))

    def marginals(self) -> Any:
        """See :class:`Field`."""
        out = self._arrays.empty(self._shape, "float32")
        self._field.marginals(out)
        return out[:, 0]

    def energies(self) -> _C.Energies:
        """See :class:`Field`."""
        return self._field.energies()


class CudaBackend:
    """Arrays of torch or CuPy on one GPU; numpy's are copied there, and results back."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def take(self, array: Any, name: str) -> Any:
        """See :meth:`CpuBackend.take`."""
        return self.arrays.take(array if is_on_gpu(array) else to_numpy(array, name))

    def like(self, array: Any, result: Any) -> Any:
        """See :meth:`CpuBackend.like`."""
        result = result.reshape(tuple(array.shape))
        if not is_on_gpu(array):
            return as_kind_of(array, self.arrays.numpy(result))
        return result if is_torch(array) == is_torch(result) else arrays_of(array).take(result)

    def scores(self, array: Any, layout: str, probabilities: bool) -> Any:
        """See :meth:`CpuBackend.scores`."""
        from deeplab_caffe.crf import cuda

        name = "probabilities" if probabilities else "scores"
        if array.ndim != layout.count(",") + 1:
            raise CRFError(f"{name} must be {layout}, got shape {tuple(array.shape)}")
        if 0 in array.shape:
            raise CRFError(f"{name} are empty: {layout} = {tuple(array.shape)}")
        taken = self.float32(array, name)
        cuda.inspect(self.arrays, taken.reshape(len(taken), -1, taken.shape[-1]), probabilities)
        return taken

    def float32(self, array: Any, name: str) -> Any:
        """See :meth:`CpuBackend.float32`."""
        if "float" not in self.arrays.dtype(array):
            raise CRFError(f"{name} must be floating point, got {self.arrays.dtype(array)}")
        return self.arrays.float32(array)

    def feature_lattice(self, features: Any, sse_padding: bool) -> Any:
        """See :meth:`CpuBackend.feature_lattice`."""
        from deeplab_caffe.crf.cuda_lattice import feature_lattice

        real_colours(self.arrays, features, "features")
        return feature_lattice(self.arrays, self.arrays.float32(features), sse_padding)

    def pixel_lattice(self, size: tuple[int, int], kernel: PairwiseKernel, image: Any | None, sse_padding: bool) -> Any:
        """See :meth:`CpuBackend.pixel_lattice`."""
        from deeplab_caffe.crf.cuda_lattice import build_lattices

        colours = None if image is None else real_colours(self.arrays, image, "image")
        return build_lattices(self.arrays, [(size, kernel, colours)], "rgb", sse_padding)[0]

    def lattice(self, lattice: Any) -> Any:
        """See :meth:`CpuBackend.lattice`."""
        return lattice

    def field(self, labels: int, points: int, kernels: Sequence[Kernel]) -> CudaField:
        """See :meth:`CpuBackend.field`."""
        return CudaField(self.arrays, labels, points, kernels)


Backend = CpuBackend | CudaBackend


def backend_on(device: str | None) -> Backend:
    """The backend of ``"cpu"`` (also None), ``"cuda"`` or ``"cuda:1"``."""
    return CpuBackend() if device in (None, "cpu") else CudaBackend(arrays_on(device))


def backend_of(array: Any) -> Backend:
    """The backend where an array is."""
    return CudaBackend(arrays_of(array)) if is_on_gpu(array) else CpuBackend()
