from __future__ import annotations

import contextlib
import ctypes
import itertools
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from deeplab_caffe import _C
from deeplab_caffe.arrays import nvrtc
from deeplab_caffe.arrays.nvrtc import kernels
from deeplab_caffe.errors import KernelError


@pytest.fixture(autouse=True)
def _run_time_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = nvrtc.enabled()
    nvrtc.enable()
    monkeypatch.setattr(kernels, "_FUNCTIONS", {})
    yield
    nvrtc.enable(before)


def view(shape: tuple[int, ...], dtype: str = "float32", address: int = 4096, strides: tuple | None = None) -> Any:
    """Of memory on GPU 0 that nobody reads."""
    contiguous = tuple(itertools.accumulate(reversed((*shape[1:], 1)), lambda a, b: a * b))[::-1] if shape else ()
    return _C.TensorView(address, shape, strides or contiguous, dtype, 0)


class FakeCupy(ModuleType):
    """Notes what is compiled and launched."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.compiled: list[tuple] = []
        self.launched: list[tuple] = []
        self.error: Exception | None = None
        self.look: Callable[[int], Any] = lambda parameters: None
        self.bound: int | None = None
        self.cuda = SimpleNamespace(
            Device=self._device,
            driver=SimpleNamespace(launchKernel=self._launch),
            runtime=SimpleNamespace(setDevice=self._bind),
        )

    def _bind(self, index: int) -> None:
        self.bound = index

    @contextlib.contextmanager
    def _device(self, index: int) -> Iterator[None]:
        self.current = index
        yield
        self.current = None

    def _launch(self, function: Any, *arguments: int) -> None:
        if isinstance(self.error, RuntimeError):
            raise self.error
        # The driver wants a context of the thread's own, which Device alone does not make: cupy/cupy#72.
        assert self.bound == self.current
        self.bound = None
        self.launched.append((self.current, function, *arguments[:-2], self.look(arguments[-2])))
        assert arguments[-1] == 0

    def RawModule(self, code: str, options: tuple, name_expressions: tuple) -> Any:
        assert len(name_expressions) == 1
        self.compiled.append((self.current, code, options, *name_expressions))

        def get_function(name: str) -> Any:
            if self.error and not isinstance(self.error, RuntimeError):
                raise self.error
            return SimpleNamespace(kernel=SimpleNamespace(ptr=f"<{name}>"))

        return SimpleNamespace(get_function=get_function)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> FakeCupy:
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_a_kernel_is_compiled_once_for_a_device(cupy: FakeCupy) -> None:
    for device in (0, 0, 1, 0, 1):
        nvrtc.launch(device, "interp/interp_kernels.cuh", "deeplab::interp::f<float>", (2, 1, 1), (256, 1, 1), 77, 0)
    assert [(device, name) for device, _, _, name in cupy.compiled] == [
        (0, "deeplab::interp::f<float>"),
        (1, "deeplab::interp::f<float>"),
    ]
    _, code, options, _ = cupy.compiled[0]
    assert code == nvrtc.program("interp/interp_kernels.cuh")
    assert "--fmad=false" in options
    assert [device for device, *_ in cupy.launched] == [0, 0, 1, 0, 1]
    assert cupy.launched[0][1:] == ("<deeplab::interp::f<float>>", 2, 1, 1, 256, 1, 1, 0, 77, None)


def test_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(KernelError, match=r"pip install 'deeplab-caffe\[cupy\]'") as found:
        _C.interp_forward(view((1, 1, 2, 2)), view((1, 1, 3, 3)), 0, 0)
    if not _C.with_cuda:
        assert "built without CUDA" in str(found.value)
        assert "rebuild it with nvcc on PATH or CUDA_HOME set, or install CuPy" in str(found.value)


def test_nvrtc_fails(cupy: FakeCupy) -> None:
    cupy.error = ImportError("libnvrtc.so.13 not found")
    with pytest.raises(
        KernelError, match=r"cannot compile deeplab::interp::forward_kernel<float, int32_t> of .*libnvrtc"
    ):
        _C.interp_forward(view((1, 1, 2, 2)), view((1, 1, 3, 3)), 0, 0)


def test_the_launch_fails(cupy: FakeCupy) -> None:
    cupy.error = RuntimeError("CUDA_ERROR_INVALID_VALUE")
    with pytest.raises(KernelError, match=r"forward_kernel<float, int32_t> on cuda:0: CUDA_ERROR_INVALID_VALUE"):
        _C.interp_forward(view((1, 1, 2, 2)), view((1, 1, 3, 3)), 0, 0)


@pytest.mark.skipif(_C.with_cuda, reason="the extension has compiled kernels")
def test_without_compiled_kernels_there_is_no_way_back() -> None:
    with pytest.raises(ValueError, match="built without CUDA"):
        nvrtc.enable(False)
    assert nvrtc.enabled()


@pytest.mark.skipif(not _C.with_cuda, reason="the extension was built without CUDA")
@pytest.mark.parametrize(("value", "expected"), [("1", "True"), ("0", "False"), (None, "False")])
def test_environment_variable(value: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPLAB_CAFFE_NVRTC", raising=False)
    if value:
        monkeypatch.setenv("DEEPLAB_CAFFE_NVRTC", value)
    code = "from deeplab_caffe.arrays import nvrtc; print(nvrtc.enabled())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected


# What the host code asks for


def arguments(layout: str) -> Callable[[int], tuple]:
    """Reads a launch's arguments: `P` pointer, `q` int64, `i` int, or "4q" a struct of four int64."""

    def look(parameters: int) -> tuple:
        addresses = (ctypes.c_void_p * len(layout.split())).from_address(parameters)
        found = []
        for address, form in zip(addresses, layout.split(), strict=True):
            values = struct.unpack(form, ctypes.string_at(address, struct.calcsize(form)))
            found.append(values if len(values) > 1 else values[0])
        return tuple(found)

    return look


def test_interp_arguments(cupy: FakeCupy) -> None:
    cupy.look = arguments("P 4q P q i qqfi qqfi")
    # Rows 1 to 5 and columns 1 to 6 of an image whose rows are 16 apart.
    input = view((2, 3, 6, 7), "float64", 1 << 20, (300, 100, 16, 2))
    _C.interp_forward(input, view((2, 3, 9, 4), "float64", 1 << 30), -1, 0, 5)
    _, _, *size, shared, stream, found = cupy.launched[0]
    assert size == [1, 1, 1, 256, 1, 1]
    assert (shared, stream) == (0, 5)
    *front, rows, columns = found
    assert front == [(1 << 20) + (16 + 2) * 8, (300, 100, 16, 2), 1 << 30, 2 * 3 * 3 * 4, 3]  # strips of 4 rows
    assert rows[:3] == (5, 9, 0.5)
    assert columns[:3] == (6, 4, pytest.approx(5 / 3))


def test_interp_backward_arguments(cupy: FakeCupy) -> None:
    cupy.look = arguments("P P q q q q qqfi qqfi")
    _C.interp_backward(view((2, 3, 9, 4), address=1 << 20), view((2, 3, 6, 7), address=1 << 30), -1, 0, 5)
    *front, rows, columns = cupy.launched[0][-1]
    assert front == [1 << 20, 1 << 30, 2 * 3 * 6 * 7, 6, 7, 1]
    assert (rows[:3], columns[:3]) == ((5, 9, 0.5), (6, 4, pytest.approx(5 / 3)))


def test_interp_edges_on_edges_arguments(cupy: FakeCupy) -> None:
    cupy.look = arguments("P 4q P q i qqff qqff")
    _C.interp_forward(view((1, 3, 5, 6)), view((1, 3, 10, 3)), 0, 0, align_corners=False)
    *_, rows, columns = cupy.launched[0][-1]
    assert (rows, columns) == ((5, 10, 0.5, 0.5), (6, 3, 2, 0.5))


def test_im2col_arguments(cupy: FakeCupy) -> None:
    geometry = ([3, 2], [2, 1], [1, 0], [2, 3])
    expected = (9, 4, 3, 1, 2, 2, 8, 5, 2, 0, 1, 3)
    image, columns = view((2, 5, 9, 8), address=1 << 20), view((2, 30, 4, 5), address=1 << 30)
    cupy.look = arguments("P 4q P q i 12q")
    _C.im2col(image, columns, *geometry, 5)
    assert cupy.launched[0][-1] == (1 << 20, (360, 72, 8, 1), 1 << 30, 200, 5, expected)
    assert cupy.launched[0][2:8] == (1, 1, 1, 256, 1, 1)
    cupy.look = arguments("P P q 12q")
    _C.col2im(columns, image, *geometry, 5)
    assert cupy.launched[1][-1] == (1 << 30, 1 << 20, 720, expected)
    # Far beyond 32 bits: the channels are an int64 too.
    cupy.look = arguments("P 4q P q q 12q")
    _C.im2col(view((64, 512, 321, 321)), view((64, 4608, 321, 321)), [3, 3], [1, 1], [1, 1], [1, 1])
    *_, count, channels, _ = cupy.launched[2][-1]
    assert (count, channels) == (64 * 512 * 321 * 321, 512)
    assert cupy.launched[2][2] == 1 << 20
    assert "im2col_kernel<float, int64_t>" in cupy.launched[2][1]


def test_softmax_loss_arguments(cupy: FakeCupy) -> None:
    scores, labels, weights = view((2, 5, 10, 30)), view((2, 10, 30), "int16", 1), view((5,), address=2)
    workspace, loss, stats = view((3, 3), "float64", 3), view((), address=4), view((2, 2, 10, 30), address=5)
    totals = view((3,), "float64", 6)
    looks = iter(("P P i P 257i P P q q q", "P q P P"))
    cupy.look = lambda parameters: arguments(next(looks))(parameters)
    _C.softmax_loss_forward(scores, labels, weights, [255, -3], workspace, loss, stats, totals, 9)
    first, second = (launch[-1] for launch in cupy.launched)
    scores_at, labels_at, dtype, weights_at, ignored, *rest = first
    assert (scores_at, labels_at, weights_at) == (4096, 1, 2)
    assert ignored[:3] == (2, 255, -3)
    assert rest == [5, 3, 600, 5, 300]
    assert second == (3, 3, 6, 4)
    assert [launch[2] for launch in cupy.launched] == [3, 1]

    cupy.look = arguments("P P i P 257i P P P P q i i")
    _C.softmax_loss_backward(
        scores, labels, None, [], stats, totals, view((), address=7), view((2, 5, 10, 30), address=8), 9
    )
    *front, _, stats_at, totals_at, grad_at, out_at, count, channels, plane = cupy.launched[2][-1]
    assert front == [4096, 1, dtype, None or 0]
    assert (stats_at, totals_at, grad_at, out_at, count, channels, plane) == (5, 6, 7, 8, 3000, 5, 300)


def test_argmax_arguments(cupy: FakeCupy) -> None:
    cupy.look = arguments("P P q q q q q")
    _C.argmax_top(view((2, 5, 4, 6), address=1), view((2, 6, 4, 6), address=2), 3, True, 9)
    assert cupy.launched[0][-1] == (1, 2, 48, 5, 24, 3, 6)
    cupy.look = arguments("P P q q q")
    _C.argmax_labels(view((2, 5, 4, 6), address=1), view((2, 4, 6), "uint8", 2), True, 9)
    assert cupy.launched[1][-1] == (1, 2, 48, 5, 24)


def test_nothing_is_launched_for_nothing(cupy: FakeCupy) -> None:
    _C.interp_forward(view((0, 3, 5, 5)), view((0, 3, 9, 9)), 0, 0)
    _C.im2col(view((2, 0, 5, 5)), view((2, 0, 3, 3)), [3, 3], [1, 1], [0, 0], [1, 1])
    _C.argmax_top(view((0, 3, 5, 5)), view((0, 1, 5, 5)), 1, False)
    assert cupy.launched == []
