from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import load_label, save_labels_png, write_blob_mat
from deeplab_caffe.viz import CAMVID_COLORMAP, VOC_COLORMAP


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_labels_png(tmp_path / "labels" / "a.png", np.array([[0, 0, 255], [1, 1, 1]]), VOC_COLORMAP)
    save_labels_png(tmp_path / "results" / "a.png", np.array([[0, 1, 2], [1, 1, 0]]), VOC_COLORMAP)
    (tmp_path / "val_id.txt").write_text("a\n")
    (tmp_path / "names.txt").write_text("road\ncar\n")
    return tmp_path


def words(folder: Path, *more: object) -> tuple:
    given = ("--predictions", folder / "results", "--labels", folder / "labels", "--list", folder / "val_id.txt")
    return ("eval", *given, "--classes", folder / "names.txt", *more)


def test_names_that_are_no_utf8(run, folder: Path) -> None:
    pytest.importorskip("matplotlib")
    name = os.fsdecode(b"caf\xe9")
    for kind in ("labels", "results"):
        (folder / kind / "a.png").rename(folder / kind / f"{name}.png")
    (folder / "val_id.txt").write_bytes(b"caf\xe9\n")
    (folder / "names.txt").write_bytes(b"road\nr\xe9\n")
    files = [folder / f"x.{end}" for end in ("json", "md", "svg", "html")]
    flags = ["--json", files[0], "--markdown", files[1], "--plot", files[2], "--html", files[3]]
    outcome = run(*words(folder, *flags, "--title", name))
    assert outcome.status == 0, outcome.err
    assert r"caf\udce9" in files[3].read_text(encoding="utf-8")
    assert r"# caf\udce9" in files[1].read_text(encoding="utf-8")


def test_names_of_classes_and_ids_cannot_steer_the_terminal(run, folder: Path) -> None:
    (folder / "names.txt").write_text("road\ncar\x1b[2J\nsky\x9b31m\n")
    (folder / "val_id.txt").write_text("a\nb\x1b[2J\n")
    outcome = run(*words(folder, "--skip-missing", "--only", "car\x1b[2J"))
    assert outcome.status == 0, outcome.err
    assert outcome.out.isascii()
    assert "\x1b" not in outcome.out + outcome.err
    assert r"car\x1b[2J" in outcome.out
    assert r"the first is 'b\x1b[2J'" in outcome.err


def test_numbers_and_files(run, folder: Path) -> None:
    pytest.importorskip("matplotlib")
    files = [folder / "out" / name for name in ("x.json", "x.md", "x.png", "x.html")]
    outcome = run(
        *words(folder, "--trimap", "1:2", "--json", files[0], "--markdown", files[1]),
        "--plot",
        files[2],
        "--html",
        files[3],
    )
    assert outcome.status == 0, outcome.err
    assert "Average accuracy: 41.667%" in outcome.out
    assert "Percentage of pixels correctly labelled overall: 60.000%" in outcome.out
    assert all(path.stat().st_size > 200 for path in files)
    content = json.loads(files[0].read_text())
    assert content["mean_iou"] == (100 / 3 + 50) / 2
    assert list(content["trimap"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--classes", "none.txt"), "none.txt"),
        (("--trimap", "a:b"), "--trimap"),
        (("--list", "none_id.txt"), "none_id.txt"),
        (("--predictions", "nowhere"), "nowhere"),
    ],
)
def test_errors_are_one_line(run, folder: Path, more: tuple, message: str) -> None:
    assert message in run(*words(folder, *more)).error_line()


def test_wrong_usage(run, folder: Path) -> None:
    assert run(*words(folder, "--trimap", "0:3")).status == 2
    assert run(*words(folder, "--absent", "maybe")).status == 2


def test_absent_classes_are_said(run, folder: Path) -> None:
    with (folder / "names.txt").open("a") as file:
        file.write("cow\n")
    outcome = run(*words(folder))
    assert "warning: neither true nor predicted: cow" in outcome.err
    assert "Average accuracy: 27.778%" in outcome.out
    assert "Average accuracy: 41.667%" in run(*words(folder, "--absent", "skip")).out


def test_results_are_saved_without_labels_too(run, folder: Path) -> None:
    save_labels_png(folder / "images" / "a.png", np.zeros((2, 3), int), VOC_COLORMAP)
    write_blob_mat(folder / "scores" / "a_blob_0.mat", np.arange(16.0).reshape(1, 2, 2, 4))
    given = ("--predictions", folder / "scores", "--list", folder / "val_id.txt", "--save-png", folder / "out")
    assert run("eval", *given).status == 2
    outcome = run("eval", *given, "--images", folder / "images")
    assert outcome.status == 0, outcome.err
    assert load_label(folder / "out" / "a.png").tolist() == [[1, 1, 1], [1, 1, 1]]
    assert run(*words(folder, "--save-png", folder / "again")).status == 0
    assert load_label(folder / "again" / "a.png").tolist() == [[0, 1, 2], [1, 1, 0]]
    assert "cannot be read" in run("eval", *given, "--images", folder / "none").error_line()


def test_labels_that_cannot_be_vocs(run, folder: Path) -> None:
    """CamVid's sky is never PASCAL VOC's background."""
    given = ("--predictions", folder / "results", "--labels", folder / "labels", "--list", folder / "val_id.txt")
    assert "background" in run("eval", *given).out
    for place in ("labels", "results"):
        Image.fromarray(np.array([[0, 0, 11], [1, 10, 1]], np.uint8)).save(folder / place / "a.png")
    outcome = run("eval", *given)
    assert "background" not in outcome.out
    assert "say --classes" in outcome.err
    assert "--classes" in run("eval", *given, "--ignore-label", "11").error_line()
    assert "     Sky: 100.000%" in run("eval", *given, "--ignore-label", "11", "--classes", "camvid").out
    save_labels_png(folder / "labels" / "a.png", np.array([[0, 0, 255], [1, 1, 1]]), CAMVID_COLORMAP)
    assert "palette that is not PASCAL VOC's: say --classes" in run("eval", *given).error_line()
    Image.fromarray(np.array([[0, 0, 33], [1, 1, 1]], np.uint8)).save(folder / "labels" / "a.png")
    line = run("eval", *given).error_line()
    assert "labels/a.png: unexpected label 33" in line
    assert "--classes" in line


def test_the_number_of_classes_that_are_named(run, folder: Path) -> None:
    save_labels_png(folder / "labels" / "a.png", np.array([[0, 0, 2], [1, 1, 1]]), VOC_COLORMAP)
    assert "unexpected label 2: expected 0 to 1: --classes names 2 classes" in run(*words(folder)).error_line()
    (folder / "results" / "a.png").unlink()
    write_blob_mat(folder / "results" / "a_blob_0.mat", np.zeros((1, 3, 2, 3)))
    assert "has 3 classes, but --classes names 2" in run(*words(folder)).error_line()


def test_masks_of_0_and_255(run, folder: Path) -> None:
    """The foreground, 255, does not count: one true class is left."""
    Image.fromarray(np.array([[0, 0, 255], [255, 0, 0]], np.uint8)).save(folder / "labels" / "a.png")
    Image.fromarray(np.array([[0, 0, 1], [1, 0, 0]], np.uint8)).save(folder / "results" / "a.png")
    outcome = run(*words(folder))
    assert outcome.status == 0, outcome.err
    assert "the only true class is road: are the labels masks of 0 and 255?" in outcome.err


def test_means_over_chosen_classes(run, folder: Path) -> None:
    outcome = run(*words(folder, "--only", "car, road", "--json", folder / "x.json"))
    assert outcome.status == 0, outcome.err
    assert "The means are over 2 classes: car, road." in outcome.out
    assert json.loads((folder / "x.json").read_text())["means_over"] == ["car", "road"]
    assert "got dog" in run(*words(folder, "--only", "dog")).error_line()


def test_scores_of_nan_are_refused_by_numbers_and_pngs(run, folder: Path) -> None:
    write_blob_mat(folder / "scores" / "a_blob_0.mat", np.full((1, 2, 2, 3), np.nan, np.float32))
    for more in ((), ("--save-png", folder / "saved")):
        outcome = run(*words(folder, "--predictions", folder / "scores", *more))
        assert "a_blob_0.mat: the scores are not finite" in outcome.error_line()
    assert not list((folder / "saved").glob("*"))


@pytest.mark.parametrize("place", ["labels", "results", "link"])
def test_pngs_are_not_saved_over_labels_or_results(run, folder: Path, place: str) -> None:
    (folder / "link").symlink_to(folder / "labels")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    line = run(*words(folder, "--save-png", folder / place)).error_line()
    assert f"{folder / place / 'a.png'}: the result of 'a' as PNG would be written over " in line
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


def test_a_report_over_labels_or_the_list_is_refused(run, folder: Path) -> None:
    for name, what in (("val_id.txt", "--list"), ("labels/a.png", "the label map or result")):
        line = run(*words(folder, "--json", folder / name)).error_line()
        assert f"{name}: --json would be written over {what}" in line
