"""benchmarks/segmentation.py by itself, on a small photograph."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import segmentation


@pytest.mark.parametrize(
    ("model", "weights", "bi_xy_std"),
    [
        (str(segmentation.CAMVID_MODEL.deploy), "random", 121),
        (segmentation.CAMVID_MODEL.name, segmentation.CAMVID_MODEL.weights.name, 30),
    ],
    ids=["a prototxt", "the package's"],
)
def test_the_segmenter_is_timed(
    model: str, weights: str, bi_xy_std: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmentation, "photos", lambda count, path: np.zeros((count, 20, 24, 3), np.uint8))
    words = ["--device", "cpu", "--repeats", "1", "--out", str(tmp_path / "found.json")]
    segmentation.main([*words, "--model", model, "--variables"])
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["weights"], found["crf"]["bi_xy_std"], found["photo"]) == (weights, bi_xy_std, "china.jpg")
    (case,) = found["cases"]
    assert set(case["rows"]) == {"labels", "labels after the CRF"}
    assert all(row["ms"] > 0 and row["processor_ms"] > 0 for row in case["rows"].values())
