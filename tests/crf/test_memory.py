from __future__ import annotations

import pytest

from deeplab_caffe.crf import CRFMemoryError, memory
from deeplab_caffe.errors import CRFError


def test_available_memory_is_a_sensible_number() -> None:
    available = memory.available_memory()
    if available is None:
        pytest.skip("this system does not tell")
    assert 1 << 20 < available < 1 << 50


def test_check_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 3 << 30)
    memory.check_memory(3 << 30, "it")
    with pytest.raises(CRFMemoryError, match=r"it needs at least 4\.0 GiB of memory, but 3\.0 GiB are available"):
        memory.check_memory(4 << 30, "it")
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    memory.check_memory(1 << 60, "it")


def test_the_error_is_caught_as_either_of_its_kinds() -> None:
    for kind in (CRFError, MemoryError):
        with pytest.raises(kind, match="the task: not enough memory"), memory.memory_errors("the task"):
            raise MemoryError


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), memory.memory_errors("the task"):
        raise KeyError
    with pytest.raises(CRFMemoryError, match="^as it was$"), memory.memory_errors("the task"):
        raise CRFMemoryError("as it was")
