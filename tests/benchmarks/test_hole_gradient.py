"""benchmarks/hole_gradient.py whole, on a small layer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deeplab_caffe.ops.packed_conv import bfloat16_is_fast

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import hole_gradient


def test_whole_on_a_small_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hole_gradient, "LAYERS", [(8, 40, 9)])
    monkeypatch.setattr(hole_gradient, "HOLES", (2, 8))
    monkeypatch.setattr(hole_gradient.torch, "set_num_threads", lambda threads: None)
    out = tmp_path / "result.json"
    hole_gradient.main(["--batch", "2", "--repeats", "2", "--out", str(out)])
    content = json.loads(out.read_text())
    assert content["benchmark"] == "hole_gradient"
    assert [case["hole"] for case in content["cases"]] == [2, 8] * (1 + bfloat16_is_fast())
    for case in content["cases"]:
        assert min(case["windows"], case["oneDNN"]) >= 0
    assert [case["used"] for case in content["cases"]][:2] == [False, True]
