"""The dense CRF on a GPU: allocates, checks and calls the kernels; see csrc/lattice/lattice_cuda.h.

Each image's lattices are built on the GPU; one wait for it tells how many vertices they have, and whether the input was
fit. While a CUDA graph is being captured nothing waits: memory for the most vertices possible is taken (about
``8 * C * 6`` bytes a pixel), input is not checked, and colours must be uint8. A bad value then gives NaN.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._checks import checked_scores, sizes
from deeplab_caffe.crf._device import Arrays, arrays_of, is_on_gpu
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel, check_iterations
from deeplab_caffe.errors import CRFError

# Images that share launches: more fill a large GPU no better, and take more memory.
_IMAGES_AT_ONCE = 8

# Above this the lattice of positions, which depends on the size alone, is not kept for the next image of that size.
_CACHED_POINTS = 1 << 20
_CACHED_LATTICES = 4

_BYTE_RANGE = [(0.0, 255.0)] * 3


class CudaLattice:
    """The lattice of an image's pixels on a GPU, with its memory.

    Attributes:
        handle: the extension's lattice, built; connected after :meth:`connect`.
        vertices: number of vertices after :meth:`connect`, or their bound where nothing may wait for the GPU.
    """

    def __init__(
        self,
        arrays: Arrays,
        size: tuple[int, int],
        kernel: PairwiseKernel,
        image: Any | None,
        order: str,
        sse_padding: bool,
    ) -> None:
        self.arrays = arrays
        self.kernel = kernel
        self.handle = self._make(size, image, order, sse_padding)
        stream = arrays.stream
        self._memory = arrays.empty(self.handle.nbytes, "uint8")
        scratch = arrays.empty(self.handle.scratch_bytes, "uint8")
        colours = None if kernel.rgb_std is None else arrays.view(image)
        self.handle.build(colours, arrays.view(self._memory), arrays.view(scratch), stream)
        self._norms: dict[bool, Any] = {}

    def _make(self, size: tuple[int, int], image: Any | None, order: str, sse_padding: bool) -> _C.CudaLattice:
        kernel = self.kernel
        if kernel.rgb_std is None:
            return self._handle(size, kernel.xy_std, [], sse_padding)
        divisors = (*kernel.xy_std, *(kernel.rgb_std if order == "rgb" else kernel.rgb_std[::-1]))
        capturing = _C.is_capturing(self.arrays.stream)
        if self.arrays.dtype(image) == "uint8":
            try:
                handle = self._handle(size, divisors, _BYTE_RANGE, sse_padding)
            except CRFError:
                if capturing:
                    raise
            else:
                # Wide keys cost twice as much, so it pays to look at the colours that there are.
                if capturing or handle.key_bits <= 64:
                    return handle
        elif capturing:
            raise CRFError("while a CUDA graph is being captured the image must be uint8, whose range is known")
        ranges = _C.channel_ranges(
            self.arrays.view(image), self.arrays.view(self.arrays.empty(24, "uint8")), self.arrays.stream
        )
        if not np.isfinite(ranges).all():
            raise CRFError("image must be finite, got values that are not")
        return self._handle(size, divisors, ranges, sse_padding)

    def _handle(
        self, size: tuple[int, int], divisors: Sequence[float], ranges: Sequence[tuple[float, float]], sse_padding: bool
    ) -> _C.CudaLattice:
        with np.errstate(all="ignore"):
            rounded = np.asarray(divisors, np.float32).tolist()
        try:
            return _C.CudaLattice(self.arrays.index, *size, True, rounded, ranges, sse_padding)
        except ValueError as exc:
            raise CRFError(f"kernel with xy_std {self.kernel.xy_std} and rgb_std {self.kernel.rgb_std}: {exc}") from exc

    def connect(self, vertices: int) -> None:
        """Finds the neighbours of so many vertices."""
        if vertices < 0:
            raise CRFError("the image changed while its lattice was built")
        self.vertices = vertices
        self._table = self.arrays.empty(self.handle.table_bytes(vertices), "uint8")
        self.handle.connect(self.arrays.view(self._table), vertices, self.arrays.stream)

    def norm(self, root: bool) -> Any:
        """float32 ``(H * W,)``: 1 / (filter(1) + 1e-20), or with ``root`` 1 / sqrt of that."""
        if root not in self._norms:
            arrays = self.arrays
            norm = arrays.empty(self.points, "float32")
            workspace = arrays.empty(self.handle.norm_workspace_bytes(), "uint8")
            self.handle.norm(root, arrays.view(norm), arrays.view(workspace), arrays.stream)
            self._norms[root] = norm
        return self._norms[root]

    @property
    def points(self) -> int:
        """Number of pixels."""
        return self.handle.points

    def filter(self, values: _C.TensorView, out: _C.TensorView, adjoint: bool, stream: int) -> None:
        """Filters ``(H * W, C)`` float32 on the current stream, with ``adjoint`` by the transposed filter."""
        workspace = self.arrays.empty(self.handle.filter_workspace_bytes(values), "uint8")
        self.handle.filter(values, out, adjoint, self.arrays.view(workspace), stream)


@dataclass(frozen=True)
class Problem:
    """One image, all on one GPU, any strides.

    Attributes:
        scores: float32 ``(C, H, W)``.
        image: uint8 or float32 ``(H, W, 3)``, or None.
        out: float32 ``(C, H, W)``, where the marginals go.
    """

    scores: Any
    image: Any | None
    out: Any


def build_lattices(
    arrays: Arrays,
    requests: Sequence[tuple[tuple[int, int], PairwiseKernel, Any | None]],
    order: str,
    sse_padding: bool,
) -> list[CudaLattice]:
    """Lattices of ((H, W), kernel, image) with one wait for the GPU, or none while a graph is captured."""
    stream = arrays.stream
    capturing = _C.is_capturing(stream)
    found: list[CudaLattice] = []
    shared: dict[tuple, CudaLattice] = {}
    new: list[CudaLattice] = []
    for size, kernel, image in requests:
        key = None if kernel.rgb_std else (type(arrays), arrays.index, stream, size, kernel.xy_std, sse_padding)
        # A graph that is replayed needs lattices that nobody else drops.
        lattice = shared.get(key) or (None if capturing else _CACHE.get(key))
        if lattice is None:
            lattice = CudaLattice(arrays, size, kernel, image, order, sse_padding)
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
            _CACHE.put(key, lattice)
    return found


class _Cache:
    """The last lattices of positions. Of one stream each: another would have to wait for their kernels."""

    def __init__(self) -> None:
        self._lattices: OrderedDict[tuple, CudaLattice] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple | None) -> CudaLattice | None:
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


def infer(
    arrays: Arrays,
    problems: Sequence[Problem],
    params: CRFParams,
    order: str,
    iterations: int | None,
    *,
    sse_padding: bool = True,
    probabilities: bool = False,
    logarithm: bool = False,
    normalization: str = "after",
    half: bool = False,
) -> None:
    """Inference for several images, some at a time in the same launches.

    Args:
        arrays: where the problems' arrays are.
        problems: images with the same number of labels.
        params: the kernels.
        order: of the images' channels, "rgb" or "bgr".
        iterations: instead of ``params.iterations``.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        probabilities: the scores are probabilities.
        logarithm: write log(max(Q, FLT_MIN)).
        normalization: where 1 / filter(1) goes: "after" the filter (the original), "before", "symmetric" or "none".
        half: store values on lattice vertices in half precision: half the bytes of the blurs. A message's relative
            error is then up to (d + 2) / 2048 for d features, 3e-3; iterations amplify it where labels compete. On
            noise marginals moved by less than 5e-3 at 99 of 100 pixels, by 2e-2 at worst.

    Raises:
        CRFError: input that is not fit, as on the CPU.
        CRFMemoryError: not enough memory on the GPU.
    """
    iterations = params.iterations if iterations is None else check_iterations(iterations)
    for first in range(0, len(problems), _IMAGES_AT_ONCE):
        some = problems[first : first + _IMAGES_AT_ONCE]
        _infer(arrays, some, params, order, iterations, sse_padding, probabilities, logarithm, normalization, half)


def _infer(
    arrays: Arrays,
    problems: Sequence[Problem],
    params: CRFParams,
    order: str,
    iterations: int,
    sse_padding: bool,
    probabilities: bool,
    logarithm: bool,
    normalization: str,
    half: bool,
) -> None:
    stream = arrays.stream
    capturing = _C.is_capturing(stream)
    faults = arrays.empty(len(problems), "int32")
    if not capturing:
        for i, problem in enumerate(problems):
            _C.inspect_scores(arrays.view(problem.scores), probabilities, arrays.view(faults[i : i + 1]), stream)

    # A kernel of weight 0 adds exact zeros.
    kernels = [kernel for kernel in params.kernels if kernel.weight != 0] if iterations else []
    requests = [
        (tuple(problem.scores.shape[1:]), kernel, problem.image)
        for problem in problems
        for kernel in kernels
        if kernel.rgb_std is None or problem.image is not None
    ]
    lattices = iter(build_lattices(arrays, requests, order, sse_padding))
    if not capturing:
        for problem, fault in zip(problems, _C.read_faults(arrays.view(faults), stream), strict=True):
            if fault:
                _refuse(arrays.numpy(problem.scores), probabilities)

    fields, workspaces = [], []
    for problem in problems:
        channels, height, width = problem.scores.shape
        weighted = []
        for kernel in kernels:
            if kernel.rgb_std is None or problem.image is not None:
                lattice = next(lattices)
                weighted.append((lattice.handle, kernel.weight, *_factors(lattice, normalization)))
        field = _C.CudaMeanField(arrays.index, height, width, channels, weighted, half)
        workspaces.append(arrays.empty(field.workspace_bytes, "uint8"))
        field.start(arrays.view(problem.scores), probabilities, arrays.view(workspaces[-1]), stream)
        fields.append(field)
    _C.run_mean_fields(fields, iterations, stream)
    for problem, field in zip(problems, fields, strict=True):
        field.marginals(arrays.view(problem.out), logarithm, stream)


def _factors(lattice: CudaLattice, normalization: str) -> tuple[_C.TensorView | None, _C.TensorView | None]:
    """What the values are multiplied with before and after the filter."""
    if normalization == "none":
        return None, None
    norm = lattice.arrays.view(lattice.norm(root=normalization == "symmetric"))
    return {"before": (norm, None), "after": (None, norm), "symmetric": (norm, norm)}[normalization]


def layer_inference(
    scores: Any,
    data_dim: Any | None,
    image: Any | None,
    params: CRFParams,
    *,
    iterations: int | None = None,
    output_probability: bool = True,
    image_of_first: bool = False,
    sse_padding: bool = True,
    half: bool = False,
) -> Any:
    """What :func:`deeplab_caffe.crf.layer_inference` is for scores on a GPU; only ``data_dim`` is read on the host."""
    arrays = arrays_of(scores)
    shape = tuple(scores.shape)
    if len(shape) != 4 or 0 in shape:
        raise CRFError(f"scores must be (N, C, H, W), got shape {shape}")
    if "float" not in arrays.dtype(scores):
        raise CRFError(f"scores must be floating point, got {arrays.dtype(scores)}")
    scores = arrays.float32(arrays.take(scores))
    if data_dim is not None and is_on_gpu(data_dim):
        data_dim = arrays.numpy(arrays.take(data_dim))
    if image is not None:
        image = arrays.take(image)
        came = tuple(image.shape)
        fits = len(came) == 4 and came[1] == 3 and came[2:] == shape[2:]
        if not fits or not (came[0] == shape[0] or (image_of_first and came[0] > 0)):
            raise CRFError(f"scores are {shape} but the image blob is {came}: expected (N, 3, H, W)")
        image = image if arrays.dtype(image) == "uint8" else arrays.float32(image)
    marginals = arrays.zeros(shape, "float32")
    problems = []
    for item, (height, width) in enumerate(sizes(data_dim, shape)):
        part = None if image is None else image[0 if image_of_first else item, :, :height, :width]
        colours = None if part is None else arrays.channels_last(part)
        problems.append(Problem(scores[item, :, :height, :width], colours, marginals[item, :, :height, :width]))
    logarithm = not output_probability
    infer(arrays, problems, params, "bgr", iterations, sse_padding=sse_padding, logarithm=logarithm, half=half)
    return marginals


def _refuse(scores: np.ndarray, probabilities: bool) -> None:
    """Raises what the CPU raises for such scores."""
    checked_scores(scores, 3, "(C, H, W)", probabilities)
    raise AssertionError("the GPU refused scores that are fit")
