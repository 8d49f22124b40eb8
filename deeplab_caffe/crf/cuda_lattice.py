"""Lattices on a GPU: allocate memory, check arguments and call the kernels; see csrc/lattice/lattice_cuda.h.

Building waits for the GPU once, to learn the number of vertices. While a CUDA graph is being captured it must not wait:
memory for the largest possible number of vertices is allocated, and colours must be uint8, whose range is known.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, nvrtc
from deeplab_caffe.crf.backend import CACHED_LATTICES, CACHED_POINTS, LatticeRequest, refused_kernel
from deeplab_caffe.crf.lattice import validate_features
from deeplab_caffe.crf.memory import allocate, memory_errors
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.errors import CRFError

_PER_THREAD_STREAM = 2  # cudaStreamPerThread
_BYTE_RANGE = [(0.0, 255.0)] * 3


class CudaLattice:
    """A lattice on a GPU, with its memory.

    Attributes:
        handle: the extension's lattice; :meth:`connect` completes it.
        vertices: number of vertices after :meth:`connect`, or an upper bound during the capture of a CUDA graph.
    """

    def __init__(self, arrays: Arrays, handle: _C.CudaLattice, image: Any | None) -> None:
        """Start building; ``image`` ``(H, W, channels)`` uint8 or float32, None for positions alone."""
        self.arrays = arrays
        self.handle = handle
        self._memory = allocate(arrays, handle.nbytes, "uint8")
        scratch = allocate(arrays, handle.scratch_bytes, "uint8")
        colours = None if image is None else arrays.view(image)
        with memory_errors(f"a lattice of {handle.points} points on cuda:{arrays.index}"):  # CuPy's, where it sorts
            handle.build(colours, arrays.view(self._memory), arrays.view(scratch), arrays.stream)
        self._norms: dict[bool, Any] = {}

    def connect(self, vertices: int) -> None:
        """Find the neighbours of the vertices; ``vertices`` is their number."""
        if vertices < 0:
            raise CRFError("the image changed while its lattice was built")
        self.vertices = vertices
        self._table = allocate(self.arrays, self.handle.table_bytes(vertices), "uint8")
        self.handle.connect(self.arrays.view(self._table), vertices, self.arrays.stream)

    def norm(self, root: bool) -> Any:
        """Return float32 ``(points,)``: n = 1 / (filter(1) + 1e-20), or with ``root`` its square root."""
        if root in self._norms:
            return self._norms[root]
        arrays = self.arrays
        norm = allocate(arrays, self.points, "float32")
        workspace = allocate(arrays, self.handle.norm_workspace_bytes, "uint8")
        self.handle.norm(root, arrays.view(norm), arrays.view(workspace), arrays.stream)
        # Another thread may have stored its norm already, and the extension may have that address: keep the first one.
        return self._norms.setdefault(root, norm)

    def factors(self, normalization: str) -> tuple[Any | None, Any | None]:
        """Return the factors of values before and after the filter: float32 ``(points,)`` each, None for 1."""
        if normalization == "none":
            return None, None
        norm = self.norm(root=normalization == "symmetric")
        return {"before": (norm, None), "after": (None, norm), "symmetric": (norm, norm)}[normalization]

    @staticmethod
    def filter_all(
        lattices: Sequence[CudaLattice], values: _C.TensorView, out: _C.TensorView, adjoint: bool, stream: int
    ) -> None:
        """Filter ``(N, points, C)`` float32 on the current stream, each item by its lattice, with shared launches.

        Args:
            lattices: N lattices, one or more.
            values: float32 ``(N, points, C)``, any strides.
            out: result in the shape of ``values``, contiguous.
            adjoint: apply the transposed filter.
            stream: the current stream's handle.

        Raises:
            ValueError: shapes, dtypes or devices do not fit.
        """
        handles = [lattice.handle for lattice in lattices]
        arrays = lattices[0].arrays
        workspace = allocate(arrays, _C.cuda_filter_bytes(handles, values), "uint8")
        _C.cuda_filter(handles, values, out, adjoint, arrays.view(workspace), stream)

    @property
    def points(self) -> int:
        """Return the number of points."""
        return self.handle.points

    @property
    def dims(self) -> int:
        """Return the number of features."""
        return self.handle.dims


def pixel_lattice(arrays: Arrays, request: LatticeRequest, sse_padding: bool, assume_uint8_range: bool) -> CudaLattice:
    """Return the lattice of an image's pixels, not connected yet.

    Args:
        arrays: the library and GPU of the arrays.
        request: the image, uint8 or float32, and the kernel.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        assume_uint8_range: make keys for all colours of uint8, even if that makes them wide, instead of scanning the
            image for its range: a scan waits for the GPU, which a CUDA graph must not do.

    Raises:
        CRFError: colours are not finite, or deviations are too small for the image.
    """
    size, kernel, image = request

    def make(deviations: Sequence[float], ranges: Sequence[tuple[float, float]]) -> _C.CudaLattice:
        with np.errstate(all="ignore"):
            divisors = np.asarray(deviations, np.float32).tolist()
        try:
            return _C.CudaLattice(arrays.index, *size, True, divisors, ranges, sse_padding)
        except ValueError as exc:
            raise refused_kernel(kernel, exc) from exc

    if kernel.rgb_std is None or image is None:
        return CudaLattice(arrays, make(kernel.xy_std, []), None)
    deviations = (*kernel.xy_std, *kernel.rgb_std)
    if arrays.dtype(image) == "uint8":
        try:
            handle = make(deviations, _BYTE_RANGE)
        except CRFError:
            if assume_uint8_range:
                raise
        else:
            # Keys of more than 64 bits take twice the time, so it pays to scan the image for its range of colours.
            if assume_uint8_range or handle.key_bits <= 64:
                return CudaLattice(arrays, handle, image)
    elif assume_uint8_range:
        raise CRFError("while a CUDA graph is being captured the image must be uint8, whose range is known")
    return CudaLattice(arrays, make(deviations, _ranges(arrays, image, "image")), image)


def feature_lattice(arrays: Arrays, features: Any, sse_padding: bool) -> CudaLattice:
    """Return the lattice of float32 features ``(N, d)``, each divided by its standard deviation; connected.

    Raises:
        CRFError: the shape is wrong, or features are not finite or too far from 0.
    """
    validate_features(tuple(features.shape))
    image = features[None]
    ranges = _ranges(arrays, image, "features")
    try:
        handle = _C.CudaLattice(arrays.index, 1, len(features), False, [1.0] * len(ranges), ranges, sse_padding)
    except ValueError as exc:
        raise CRFError(str(exc)) from exc
    lattice = CudaLattice(arrays, handle, image)
    lattice.connect(*_C.count_vertices([handle], arrays.stream))
    return lattice


def _ranges(arrays: Arrays, image: Any, name: str) -> list[tuple[float, float]]:
    """Return the smallest and largest value of each channel; waits for the GPU."""
    scratch = allocate(arrays, 8 * image.shape[2], "uint8")
    ranges = _C.channel_ranges(arrays.view(image), arrays.view(scratch), arrays.stream)
    if not np.isfinite(ranges).all():
        raise CRFError(f"{name} must be finite, got values that are not")
    return ranges


# Key of a lattice of positions: (H, W), standard deviations, sse_padding.
PositionKey = tuple[tuple[int, int], tuple[float, float], bool]


def position_key(size: tuple[int, int], kernel: PairwiseKernel, sse_padding: bool) -> PositionKey | None:
    """Return the key of a lattice of positions; None for a lattice of colours."""
    return None if kernel.rgb_std else (size, kernel.xy_std, sse_padding)


def build_lattices(
    arrays: Arrays,
    requests: Sequence[LatticeRequest],
    sse_padding: bool,
    held: Mapping[PositionKey | None, CudaLattice] | None = None,
    assume_uint8_range: bool = False,
) -> list[CudaLattice]:
    """Build lattices and connect them, with one wait for the GPU, or none while a graph is captured.

    Args:
        arrays: the library and GPU of the arrays.
        requests: pixels and kernel of each lattice; images are uint8 or float32.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        held: lattices of positions that the caller keeps, by :func:`position_key`; they are used instead of new ones.
        assume_uint8_range: see :func:`pixel_lattice`.
    """
    stream = arrays.stream
    capturing = _C.is_capturing(arrays.index, stream)
    # This handle means each thread's own default stream, so the thread is a part of the key.
    place = (type(arrays), arrays.index, stream, threading.get_ident() if stream == _PER_THREAD_STREAM else 0)
    found: list[CudaLattice] = []
    shared: dict[PositionKey | None, CudaLattice] = dict(held or {})
    new: list[CudaLattice] = []
    for request in requests:
        request = LatticeRequest(*request)
        key = position_key(request.size, request.kernel, sse_padding)
        # A captured graph must not use cached lattices, which the cache may free.
        lattice = shared.get(key) or (None if capturing or key is None else _CACHE.get((*place, *key)))
        if lattice is None:
            if capturing:
                check_capturable()
            lattice = pixel_lattice(arrays, request, sse_padding, capturing or assume_uint8_range)
            new.append(lattice)
            if key is not None:
                shared[key] = lattice
        found.append(lattice)
    if capturing:
        counts = [lattice.handle.max_vertices for lattice in new]
    else:
        counts = _C.count_vertices([lattice.handle for lattice in new], stream)
    for lattice, count in zip(new, counts, strict=True):
        lattice.connect(count)
    if not capturing:
        for key, lattice in shared.items():
            if key is not None and key not in (held or {}):
                _CACHE.put((*place, *key), lattice)
    return found


def check_capturable() -> None:
    """Check that building a lattice can be captured in a CUDA graph.

    Raises:
        CRFError: kernels are compiled at run time, so that CuPy sorts the keys.
    """
    if nvrtc.enabled():
        raise CRFError(
            "a CUDA graph cannot hold the dense CRF where kernels are compiled at run time: CuPy, which then sorts the "
            "lattices' keys, takes memory that the graph would not keep, and before version 14.2 waits for the GPU. "
            "Build deeplab_caffe with nvcc on PATH or CUDA_HOME set"
        )


class _Cache:
    """The last lattices of positions, by stream: another stream would have to wait for the kernels that build them."""

    def __init__(self) -> None:
        self._lattices: OrderedDict[tuple[Any, ...], CudaLattice] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> CudaLattice | None:
        with self._lock:
            if key not in self._lattices:
                return None
            self._lattices.move_to_end(key)
            return self._lattices[key]

    def put(self, key: tuple[Any, ...], lattice: CudaLattice) -> None:
        if lattice.points > CACHED_POINTS:
            return
        with self._lock:
            self._lattices[key] = lattice
            while len(self._lattices) > CACHED_LATTICES:
                self._lattices.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._lattices.clear()


_CACHE = _Cache()


def clear_cache() -> None:
    """Free the GPU memory of the lattices that are kept for the next image of their size."""
    _CACHE.clear()
