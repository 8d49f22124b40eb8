from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.data import load_label, read_labels_bin
from deeplab_caffe.zoo import CAMVID_MODEL
from tests.crf.scenes import scene, write_scenes

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scenes(tmp_path, NAMES)
    return tmp_path


@pytest.fixture
def search(run, folder: Path):
    def call(*more: object):
        folders = [word for name in ("scores", "images", "labels") for word in (f"--{name}", folder / name)]
        ranges = ("--bi-w", "1:2:5", "--bi-xy-std", "4:4:8", "--bi-rgb-std", "20,60", "--pos-w", 1)
        return run("crf-search", *folders, *ranges, "--iterations", 2, "--out", folder / "out", *more)

    return call


def test_the_whole_way(run, folder: Path, search) -> None:
    pytest.importorskip("matplotlib")
    outcome = search("--top", 3)
    assert outcome.status == 0, outcome.err
    assert "4 of 4 images, 12 points in the first round" in outcome.out
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "best.json",
        "heatmap.png",
        "points.csv",
        "results.jsonl",
    ]
    with (folder / "out" / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["round"] == "0"
    assert rows[0]["bi_w"] == ""
    assert {row["round"] for row in rows} == {"0", "1", "2"}
    assert {"iou_0", "iou_1", "iou_2"} <= rows[0].keys()
    best = max(rows[1:], key=lambda row: float(row["mean_iou"]))
    params = CRFParams.from_file(folder / "out" / "best.json")
    assert params == CRFParams(
        1, 3, float(best["bi_w"]), float(best["bi_xy_std"]), float(best["bi_rgb_std"]), iterations=2
    )
    table = [line.split() for line in outcome.out.splitlines()]
    gain = 100 * (float(best["mean_iou"]) - float(rows[0]["mean_iou"]))
    assert gain > 0
    first = next(words for words in table if words[:1] == [f"{float(best['bi_w']):g}"])
    assert float(first[3]) == pytest.approx(100 * float(best["mean_iou"]), abs=0.006)
    assert float(first[4]) == pytest.approx(gain, abs=0.011)
    with Image.open(folder / "out" / "heatmap.png") as image:
        assert image.width > 200

    # The file goes on to the verbs that use it.
    refined = run(
        "crf", "-id", folder / "images", "-fd", folder / "scores", "-sd", folder / "res", "--crf",
        folder / "out" / "best.json",
    )  # fmt: skip
    assert refined.status == 0, refined.err
    image, _, scores = scene(0, (18, 22))
    expected = dense_crf(scores, image, params).argmax(0)
    np.testing.assert_array_equal(read_labels_bin(folder / "res" / "a.bin"), expected)

    again = search("--top", 3)
    assert again.out == outcome.out


def test_segment_takes_the_file(run, photo: Path, tmp_path: Path) -> None:
    CRFParams(iterations=0).to_file(tmp_path / "none.json")
    CRFParams(3, 3, 30, 50, 60).to_file(tmp_path / "strong.json")
    labels = {}
    for name, words in {
        "without": (),
        "none": ("--crf", tmp_path / "none.json"),
        "strong": ("--crf", tmp_path / "strong.json"),
        "less": ("--crf", tmp_path / "strong.json", "--bi-w", "1"),
    }.items():
        words = ("--model", CAMVID_MODEL.name, "--device", "cpu", *words)
        outcome = run("segment", photo, "--out", tmp_path / name, *words)
        assert outcome.status == 0, outcome.err
        labels[name] = load_label(tmp_path / name / "photo_labels.png")
    np.testing.assert_array_equal(labels["none"], labels["without"])
    assert (labels["strong"] != labels["none"]).any()
    assert (labels["less"] != labels["strong"]).any()
    missing = run("segment", photo, "--out", tmp_path / "x", "--crf", tmp_path / "no.json")
    assert "no.json" in missing.error_line()
    both = run("segment", photo, "--crf", tmp_path / "none.json", "--preset", "DeepLab")
    assert both.status == 2
    assert run("segment", photo, "--bi-w", "3").status == 2


def test_crf_keeps_the_files_iterations_unless_told(run, folder: Path) -> None:
    CRFParams(iterations=0).to_file(folder / "p.json")
    files = ("crf", "-id", folder / "images", "-fd", folder / "scores", "--crf", folder / "p.json")
    assert run(*files, "-sd", folder / "zero").status == 0
    _, _, scores = scene(0, (18, 22))
    np.testing.assert_array_equal(read_labels_bin(folder / "zero" / "a.bin"), scores.argmax(0))
    assert run(*files, "-sd", folder / "ten", "-i", "10").status == 0
    assert (read_labels_bin(folder / "ten" / "a.bin") != scores.argmax(0)).any()
    CRFParams((1, 2), 3, (), (), ()).to_file(folder / "p.json")
    assert run(*files, "-sd", folder / "two").status == 0
    assert "--crf has others" in run(*files, "-sd", folder / "three", "-bw", "3").error_line()


def test_the_verb_needs_no_torch(run) -> None:
    assert "\n  crf-search " in run("--help").out
    code = "import sys, deeplab_caffe.cli.crf_search; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fewer_samples(folder: Path, search) -> None:
    (folder / "ids.txt").write_text("d\nc\na\n")
    outcome = search("--list", folder / "ids.txt", "--samples", 2, "--rounds", 1)
    assert outcome.status == 0, outcome.err
    assert "2 of 3 images" in outcome.out
    assert '"image": "b"' not in (folder / "out" / "results.jsonl").read_text()


def test_a_wider_range_is_advised(search) -> None:
    outcome = search("--bi-w", "0.1,0.2", "--rounds", 1)
    assert "bi_w" in next(line for line in outcome.out.splitlines() if "wider range" in line)


def test_without_matplotlib(folder: Path, search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    outcome = search("--rounds", 1)
    assert outcome.status == 0
    assert "deeplab-caffe[plot]" in outcome.err
    assert (folder / "out" / "best.json").exists()
    assert not (folder / "out" / "heatmap.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bi-w", "10:1:5"), "--bi-w: the range is empty"),
        (("--bi-xy-std", "x"), "--bi-xy-std: expected start:step:stop"),
        (("--bi-rgb-std", "0:1:3"), "bi_rgb_std must be positive"),
        (("--pos-xy-std", "-1"), "pos_xy_std"),
        (("--labels", "missing"), "missing"),
        (("--list", "missing.txt"), "missing.txt"),
        (("--ignore-label", "254"), "unexpected label 255"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(folder: Path, search, words: tuple, message: str) -> None:
    assert message in search(*words).error_line()
    assert not (folder / "out").exists()
