from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import save_image
from deeplab_caffe.data.mean import MeanImages, compute_mean
from deeplab_caffe.data.sources.transform import read_mean
from deeplab_caffe.errors import DataError
from deeplab_caffe.proto import caffe_pb2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 2 x 3, R, G, B of 10, 20, 30 and of 20, 40, 61."""
    for name, colour in (("a", (10, 20, 30)), ("b", (20, 40, 61))):
        save_image(tmp_path / "images" / f"{name}.png", np.full((2, 3, 3), colour, np.uint8))
    return tmp_path / "images"


def test_by_hand(folder: Path, tmp_path: Path) -> None:
    found = compute_mean(MeanImages([folder]))
    assert found.count == 2
    np.testing.assert_array_equal(found.channels, [45.5, 30, 15])
    assert found.image is not None
    assert found.image.shape == (3, 2, 3)
    for name in ("mean.npy", "mean.binaryproto"):
        found.save(tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "mean.npy"), found.image)
    np.testing.assert_array_equal(read_mean(str(tmp_path / "mean.binaryproto")), found.image)
    with pytest.raises(DataError, match="ends in .binaryproto or .npy"):
        found.save(tmp_path / "mean.txt")


def test_lists_and_grey(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("/a.png /label.png\n/b.png 7\n")
    assert compute_mean(MeanImages([tmp_path / "train.txt"], root=str(folder))).channels[0] == 45.5
    assert len(compute_mean(MeanImages([folder / "a.png"], grey=True)).channels) == 1


def test_images_of_two_sizes(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (1, 2), (0, 0, 0)).save(folder / "c.png")
    found = compute_mean(MeanImages([folder]))
    np.testing.assert_allclose(found.channels, np.array([91, 60, 30]) * 6 / 14)
    with pytest.raises(DataError, match=r"c\.png' is 2 x 1 \(height x width\), '.*a\.png' 2 x 3; give a size"):
        found.save(tmp_path / "mean.npy")
    assert not (tmp_path / "mean.npy").exists()
    assert compute_mean(MeanImages([folder], size=(4, 4))).image.shape == (3, 4, 4)


def test_lmdb(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(os.fspath(tmp_path / "db"), map_size=1 << 20) as environment, environment.begin(write=True) as put:
        for i in range(2):
            datum = caffe_pb2.Datum(channels=1, height=1, width=2, data=bytes([i, 3]))
            put.put(b"%08d" % i, datum.SerializeToString())
    for path in (tmp_path / "db", tmp_path / "db" / "data.mdb"):
        found = compute_mean(MeanImages([path]))
        np.testing.assert_array_equal(found.image, [[[0.5, 3]]])
    with lmdb.open(os.fspath(tmp_path / "db"), map_size=1 << 20) as environment, environment.begin(write=True) as put:
        put.put(b"x", b"\xff")
    with pytest.raises(DataError, match=r"key 'x'.*is no Datum"):
        compute_mean(MeanImages([tmp_path / "db"]))


def test_bad_sources(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no image"):
        MeanImages([tmp_path / "empty"])
    with pytest.raises(DataError, match="none: cannot be read"):
        MeanImages([tmp_path / "none"])
    mixed = [("a", np.zeros((3, 1, 1))), ("b", np.zeros((1, 1, 1)))]
    with pytest.raises(DataError, match="b: has 1 channels, 'a' has 3"):
        compute_mean(mixed)


def test_encoded_records(folder: Path, tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    grey = io.BytesIO()
    Image.fromarray(np.full((2, 3), 70, np.uint8)).save(grey, "PNG")
    colour = (folder / "a.png").read_bytes()
    for name, content in (("grey", grey.getvalue()), ("colour", colour)):
        with lmdb.open(os.fspath(tmp_path / name), map_size=1 << 20) as database, database.begin(write=True) as put:
            put.put(b"0", caffe_pb2.Datum(encoded=True, data=content).SerializeToString())
    np.testing.assert_array_equal(compute_mean(MeanImages([tmp_path / "grey"])).image, np.full((1, 2, 3), 70))
    found = compute_mean(MeanImages([tmp_path / "colour"])).image
    np.testing.assert_array_equal(found, np.broadcast_to(np.reshape([30, 20, 10], (3, 1, 1)), (3, 2, 3)))
    # OpenCV's grey of a PNG: (9797 * 10 + 19234 * 20 + 3737 * 30) >> 15.
    found = compute_mean(MeanImages([tmp_path / "colour"], grey=True)).image
    np.testing.assert_array_equal(found, np.full((1, 2, 3), 18))
