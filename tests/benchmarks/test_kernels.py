"""benchmarks/kernels.py: every operation that it times runs, and computes what torch does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import kernels


@pytest.mark.parametrize("part", ["holes", "ends", "poolings", "losses"])
def test_a_part_runs(part: str) -> None:
    cases: Iterator[Any] = getattr(kernels, part)(1, torch.device("cpu"))
    with torch.no_grad():
        errors = [kernels.check(case, case.run()) for case in cases]
    assert len(errors) >= 4
    assert max(errors) <= kernels.TOLERANCE


def test_rows_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(8)
    case = kernels.Case("a copy", x.clone, x.clone, (x,))
    monkeypatch.setattr(kernels, "copy_of", lambda size, device: x.clone)
    for part in ("holes", "ends", "poolings", "losses"):
        monkeypatch.setattr(kernels, part, lambda batch, device: iter([case]))
        getattr(kernels, part).__name__ = part
    kernels.main(["--device", "cpu", "--repeats", "1", "--out", str(tmp_path / "found.json")])
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["operation"] for row in rows] == ["a copy"] * 4
