from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import save_labels_png, write_blob_mat, write_probabilities_bin
from deeplab_caffe.data.classes import find_classes
from deeplab_caffe.errors import EvaluationError
from deeplab_caffe.evaluation import ImagePair
from deeplab_caffe.evaluation.assumed import assumed_classes, validate_classes
from deeplab_caffe.evaluation.predictions import Kind
from deeplab_caffe.viz import CAMVID_COLORMAP, VOC_CLASSES, VOC_COLORMAP

LABELS = np.array([[0, 1, 10], [1, 255, 0]], np.uint8)


def pair(folder: Path, name: str = "a", **palette: np.ndarray) -> ImagePair:
    """A pair of label maps: grey, or with the palette."""
    found = ImagePair(name, folder / f"{name}_result.png", folder / f"{name}.png")
    for path in (found.prediction, found.label):
        if palette:
            save_labels_png(path, LABELS, palette["palette"])
        else:
            Image.fromarray(LABELS).save(path)
    return found


def test_labels_with_vocs_palette_or_ids_are_vocs(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert assumed_classes([pair(tmp_path, palette=VOC_COLORMAP)], "png").names == VOC_CLASSES
        assert assumed_classes([pair(tmp_path, "2007_000033")], "png").names == VOC_CLASSES
        assert assumed_classes([], "png").names == VOC_CLASSES


def test_grey_labels_may_be_anybodys(tmp_path: Path) -> None:
    """The numbers are counted as ever, over 21 classes, but nothing is called what it may not be."""
    for given in (pair(tmp_path), pair(tmp_path, "b", palette=np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1))):
        with pytest.warns(UserWarning, match="say --classes"):
            found = assumed_classes([given], "png")
        assert (len(found), found.names[0]) == (21, "class 0")


def test_a_class_that_is_ignored_is_not_vocs() -> None:
    for label, name in ((0, "background"), (20, "tvmonitor")):
        with pytest.raises(EvaluationError, match=f"label {label} is ignored, which PASCAL VOC calls '{name}'"):
            assumed_classes([], "png", label)
    for label in (-1, 21, 255):
        assert assumed_classes([], "png", label).names == VOC_CLASSES


def test_camvids_palette_is_not_vocs(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"a\.png has a palette that is not PASCAL VOC's: say --classes"):
        assumed_classes([pair(tmp_path, palette=CAMVID_COLORMAP)], "png")


@pytest.mark.parametrize("kind", ["mat", "bin"])
@pytest.mark.parametrize("channels", [11, 21])
def test_scores_of_another_number_of_classes(tmp_path: Path, kind: Kind, channels: int) -> None:
    labels = pair(tmp_path).label
    scores = np.full((channels, 2, 3), 1 / channels, np.float32)
    path = tmp_path / f"scores.{kind}"
    if kind == "mat":
        write_blob_mat(path, scores[None])
    else:
        write_probabilities_bin(path, scores)
    given = [ImagePair("a", path, labels)]
    if channels == 21:
        assert assumed_classes(given, kind).names == VOC_CLASSES
        return
    with pytest.raises(EvaluationError, match="has 11 classes, PASCAL VOC has 21: say --classes"):
        assumed_classes(given, kind)


def test_an_ignored_class(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="label 11 is ignored, which PASCAL VOC calls 'diningtable'"):
        assumed_classes([pair(tmp_path)], "png", 11)


def test_the_palette_of_results_tells_too(tmp_path: Path) -> None:
    given = pair(tmp_path, "2007_000033")
    save_labels_png(given.prediction, LABELS.clip(0, 10), CAMVID_COLORMAP)
    with pytest.raises(EvaluationError, match=r"_result\.png has a palette that is not PASCAL VOC's: say --classes"):
        assumed_classes([given], "png")
    given = pair(tmp_path, "b")
    save_labels_png(given.prediction, LABELS.clip(0, 10), VOC_COLORMAP)
    assert assumed_classes([given], "png").names == VOC_CLASSES


def test_labels_that_are_all_ignored_say_nothing(tmp_path: Path) -> None:
    given = pair(tmp_path, palette=VOC_COLORMAP)
    save_labels_png(given.label, np.full((2, 3), 255, np.uint8), VOC_COLORMAP)
    assert assumed_classes([given], "png").names == VOC_CLASSES


def test_classes_that_are_named_and_cannot_be(tmp_path: Path) -> None:
    given = pair(tmp_path, palette=CAMVID_COLORMAP)
    with pytest.warns(UserWarning, match="but --classes names others") as said:
        validate_classes([given], "png", find_classes("voc12"))
    assert [Path(str(one.message).partition(" has ")[0]).name for one in said] == ["a.png", "a_result.png"]
    assert all("has the colours of camvid, but --classes names others" in str(one.message) for one in said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        validate_classes([given], "png", find_classes("camvid"))
        validate_classes([given], "png", find_classes(["a", "b", "c"]))
        validate_classes([pair(tmp_path, "b")], "png", find_classes("voc12"))
    path = tmp_path / "scores_blob_0.mat"
    write_blob_mat(path, np.zeros((1, 7, 2, 3), np.float32))
    with pytest.raises(EvaluationError, match="scores_blob_0.mat has 7 classes, but --classes names 11"):
        validate_classes([ImagePair("a", path, given.label)], "mat", find_classes("camvid"))
