from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import DatabaseSource, load_image, save_image
from deeplab_caffe.data.io import lmdb_write
from deeplab_caffe.data.prepare.imageset import read_imageset, write_imageset
from deeplab_caffe.errors import DataError
from deeplab_caffe.proto import caffe_pb2

lmdb = pytest.importorskip("lmdb")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Three pictures of 4 x 5 with labels 0, 1, 2."""
    numbers = np.random.default_rng(0)
    for i in range(3):
        save_image(tmp_path / f"{i}.png", numbers.integers(0, 256, (4, 5, 3), np.uint8))
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(3)))
    return tmp_path / "list.txt"


@pytest.mark.parametrize("encoded", [False, True])
def test_the_data_layer_reads_it(listed: Path, tmp_path: Path, encoded: bool) -> None:
    root = f"{tmp_path}/"
    assert write_imageset(read_imageset(listed), root, tmp_path / "db", encoded=encoded) == {(4, 5)}
    assert list((tmp_path / "db").iterdir()) == [tmp_path / "db" / "data.mdb"]
    layer = caffe_pb2.LayerParameter()
    layer.data_param.source, layer.data_param.backend, layer.data_param.batch_size = str(tmp_path / "db"), 1, 3
    data, labels = DatabaseSource(layer, "TEST").next_batch()
    assert labels.ravel().tolist() == [0, 1, 2]
    for i in range(3):
        np.testing.assert_array_equal(data[i], load_image(tmp_path / f"{i}.png").transpose(2, 0, 1)[::-1])


def test_many_records_and_their_keys(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_write, "_TRANSACTION", 2)
    write_imageset(read_imageset(listed), f"{tmp_path}/", tmp_path / "db", size=(2, 2), grey=True)
    with lmdb.open(str(tmp_path / "db"), readonly=True) as environment, environment.begin() as transaction:
        records = dict(transaction.cursor())
    assert list(records) == [b"00000000_0.png", b"00000001_1.png", b"00000002_2.png"]
    datum = caffe_pb2.Datum.FromString(records[b"00000001_1.png"])
    assert (datum.channels, datum.height, datum.width, datum.label) == (1, 2, 2, 1)


def test_all_or_nothing(listed: Path, tmp_path: Path) -> None:
    listed.write_text("0.png 0\nnone.png 1\n")
    with pytest.raises(DataError, match=r"none\.png: cannot be read"):
        write_imageset(read_imageset(listed), f"{tmp_path}/", tmp_path / "db")
    assert not (tmp_path / "db").exists()
    (tmp_path / "db").mkdir()
    with pytest.raises(DataError, match="db: is there already"):
        write_imageset(read_imageset(listed), f"{tmp_path}/", tmp_path / "db")


def test_names_with_spaces(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "0.png").rename(tmp_path / "my photo.png")
    listed.write_text("my photo.png 7\n")
    write_imageset(read_imageset(listed), f"{tmp_path}/", tmp_path / "db", encoded=True)
    with lmdb.open(str(tmp_path / "db"), readonly=True) as environment, environment.begin() as transaction:
        ((key, value),) = transaction.cursor()
    assert key == b"00000000_my photo.png"
    assert caffe_pb2.Datum.FromString(value).label == 7


def test_order_and_labels(listed: Path) -> None:
    plain, shuffled = read_imageset(listed), read_imageset(listed, seed=1)
    assert plain != shuffled
    assert sorted(shuffled, key=lambda entry: entry.line) == plain
    listed.write_text("0.png\n")
    with pytest.raises(DataError, match=r"list\.txt:1: expected 'image label', got '0\.png' alone"):
        read_imageset(listed)


def test_a_full_disk_is_told_with_the_folder(tmp_path: Path) -> None:
    why = r"db: cannot be written: mdb_txn_commit: Input/output error: is the disk full\?"
    with pytest.raises(DataError, match=why), lmdb_write.write_lmdb(tmp_path / "db"):
        raise lmdb.Error("mdb_txn_commit: Input/output error")
    assert not (tmp_path / "db").exists()
