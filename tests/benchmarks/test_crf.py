"""benchmarks/crf.py whole, on small images; what stands for the GPU computes here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe.crf import CRFParams, dense_crf

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import crf
import crf_gpu
import environment


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(crf, "CASES", (((24, 16), 3, (4, 20, 10)), ((16, 16), 2, (4, 20, 10))))
    monkeypatch.setattr(crf, "LINEAR_SIZES", ((24, 16), (32, 24)))
    return tmp_path / "crf.json"


def test_whole_on_the_cpu(out: Path) -> None:
    pytest.importorskip("matplotlib")
    crf.main(["--repeats", "2", "--no-peak", "--out", str(out)])
    content = json.loads(out.read_text())
    assert [(case["width"], case["height"], case["labels"]) for case in content["cases"]] == [(24, 16, 3), (16, 16, 2)]
    assert [case["labels"] for case in content["linear"]] == [21, 21]
    for case in (*content["cases"], *content["linear"]):
        assert list(case["rows"]) == ["ours, 1 thread", "ours, 2 threads", "ours, nothing kept"]
        assert all(len(row["all_ms"]) == 2 for row in case["rows"].values())
    assert out.with_suffix(".png").stat().st_size > 1000


def test_what_fails_or_is_wrong_on_a_gpu_is_not_timed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def runs(
        scores: np.ndarray, image: np.ndarray, bilateral: tuple, iterations: int, names: list[str]
    ) -> dict[str, Callable]:
        def run(name: str) -> torch.Tensor:
            calls.append(name)
            if name == crf_gpu.GRAPH:
                raise torch.OutOfMemoryError("CUDA out of memory")
            found = dense_crf(scores, image, CRFParams(3, 3, *bilateral), iterations=iterations)
            error = {crf_gpu.HALF: 0.05, crf_gpu.ORIGINAL: 0.01}.get(name, 0)
            return torch.from_numpy(found) + error

        return {name: lambda name=name: run(name) for name in names}

    monkeypatch.setattr(crf_gpu, "runs", runs)
    monkeypatch.setattr(environment, "describe", lambda device: {"device": str(device)})
    with pytest.raises(SystemExit) as end:
        crf.main(["--device", "cuda", "--quick", "--repeats", "3", "--no-peak", "--out", str(out)])
    assert str(end.value).count("CUDA out of memory") == 2
    assert str(end.value).count(f"{crf_gpu.ORIGINAL}: marginals differ from ours by 1.0e-02: not timed") == 2
    for case in json.loads(out.read_text())["cases"]:
        rows = case["rows"]
        assert list(rows) == ["ours, 2 threads", *crf_gpu.NAMES]
        assert len(rows["ours, 2 threads"]["all_ms"]) == 1
        assert rows[crf_gpu.GRAPH] == {"failed": "OutOfMemoryError: CUDA out of memory"}
        assert "ms" not in rows[crf_gpu.ORIGINAL]
        timed = [crf_gpu.BUILT, crf_gpu.KEPT, crf_gpu.HALF, crf_gpu.BATCHED]
        assert all(len(rows[name]["all_ms"]) == 3 for name in timed)
    assert calls.count(crf_gpu.ORIGINAL) == 2
    assert calls.count(crf_gpu.KEPT) == 2 * 4


def test_a_case_that_fails_leaves_the_others(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = crf.inputs

    def inputs(size: tuple[int, int], labels: int) -> tuple[np.ndarray, np.ndarray]:
        if labels == 3:
            raise MemoryError("no room")
        return original(size, labels)

    monkeypatch.setattr(crf, "inputs", inputs)
    with pytest.raises(SystemExit, match=r"^failed: 24 x 16, 3 labels, \(4, 20, 10\): MemoryError: no room$"):
        crf.main(["--quick", "--repeats", "1", "--no-peak", "--out", str(out)])
    first, second = json.loads(out.read_text())["cases"]
    assert first["failed"] == "MemoryError: no room"
    assert "ms" in second["rows"]["ours, 1 thread"]
