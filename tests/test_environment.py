from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest
import torch

from deeplab_caffe import _C, __version__, environment


def test_facts_are_json() -> None:
    found = json.loads(json.dumps(environment.describe()))
    assert found["deeplab_caffe"]["version"] == __version__
    assert found["torch"]["version"] == torch.__version__
    assert found["extension"]["with_cuda"] == _C.with_cuda
    assert found["packages"]["numpy"]
    assert found["memory"]["available"] <= found["memory"]["total"]
    assert "hdf5" in found["extras"]
    assert not {"test", "lint", "docs"} & set(found["extras"])


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(environment, "_requirements", lambda: [("", "numpy"), ("hdf5", "no-such-distribution")])
    found = environment.describe()
    assert (found["torch"], found["gpus"]) == (None, [])
    assert found["extras"] == {"hdf5": {"no-such-distribution": None}}


def test_cores_that_the_process_may_not_use_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert environment.usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert environment.usable_cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert environment.usable_cores() == 1


def test_the_extension_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import deeplab_caffe

    monkeypatch.delattr(deeplab_caffe, "_C")
    monkeypatch.setitem(sys.modules, "deeplab_caffe._C", None)
    assert environment.describe()["extension"]["error"]


def test_gpus_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 2000))
    facts = SimpleNamespace(name="card", major=9, minor=0, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)
    (found,) = environment.gpus([1])
    assert found == {
        "index": 1,
        "name": "card",
        "compute_capability": "9.0",
        "total_memory": 2000,
        "free_memory": 1000,
        "multiprocessors": 132,
    }
