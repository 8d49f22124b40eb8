"""What one failing case does to a benchmark: it is written down, the others are measured, and the status is 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import ends
import kernels
import train_speed
from failures import Failures, WrongResult


def test_failures(capsys: pytest.CaptureFixture[str]) -> None:
    failures = Failures()
    with failures.caught("well") as well:
        well["ms"] = 1
    failures.end()
    with failures.caught("ill") as ill:
        ill["ms"] = 2
        raise WrongResult("differs\nby much")
    with pytest.raises(KeyboardInterrupt), failures.caught("stopped"):
        raise KeyboardInterrupt
    failures.add("other", "reason")
    assert well == {"ms": 1}
    assert ill == {"ms": 2, "failed": "WrongResult: differs"}
    assert "ill: WrongResult: differs" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="^failed: ill: WrongResult: differs; other: reason$"):
        failures.end()


def spoil(monkeypatch: pytest.MonkeyPatch, module: object, calls: int) -> None:
    """Has the check of so many calls from now find a wrong result."""
    original: Callable = module.check

    def check(*given: object) -> object:
        nonlocal calls
        calls -= 1
        if calls == 0:
            raise WrongResult("differs: not timed")
        return original(*given)

    monkeypatch.setattr(module, "check", check)


def test_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, ends, 2)
    words = ["--device", "cpu", "--size", "33", "--repeats", "1", "--no-peak", "--out", str(tmp_path / "ends.json")]
    with pytest.raises(SystemExit, match="^failed: labels of noise, batch 1: WrongResult: differs: not timed$"):
        ends.main(words)
    cases = json.loads((tmp_path / "ends.json").read_text())["cases"]
    assert [case["end"] for case in cases] == list(ends.ENDS)
    assert [case["end"] for case in cases if "failed" in case] == ["labels of noise"]
    assert "rows" not in cases[1]


def test_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(batch: int, device: torch.device):
        x = torch.ones(batch, 8, device=device)
        for name in ("first", "second"):
            yield kernels.Case(name, lambda: x * 2, lambda: x + x, (x,))

    def broken(batch: int, device: torch.device):
        yield from two(batch, device)
        raise RuntimeError("no kernel image")

    for name, cases in {"holes": broken, "ends": two, "poolings": two, "losses": two}.items():
        monkeypatch.setattr(kernels, name, cases)
    monkeypatch.setattr(kernels, "copy_of", lambda size, device: lambda: None)
    spoil(monkeypatch, kernels, 2)
    with pytest.raises(
        SystemExit, match="^failed: second: WrongResult: differs: not timed; broken: RuntimeError: no kernel image$"
    ):
        kernels.main(["--device", "cpu", "--repeats", "2", "--out", str(tmp_path / "kernels.json")])
    rows = json.loads((tmp_path / "kernels.json").read_text())["rows"]
    assert [row["operation"] for row in rows] == ["first", "second"] * 4
    assert rows[1] == {"operation": "second", "failed": "WrongResult: differs: not timed"}
    assert all("ms" in row for row in (*rows[:1], *rows[2:]))


def test_train_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(dtype: str, count: int, *given: object) -> dict:
        if count == 1:
            raise WrongResult("ours: its step differs")
        return {"rows": {}, "activation_mib_estimate": 7}

    monkeypatch.setattr(train_speed, "measure", measure)
    words = ["--device", "cpu", "--batch", "1", "2", "--out", str(tmp_path / "speed.json")]
    with pytest.raises(SystemExit, match="^failed: float32, batch 1: WrongResult: ours: its step differs$"):
        train_speed.main(words)
    content = json.loads((tmp_path / "speed.json").read_text())
    assert [(case["batch"], "rows" in case) for case in content["cases"]] == [(1, False), (2, True)]
    assert len(content["load_average"]) == 3
