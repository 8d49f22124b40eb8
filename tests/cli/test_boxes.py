from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import load_label, save_image, save_labels_png
from deeplab_caffe.viz import VOC_COLORMAP
from tests.weak.test_boxes import discs

XML = """<annotation><object><name>cat</name><bndbox><xmin>5</xmin><ymin>11</ymin><xmax>44</xmax><ymax>50</ymax>
</bndbox></object></annotation>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image, labels = discs()
    for name in "ab":
        save_image(tmp_path / "images" / f"{name}.png", image)
    save_labels_png(tmp_path / "labels" / "a.png", labels, VOC_COLORMAP)
    objects = np.where(labels == 9, 1, np.where(labels == 4, 2, 0)).astype(np.uint8)
    save_labels_png(tmp_path / "objects" / "a.png", objects, VOC_COLORMAP)
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "a.xml").write_text(XML)
    (tmp_path / "list.txt").write_text("a\n")
    return tmp_path


def words(folder: Path, source: str, *more: object) -> tuple:
    return (
        *("boxes", f"--{source}", folder / ("xml" if source == "annotations" else source)),
        *("--images", folder / "images", "--list", folder / "list.txt", "--out", folder / "out", *more),
    )


def test_rectangles_of_annotations(run, folder: Path) -> None:
    assert run(*words(folder, "annotations", "--method", "rect")).out == "1 made, 0 skipped, 0 failed\n"
    expected = np.zeros((60, 80))
    expected[10:50, 4:44] = 8
    assert (load_label(folder / "out" / "a.png") == expected).all()
    assert "0 made, 1 skipped" in run(*words(folder, "annotations", "--method", "rect")).out


def test_objects_of_label_maps(run, folder: Path) -> None:
    (folder / "crf.json").write_text('{"pos_w": 3, "pos_xy_std": 3, "bi_w": 3, "bi_xy_std": 20, "bi_rgb_std": 20}')
    more = ("--instances", folder / "objects", "--method", "crf", "--crf", folder / "crf.json")
    assert run(*words(folder, "labels", *more)).status == 0
    assert (load_label(folder / "out" / "a.png") == load_label(folder / "labels" / "a.png")).mean() > 0.99


def test_what_fails_is_said_and_the_rest_is_done(run, folder: Path) -> None:
    (folder / "list.txt").write_text("b\nc\na\n")
    outcome = run(*words(folder, "labels", "--method", "rect"))
    assert outcome.status == 1
    assert outcome.out == "1 made, 0 skipped, 2 failed\n"
    assert "b.png" in outcome.err
    assert "there is no photograph" in outcome.err


def test_a_box_outside_its_image(run, folder: Path) -> None:
    (folder / "xml" / "a.xml").write_text(XML.replace("44", "444"))
    assert "a.png: Box(" in run(*words(folder, "annotations", "--method", "rect")).err


def test_options_that_do_not_go_together(run, folder: Path) -> None:
    both = run(*words(folder, "labels", "--annotations", folder / "xml", "--method", "rect"))
    assert "either from --annotations or from --labels" in both.err
    objects = run(*words(folder, "annotations", "--instances", folder / "objects", "--method", "rect"))
    assert "--instances goes with --labels" in objects.err


def test_labels_and_names_that_are_not_vocs(run, folder: Path) -> None:
    save_labels_png(folder / "labels" / "a.png", np.where(load_label(folder / "labels" / "a.png"), 33, 0), VOC_COLORMAP)
    assert (
        "label 33 is none of the 21 classes of 'voc12': say --classes"
        in run(*words(folder, "labels", "--method", "rect")).err
    )
    (folder / "xml" / "a.xml").write_text(XML.replace("cat", "tram"))
    assert "got 'tram': say --classes" in run(*words(folder, "annotations", "--method", "rect")).err
    (folder / "classes.txt").write_text("nothing\ntram 1 2 3\n")
    more = ("--method", "rect", "--classes", folder / "classes.txt")
    assert run(*words(folder, "annotations", *more)).status == 0
    assert load_label(folder / "out" / "a.png")[20, 20] == 1


def test_ids_with_folders(run, folder: Path) -> None:
    for kind, name in (("images", "a.png"), ("xml", "a.xml")):
        (folder / kind / "aachen").mkdir()
        (folder / kind / name).rename(folder / kind / "aachen" / name)
    (folder / "list.txt").write_text("aachen/a\n")
    assert run(*words(folder, "annotations", "--method", "rect")).status == 0
    assert load_label(folder / "out" / "aachen" / "a.png")[20, 20] == 8


def test_label_maps_are_not_made_over_true_ones(run, folder: Path) -> None:
    before = (folder / "labels" / "a.png").read_bytes()
    for name, what in (("labels", "the true label map"), ("images", "the photograph")):
        line = run(*words(folder, "labels", "--method", "rect", "--overwrite"), "--out", folder / name).error_line()
        assert f"a.png: the label map of 'a' would be written over {what}" in line
    assert (folder / "labels" / "a.png").read_bytes() == before
