"""benchmarks/segmentation.py by itself, on a small photograph."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import segmentation


def test_the_segmenter_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "photos", lambda count: np.zeros((count, 20, 24, 3), np.uint8))
    words = ["--device", "cpu", "--repeats", "1", "--out", str(tmp_path / "found.json")]
    segmentation.main([*words, "--model", str(segmentation.CAMVID_MODEL.deploy), "--variables"])
    found = json.loads((tmp_path / "found.json").read_text())
    (case,) = found["cases"]
    assert set(case["rows"]) == {"labels", "labels after the CRF"}
    assert all(row["ms"] > 0 and row["processor_ms"] > 0 for row in case["rows"].values())
