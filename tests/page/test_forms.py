"""What the page gives away runs, and gives what the page shows."""

from __future__ import annotations

import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.cli import main
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data import load_label
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.page import forms
from deeplab_caffe.page.session import HEAT, NETWORKS, Session, open_mask, open_network, own_network
from deeplab_caffe.zoo import CAMVID_MODEL, DEFAULT_MODEL, DEMO_PHOTOS

PARAMS = CRFParams(2.5, 3.0, 6.0, 31.0, 4.5, iterations=3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with Image.open(DEMO_PHOTOS[0]) as photo:
        photo.resize((160, 120)).save("my photo.png")
    mask = np.zeros((120, 160), np.uint8)
    mask[30:100, 40:130] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


def run(line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "deeplab-caffe"
    main(words[1:])


def labels_of(code: str) -> np.ndarray:
    found: dict[str, np.ndarray] = {}
    exec(compile(code, "page.py", "exec"), found)
    return found["labels"]


def test_json(folder: Path) -> None:
    Path("params.json").write_text(forms.as_json(PARAMS))
    assert CRFParams.from_file("params.json") == PARAMS


def test_network(folder: Path) -> None:
    session = open_network("my photo.png", NETWORKS[DEFAULT_MODEL.name])
    assert session.params == DEFAULT_MODEL.crf
    params = PARAMS.replace(min_probability=session.params.min_probability)
    labels = session.tuner.refine(params).labels
    np.testing.assert_array_equal(labels_of(forms.as_python(params, session.source)), labels)
    run(forms.as_command(params, session.source))
    np.testing.assert_array_equal(load_label("out/my photo_labels.png"), labels)


def test_a_network_of_ones_own(folder: Path) -> None:
    shutil.copy(CAMVID_MODEL.deploy, folder / "my deploy.prototxt")
    shutil.copy(CAMVID_MODEL.weights, folder / "my.caffemodel")
    network = own_network("my deploy.prototxt", "my.caffemodel")
    assert network.name == f"{folder.name}/my deploy.prototxt"
    session = open_network("my photo.png", network)
    assert session.params == CRFParams()
    labels = session.tuner.refine(PARAMS).labels
    np.testing.assert_array_equal(labels_of(forms.as_python(PARAMS, session.source)), labels)
    run(forms.as_command(PARAMS, session.source))
    np.testing.assert_array_equal(load_label("out/my photo_labels.png"), labels)


def test_a_network_that_is_not_there(folder: Path) -> None:
    with pytest.raises(DeepLabCaffeError, match=r"none\.prototxt"):
        open_network("my photo.png", own_network("none.prototxt", "none.caffemodel"))


def test_a_photo_whose_name_is_like_an_option() -> None:
    words = shlex.split(forms.as_command(PARAMS, forms.Source("-x.png", DEFAULT_MODEL.name)))
    assert words[2] == "./-x.png"


def test_mask(folder: Path) -> None:
    session: Session = open_mask("my photo.png", "mask.png", certainty=0.7)
    refined = session.tuner.refine(PARAMS)
    np.testing.assert_array_equal(labels_of(forms.as_python(PARAMS, session.source)), refined.labels)
    archive = session.archive(session.tuner.before, folder / "for_crf.zip")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall()
    run(forms.as_command(PARAMS, session.source))
    np.testing.assert_array_equal(load_label("out/my photo.png"), refined.labels)
    before, after = session.pictures(refined, HEAT, "foreground")
    assert before.shape == after.shape == (120, 160, 3)
    assert 0 < session.changed(refined) < 1
