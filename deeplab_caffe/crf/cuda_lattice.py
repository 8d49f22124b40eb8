"""Lattices on a GPU: allocates, checks and calls the kernels; see csrc/lattice/lattice_cuda.h.

Building waits for the GPU once, to learn how many vertices there are. While a CUDA graph is being captured nothing
waits: memory for the most vertices possible is taken, and colours must be uint8, whose range is known.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import nvrtc
from deeplab_caffe.crf._device import Arrays
from deeplab_caffe.crf.lattice import MAX_DIMS
from deeplab_caffe.crf.memory import memory_errors
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.errors import CRFError

# Above this the lattice of positions, which depends on the size alone, is not kept for the next image of that size.
_CACHED_POINTS = 1 << 20
_CACHED_LATTICES = 4

_PER_THREAD_STREAM = 2  # cudaStreamPerThread
_BYTE_RANGE = [(0.0, 255.0)] * 3


class CudaLattice:
    """A lattice on a GPU, with its memory.

    Attributes:
        handle: the extension's lattice, built; connected after :meth:`connect`.
        vertices: number of vertices after :meth:`connect`, or their bound where nothing may wait for the GPU.
    """

    def __init__(self, arrays: Arrays, handle: _C.CudaLattice, image: Any | None) -> None:
        """Starts building; ``image`` ``(H, W, channels)`` uint8 or float32, None for positions alone."""
        self.arrays = arrays
        self.handle = handle
        self._memory = arrays.empty(handle.nbytes, "uint8")
        scratch = arrays.empty(handle.scratch_bytes, "uint8")
        colours = None if image is None else arrays.view(image)
        with memory_errors(f"a lattice of {handle.points} points on cuda:{arrays.index}"):  # CuPy's, where it sorts
            handle.build(colours, arrays.view(self._memory), arrays.view(scratch), arrays.stream)
        self._norms: dict[bool, Any] = {}

    def connect(self, vertices: int) -> None:
        """Finds the neighbours of so many vertices."""
        if vertices < 0:
            raise CRFError("the image changed while its lattice was built")
        self.vertices = vertices
        self._table = self.arrays.empty(self.handle.table_bytes(vertices), "uint8")
        self.handle.connect(self.arrays.view(self._table), vertices, self.arrays.stream)

    def norm(self, root: bool) -> Any:
        """float32 ``(points,)``: n = 1 / (filter(1) + 1e-20), or with ``root`` its square root."""
        if root in self._norms:
            return self._norms[root]
        arrays = self.arrays
        norm = arrays.empty(self.points, "float32")
        workspace = arrays.empty(self.handle.norm_workspace_bytes, "uint8")
        self.handle.norm(root, arrays.view(norm), arrays.view(workspace), arrays.stream)
        # Another thread may have been faster, and the extension may hold its norm's address by now.
        return self._norms.setdefault(root, norm)

    def factors(self, normalization: str) -> tuple[Any | None, Any | None]:
        """What values are multiplied with before and after the filter: float32 ``(points,)``, None for 1."""
        if normalization == "none":
            return None, None
        norm = self.norm(root=normalization == "symmetric")
        return {"before": (norm, None), "after": (None, norm), "symmetric": (norm, norm)}[normalization]

    @staticmethod
    def filter_all(
        lattices: Sequence[CudaLattice], values: _C.TensorView, out: _C.TensorView, adjoint: bool, stream: int
    ) -> None:
        """Filters ``(N, points, C)`` float32 on the current stream, each item by its lattice, with shared launches.

        Args:
            lattices: N lattices, one or more.
            values: of any strides.
            out: of the shape of ``values``, contiguous.
            adjoint: filter by the transposed filter.
            stream: the current stream's handle.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit.
        """
        handles = [lattice.handle for lattice in lattices]
        arrays = lattices[0].arrays
        workspace = arrays.empty(_C.cuda_filter_bytes(handles, values), "uint8")
        _C.cuda_filter(handles, values, out, adjoint, arrays.view(workspace), stream)

    @property
    def points(self) -> int:
        """Number of points."""
        return self.handle.points

    @property
    def dims(self) -> int:
        """Number of features."""
        return self.handle.dims


def pixel_lattice(
    arrays: Arrays,
    size: tuple[int, int],
    kernel: PairwiseKernel,
    image: Any | None,
    order: str,
    sse_padding: bool,
    whole_range: bool,
) -> CudaLattice:
    """The lattice of an image's pixels, not connected yet.

    Args:
        arrays: where it is.
        size: (H, W).
        kernel: its standard deviations.
        image: ``(H, W, 3)`` uint8 or float32; None for positions alone.
        order: of its channels, "rgb" or "bgr".
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        whole_range: keys for all colours of uint8, not for those of this image, even where that makes them wide:
            looking at those waits for the GPU, which a CUDA graph cannot hold.

    Raises:
        CRFError: colours that are not finite, or deviations too small for the image.
    """

    def make(deviations: Sequence[float], ranges: Sequence[tuple[float, float]]) -> _C.CudaLattice:
        with np.errstate(all="ignore"):
            divisors = np.asarray(deviations, np.float32).tolist()
        try:
            return _C.CudaLattice(arrays.index, *size, True, divisors, ranges, sse_padding)
        except ValueError as exc:
            raise CRFError(f"kernel with xy_std {kernel.xy_std} and rgb_std {kernel.rgb_std}: {exc}") from exc

    if kernel.rgb_std is None:
        return CudaLattice(arrays, make(kernel.xy_std, []), None)
    deviations = (*kernel.xy_std, *(kernel.rgb_std if order == "rgb" else kernel.rgb_std[::-1]))
    if arrays.dtype(image) == "uint8":
        try:
            handle = make(deviations, _BYTE_RANGE)
        except CRFError:
            if whole_range:
                raise
        else:
            # Wide keys cost twice as much, so it pays to look at the colours that there are.
            if whole_range or handle.key_bits <= 64:
                return CudaLattice(arrays, handle, image)
    elif whole_range:
        raise CRFError("while a CUDA graph is being captured the image must be uint8, whose range is known")
    return CudaLattice(arrays, make(deviations, _ranges(arrays, image, "image")), image)


def feature_lattice(arrays: Arrays, features: Any, sse_padding: bool) -> CudaLattice:
    """The lattice of float32 features ``(N, d)``, each divided by its standard deviation; connected.

    Raises:
        CRFError: a wrong shape, features that are not finite or too far from 0.
    """
    if features.ndim != 2 or not 1 <= features.shape[1] <= MAX_DIMS or len(features) == 0:
        raise CRFError(f"features must be (N, d) with N > 0 and d from 1 to {MAX_DIMS}, got {tuple(features.shape)}")
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
    """Smallest and largest value of each channel; waits for the GPU."""
    scratch = arrays.empty(8 * image.shape[2], "uint8")
    ranges = _C.channel_ranges(arrays.view(image), arrays.view(scratch), arrays.stream)
    if not np.isfinite(ranges).all():
        raise CRFError(f"{name} must be finite, got values that are not")
    return ranges


Request = tuple[tuple[int, int], PairwiseKernel, Any | None]


def position_key(size: tuple[int, int], kernel: PairwiseKernel, sse_padding: bool) -> tuple | None:
    """What a lattice of positions depends on; None for one of colours."""
    return None if kernel.rgb_std else (size, kernel.xy_std, sse_padding)


def build_lattices(
    arrays: Arrays,
    requests: Sequence[Request],
    order: str,
    sse_padding: bool,
    held: Mapping[tuple | None, CudaLattice] | None = None,
    whole_range: bool = False,
) -> list[CudaLattice]:
    """Lattices of ((H, W), kernel, image), connected, with one wait for the GPU, or none while a graph is captured.

    Args:
        arrays: where they are.
        requests: what they are of.
        order: of the images' channels, "rgb" or "bgr".
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        held: lattices of positions by :func:`position_key` that the caller keeps, to be used instead of new ones.
        whole_range: see :func:`pixel_lattice`.
    """
    stream = arrays.stream
    capturing = _C.is_capturing(arrays.index, stream)
    # One handle stands for each thread's own default stream.
    place = (type(arrays), arrays.index, stream, threading.get_ident() if stream == _PER_THREAD_STREAM else 0)
    found: list[CudaLattice] = []
    shared: dict[tuple | None, CudaLattice] = dict(held or {})
    new: list[CudaLattice] = []
    for size, kernel, image in requests:
        key = position_key(size, kernel, sse_padding)
        # A graph that is replayed needs lattices that nobody else drops.
        lattice = shared.get(key) or (None if capturing or key is None else _CACHE.get((*place, *key)))
        if lattice is None:
            if capturing:
                check_capturable()
            lattice = pixel_lattice(arrays, size, kernel, image, order, sse_padding, capturing or whole_range)
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
        for key in shared.keys() - (held or {}).keys():
            _CACHE.put((*place, *key), shared[key])
    return found


def check_capturable() -> None:
    """Whether a CUDA graph can hold the building of a lattice.

    Raises:
        CRFError: kernels are compiled at run time, and so CuPy sorts the keys.
    """
    if nvrtc.enabled():
        raise CRFError(
            "a CUDA graph cannot hold the dense CRF where kernels are compiled at run time: CuPy, which then sorts the "
            "lattices' keys, takes memory that the graph would not keep, and before version 14.2 waits for the GPU. "
            "Build deeplab_caffe with nvcc on PATH or CUDA_HOME set"
        )


class _Cache:
    """The last lattices of positions. Of one stream each: another would have to wait for their kernels."""

    def __init__(self) -> None:
        self._lattices: OrderedDict[tuple, CudaLattice] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple) -> CudaLattice | None:
        with self._lock:
            if key not in self._lattices:
                return None
            self._lattices.move_to_end(key)
            return self._lattices[key]

    def put(self, key: tuple, lattice: CudaLattice) -> None:
        if lattice.points > _CACHED_POINTS:
            return
        with self._lock:
            self._lattices[key] = lattice
            while len(self._lattices) > _CACHED_LATTICES:
                self._lattices.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._lattices.clear()


_CACHE = _Cache()


def clear_cache() -> None:
    """Gives back the GPU memory of the lattices kept for the next image of their size."""
    _CACHE.clear()
