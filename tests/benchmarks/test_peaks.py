"""What a device can do at best: on the CPU products of both libraries are measured, and the fastest one counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import peaks


def test_both_libraries_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_CPU_SIDE", 64)
    made = []
    monkeypatch.setattr(peaks, "_seconds", lambda run, device: made.append(run()) or float(len(made)))
    found = peaks.matrix_peaks(torch.float32, torch.device("cpu"))
    rows, channels = 64 * 64, 128  # 64 x 64 outputs of 128 channels, of nine taps on 128
    assert found == {
        "torch.mm": 2 * 64**3,
        "oneDNN": 64**3,
        "oneDNN, 3 x 3": pytest.approx(2 * 9 * rows * channels**2 / 3),
    }
    product, convolved, direct = made
    assert direct.shape == (1, channels, 64, 64)
    torch.testing.assert_close(convolved.view(64, 64), product)
    made.clear()
    assert peaks.matrix_peak(torch.float32, torch.device("cpu")) == found["oneDNN, 3 x 3"]
