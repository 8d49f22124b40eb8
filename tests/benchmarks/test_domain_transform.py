from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import domain_transform

WORDS = ["--device", "cpu", "--size", "24", "16", "--labels", "3", "--repeats", "1", "--out"]


def test_every_contender_has_its_row(tmp_path: Path) -> None:
    domain_transform.main([*WORDS, str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    (case,) = found["cases"]
    kinds = {name.rpartition(" (")[0] for name in case["rows"]}
    assert kinds >= {"ours", "ours, forward and backward", "dense CRF, 10 iterations", "torch loop"}
    assert all(row["ms"] > 0 for row in case["rows"].values())


def test_what_differs_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = domain_transform.torch_loop
    monkeypatch.setattr(domain_transform, "torch_loop", lambda x, edges: 1.001 * loop(x, edges))
    with pytest.raises(SystemExit, match=r"^failed: 24 x 16, 3 labels: WrongResult: ours and the torch loop differ"):
        domain_transform.main([*WORDS, str(tmp_path / "found.json")])
    (case,) = json.loads((tmp_path / "found.json").read_text())["cases"]
    assert "rows" not in case
