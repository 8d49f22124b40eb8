"""What a device can do at best: on the CPU both libraries' matrix products are measured, and the faster one counts."""

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
    assert found == {"torch.mm": 2 * 64**3, "oneDNN": 64**3}
    product, convolved = made
    torch.testing.assert_close(convolved.view(64, 64), product)
    made.clear()
    assert peaks.matrix_peak(torch.float32, torch.device("cpu")) == 2 * 64**3
