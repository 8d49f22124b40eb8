from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import deeplab_caffe as dc
from deeplab_caffe.cli import VERBS
from tests.nets import SMALL
from tests.segmentation.test_features import DATA


def test_photos_and_data_layers(run, photo: Path, tmp_path: Path) -> None:
    net, weights = tmp_path / "deploy.prototxt", tmp_path / "x.caffemodel"
    net.write_text(SMALL)
    dc.Net(net).save(weights)
    words = ("extract", "--model", net, "--weights", weights, "--out", tmp_path / "out", "--device", "cpu")
    assert run(*words, photo, "--blobs", "conv1,score").status == 0
    assert np.load(tmp_path / "out" / "photo_score.npy").shape[:2] == (1, 5)
    assert "has no blob 'x'" in run(*words, photo, "--blobs", "x").error_line()
    assert "none.jpg" in run(*words, tmp_path / "none.jpg", "--blobs", "score").error_line()
    assert run(*words, photo, photo, "--blobs", "score").status == 2
    net.write_text(DATA)
    dc.Net(net).save(weights)
    assert run(*words, "--blobs", "a/b", "--iterations", "2").out == f"{tmp_path / 'out' / 'a_b.npy'}\n"
    assert np.load(tmp_path / "out" / "a_b.npy").shape == (4, 2, 5, 5)


def test_the_example_of_help(run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo.rename("photo.jpg")
    assert run("extract", *VERBS["extract"].example.split()).status == 0
    assert sorted(path.name for path in Path("features").iterdir()) == ["photo_aspp.npy", "photo_block2.npy"]
