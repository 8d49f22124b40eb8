from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deeplab_caffe as dc
from deeplab_caffe.data import load_image
from deeplab_caffe.zoo import CAMVID_MODEL, DEFAULT_MODEL, DEMO_PHOTOS, one_call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(load_image(DEMO_PHOTOS[0])[40:137, 100:229])).save(path)
    return path


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_call, "_kept", one_call.OrderedDict())


def test_it_is_the_segmenters_result_of_any_photo(photo: Path) -> None:
    image = load_image(photo)
    expected = dc.Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu").segment(image)
    for given in (photo, str(photo), image, Image.open(photo)):
        found = dc.segment(given, device="cpu")
        assert np.array_equal(found.labels, expected.labels)
        assert np.array_equal(found.scores, expected.scores)
    assert found.marginals is None
    assert found.classes is not None
    assert found.classes.names[8] == "cat"
    assert len(one_call._kept) == 1


def test_an_image_of_pil_is_read_as_its_file_is(tmp_path: Path) -> None:
    grey = load_image(DEMO_PHOTOS[0])[40:137, 100:229, 1]
    wide, path, exif = Image.fromarray(grey.astype(np.uint16) * 257), tmp_path / "x.png", Image.Exif()
    exif[0x0112] = 6
    wide.save(path, exif=exif)
    expected = dc.segment(np.dstack([grey] * 3), device="cpu").scores
    assert np.array_equal(dc.segment(wide, device="cpu").scores, expected)
    turned = dc.segment(path, device="cpu").scores
    assert turned.shape == (21, 129, 97)
    assert np.array_equal(dc.segment(Image.open(path), device="cpu").scores, turned)


def test_with_the_crf(photo: Path) -> None:
    own = dc.segment(photo, crf=True, device="cpu")
    seg = dc.Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, crf=DEFAULT_MODEL.crf, device="cpu")
    assert np.array_equal(own.marginals, seg.segment(load_image(photo)).marginals)
    other = dc.segment(photo, crf={"iterations": 1}, device="cpu")
    assert not np.array_equal(own.marginals, other.marginals)
    assert len(one_call._kept) == 2


def test_networks_by_name_and_by_path(photo: Path, tmp_path: Path) -> None:
    by_name = dc.segment(photo, CAMVID_MODEL.name, device="cpu")
    assert by_name.scores.shape == (11, 97, 129)
    weights = tmp_path / "x.caffemodel"
    shutil.copy(CAMVID_MODEL.weights, weights)
    by_path = dc.segment(photo, CAMVID_MODEL.deploy, weights, device="cpu")
    assert np.array_equal(by_path.labels, by_name.labels)
    dc.segment(photo, CAMVID_MODEL.deploy, weights, device="cpu")
    assert len(one_call._kept) == 2
    # A file that has changed is read again.
    os.utime(weights, (1, 1))
    dc.segment(photo, CAMVID_MODEL.deploy, weights, device="cpu")
    assert len(one_call._kept) == 3


def test_names_of_classes_that_changed_are_read_again(photo: Path, tmp_path: Path) -> None:
    """The first names, or their absence, stood until the process ended."""
    folders = [tmp_path / name for name in ("of_net", "of_weights")]
    for folder, file in zip(folders, (CAMVID_MODEL.deploy, CAMVID_MODEL.weights), strict=True):
        folder.mkdir()
        shutil.copy(file, folder)
    files = [
        folder / Path(file).name
        for folder, file in zip(folders, (CAMVID_MODEL.deploy, CAMVID_MODEL.weights), strict=True)
    ]

    def names() -> tuple[str, ...]:
        return dc.segment(photo, *files, device="cpu").classes.names

    assert names()[0] == "class 0"
    # The weights' folder comes first.
    for folder, word in zip(folders, ("mine", "other"), strict=True):
        (folder / "classes.txt").write_text("".join(f"{word}{i}\n" for i in range(11)), encoding="utf-8")
        assert names()[0] == f"{word}0"


def test_no_more_than_a_few_are_kept(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_call, "_MOST", 1)
    for name in (CAMVID_MODEL.name, DEFAULT_MODEL.name):
        dc.segment(photo, name, device="cpu")
    ((key, _),) = one_call._kept.items()
    assert str(DEFAULT_MODEL.deploy.resolve()) in str(key)


def test_bad_input(photo: Path, tmp_path: Path) -> None:
    for words, message in (
        ((photo, "deeplab_x"), "network 'deeplab_x': expected deeplab_v3_lite0_animals, .* or a deploy prototxt with"),
        ((photo, DEFAULT_MODEL.name, "x.caffemodel"), "comes with weights: give a deploy prototxt"),
        ((tmp_path / "none.jpg",), "none.jpg"),
        ((photo, tmp_path / "none.prototxt", "x.caffemodel"), "none.prototxt"),
        ((np.zeros((4, 4)),), "expected a uint8 RGB image"),
        ((Image.new("F", (4, 4)),), "image of PIL in mode F: floating-point samples are not supported"),
    ):
        with pytest.raises(dc.DeepLabCaffeError, match=message):
            dc.segment(*words, device="cpu")
