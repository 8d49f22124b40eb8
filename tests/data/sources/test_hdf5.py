from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import HDF5Source, HDF5Writer, Shard
from deeplab_caffe.errors import DataError, NetError
from deeplab_caffe.proto import parse_net
from tests.goldens import case_dir, load_case

h5py = pytest.importorskip("h5py")


def write(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values)
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Rows 0, 1, 2 in one file and 3, 4 in another: `data` (n, 2) of tens, `label` (n,)."""
    for name, rows in (("a", [0, 1, 2]), ("b", [3, 4])):
        numbers = np.array(rows, np.float32)
        write(tmp_path / f"{name}.h5", data=np.stack([10 * numbers, 10 * numbers + 1], 1), label=numbers)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.h5\n\n{tmp_path}/b.h5\n")
    return tmp_path


def source(folder: Path, batch_size: int = 2, shard: Shard | None = None) -> HDF5Source:
    return HDF5Source(folder / "list.txt", ("data", "label"), batch_size, shard)


def rows(found: list[np.ndarray]) -> list[int]:
    data, label = found
    np.testing.assert_array_equal(data[:, :, 0, 0], np.stack([10 * label.ravel(), 10 * label.ravel() + 1], 1))
    return label.ravel().astype(int).tolist()


def test_rows_go_from_file_to_file_and_round(files: Path) -> None:
    reader = source(files)
    assert reader.shapes() == [(2, 2, 1, 1), (2, 1, 1, 1)]
    assert [blob.shape for blob in reader.next_batch()] == reader.shapes()
    assert [rows(reader.next_batch()) for _ in range(3)] == [[2, 3], [4, 0], [1, 2]]


def test_a_batch_longer_than_all_files(files: Path) -> None:
    assert rows(source(files, 12).next_batch()) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_a_batch_that_cannot_be_read_is_still_the_next_one(files: Path, shard: Shard | None) -> None:
    """What was read of it already, and with shards what others read, was left out the next time."""
    expected, reader = source(files, 4, shard), source(files, 4, shard)
    away = (files / "b.h5").rename(files / "away")
    for _ in range(2):
        with pytest.raises(DataError, match="No such file"):
            reader.next_batch()
    away.rename(files / "b.h5")
    for _ in range(3):
        assert rows(reader.next_batch()) == rows(expected.next_batch())


def test_a_list_of_one_file(files: Path) -> None:
    (files / "list.txt").write_text(f"{files}/b.h5")
    reader = source(files, 3)
    assert [rows(reader.next_batch()) for _ in range(2)] == [[3, 4, 3], [4, 3, 4]]


def shuffled(folder: Path, seed: int, batch_size: int = 5, shard: Shard | None = None) -> HDF5Source:
    return HDF5Source(folder / "list.txt", ("data", "label"), batch_size, shard, shuffle=seed)


def test_a_shuffle_has_each_row_once_a_round_and_files_whole(files: Path) -> None:
    seen = set()
    for seed in range(8):
        reader = shuffled(files, seed)
        rounds = [tuple(rows(reader.next_batch())) for _ in range(6)]
        for order in rounds:
            assert sorted(order) == [0, 1, 2, 3, 4]
            assert {*order[:2]} == {3, 4} or {*order[3:]} == {3, 4}
        again = shuffled(files, seed)
        assert [tuple(rows(again.next_batch())) for _ in range(6)] == rounds
        assert len(set(rounds)) > 1
        seen.add(rounds[0])
    assert len(seen) > 4


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_prototxt_says_whether_rows_are_shuffled(files: Path, shuffle: bool) -> None:
    param = f'hdf5_data_param {{ source: "{files}/list.txt" batch_size: 5 shuffle: {str(shuffle).lower()} }}'
    (layer,) = parse_net(f'layer {{ name: "d" type: "HDF5Data" top: "data" top: "label" {param} }}').layer
    found = [rows(HDF5Source.from_param(layer, seed=seed).next_batch()) for seed in range(8)]
    expected = [rows(shuffled(files, seed).next_batch()) if shuffle else [0, 1, 2, 3, 4] for seed in range(8)]
    assert found == expected


def test_a_shuffle_goes_on_where_it_was(files: Path) -> None:
    reader = shuffled(files, 3, 3)
    for _ in range(3):
        reader.next_batch()
    state = reader.state_dict()
    assert state == {"file": 1, "row": state["row"], "round": 1, "shuffle": 3}
    ahead = [rows(reader.next_batch()) for _ in range(4)]
    other = shuffled(files, 7, 3)
    other.load_state_dict(state)
    assert [rows(other.next_batch()) for _ in range(4)] == ahead


@pytest.mark.parametrize("shuffle", [None, 5])
@pytest.mark.parametrize("world", [2, 3])
def test_shards(files: Path, world: int, shuffle: int | None) -> None:
    def source(folder: Path, batch_size: int, shard: Shard | None = None) -> HDF5Source:
        return HDF5Source(folder / "list.txt", ("data", "label"), batch_size, shard, shuffle=shuffle)

    whole = source(files, 2 * world)
    parts = [source(files, 2, Shard(rank, world)) for rank in range(world)]
    for _ in range(4):
        assert [row for part in parts for row in rows(part.next_batch())] == rows(whole.next_batch())


def test_position(files: Path) -> None:
    reader = source(files, 3)
    reader.next_batch()
    state = reader.state_dict()
    assert state == {"file": 1, "row": 0}
    ahead = [rows(reader.next_batch()) for _ in range(3)]
    for other in (source(files, 3), pickle.loads(pickle.dumps(reader))):
        other.load_state_dict(state)
        assert [rows(other.next_batch()) for _ in range(3)] == ahead
    reader.close()
    reader.load_state_dict(state)
    assert rows(reader.next_batch()) == ahead[0]
    with pytest.raises(DataError, match=r"list\.txt: the saved position is in file 2 of a list of 2"):
        reader.load_state_dict({"file": 2, "row": 0})
    with pytest.raises(DataError, match=r"b\.h5: the saved position is row 2 of 2"):
        reader.load_state_dict({"file": 1, "row": 2})


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "u1", "i4"])
@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4), (3, 2, 4, 5)])
def test_kinds_of_numbers_and_dimensions(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    write(tmp_path / "a.h5", x=values)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.h5")
    (blob,) = HDF5Source(tmp_path / "list.txt", ("x",), 3).next_batch()
    assert blob.dtype == np.float32
    assert blob.shape == (*shape, 1, 1, 1)[:4]
    np.testing.assert_array_equal(blob.reshape(shape), values.astype(np.float32))


def test_compressed_chunks(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 3, 4)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(7, 3, 4), compression="gzip", shuffle=True)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.h5")
    reader = HDF5Source(tmp_path / "list.txt", ("x",), 5)
    found = np.concatenate([reader.next_batch()[0] for _ in range(4)])
    np.testing.assert_array_equal(found[..., 0], values)


def test_files_that_do_not_fit(files: Path) -> None:
    def fails(message: str) -> None:
        with pytest.raises(DataError, match=message):
            source(files, 12).next_batch()

    numbers = np.zeros((2, 2), np.float32)
    write(files / "b.h5", data=numbers)
    fails(r"b\.h5: has no dataset 'label', as the layer's top is called; it has data")
    write(files / "b.h5", data=numbers, label=numbers[:1])
    fails(r"b\.h5: the datasets differ in their number of rows: 'data' has 2, 'label' has 1")
    write(files / "b.h5", data=np.zeros((2, 3), np.float32), label=numbers[:, 0])
    fails(r"b\.h5: rows of dataset 'data' are \(3,\), those of '.*a\.h5' are \(2,\)")
    write(files / "b.h5", data=np.zeros((2, 1, 1, 1, 1), np.float32), label=numbers[:, 0])
    fails(r"b\.h5: dataset 'data': expected 1 to 4 dimensions and rows, got \(2, 1, 1, 1, 1\)")
    write(files / "b.h5", data=np.zeros((0, 2), np.float32), label=np.zeros(0, np.float32))
    fails(r"b\.h5: dataset 'data': expected 1 to 4 dimensions and rows, got \(0, 2\)")
    write(files / "b.h5", data=np.array([b"x", b"y"]), label=numbers[:, 0])
    fails(r"b\.h5: dataset 'data': expected numbers, got \|S1")
    (files / "b.h5").write_bytes(b"no HDF5")
    fails(r"b\.h5: cannot be read as HDF5")
    content = (files / "a.h5").read_bytes()
    (files / "b.h5").write_bytes(content[: len(content) // 2])
    fails(r"b\.h5: cannot be read as HDF5")
    (files / "b.h5").unlink()
    fails(r"b\.h5: cannot be read as HDF5: No such file")


def test_lists_that_do_not_fit(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetError, match="batch_size must be positive"):
        source(files, 0)
    (files / "list.txt").write_text(" \n")
    with pytest.raises(DataError, match=r"list\.txt: the list names no HDF5 file"):
        source(files)
    (files / "list.txt").unlink()
    with pytest.raises(DataError, match=r"list\.txt: cannot be read"):
        source(files)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(NetError, match=r"pip install 'deeplab-caffe\[hdf5\]'"):
        source(files)


def test_the_originals_file_is_written(tmp_path: Path) -> None:
    case, folder = load_case("hdf5_output"), case_dir("hdf5_output")
    data, label = (np.load(folder / step["file"]) for step in case["steps"] if step["op"] == "set_data")
    HDF5Writer(tmp_path / "out.h5").write(data, label)
    with h5py.File(folder / "out.h5") as expected, h5py.File(tmp_path / "out.h5") as found:
        assert sorted(found) == sorted(expected) == ["data", "label"]
        for name in expected:
            assert found[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(found[name][()], expected[name][()])


def test_later_batches_follow(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5", old=np.zeros(3))
    data, label = np.arange(20, dtype=np.float32).reshape(5, 2, 2, 1), np.arange(5, dtype=np.float32)
    writer = HDF5Writer(path)
    for first, last in ((0, 2), (2, 3), (3, 5)):
        writer.write(data[first:last], label[first:last].reshape(-1, 1, 1, 1))
        with h5py.File(path) as file:
            assert sorted(file) == ["data", "label"]
            np.testing.assert_array_equal(file["data"][()], data[:last])
            np.testing.assert_array_equal(file["label"][:, 0, 0, 0], label[:last])
    with pytest.raises(DataError, match=r"out\.h5: 'data' had items of \(2, 2, 1\), now \(2, 2, 2\)"):
        writer.write(np.zeros((1, 2, 2, 2)), np.zeros((1, 1, 1, 1)))
    with h5py.File(path) as file:
        assert file["data"].shape == file["data"][()].shape == (5, 2, 2, 1)
        assert len(file["label"]) == 5


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    data = np.zeros((1, 1, 1, 1), np.float32)
    with pytest.raises(DataError, match=r"out\.h5: cannot be written: No such file"):
        HDF5Writer(tmp_path / "none" / "out.h5").write(data, data)
    with pytest.raises(DataError, match="2 items of data and 1 of label"):
        HDF5Writer(tmp_path / "out.h5").write(np.concatenate([data, data]), data)
    with pytest.raises(NetError, match="needs a file_name"):
        HDF5Writer("")
    writer = HDF5Writer(tmp_path / "out.h5")
    writer.write(data, data)
    (tmp_path / "out.h5").write_bytes(b"somebody else was here")
    with pytest.raises(DataError, match=r"out\.h5: cannot be written"):
        writer.write(data, data)
    assert list(tmp_path.iterdir()) == [tmp_path / "out.h5"]


def test_a_writer_goes_on_where_its_state_was_taken(tmp_path: Path) -> None:
    ones = np.ones((2, 1, 1, 1), np.float32)
    writer = HDF5Writer(tmp_path / "out.h5")
    writer.write(ones, ones)
    state = writer.state_dict()
    writer.write(2 * ones, 2 * ones)
    again = HDF5Writer(tmp_path / "out.h5")
    again.load_state_dict(state)
    again.write(3 * ones[:1], 3 * ones[:1])
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["data"][:].ravel().tolist() == file["label"][:].ravel().tolist() == [1, 1, 3]
    again.load_state_dict({"rows": 9})
    with pytest.raises(DataError, match=r"out\.h5: 'data' has 3 rows, 9 were written: another file\?"):
        again.write(ones, ones)


def damaged(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def test_what_the_library_raises_is_a_data_error(files: Path) -> None:
    # A name that is no UTF-8; the library's words for it are h5py's.
    damaged(files / "a.h5", b"label\0", b"l\xff\xfe\xfdl\0")
    with pytest.raises(DataError, match=r"a\.h5: has no dataset 'label'|a\.h5: the HDF5 file is damaged: "):
        source(files)
    # The signature of a group's symbol table node.
    damaged(files / "a.h5", b"SNOD", b"SNOX")
    with pytest.raises(DataError, match=r"a\.h5: the HDF5 file is damaged: "):
        source(files)


FULL = """
import resource, signal, sys
import numpy as np
from deeplab_caffe.data import HDF5Writer
from deeplab_caffe.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
small, large = np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1, 300, 300), np.float32)
writer = HDF5Writer(sys.argv[1])
if sys.argv[2] == "second":
    small = large[:, :, :30, :30]
    writer.write(small, small)
    large = np.tile(small, (400, 1, 1, 1))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    writer.write(large, large)
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("batch", ["first", "second"])
def test_a_full_disk_is_an_error_and_not_the_end(tmp_path: Path, batch: str) -> None:
    words = [sys.executable, "-c", FULL, tmp_path / "out.h5", batch]
    end = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "out.h5: cannot be written: File too large" in end.stdout
    assert [path.name for path in tmp_path.iterdir()] == (["out.h5"] if batch == "second" else [])
    if batch == "second":
        with h5py.File(tmp_path / "out.h5") as file:
            assert len(file["data"]) == 1
