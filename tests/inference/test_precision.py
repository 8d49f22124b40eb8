from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.precision import precision_of, switched

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_fast_allows_more_rounding() -> None:
    strict, fast = precision_of("float32", CPU), precision_of("float32", CPU, "fast")
    assert (strict.fast, strict.tolerance) == (False, 1e-5)
    assert (fast.name, fast.fast, fast.tolerance) == ("float32", True, 5e-5)
    assert precision_of("float16", GPU, "fast").tolerance == precision_of("float16", GPU).tolerance
    with pytest.raises(NetError, match="precision must be strict or fast, got 'quick'"):
        precision_of("float32", CPU, "quick")


def test_names_and_dtypes() -> None:
    assert precision_of(torch.float32, CPU) is precision_of("float32", CPU)
    assert not precision_of("float32", GPU).tf32
    assert precision_of("tf32", GPU).tf32
    assert precision_of("tf32", GPU).dtype == torch.float32
    assert precision_of(torch.float16, GPU).dtype == torch.float16
    with pytest.raises(NetError, match=r"must be one of .*, got float64"):
        precision_of(torch.float64, GPU)
    with pytest.raises(NetError, match=r"tf32 is a GPU's"):
        precision_of("tf32", CPU)


@pytest.mark.parametrize("before", ["highest", "high"])
def test_torchs_switches_come_back(before: str) -> None:
    original = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(before)
    try:
        found = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
        for name, tf32 in (("float32", False), ("tf32", True), ("bfloat16", False)):
            with switched(precision_of(name, GPU), GPU):
                assert not torch.is_grad_enabled()
                assert torch.backends.cudnn.allow_tf32 is tf32
                assert torch.backends.cudnn.deterministic
                assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
            assert torch.get_float32_matmul_precision() == before
            now = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
            assert now == found
        with pytest.raises(ZeroDivisionError), switched(precision_of("tf32", GPU), GPU):
            raise ZeroDivisionError
        assert torch.get_float32_matmul_precision() == before
        assert torch.is_grad_enabled()
    finally:
        torch.set_float32_matmul_precision(original)
