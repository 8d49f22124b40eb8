from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.arrays import memory


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
