from __future__ import annotations

import pytest
import torch

from deeplab_caffe import NetError
from deeplab_caffe.devices import available_memory, resolve_device


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device(None) == torch.device("cpu")
    with pytest.raises(NetError, match=r"device cuda: torch .* sees no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(NetError, match="device cuda:2: there are 2 GPUs"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "mps", "meta", ""])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(NetError, match="device must be auto, cpu or cuda"):
        resolve_device(name)


def test_available_memory() -> None:
    found = available_memory(torch.device("cpu"))
    assert found is None or 0 < found < 2**50
