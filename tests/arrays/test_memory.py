from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe import _C
from deeplab_caffe.arrays import arrays_of, memory
from deeplab_caffe.arrays.torch_arrays import kept_memory


def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_machine_memory", lambda: 5 << 30)
    monkeypatch.setattr(memory, "_container_memory", lambda: [7 << 30, 3 << 30])
    monkeypatch.setattr(memory, "_process_memory", lambda: 4 << 30)
    assert memory.available_memory() == 3 << 30
    assert memory.available_memory(reclaimable=1 << 20) == (3 << 30) + (1 << 20)
    monkeypatch.setattr(memory, "_container_memory", lambda: [-5])
    assert memory.available_memory("cpu") == 0
    assert memory.available_memory("cpu", reclaimable=7) == 7
    for name in ("_machine_memory", "_process_memory"):
        monkeypatch.setattr(memory, name, lambda: None)
    monkeypatch.setattr(memory, "_container_memory", list)
    assert memory.available_memory() is None
    assert memory.available_memory(reclaimable=7) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/sys/fs/cgroup/memory.max": "1000\n", "/sys/fs/cgroup/memory.current": "400\n"}, [600]),
        ({"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "400\n"}, []),
        (
            {
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "500",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes": "100",
            },
            [400],
        ),
        ({}, []),
    ],
)
def test_containers_of_both_versions(
    files: dict[str, str], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(self: Path, *args: object, **kwargs: object) -> str:
        try:
            return files[str(self)]
        except KeyError:
            raise FileNotFoundError(self) from None

    monkeypatch.setattr(Path, "read_text", read_text)
    assert memory._container_memory() == expected


def test_a_buffer_goes_back_with_the_last_tensor_on_it() -> None:
    workspace = _C.Workspace(1 << 28)
    memory = workspace.buffer(1 << 20)
    assert memoryview(memory).nbytes == 1 << 20
    first = torch.frombuffer(memory, dtype=torch.float32, count=1000)
    second = first[3:7]
    del memory, first
    assert workspace.nbytes == 0
    second.fill_(7)
    assert second.tolist() == [7] * 4
    del second
    assert workspace.nbytes == 1 << 20
    memory = workspace.buffer((1 << 20) - 5)
    assert workspace.nbytes == 0  # the same one
    del workspace
    memoryview(memory)[-1:] = b"x"  # it outlives the workspace
    with pytest.raises(ValueError, match="more than there can be"):
        _C.Workspace().buffer((1 << 64) - 1)
    with pytest.raises(MemoryError):
        _C.Workspace().buffer(1 << 60)


def test_blocks_that_are_much_too_large_are_taken_where_that_is_asked_for() -> None:
    for any_larger in (False, True):
        workspace = _C.Workspace(1 << 28, any_larger=any_larger)
        workspace.buffer(1 << 24)
        workspace.buffer(1 << 20)
        assert workspace.nbytes == (1 << 24 if any_larger else 1 << 20)


def test_large_tensors_come_from_a_workspace_if_it_is_said() -> None:
    workspace, xp = _C.Workspace(1 << 28), arrays_of(torch.zeros(1))
    with kept_memory(workspace):
        plain = xp.empty((2, 3, 300, 400), "float32")
        last = xp.empty((2, 3, 300, 400), torch.float32, channels_last=True)
        small = xp.empty((3, 4), "float32")
        numbers = arrays_of(np.zeros(1)).empty((2, 3, 300, 400), "float32")
    after = xp.empty((2, 3, 300, 400), "float32")
    assert plain.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert plain.shape == last.shape == (2, 3, 300, 400)
    assert plain.data_ptr() % 64 == last.data_ptr() % 64 == 0
    del after, small, numbers
    assert workspace.nbytes == 0
    places = {plain.data_ptr(), last.data_ptr()}
    del plain, last
    assert workspace.nbytes >= 2 * 4 * 2 * 3 * 300 * 400
    with kept_memory(workspace):
        again = xp.empty((2, 3, 300, 400), "float32")
    assert again.data_ptr() in places
    with pytest.raises(KeyError), kept_memory(workspace):
        raise KeyError
    assert xp.empty((2, 3, 300, 400), "float32").data_ptr() not in places
