from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.data import read_blob_mat
from deeplab_caffe.data.io.database import LMDB
from deeplab_caffe.data.sources.database import decode_datum
from deeplab_caffe.data.sources.transform import image_to_blob
from deeplab_caffe.errors import NetError
from deeplab_caffe.segmentation.features import FORMATS, FeatureNet, save_batches, save_features
from tests.nets import SMALL, conv, layer

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
DATA = layer(
    "DUMMY_DATA",
    "data",
    top="data",
    params="dummy_data_param { num: 2 channels: 3 height: 5 width: 5 data_filler { type: 'gaussian' } }",
) + conv("a/b", "data", out=2)


@pytest.fixture
def deploy(tmp_path: Path) -> tuple[Path, Path]:
    """A net and its weights."""
    (tmp_path / "deploy.prototxt").write_text(SMALL)
    dc.Net(tmp_path / "deploy.prototxt", seed=1).save(tmp_path / "x.caffemodel")
    return tmp_path / "deploy.prototxt", tmp_path / "x.caffemodel"


def test_blobs_are_the_nets(deploy, tmp_path: Path) -> None:
    found = FeatureNet(*deploy, ["conv1", "score"], device="cpu").of_image(IMAGE)
    with torch.no_grad():
        expected = dc.Net(*deploy)(torch.from_numpy(image_to_blob(IMAGE)), blobs=["conv1"])
    for name in ("conv1", "score"):
        np.testing.assert_array_equal(found[name], expected[name].numpy())
    paths = save_features(tmp_path / "out" / "p", found, "npy")
    assert [path.name for path in paths] == ["p_conv1.npy", "p_score.npy"]
    np.testing.assert_array_equal(np.load(paths[1]), found["score"])
    (path, _) = save_features(tmp_path / "out" / "p", found, "mat")
    np.testing.assert_array_equal(read_blob_mat(path), found["conv1"])


def test_hdf5(deploy, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    found = FeatureNet(*deploy, ["score"], device="cpu").of_image(IMAGE)
    (path,) = save_features(tmp_path / "p", found, "hdf5")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["score"], found["score"])


def test_sizes(deploy) -> None:
    shape = {"size": (9, 20), "crop_size": 30}
    assert FeatureNet(*deploy, ["conv1"], device="cpu", **shape).of_image(IMAGE)["conv1"].shape == (1, 4, 30, 30)


@pytest.mark.parametrize("form", ["npy", "mat"])
def test_batches_stand_below_each_other(tmp_path: Path, form: str) -> None:
    (tmp_path / "train.prototxt").write_text(DATA)
    options = {"phase": "TRAIN", "device": "cpu", "seed": 3}
    batches = list(FeatureNet(tmp_path / "train.prototxt", None, ["data", "a/b"], **options).of_batches(3))
    net = FeatureNet(tmp_path / "train.prototxt", None, ["data", "a/b"], **options)
    paths = save_batches(tmp_path / "out", net.of_batches(3), 3, form)
    assert [path.name for path in paths] == [f"data.{form}", f"a_b.{form}"]
    read = np.load if form == "npy" else read_blob_mat
    for path, name in zip(paths, ("data", "a/b"), strict=True):
        np.testing.assert_array_equal(read(path), np.concatenate([one[name] for one in batches]))


def test_batches_of_two_sizes_leave_nothing(tmp_path: Path) -> None:
    batches = iter([{"a": np.zeros((1, 2), np.float32)}, {"a": np.zeros((1, 3), np.float32)}])
    with pytest.raises(NetError, match=r"blob 'a' was \(1, 2\), now \(1, 3\)"):
        save_batches(tmp_path / "out", batches, 2, "npy")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_batches_of_a_blob_without_axes(tmp_path: Path, form: str) -> None:
    pytest.importorskip({"hdf5": "h5py", "lmdb": "lmdb"}.get(form, "numpy"))
    batches = iter([{"a": np.zeros((1, 2), np.float32), "loss": np.zeros((), np.float32)}])
    with pytest.raises(NetError, match="blob 'loss' has no axes, so no rows to put below each other: leave it out"):
        save_batches(tmp_path / "out", batches, 1, form)
    assert list((tmp_path / "out").iterdir()) == []


NAMESAKES = {name: np.full((1, 1, 1, 1), value, np.float32) for name, value in (("a/b", 1), ("c", 2), ("a_b", 3))}


@pytest.mark.parametrize("form", ["npy", "mat"])
def test_blobs_of_one_file_name(tmp_path: Path, form: str) -> None:
    with pytest.raises(NetError, match=rf"blobs a/b, a_b would all go to p_a_b\.{form}: write them one by one"):
        save_features(tmp_path / "p", NAMESAKES, form)
    with pytest.raises(NetError, match=rf"blobs a/b, a_b would all go to a_b\.{form}: write them one by one"):
        save_batches(tmp_path, iter([NAMESAKES]), 1, form)
    assert list(tmp_path.iterdir()) == []


def test_hdf5_tells_them_apart(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for path in (
        *save_features(tmp_path / "p", NAMESAKES, "hdf5"),
        *save_batches(tmp_path, iter([NAMESAKES]), 1, "hdf5"),
    ):
        with h5py.File(path) as file:
            assert [file[name][()].item() for name in NAMESAKES] == [1, 2, 3]


def test_errors(deploy, tmp_path: Path) -> None:
    with pytest.raises(NetError, match="the net has no blob 'fc9'"):
        FeatureNet(*deploy, ["fc9"])
    with pytest.raises(NetError, match="blobs: expected one name or more"):
        FeatureNet(*deploy, [])
    with pytest.raises(NetError, match="no data layers but inputs: give photographs"):
        next(FeatureNet(*deploy, ["score"]).of_batches(1))
    (tmp_path / "train.prototxt").write_text(DATA)
    with pytest.raises(NetError, match="photographs need a net with one input"):
        FeatureNet(tmp_path / "train.prototxt", None, ["data"]).of_image(IMAGE)


def test_lmdb(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    (tmp_path / "train.prototxt").write_text(DATA)
    net = FeatureNet(tmp_path / "train.prototxt", None, ["data"], phase="TRAIN", device="cpu", seed=3)
    kept = list(net.of_batches(2))
    (path,) = save_batches(tmp_path / "out", iter(kept), 2, "lmdb")
    database = LMDB(path)
    assert list(database.keys()) == [b"%010d" % i for i in range(4)]
    expected = np.concatenate([one["data"] for one in kept])
    for i in range(4):
        np.testing.assert_array_equal(decode_datum(database.get(b"%010d" % i), "").planes, expected[i])
