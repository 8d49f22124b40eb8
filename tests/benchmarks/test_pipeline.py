"""benchmarks/pipeline.py, with two small pictures and the package's network alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import pipeline


def test_a_checkout_beside_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "photos", lambda count: np.zeros((count, 20, 24, 3), np.uint8))
    monkeypatch.setattr(pipeline, "networks", lambda folder: {"default": []})
    words = ["--against", str(pipeline.ROOT), "--count", "2", "--repeats", "1", "--out", str(tmp_path / "found.json")]
    pipeline.main(words)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["commits"]["now"] == found["commits"]["earlier"]
    assert [(case["model"], case["crf"]) for case in found["cases"]] == [("default", False), ("default", True)]
    for case in found["cases"]:
        rates = case["photographs_a_second"]
        assert case["times_earlier"] == round(rates["now"][0] / rates["earlier"][0], 2)
