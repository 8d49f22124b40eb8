"""The dense CRF on a GPU.

Each image's lattices are built on the GPU. The CPU waits for the GPU once, to learn how many vertices they have and
whether the input is valid. While a CUDA graph is being captured it must not wait: memory for the largest possible
number of vertices is allocated (about ``8 * C * 6`` bytes per pixel), input is not checked, and colours must be uint8.
An invalid value then gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import Array, Arrays, arrays_of, is_on_gpu, is_torch, like, to_numpy
from deeplab_caffe.arrays.libraries import check_cuda_kernels
from deeplab_caffe.crf.backend import Backend, Field, LatticeRequest, PairwiseTerm
from deeplab_caffe.crf.cuda_lattice import CudaLattice, build_lattices, feature_lattice
from deeplab_caffe.crf.inputs import Kind, NDArray, refuse_other_kinds, validate_real, validate_score_values
from deeplab_caffe.crf.memory import allocate
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.errors import CRFError


class CudaField:
    """:class:`deeplab_caffe.crf.backend.Field` with arrays on a GPU.

    Args:
        arrays: the library and GPU of the arrays.
        shape: (C, H, W).
        terms: the pairwise terms, with lattices on the same GPU.
        half: store values on the lattices in half precision.
    """

    def __init__(
        self, arrays: Arrays, shape: tuple[int, int, int], terms: Sequence[PairwiseTerm], half: bool = False
    ) -> None:
        self._arrays = arrays
        self._shape = shape
        self._lattices = [term.lattice for term in terms]  # kept alive: the extension has pointers to their memory
        self._costs: list[Array] = []
        self.iterations = 0
        kernels = []
        for lattice, weight, compatibility, normalization in terms:
            factors = (None if one is None else arrays.view(one) for one in lattice.factors(normalization))
            if compatibility is None:
                kernels.append((lattice.handle, weight, *factors, None))
                continue
            self._costs.append(arrays.take(_cost_rows(np.float32(weight) * compatibility, shape[0])))
            kernels.append((lattice.handle, 1.0, *factors, arrays.view(self._costs[-1])))
        num_classes, height, width = shape
        self.handle = _C.CudaMeanField(arrays.index, height, width, num_classes, kernels, half)
        self._workspace = allocate(arrays, self.handle.workspace_bytes, "uint8")

    def start(self, scores: Array, probabilities: bool = False) -> None:
        """See :class:`deeplab_caffe.crf.backend.Field`; scores may have any strides."""
        arrays = self._arrays
        scores = scores.reshape(self._shape)
        self.handle.start(arrays.view(scores), probabilities, arrays.view(self._workspace), arrays.stream)
        self.iterations = 0

    def run(self, iterations: int) -> None:
        """See :class:`deeplab_caffe.crf.backend.Field`."""
        run_fields(self._arrays, [self], iterations)

    def set_marginals(self, marginals: Array) -> None:
        """See :class:`deeplab_caffe.crf.backend.Field`; marginals may have any strides."""
        self.handle.set_marginals(self._arrays.view(marginals.reshape(self._shape)), self._arrays.stream)

    def marginals(self, out: Array | None = None, *, log: bool = False) -> Array:
        """See :class:`deeplab_caffe.crf.backend.Field`; ``out`` may have any strides."""
        out = allocate(self._arrays, self._shape, "float32") if out is None else out
        self.handle.marginals(self._arrays.view(out), log, self._arrays.stream)
        return out

    def energies(self) -> _C.Energies:
        """See :class:`deeplab_caffe.crf.backend.Field`; waits for the GPU."""
        arrays = self._arrays
        scratch = allocate(arrays, self.handle.energy_bytes, "uint8")
        return self.handle.energies(arrays.view(scratch), arrays.stream)


def run_fields(arrays: Arrays, fields: Sequence[CudaField], iterations: int) -> None:
    """Run iterations of several fields with the same number of classes, in shared launches."""
    _C.run_mean_fields([field.handle for field in fields], iterations, arrays.stream)
    for field in fields:
        field.iterations += iterations


def _cost_rows(costs: NDArray, num_classes: int) -> NDArray:
    """Return minus the costs as the CUDA kernels read them: row k has the costs of label k, padded to whole float4."""
    width = (num_classes + 3) // 4 * 4
    rows = np.zeros((1 if costs.ndim == 1 else width, width), np.float32)
    rows[: 1 if costs.ndim == 1 else num_classes, :num_classes] = -costs.T
    return rows


class CudaBackend(Backend):
    """Arrays of torch or CuPy on one GPU; numpy's are copied there, and results back.

    Args:
        arrays: the library and GPU of the arrays.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        half: store values on lattice vertices in half precision, which halves the memory traffic of the blur. The
            relative error of a message is then at most (d + 2) / 2048 for d features, 3e-3 for d = 5; iterations
            amplify it where labels compete. On a photograph of 160 x 120 with smooth scores of 21 labels and 10
            iterations, marginals changed by less than 3e-4 at 99 of 100 pixels and by at most 7e-3, and 1 to 3 labels
            of 19,200 changed. On noise marginals changed by less than 5e-3 at 99 of 100 pixels and by at most 2e-2.
            (Measured with the kernels on the host, tests/cuda_on_host.)

    Attributes:
        held: lattices of positions that the caller keeps: see :func:`deeplab_caffe.crf.cuda_lattice.build_lattices`.
        assume_uint8_range: skip the scan for the colours' range, which waits for the GPU.

    Raises:
        CRFError: there are no CUDA kernels: neither compiled ones nor CuPy to compile them.
    """

    images_at_once = 8  # enough to fill a large GPU; more would only take more memory

    def __init__(self, arrays: Arrays, sse_padding: bool = True, half: bool = False) -> None:
        check_cuda_kernels(CRFError)
        self.arrays = arrays
        self.sse_padding = sse_padding
        self.half = half
        self.held: Mapping[Any, CudaLattice] = {}
        self.assume_uint8_range = False

    def take(self, array: Any, name: str) -> Array:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return self.arrays.take(array if is_on_gpu(array) else to_numpy(array, name, CRFError))

    def like(self, array: Any, result: Array) -> Any:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        result = result.reshape(tuple(array.shape))
        if not is_on_gpu(array):
            return like(array, self.arrays.numpy(result))
        return result if is_torch(array) == is_torch(result) else arrays_of(array, CRFError).take(result)

    def colours(self, image: Array) -> Array:
        """Return colours as uint8 or float32; see :class:`deeplab_caffe.crf.backend.Backend`."""
        return self._real(image, "image")

    def _real(self, array: Array, name: str) -> Array:
        dtype = self.arrays.dtype(array)
        validate_real(dtype, name)
        return array if dtype == "uint8" else self.arrays.cast(array, "float32")

    def inspect(self, scores: Sequence[Array], kind: Kind | None) -> Callable[[], None]:
        """See :class:`deeplab_caffe.crf.backend.Backend`; the returned function waits for the GPU."""
        arrays = self.arrays
        if _C.is_capturing(arrays.index, arrays.stream):
            return lambda: None
        faults = allocate(arrays, len(scores), "int32")
        negative = kind == "probabilities"
        for i, one in enumerate(scores):
            _C.inspect_scores(arrays.view(one), negative, arrays.view(faults[i : i + 1]), arrays.stream)

        def finish() -> None:
            for one, fault in zip(scores, _C.read_faults(arrays.view(faults), arrays.stream), strict=True):
                if fault:
                    validate_score_values(arrays.numpy(one), kind)
                    raise AssertionError("the GPU refused scores that are fit")
                refuse_other_kinds(one, arrays.numpy, kind)

        return finish

    def check_memory(self, size: tuple[int, int], kernels: Sequence[PairwiseKernel], num_classes: int = 0) -> None:
        """Do nothing: allocation on a GPU fails by itself, see :func:`deeplab_caffe.crf.memory.allocate`."""

    def pixel_lattices(self, requests: Sequence[LatticeRequest]) -> list[CudaLattice]:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return build_lattices(self.arrays, requests, self.sse_padding, self.held, self.assume_uint8_range)

    def feature_lattice(self, features: Array) -> CudaLattice:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return feature_lattice(
            self.arrays, self.arrays.cast(self._real(features, "features"), "float32"), self.sse_padding
        )

    def public_lattice(self, lattice: CudaLattice) -> CudaLattice:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return lattice

    def field(self, shape: tuple[int, int, int], terms: Sequence[PairwiseTerm]) -> CudaField:
        """See :class:`deeplab_caffe.crf.backend.Backend`."""
        return CudaField(self.arrays, shape, terms, self.half)

    def run(self, fields: Sequence[Field], iterations: int) -> None:
        """Run iterations of each field, in shared launches."""
        run_fields(self.arrays, [field for field in fields if isinstance(field, CudaField)], iterations)
