from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from deeplab_caffe.cli.plot import draw, output_curves, running_mean, train_curve
from deeplab_caffe.solver import TrainingLog, read_log

pytest.importorskip("matplotlib")


def write_log(path: Path, tests: bool = True) -> Path:
    log = TrainingLog(None, path)
    log.record("start", 0)
    for n in range(4):
        if tests and n % 2 == 0:
            log.record("test", n, net=0, outputs={"loss": [1.0 / (n + 1)], "accuracy": [0.5, 0.4, n / 10]})
        log.record("train", n, loss=2.0 - n if n != 2 else float("nan"), lr=0.1 * n)
    log.close()
    return path


def test_a_picture_of_one_log(run, tmp_path: Path) -> None:
    outcome = run("plot", write_log(tmp_path / "log"), "--out", tmp_path / "new" / "curve.png")
    assert outcome.status == 0, outcome.err
    assert outcome.out == f"wrote {tmp_path}/new/curve.png\n"
    assert min(Image.open(tmp_path / "new" / "curve.png").size) > 500


def test_a_picture_of_several(run, tmp_path: Path) -> None:
    logs = [write_log(tmp_path / "a"), write_log(tmp_path / "b", tests=False)]
    outcome = run("plot", *logs, "--out", tmp_path / "curve.svg", "--title", "two", "--smooth", 2)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "curve.svg").read_text().lstrip().startswith("<?xml")


def test_names_that_are_no_utf8(run, tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9"), "b"]
    outcome = run(
        "plot", *(write_log(tmp_path / name) for name in names), "--out", tmp_path / "x.png", "--title", *names[:1]
    )
    assert outcome.status == 0, outcome.err


def test_what_is_drawn(tmp_path: Path) -> None:
    runs = [(tmp_path / "a", read_log(write_log(tmp_path / "a")))]
    figure = draw(runs, 2, None)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "learning rate", "accuracy"]
    labels = [line.get_label() for line in figure.axes[2].get_lines()]
    assert labels == [f"test accuracy: {name}" for name in ("pixel accuracy", "mean recall", "mean IoU")]
    iou = figure.axes[2].get_lines()[2]
    assert (list(iou.get_xdata()), list(iou.get_ydata())) == ([0, 2], [0.0, 0.2])


def test_a_loss_without_a_name_is_a_loss(tmp_path: Path) -> None:
    log = TrainingLog(None, tmp_path / "a")
    for net in range(2):
        log.record("test", 0, net=net, outputs={"(automatic)": [1.0], "(automatic) other": [2.0]})
    log.record("train", 1, loss=2.0, lr=0.1, outputs={"(automatic)": [2.0]})
    log.close()
    figure = draw([(tmp_path / "a", read_log(tmp_path / "a"))], 2, None)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "learning rate"]
    labels = [line.get_label() for line in figure.axes[0].get_lines()[2:]]
    assert labels == [f"test net {net} (automatic){end}" for net in range(2) for end in ("", " other")]


def test_no_empty_panel(tmp_path: Path) -> None:
    runs = [(tmp_path / "a", read_log(write_log(tmp_path / "a", tests=False)))]
    assert [axes.get_ylabel() for axes in draw(runs, 2, None).axes] == ["loss", "learning rate"]


def test_curves_by_hand(tmp_path: Path) -> None:
    records = read_log(write_log(tmp_path / "log"))
    assert train_curve(records, "loss") == ([0, 1, 3], [2.0, 1.0, -1.0])
    assert output_curves(records, "test")["loss"] == ([0, 2], [1.0, 1 / 3])
    assert output_curves(records, "train") == {}


def test_running_mean_by_hand() -> None:
    assert running_mean([1, 3, 5, 7], 2) == [1, 2, 4, 6]


def test_bad_input(run, tmp_path: Path) -> None:
    assert "none.jsonl" in run("plot", tmp_path / "none.jsonl").error_line()
    outcome = run("plot", write_log(tmp_path / "log"), "--out", tmp_path / "curve.xyz")
    assert outcome.status == 2
    assert "must end in one of png" in outcome.err
    assert run("plot").status == 2


def test_a_picture_over_a_log_is_refused(run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.png")
    assert "log.png: --out would be written over the log" in run("plot", log, "--out", log).error_line()
