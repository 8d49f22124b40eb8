from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeplab_caffe import Net
from deeplab_caffe.errors import NetError

INPUT = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n'
LARGE = 'layers { name: "l" type: INTERP bottom: "x" top: "y" interp_param { height: 2147483647 width: 2147483647 } }'
RELU = 'layers { name: "l" type: RELU bottom: "x" top: "y" }'
SOURCE = 'layer { name: "l" type: "DummyData" top: "y" dummy_data_param { shape { dim: 2147483647 dim: 2147483647 } } }'


def net_of(folder: Path, text: str) -> Net:
    (folder / "net.prototxt").write_text(text)
    return Net(folder / "net.prototxt")


def test_blobs_larger_than_any_memory(tmp_path: Path) -> None:
    """The layer and its bottoms are named, not the allocator that refused."""
    net = net_of(tmp_path, INPUT + LARGE)
    with pytest.raises(NetError, match=r"^layer 'l': not enough memory on cpu for bottoms \(1, 3, 9, 9\): take fewer"):
        net(x=torch.zeros(1, 3, 9, 9))
    with pytest.raises(NetError, match=r"^layer 'l': not enough memory for its tops: make them smaller$"):
        net_of(tmp_path, SOURCE)()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_every_word_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    net = net_of(tmp_path, INPUT + RELU)

    def no_memory(*_: object) -> None:
        raise error

    monkeypatch.setattr(net.by_name["l"], "forward", no_memory)
    with pytest.raises(NetError, match="not enough memory on cpu") as found:
        net(x=torch.zeros(1, 3, 9, 9))
    assert "alloc" not in str(found.value)
