"""What the tests of every operation run over."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from deeplab_caffe import _C
from deeplab_caffe.arrays import nvrtc
from deeplab_caffe.arrays.nvrtc import kernels
from tests.cuda_on_host import nvrtc_stand_in


def _cuda_reason(run_time: bool) -> str | None:
    if not run_time and not _C.with_cuda:
        return "the extension was built without CUDA"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return _cupy_reason() if run_time else None


def _cupy_reason() -> str | None:
    try:
        count = importlib.import_module("cupy").cuda.runtime.getDeviceCount()
    except (ImportError, RuntimeError) as exc:
        return f"CuPy: {exc}"
    return None if count else "CuPy sees no CUDA device"


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda), pytest.param("cuda_nvrtc", marks=pytest.mark.cuda)]
)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The CPU; CUDA with compiled kernels; CUDA with kernels compiled at run time."""
    name, _, nvrtc_wanted = request.param.partition("_")
    if name == "cuda":
        if _cuda_reason(bool(nvrtc_wanted)):
            pytest.skip(_cuda_reason(bool(nvrtc_wanted)))
        with _kernels(bool(nvrtc_wanted)):
            yield name
    else:
        yield name


class _kernels:
    """Has CUDA kernels compiled at run time, or not, for one block."""

    def __init__(self, run_time: bool) -> None:
        self.run_time = run_time

    def __enter__(self) -> None:
        self.before = nvrtc.enabled()
        nvrtc.enable(self.run_time)

    def __exit__(self, *_: object) -> None:
        nvrtc.enable(self.before)


@pytest.fixture(
    params=[
        "on_host",
        pytest.param("compiled", marks=pytest.mark.cuda),
        pytest.param("nvrtc", marks=pytest.mark.cuda),
    ]
)
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CuPy, with either kind of kernels on a GPU; and one that runs those that NVRTC would compile on the host."""
    if request.param == "on_host":
        if shutil.which("g++") is None:
            pytest.skip("no g++ to compile the kernels with")
        monkeypatch.setitem(sys.modules, "cupy", nvrtc_stand_in.make())
        monkeypatch.setattr(kernels, "_FUNCTIONS", {})
    elif request.param == "compiled" and not _C.with_cuda:
        pytest.skip("the extension was built without CUDA")
    elif _cupy_reason():
        pytest.skip(_cupy_reason())
    with _kernels(request.param != "compiled"):
        yield sys.modules["cupy"]


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2015)
