"""One face for NumPy, torch and CuPy (a stand-in on the host, as tests/cuda_on_host has it)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_caffe.arrays import (
    Arrays,
    CupyArrays,
    NumpyArrays,
    TorchArrays,
    arrays_of,
    arrays_on,
    is_on_gpu,
    like,
    to_numpy,
)
from deeplab_caffe.errors import KernelError, NetError
from tests.cuda_on_host import nvrtc_stand_in


@pytest.fixture(params=["numpy", "torch", "cupy"])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arrays]:
    if request.param == "numpy":
        yield NumpyArrays()
    elif request.param == "torch":
        yield TorchArrays(torch.device("cpu"))
    else:
        monkeypatch.setitem(sys.modules, "cupy", nvrtc_stand_in.make())
        yield CupyArrays(0)


def test_it_imports_neither_torch_nor_cupy() -> None:
    code = "import sys, deeplab_caffe.arrays, deeplab_caffe.ops.cupy; print({'torch', 'cupy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_taken_and_given_back(xp: Arrays) -> None:
    given = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    taken = xp.take(given)
    assert xp.dtype(taken) == "float32"
    assert tuple(taken.shape) == (2, 3, 4)
    np.testing.assert_array_equal(xp.numpy(taken), given)
    copy = xp.copy(taken)
    xp.assign(copy, xp.zeros((2, 3, 4), "float32"))
    np.testing.assert_array_equal(xp.numpy(copy), np.zeros((2, 3, 4)))
    np.testing.assert_array_equal(xp.numpy(xp.permute(taken, (2, 0, 1))), given.transpose(2, 0, 1))
    cast = xp.cast(taken, "float64")
    assert xp.dtype(cast) == "float64"
    assert type(arrays_of(taken)) is type(xp)
    assert arrays_of(taken).device == xp.device


def test_matrices_are_multiplied_and_added(xp: Arrays) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    out = xp.zeros((2, 3, 5), "float64")
    xp.matmul(xp.take(a), xp.take(b), out)
    np.testing.assert_allclose(xp.numpy(out), a @ b, rtol=1e-12)
    xp.matmul(xp.take(a), xp.take(b), out, add=True)
    np.testing.assert_allclose(xp.numpy(out), 2 * (a @ b), rtol=1e-12)


def test_memory_layouts(xp: Arrays) -> None:
    x = xp.take(np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5))
    for array in (xp.empty((2, 3, 4, 5), "float32", channels_last=True), xp.contiguous(x, channels_last=True)):
        moved = xp.permute(array, (0, 2, 3, 1))
        flags = moved.is_contiguous() if xp.library == "torch" else moved.flags.c_contiguous
        assert flags
    np.testing.assert_array_equal(xp.numpy(xp.contiguous(x, channels_last=True)), xp.numpy(x))
    assert repr(xp.view(x)).startswith("float32 (2, 3, 4, 5)") or "float32" in repr(xp.view(x))


def test_a_view_keeps_its_array_alive(xp: Arrays) -> None:
    view = xp.view(xp.take(np.ones(3, np.float32)))
    assert tuple(view.array.shape) == (3,)


def test_finite_minima_of_columns(xp: Arrays) -> None:
    good = np.array([[1.0, 2.0], [np.inf, 0.0]], np.float32)
    assert xp.columns_have_finite_minimum(xp.take(good))
    assert not xp.columns_have_finite_minimum(xp.take(np.array([[np.nan, 2.0], [1.0, 0.0]], np.float32)))


def test_dtypes_by_any_name(xp: Arrays) -> None:
    for dtype in ("uint8", np.uint8, np.dtype("uint8"), torch.uint8):
        assert xp.dtype(xp.zeros((1,), xp.as_dtype(dtype))) == "uint8"
    with pytest.raises(ValueError, match="no dtype float33"):
        xp.as_dtype("float33")


def test_numpy_arrays_that_no_view_can_describe() -> None:
    xp = NumpyArrays()
    record = np.zeros(4, [("flag", "u1"), ("value", "f4")])
    record["value"] = [1, 2, 3, 4]
    for strange in (record["value"], np.arange(1, 5, dtype=">f4")):
        taken = xp.take(strange)
        assert taken.flags.aligned
        assert taken.dtype.isnative
        assert taken.tolist() == [1, 2, 3, 4]
    plain = np.ones((3, 4))[:, ::2]
    assert xp.take(plain) is plain
    assert xp.cast(plain, np.float64) is plain


def test_torch_on_the_cpu_as_numpy() -> None:
    tensor = torch.arange(3.0, requires_grad=True)
    assert to_numpy(tensor, "scores").tolist() == [0, 1, 2]
    assert to_numpy(torch.ones(2, dtype=torch.bfloat16), "scores").dtype == np.float32
    assert isinstance(like(tensor, np.zeros(2)), torch.Tensor)
    assert isinstance(like(np.zeros(1), np.zeros(2)), np.ndarray)
    with pytest.raises(ValueError, match="scores are on meta, where this does not compute"):
        to_numpy(torch.ones(1, device="meta"), "scores")


def test_arrays_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy: Any = nvrtc_stand_in.make()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    array = cupy.asarray(np.ones(3, np.float32))
    assert is_on_gpu(array)
    assert not is_on_gpu(np.ones(3))
    assert arrays_of(array).device == "cuda:0"
    with pytest.raises(KeyError, match="scores are a ndarray on a GPU"):
        to_numpy(array, "scores", KeyError)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ValueError, match="ndarray on a GPU: torch tensors and CuPy arrays are known"):
        arrays_of(array)
    with pytest.raises(KernelError, match=r"CuPy cannot be imported .*pip install 'deeplab-caffe\[cupy\]'"):
        CupyArrays(0)


def test_arrays_by_device() -> None:
    assert arrays_on("cpu").library == "numpy"
    for name in ("gpu", "cuda:x", "cuda:-1", ""):
        with pytest.raises(NetError, match="device must be cpu, cuda or cuda:<index>"):
            arrays_on(name)
    with pytest.raises(KeyError, match="device must be"):
        arrays_on("mps", KeyError)  # type: ignore[arg-type]


def test_the_cpu_has_no_cuda_graphs() -> None:
    assert not NumpyArrays().is_capturing()
    assert not TorchArrays(torch.device("cpu")).is_capturing()
    with pytest.raises(KernelError, match="a CUDA graph needs arrays on a GPU"):
        NumpyArrays().capture(lambda: None)
