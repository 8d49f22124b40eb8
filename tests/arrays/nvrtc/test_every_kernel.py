"""That the host code asks NVRTC for every kernel, and that NVRTC compiles what is asked for."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.arrays import nvrtc
from deeplab_caffe.arrays.nvrtc import kernels, runtime
from deeplab_caffe.crf.backend import PairwiseTerm
from deeplab_caffe.crf.cuda import CudaField
from deeplab_caffe.crf.cuda_lattice import CudaLattice
from tests.arrays.nvrtc import libnvrtc
from tests.arrays.nvrtc.test_kernels import view

FLOATS = ("float32", "float64")
NO_NVRTC = "no libnvrtc: none in CUDA_HOME, NVIDIA's wheels or the system"


class NoArrays:
    """Arrays on GPU 0 that nobody reads, as :class:`deeplab_caffe.arrays.Arrays`."""

    index, stream = 0, 0

    def empty(self, shape: int | tuple[int, ...], dtype: str) -> SimpleNamespace:
        array = SimpleNamespace(shape=(shape,) if isinstance(shape, int) else shape, dtype=dtype)
        array.reshape = lambda shape: self.empty(shape, dtype)
        return array

    def take(self, array: np.ndarray) -> SimpleNamespace:
        return self.empty(array.shape, array.dtype.name)

    def view(self, array: Any) -> _C.TensorView:
        return view(array.shape, array.dtype)


def run_operations() -> None:
    """In all types."""
    for dtype in FLOATS:
        for size in (5, 40000):  # with 32 and 64 bits
            geometry = ([3, 3], [1, 1], [1, 1], [1, 1])
            image, columns = view((1, 2, size, size), dtype), view((1, 18, size, size), dtype)
            _C.im2col(image, columns, *geometry)
            _C.col2im(columns, image, *geometry)
            _C.interp_forward(view((1, 3, 5, 5), dtype), view((1, 3, size, size), dtype), 0, 0)
            loss_of(size, dtype)
        domain_transform_of(dtype)
        scores = view((1, 3, 5, 5), dtype)
        _C.interp_backward(view((1, 3, 9, 9), dtype), scores, 0, 0)
        _C.argmax_top(scores, view((1, 1, 5, 5), dtype), 1, False)
        for last, label_dtype in itertools.product((False, True), ("uint8", "int64")):
            _C.argmax_labels(scores, view((1, 5, 5), label_dtype), last)


def domain_transform_of(dtype: str) -> None:
    x, edges, sizes = view((2, 3, 5, 6), dtype), view((2, 1, 5, 6), dtype), view((2, 2))
    settings = 3, 50.0, 5.0, 0.0, True
    _C.domain_transform_forward(x, edges, sizes, x, *settings)
    scratch = view((_C.domain_transform_scratch(x, 3),), dtype)
    _C.domain_transform_backward(x, edges, sizes, x, x, edges, scratch, *settings)


def loss_of(size: int, dtype: str) -> None:
    scores, labels = view((1, 3, size, size), dtype), view((1, size, size), "uint8")
    stats, totals, scalar = view((1, 2, size, size), dtype), view((3,), "float64"), view((), dtype)
    workspace = view((-(-size * size // 256), 3), "float64")
    _C.softmax_loss_forward(scores, labels, None, [], workspace, scalar, stats, totals)
    _C.softmax_loss_backward(scores, labels, None, [], stats, totals, scalar, scores)


def run_ends() -> None:
    """The operations before and behind a net, and its pooling: in all types, layouts and widths."""
    for dtype in (*FLOATS, "float16", "bfloat16"):
        for last, label_dtype in itertools.product((False, True), ("uint8", "int64")):
            _C.interp_argmax(view((1, 3, 5, 5), dtype), view((1, 9, 9), label_dtype), 9, 9, 0, 0, last)
        for channels in (3, 33):
            probabilities = view((1, channels, 9, 9), "float64" if dtype == "float64" else "float32")
            _C.interp_softmax(view((1, channels, 5, 5), dtype), probabilities, 9, 9, 0, 0)
    for dtype in ("float32", "float16", "bfloat16"):
        for side, channels_last, address in itertools.product((9, 30000), (False, True), (4096, 4098)):
            strides = (3 * side * side, 1, 3 * side, 3) if channels_last else None
            blob = view((1, 3, side, side), dtype, address, strides)
            _C.preprocess(view((1, 7, 7, 3), "uint8"), blob, [0.0] * 3)
        for channels in (3, 8):
            blob = view((1, channels, 6, 6), dtype, strides=(36 * channels, 1, 6 * channels, channels))
            pooled = view((1, channels, 3, 3), dtype, strides=(9 * channels, 1, 3 * channels, channels))
            _C.max_pool(blob, pooled, (2, 2), (2, 2), (0, 0))


def run_crf() -> None:
    """Lattices with keys of one and of two words, of two, five and other numbers of features; all widths of labels."""
    arrays: Any = NoArrays()
    image = arrays.empty((6, 7, 3), "uint8")
    lattices = []
    for positions, dims, deviation in ((2, 2, 3.0), (2, 5, 3.0), (2, 5, 5e-3), (0, 6, 3.0), (0, 6, 5e-3)):
        ranges = [(0.0, 255.0)] * (dims - positions)
        handle = _C.CudaLattice(0, 6, 7, positions > 0, [deviation] * dims, ranges, True)
        colours = arrays.empty((6, 7, len(ranges)), "float32")
        lattices.append(CudaLattice(arrays, handle, colours if ranges else None))
        lattices[-1].connect(*_C.count_vertices([handle], 0))
    assert [lattice.handle.key_bits > 64 for lattice in lattices] == [False, False, True, False, True]
    _C.channel_ranges(arrays.view(image), view((24,), "uint8"), 0)
    CudaLattice.filter_all(lattices[:1], view((1, 42, 2)), view((1, 42, 2)), False, 0)
    for labels, half in itertools.product((21, 200, 300), (False, True)):
        lattice = lattices[1]
        terms = [
            PairwiseTerm(lattice, 3.0, None, "symmetric"),
            PairwiseTerm(lattice, 1.0, np.ones(labels, np.float32), "after"),
        ]
        field = CudaField(arrays, (labels, 6, 7), terms, half)
        scores = arrays.empty((labels, 6, 7), "float32")
        field.start(scores)
        field.run(1)
        field.set_marginals(scores)
        field.marginals(scores)
        field.energies()
        _C.inspect_scores(arrays.view(scores), False, view((1,), "int32"), 0)


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """The names of all kernels by source, from a device that does nothing and holds nothing but zeros."""
    found: dict[str, list[str]] = {}

    def launch(device: int, source: str, name: str, *_: object) -> None:
        if name not in found.setdefault(source, []):
            found[source].append(name)

    def read_back(device: int, host: int, data: int, count: int, stream: int) -> bool:
        ctypes.memset(host, 0, count)
        return True

    monkeypatch.setattr(nvrtc, "launch", launch)
    monkeypatch.setattr(runtime, "read_back", read_back)
    monkeypatch.setattr(runtime, "processors", lambda device: 1)
    monkeypatch.setattr(runtime, "is_capturing", lambda device, stream: False)
    for name in ("set_bytes", "sort_pairs"):
        monkeypatch.setattr(runtime, name, lambda *_: True)
    before = nvrtc.enabled()
    nvrtc.enable()
    run_operations()
    run_ends()
    run_crf()
    yield found
    nvrtc.enable(before)


def test_all_kernels_are_asked_for(wanted: dict[str, list[str]]) -> None:
    defined = set()
    for path in nvrtc.sources.csrc_folder().rglob("*_kernels.cuh"):
        for part in path.read_text().split("__global__ void ")[1:]:
            defined.add(f"{path.parent.name}/{path.name}: {part.split('(')[0]}")
    asked = {f"{source}: {name.split('<')[0].split('::')[-1]}" for source, names in wanted.items() for name in names}
    assert asked == defined
    counts = {source: len(names) for source, names in wanted.items()}
    assert counts == {
        "domain_transform/domain_transform_kernels.cuh": 2 * (2 + 2 + 1),  # dtypes; rows and columns
        "hole/hole_kernels.cuh": 2 * 2 * 2,  # dtypes, widths of indices
        "interp/interp_kernels.cuh": 2 * 2 + 2,
        "argmax/argmax_kernels.cuh": 2 + 2 * 4,
        "softmax_loss/softmax_loss_kernels.cuh": 2 + 2 + 2 * 2,
        "interp_argmax/interp_argmax_kernels.cuh": 4 * 4,
        "interp_softmax/interp_softmax_kernels.cuh": 4 * 2,
        "preprocess/preprocess_kernels.cuh": 3 * 2 * 2 * 2,
        "max_pool/max_pool_kernels.cuh": 2 * 2,
        "lattice/range_kernels.cuh": 1,
        "lattice/build_kernels.cuh": 3 + 2 + 3 * 2 + 1 + 3,  # locate; count, number, connect; scan; wide keys
        "lattice/filter_kernels.cuh": 4 * 2 + 3,
        "mean_field/update_kernels.cuh": 2 * 2 + 2 + 2 + 4,
    }


@pytest.mark.skipif(libnvrtc.find() is None, reason=NO_NVRTC)
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "compute_90"])
def test_nvrtc_compiles_every_kernel(arch: str, wanted: dict[str, list[str]]) -> None:
    options = (*kernels.OPTIONS, *libnvrtc.CUPY_OPTIONS)
    for source, names in wanted.items():
        lowered, code = libnvrtc.compile(nvrtc.program(source), names, arch, options)
        assert len(set(lowered)) == len(names)
        for name, symbol in zip(names, lowered, strict=True):
            short = name.split("<")[0].split("::")[-1]
            assert short in symbol
            assert symbol.encode() in code, f"{name} is not in what NVRTC made of {source}"


@pytest.mark.skipif(libnvrtc.find() is None, reason=NO_NVRTC)
def test_single_precision_kernels_compute_in_single_precision(wanted: dict[str, list[str]]) -> None:
    options = (*kernels.OPTIONS, *libnvrtc.CUPY_OPTIONS)
    for source, names in wanted.items():
        if source.startswith("softmax_loss"):  # sums in double
            continue
        singles = [name for name in names if "double" not in name]
        _, code = libnvrtc.compile(nvrtc.program(source), singles, "compute_80", options)
        for entry in code.split(b".entry ")[1:]:
            symbol = entry.partition(b"(")[0]
            if b"energy" in symbol:  # likewise
                continue
            assert b".f64" not in entry, symbol
            # The logarithm is CUDA's own, which takes its liberties.
            assert b"fma." not in entry or b"rows_kernel" in symbol or b"marginals_kernel" in symbol, symbol
