from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_caffe.inference.precision import precision_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import contenders
import fps
import peaks
import segmentation

TINY = """
name: "tiny" input: "data" input_dim: 1 input_dim: 3 input_dim: 33 input_dim: 33
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "pool" type: POOLING bottom: "conv1" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "fc" type: CONVOLUTION bottom: "pool" top: "fc"
  convolution_param { num_output: 5 kernel_size: 3 pad: 2 hole: 2 } }
layers { name: "up" type: INTERP bottom: "fc" top: "up" interp_param { zoom_factor: 2 } }
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "deploy.prototxt").write_text(TINY)
    monkeypatch.setattr(peaks, "_CPU_SIDE", 64)
    monkeypatch.setattr(peaks, "_CPU_COPY_BYTES", 1 << 16)
    monkeypatch.setattr(segmentation, "_PHOTO_SIZE", (60, 45))
    contenders.random_weights.cache_clear()
    fps.problem.cache_clear()
    return folder


def run(folder: Path, *more: str) -> dict:
    out = folder / "out.json"
    given = ["--device", "cpu", "--model", str(folder), "--size", "33", "--repeats", "2", "--no-peak", "--no-compile"]
    fps.main([*given, "--out", str(out), *more])
    return json.loads(out.read_text())


def test_whole_on_a_network_of_ones_own(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    given = ["--batch", "1", "3", "--dtype", "float32", "--engine", "fast", "default", "CAFFE"]
    content = run(tiny, *given, "--crf", "--end-to-end")
    assert [case["batch"] for case in content["cases"]] == [1, 3]
    for case in content["cases"]:
        assert list(case["rows"]) == ["ours", "ours, Net", "ours, engine CAFFE"]
        # 33 * 33 * 8 * 27 for conv1, 17 * 17 * 5 * 72 for fc, 4 * 33 * 33 * 5 for up.
        assert case["gflop"] == round(2 * case["batch"] * (235224 + 104040 + 21780) / 1e9, 1)
        for row in case["rows"].values():
            assert row["frames_per_s"] == pytest.approx(case["batch"] / row["ms"] * 1e3, rel=0.01, abs=0.01)
            assert row["relative_error"] < 1e-5
            assert len(row["all_ms"]) == 2
    assert set(content["peaks"]["matrix"]) == {"float32"}
    assert [case["batch"] for case in content["crf"]] == [1, 3]
    assert content["end_to_end"]["agreement_with_segmenter_float32"] > 0.99
    assert content["end_to_end"]["images"] == 6
    assert (tiny / "out.png").stat().st_size > 1000
    assert "ours, engine CAFFE" in capsys.readouterr().out


def test_sizes_that_do_not_fit_are_left_out(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = """
layers { name: "fine" type: CONVOLUTION bottom: "data" top: "fine" convolution_param { num_output: 5 kernel_size: 1 } }
layers { name: "sum" type: ELTWISE bottom: "up" bottom: "fine" top: "sum" }
"""
    (tiny / "deploy.prototxt").write_text(TINY + more)
    content = run(tiny, "--batch", "1", "--dtype", "float32", "--size", "33", "34")
    assert [case["size"] for case in content["cases"]] == [33]
    assert "no 34x34: layer 'sum'" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ours, Net", "ours, engine CAFFE"])
def test_one_of_ours_that_fails_or_is_wrong_is_not_timed_and_the_others_go_on(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original = fps.contender

    def spoiled(wanted: str, model: str, dtype: str, x: torch.Tensor, *given: object) -> contenders.Run:
        found = original(wanted, model, dtype, x, *given)
        if wanted != name or len(x) != 1:
            return found
        if name == "ours, Net":
            raise RuntimeError("no such engine\nmore")
        return lambda: 1.01 * found()

    # For a network that is not written in plain PyTorch, ours is the judge too: it has judged before.
    fps.problem(str(tiny), 1, 33, torch.device("cpu"))
    monkeypatch.setattr(fps, "contender", spoiled)
    given = ["--batch", "1", "2", "--dtype", "float32", "--engine", "fast", "default", "CAFFE"]
    reason = (
        "RuntimeError: no such engine" if name == "ours, Net" else "differs from plain PyTorch by 1.0e-02: not timed"
    )
    with pytest.raises(SystemExit, match=rf"^failed: {tiny}, float32, batch 1, 33x33, {name}: {reason}$"):
        run(tiny, *given)
    first, second = json.loads((tiny / "out.json").read_text())["cases"]
    assert first["rows"][name]["failed"] == reason
    assert set(first["rows"][name]) <= {"failed", "relative_error"}
    assert [key for key, row in first["rows"].items() if "ms" in row] == [key for key in first["rows"] if key != name]
    assert len(first["rows"]) == 3
    assert all("ms" in row for row in second["rows"].values())


def test_a_contender_of_others_that_fails_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = fps.names
    monkeypatch.setattr(fps, "names", lambda *given, **options: [*original(*given, **options), "plain"])
    row = run(tiny, "--batch", "1", "--dtype", "float32")["cases"][0]["rows"]["plain"]
    assert row["failed"].startswith("ValueError: expected one of deeplab_largefov")


def test_a_case_or_part_that_fails_does_not_end_the_others(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = fps.problem

    def full(model: str, batch: int, *given: object) -> tuple[torch.Tensor, torch.Tensor]:
        if batch == 3:
            raise torch.OutOfMemoryError("CUDA out of memory\nmore")
        return original(model, batch, *given)

    monkeypatch.setattr(fps, "problem", full)
    monkeypatch.setattr(fps, "crf_case", lambda device, dtypes, batch, options: {"rows": 1 // (batch - 3)})
    with pytest.raises(SystemExit, match=r"batch 3, 33x33: OutOfMemoryError: CUDA out of memory; crf, batch 3: Zero"):
        run(tiny, "--batch", "3", "1", "--dtype", "float32", "--crf")
    content = json.loads((tiny / "out.json").read_text())
    assert content["cases"][0]["failed"] == "OutOfMemoryError: CUDA out of memory"
    assert "ms" in content["cases"][1]["rows"]["ours"]
    assert content["crf"] == [
        {"batch": 3, "failed": "ZeroDivisionError: integer division or modulo by zero"},
        {"batch": 1, "rows": -1},
    ]


@pytest.mark.parametrize("name", ["deeplab_largefov", "deeplab_msc"])
def test_float64_reference(name: str) -> None:
    x = torch.randn((2, 3, 17, 17), generator=torch.Generator().manual_seed(1)) * 50
    weights = contenders.random_weights(name)
    found = contenders.float64_scores(name, x, weights)
    with torch.no_grad():
        expected = contenders.contender("plain", name, "float32", x, weights)()
    assert found.shape == expected.shape == (2, 21, 17, 17)
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert contenders.tolerance("ours", "float32", torch.device("cuda", 0)) == 3e-5
    assert contenders.tolerance("ours", "float32", torch.device("cpu")) == 1e-5
    assert contenders.tolerance("ours, precision fast", "float32", torch.device("cpu")) == 5e-5


def test_the_network_is_tuned_at_the_size_that_it_runs_at(tiny: Path) -> None:
    fast = segmentation.optimized(str(tiny), "float32", torch.device("cpu"), 2)
    sides = tuple(fast.head_runner.fit(side)[0] for side in (45, 60))
    assert sides == segmentation.input_size(contenders.random_weights(str(tiny)))


def test_agreement_of_labels(tmp_path: Path) -> None:
    dtypes = []
    for dtype in ("bfloat16", "float16"):
        try:
            precision_of(dtype, torch.device("cpu"))
        except ValueError:
            continue
        dtypes.append(dtype)
    image = np.asarray(Image.open(segmentation.DEMO_PHOTO).convert("RGB").resize((120, 90)))
    for name in ("a", "b", "c"):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    options = fps.parse(["--agreement", str(tmp_path)])
    found = segmentation.label_agreement(torch.device("cpu"), dtypes, options)
    assert found["images"] == 3
    assert found["pixels"] == 3 * 120 * 90
    assert list(found["shares"]) == ["float32", "float32, precision fast", *dtypes]
    assert all(share > (0.999 if "float32" in name else 0.98) for name, share in found["shares"].items())
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "test.txt").write_text("/JPEGImages/b.jpg /SegmentationClass/b.png\n")
    assert [path.stem for path in segmentation.test_images(tmp_path)] == ["b"]


def test_files_come_out_in_order_whatever_the_batch(tmp_path: Path) -> None:
    paths = []
    for index in range(7):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(np.full((4, 5, 3), index, np.uint8)).save(paths[-1])

    class Echo:
        device = torch.device("cpu")

        def label_images(self, images, crf=None):
            return images[..., 0]

    found = np.concatenate(list(segmentation.segment_files(Echo(), paths, 3, 2, None)))
    assert found[:, 0, 0].tolist() == list(range(7))
    assert [image[0, 0, 0] for image in segmentation.decoded(paths, 2, 3)] == list(range(7))
