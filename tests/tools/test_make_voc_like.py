from __future__ import annotations

from pathlib import Path

import numpy as np

from deeplab_caffe.data import load_image, load_label, save_image, save_labels_png
from deeplab_caffe.evaluation import read_ids
from deeplab_caffe.viz import CAMVID_COLORMAP
from tools.make_voc_like import main, with_void_line


def test_void_line() -> None:
    labels = np.zeros((3, 7), np.uint8)
    labels[:, 4:] = 15
    assert with_void_line(labels, 1)[1].tolist() == [0, 0, 0, 0, 255, 15, 15]
    assert with_void_line(labels, 2)[1].tolist() == [0, 0, 0, 255, 255, 255, 15]
    assert not with_void_line(np.zeros((3, 3), np.uint8)).any()


def test_shape_of_voc(tmp_path: Path, capsys) -> None:
    main(["--synthetic", "--out", str(tmp_path), "--images", "4"])
    assert "val: 1" in capsys.readouterr().out
    (name,) = read_ids(tmp_path / "ImageSets" / "Segmentation" / "val.txt")
    assert read_ids(tmp_path / "list" / "val.txt") == [name]
    labels = load_label(tmp_path / "SegmentationClass" / f"{name}.png")
    assert labels.shape == load_image(tmp_path / "JPEGImages" / f"{name}.jpg").shape[:2]
    assert 255 in labels
    assert set(np.unique(labels)) <= {*range(21), 255}
    assert " " not in (tmp_path / "list" / "test.txt").read_text()


def test_camvid_keeps_what_voc_has_too(tmp_path: Path) -> None:
    labels = np.array([[3] * 9 + [8] * 9 + [9] * 9 + [255] * 9] * 4)
    save_labels_png(tmp_path / "camvid" / "SegmentationClass" / "a.png", labels, CAMVID_COLORMAP)
    save_image(tmp_path / "camvid" / "JPEGImages" / "a.jpg", np.zeros((4, 36, 3), np.uint8))
    main(["--camvid", str(tmp_path / "camvid"), "--out", str(tmp_path / "voc"), "--images", "3"])
    found = load_label(tmp_path / "voc" / "SegmentationClass" / "a.png")
    assert set(np.unique(found)) == {0, 7, 15, 255}
