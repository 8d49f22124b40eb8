from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch


def test_no_gpu(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for words in ((), ("-gpu", "all"), ("-gpu", "0")):
        assert "sees no CUDA device" in run("device_query", *words).error_line()


def test_shows_the_gpus(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 2000))
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(name=f"card {device.index}", major=9, minor=0, multi_processor_count=132),
    )
    shown = run("device-query").out
    assert [f"card {index}" in shown for index in range(4)] == [True, True, True, False]
    shown = run("device_query", "-gpu", "0,2").out
    assert [f"card {index}" in shown for index in range(3)] == [True, False, True]
    for fact in ("9.0", "2,000 bytes", "1,000 bytes", "132"):
        assert fact in shown
