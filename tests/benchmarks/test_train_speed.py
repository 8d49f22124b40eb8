"""benchmarks/train_speed.py whole, on a small image: its two contenders take the same step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import train_speed


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_whole_on_a_small_image(tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--device", "cpu", "--batch", "2", "--size", "33", "--repeats", "1", "--layout", layout]
    train_speed.main([*words, "--out", str(tmp_path / "speed.json")])
    (case,) = json.loads((tmp_path / "speed.json").read_text())["cases"]
    plain, ours = (next(row for name, row in case["rows"].items() if name.startswith(k)) for k in ("plain", "ours"))
    assert plain["time_over_plain"] == 1
    assert 0 < ours["step_relative_error_to_plain"] < 1e-4
    assert "images/s" in capsys.readouterr().out
