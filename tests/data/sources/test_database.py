from __future__ import annotations

import io
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe import proto
from deeplab_caffe.data import CaffeRNG, DatabaseSource, Shard
from deeplab_caffe.data.io.database import LMDB
from deeplab_caffe.data.sources.database import decode_datum
from deeplab_caffe.errors import DataError, NetError
from deeplab_caffe.proto import caffe_pb2

lmdb = pytest.importorskip("lmdb")

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 7), dtype=np.uint8)


def datum(planes: np.ndarray, label: int, **fields: object) -> bytes:
    channels, height, width = planes.shape
    message = caffe_pb2.Datum(channels=channels, height=height, width=width, label=label, **fields)
    if not fields:
        message.data = planes.tobytes()
    return message.SerializeToString()


def png(planes: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(planes.transpose(1, 2, 0)[..., ::-1]).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, values: list[bytes]) -> Path:
    with lmdb.open(os.fspath(path)) as environment, environment.begin(write=True) as transaction:
        for i, value in enumerate(values):
            transaction.put(f"{i:08d}".encode(), value)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write(tmp_path / "lmdb", [datum(image, i) for i, image in enumerate(IMAGES)])


def param(path: Path, data: str = "", transform: str = "", batch_size: int = 2, backend: str = "LMDB"):
    return proto.parse_net(
        f'layers {{ name: "d" type: DATA top: "x" top: "y" data_param {{ source: "{path}" batch_size: {batch_size} '
        f"backend: {backend} {data} }} transform_param {{ {transform} }} }}"
    ).layer[0]


def test_records_in_order_and_round(database: Path) -> None:
    source = DatabaseSource(param(database), "TEST")
    assert source.shapes() == ((2, 3, 6, 7), (2, 1, 1, 1))
    for first in (0, 2, 4, 1):
        data, label = source.next_batch()
        wanted = [first, (first + 1) % 5]
        assert label.ravel().tolist() == wanted
        assert label.shape == (2, 1, 1, 1)
        np.testing.assert_array_equal(data, IMAGES[wanted])
        assert data.dtype == np.float32


def test_bytes_floats_and_encoded_images(tmp_path: Path) -> None:
    floats = np.array([[[0.5, -1.5]], [[3, 1e6]]], np.float32)
    cases = {
        "bytes": (datum(IMAGES[0], 3), IMAGES[0]),
        "floats": (datum(floats, 3, float_data=floats.ravel().tolist()), floats),
        "png": (caffe_pb2.Datum(encoded=True, data=png(IMAGES[1]), label=3).SerializeToString(), IMAGES[1]),
    }
    for name, (value, planes) in cases.items():
        found = decode_datum(value, name)
        assert found.label == 3
        np.testing.assert_array_equal(found.planes, planes)
        data, label = DatabaseSource(param(write(tmp_path / name, [value]), batch_size=1), "TEST").next_batch()
        np.testing.assert_array_equal(data[0], planes)
        assert label.item() == 3
    grey = io.BytesIO()
    Image.fromarray(IMAGES[0, 0]).save(grey, "JPEG")
    value = caffe_pb2.Datum(encoded=True, data=grey.getvalue()).SerializeToString()
    assert decode_datum(value, "grey").planes.shape == (3, 6, 7)


def test_how_encoded_images_are_decoded(tmp_path: Path) -> None:
    colours = np.array([[[255, 0], [0, 0]], [[0, 255], [0, 0]], [[0, 0], [255, 0]]], np.uint8)  # blue, green, red
    # OpenCV's grey of a PNG: 9797, 19234 and 3737 times red, green and blue, by 32768.
    grey = np.array([[[29, 149], [76, 0]]], np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey[0]).save(stream, "PNG")
    encoded = {
        name: caffe_pb2.Datum(encoded=True, data=data).SerializeToString()
        for name, data in (("colour", png(colours)), ("grey", stream.getvalue()))
    }
    three = grey.repeat(3, 0)
    for asked, expected in (
        ("colour", {"colour": colours, "grey": three}),
        ("grey", {"colour": grey, "grey": grey}),
        ("native", {"colour": colours, "grey": grey}),
    ):
        for name, value in encoded.items():
            np.testing.assert_array_equal(decode_datum(value, name, asked).planes, expected[name])  # type: ignore[arg-type]
    folder = write(tmp_path / "grey", [encoded["grey"]])
    for options, expected_planes in (({}, three), ({"decoding": "native"}, grey)):
        for transform, planes in (("", expected_planes), ("force_color: true", three), ("force_gray: true", grey)):
            source = DatabaseSource(param(folder, "", transform, 1), "TEST", **options)
            assert source.shapes()[0] == (1, *planes.shape)
            np.testing.assert_array_equal(source.next_batch()[0][0], planes)
    with pytest.raises(NetError, match="cannot set both 'force_color' and 'force_gray'"):
        DatabaseSource(param(folder, transform="force_color: true force_gray: true"), "TEST")


def test_v2_draws_a_word_for_each_of_its_threads(database: Path) -> None:
    for transform, words in (("", 2), ("mirror: true", 4)):
        rng = CaffeRNG(3)
        DatabaseSource(param(database, transform=transform), "TRAIN", rng=rng, reseeds=False).next_batch()
        assert rng.word() == CaffeRNG(3).words(6)[words]


def test_random_crops_by_hand(database: Path, tmp_path: Path) -> None:
    mean = np.random.default_rng(1).normal(99, 9, (3, 6, 7)).astype(np.float32)
    proto.write_blob(tmp_path / "mean", mean[None])
    transform = f'crop_size: 4 mirror: true scale: 0.25 mean_file: "{tmp_path}/mean"'
    source = DatabaseSource(param(database, "rand_skip: 9", transform), "TRAIN", rng=CaffeRNG(3))
    words = CaffeRNG(3).words(4)
    position = words[0] % 9
    for k in range(2):
        drawn = CaffeRNG(words[2 + k]).words(6)
        data, label = source.next_batch()
        for i in range(2):
            mirror, h_off, w_off = drawn[3 * i] % 2, drawn[3 * i + 1] % 3, drawn[3 * i + 2] % 4
            record = (position + 2 * k + i) % 5
            window = np.s_[:, h_off : h_off + 4, w_off : w_off + 4]
            expected = (IMAGES[record][window].astype(np.float32) - mean[window]) * np.float32(0.25)
            np.testing.assert_array_equal(data[i], expected[..., ::-1] if mirror else expected)
            assert label[i].item() == record


def test_later_caffe_ignores_rand_skip(database: Path) -> None:
    rng = CaffeRNG(3)
    with pytest.warns(UserWarning, match="rand_skip: 9 is ignored, as in Caffe since 2015"):
        source = DatabaseSource(param(database, "rand_skip: 9"), "TEST", rng=rng, reseeds=False)
    assert source.next_batch()[1].flatten().tolist() == [0, 1]
    assert rng.word() == CaffeRNG(3).words(3)[2]  # after those of the two threads


def test_the_middle_in_phase_test(database: Path) -> None:
    source = DatabaseSource(param(database, "", "crop_size: 4 mean_value: 1 mean_value: 2 mean_value: 3"), "TEST")
    data, _ = source.next_batch()
    expected = IMAGES[:2, :, 1:5, 1:5].astype(np.float32) - np.float32([1, 2, 3]).reshape(3, 1, 1)
    np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_of_one_follows_its_record(tmp_path: Path, workers: int) -> None:
    values = [datum(np.zeros((1, height, 2), np.uint8), 0) for height in (2, 5, 3)]
    path = write(tmp_path / "lmdb", values)
    source = DatabaseSource(param(path, batch_size=1), "TEST", workers=workers)
    assert source.shapes()[0] == (1, 1, 2, 2)
    assert [source.next_batch()[0].shape[2] for _ in range(4)] == [2, 5, 3, 2]
    source.close()
    source = DatabaseSource(param(path, batch_size=2), "TEST", workers=workers)
    with pytest.raises(DataError, match=r"key '00000001': the record gives \(1, 5, 2\) .* the batch has \(1, 2, 2\)"):
        source.next_batch()
    source.close()


@pytest.mark.parametrize("workers", [0, 3])
def test_resuming_copies_and_shards(database: Path, workers: int) -> None:
    transform = "crop_size: 4 mirror: true"
    rng = CaffeRNG(1)
    whole = DatabaseSource(param(database, "", transform, 4), "TRAIN", rng=rng)
    parts = [
        DatabaseSource(param(database, "", transform), "TRAIN", rng=CaffeRNG(1), shard=Shard(rank, 2), workers=workers)
        for rank in range(2)
    ]
    for k in range(4):
        expected = whole.next_batch()
        for blob, first, second in zip(expected, *(part.next_batch() for part in parts), strict=True):
            np.testing.assert_array_equal(np.concatenate([first, second]), blob)
        if k == 1:
            state, rng_state = whole.state_dict(), rng.state_dict()
            copied = pickle.loads(pickle.dumps(whole))
    other_rng = CaffeRNG(7)
    other = DatabaseSource(param(database, "", transform, 4), "TRAIN", rng=other_rng, workers=workers)
    other.load_state_dict(state)
    other_rng.load_state_dict(rng_state)
    for source in (other, copied):
        for _ in range(2):
            again = source.next_batch()
        np.testing.assert_array_equal(again[0], expected[0])
    for source in (*parts, other):
        source.close()
    with pytest.raises(DataError, match="the saved position is record 6, there are 5"):
        other.load_state_dict({"next": 6, "seed": 0})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_the_database_for_itself(database: Path) -> None:
    source = DatabaseSource(param(database), "TEST")
    source.next_batch()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, source.next_batch()[1].tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert np.frombuffer(stream.read(), np.float32).tolist() == [2, 3]
    os.waitpid(child, 0)
    assert source.next_batch()[1].ravel().tolist() == [2, 3]


def test_two_nets_read_one_database(database: Path) -> None:
    sources = [DatabaseSource(param(database), "TEST") for _ in range(2)]
    for source in sources:
        assert source.next_batch()[1].ravel().tolist() == [0, 1]
    del sources, source
    # Once nobody reads it, it is closed: py-lmdb opens it for writing only then.
    write(database, [datum(IMAGES[4], 9)])
    assert DatabaseSource(param(database), "TEST").next_batch()[1].ravel().tolist() == [9, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_records(tmp_path: Path, workers: int) -> None:
    cases = {
        "is no Datum message": b"\xff\xff\xff",
        r"holds 126 numbers, its size is \(3, 6, 8\)": datum(
            np.zeros((3, 6, 8), np.uint8), 0, data=IMAGES[0].tobytes()
        ),
        r"holds 0 numbers, its size is \(0, 0, 0\)": b"",
        "is not an image": caffe_pb2.Datum(encoded=True, data=b"no image").SerializeToString(),
        "the image is 2 x 9 .*crop_size is 3": datum(np.zeros((3, 2, 9), np.uint8), 0),
    }
    for k, (message, value) in enumerate(cases.items()):
        path = write(tmp_path / str(k), [datum(IMAGES[0], 0), value])
        source = DatabaseSource(param(path, "", "crop_size: 3"), "TEST", workers=workers)
        with pytest.raises(DataError, match=f"{k}: key '00000001': {message}"):
            source.next_batch()
        source.close()


def test_databases_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="none: no such database"):
        DatabaseSource(param(tmp_path / "none"), "TEST")
    (tmp_path / "text").write_text("no database")
    with pytest.raises(DataError, match="text: cannot be opened as LMDB: .*"):
        DatabaseSource(param(tmp_path / "text"), "TEST")
    with pytest.raises(DataError, match="empty: the database is empty"):
        DatabaseSource(param(write(tmp_path / "empty", [])), "TEST")
    layer = proto.parse_net('layers { name: "d" type: DATA top: "x" data_param { batch_size: 1 } }').layer[0]
    with pytest.raises(NetError, match="needs a source"):
        DatabaseSource(layer, "TEST")
    with pytest.raises(NetError, match="batch_size must be positive, got 0"):
        DatabaseSource(param(tmp_path, batch_size=0), "TEST")
    monkeypatch.setitem(sys.modules, "plyvel", None)
    with pytest.raises(NetError, match=r"backend LEVELDB .* needs plyvel: .* or convert the database to LMDB"):
        DatabaseSource(param(tmp_path, backend="LEVELDB"), "TEST")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(NetError, match=r"pip install 'deeplab-caffe\[lmdb\]'"):
        DatabaseSource(param(tmp_path), "TEST")


def test_leveldb(tmp_path: Path) -> None:
    plyvel = pytest.importorskip("plyvel")
    with plyvel.DB(os.fspath(tmp_path / "db"), create_if_missing=True) as database:
        for i, image in enumerate(IMAGES):
            database.put(f"{i:08d}".encode(), datum(image, i))
    source = DatabaseSource(param(tmp_path / "db", backend="LEVELDB", batch_size=3), "TEST", workers=2)
    for first in (0, 3, 1):
        data, label = source.next_batch()
        wanted = [(first + i) % 5 for i in range(3)]
        assert label.ravel().tolist() == wanted
        np.testing.assert_array_equal(data, IMAGES[wanted])
    source.close()
    (tmp_path / "no").mkdir()
    with pytest.raises(DataError, match="no: cannot be opened as LevelDB"):
        DatabaseSource(param(tmp_path / "no", backend="LEVELDB"), "TEST")


def test_a_truncated_lmdb_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "whole", [b"x" * 3000] * 20)
    content = (path / "data.mdb").read_bytes()
    for size in (len(content) - 4096, len(content) // 2, 8192):
        (path / "data.mdb").write_bytes(content[:size])
        with pytest.raises(DataError, match=rf"truncated: [\d,]+ bytes needed, got {size:,}"):
            LMDB(path)
