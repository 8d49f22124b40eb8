"""The model beyond the cores that are there, by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import crf_scaling

from deeplab_caffe import _C

CASE = ((128, 64), 2, (5, 50, 10))


def test_a_phase_is_what_is_shared_out_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def phases(*_: object) -> dict[str, float]:
        threads = _C.num_threads()
        shared = {"lattice": 8, "norms": 0, "start": 4, "iterations": 40, "marginals": 4}
        fixed = {"lattice": 2, "norms": 1, "start": 0, "iterations": 10, "marginals": 0}
        return {name: (fixed[name] + shared[name] / threads) / 1e3 for name in shared} | {"python": 0.003}

    monkeypatch.setattr(crf_scaling, "run_phases", phases)
    found = crf_scaling.measure(CASE, [1, 2], 2)
    assert found["phases_ms"][2] == {
        "lattice": 6, "norms": 1, "start": 2, "iterations": 30, "marginals": 2, "python": 3,
    }  # fmt: skip
    assert found["measured_ms"] == {1: 72, 2: 44}
    # 8,192 points: the lattice has 2 chunks, an iteration 4, the others 16; 16 ms are not shared out.
    assert found["modelled_ms"] == {4: 16 + 4 + 1 + 10 + 1, 8: 16 + 4 + 0.5 + 10 + 0.5, 16: 30.5, 32: 30.5}
    assert found["times_one_thread"][4] == 2.25


def test_the_phases_are_those_of_dense_crf() -> None:
    seconds = crf_scaling.run_phases(*crf_scaling.inputs((40, 24), 3), (5, 50, 10))
    assert list(seconds) == [*crf_scaling.CHUNKS, "python"]
    assert all(one >= 0 for one in seconds.values())
