"""What the tests of every operation run over."""

from __future__ import annotations

import pytest
import torch

from deeplab_caffe import _C


def _cuda_reason() -> str | None:
    if not _C.with_cuda:
        return "the extension was built without CUDA"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return None


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and _cuda_reason():
        pytest.skip(_cuda_reason())
    return request.param


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2015)
