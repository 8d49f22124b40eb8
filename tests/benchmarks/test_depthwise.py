"""benchmarks/depthwise.py whole, on small layers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deeplab_caffe import _C

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import depthwise


@pytest.mark.parametrize("inference", [False, True])
def test_whole_on_small_layers(inference: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [(1, 8, 9, 3, 1, 1, 1), (2, 8, 9, 3, 1, 6, 6)]
    monkeypatch.setattr(depthwise, "LAYERS", small)
    monkeypatch.setattr(depthwise, "INFERENCE_LAYERS", small)
    out = tmp_path / "result.json"
    for library in (_C, depthwise.torch):
        monkeypatch.setattr(library, "set_num_threads", lambda threads: None)
    depthwise.main(["--batch", "2", "--repeats", "2", "--out", str(out), *(["--inference"] if inference else [])])
    content = json.loads(out.read_text())
    assert content["benchmark"] == ("depthwise_inference" if inference else "depthwise")
    assert [case["layers"] for case in content["cases"]] == [1, 2]
    names = {"ours", "onednn"} if inference else {"ours, forward", "torch, forward and backward"}
    for case in content["cases"]:
        assert names <= set(case["rows"])
        assert min(case["rows"].values()) >= 0
