from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe import proto
from deeplab_caffe.data import MatNames, MatReader, MatWriter, Shard, read_blob_mat, write_blob_mat
from deeplab_caffe.errors import DataError, NetError
from tests.goldens import case_dir, load_case


def blob(value: float, shape: tuple[int, ...] = (1, 2, 3, 4)) -> np.ndarray:
    return np.full(shape, value, np.float32)


@pytest.mark.parametrize("name", ["matwrite_iter", "matwrite_source_strip_period"])
def test_the_originals_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, folder = load_case(name), case_dir(name)
    if (folder / "ids.txt").exists():
        (tmp_path / "ids.txt").write_bytes((folder / "ids.txt").read_bytes())
    monkeypatch.chdir(tmp_path)
    layer = proto.read_net(folder / "net.prototxt").layer[0]
    writer, blobs, written = MatWriter.from_param(layer), {}, []
    for step in case["steps"]:
        if step["op"] == "set_data":
            blobs[step["blob"]] = np.load(folder / step["file"])
        elif step["op"] == "forward":
            written += writer.write([blobs[bottom] for bottom in layer.bottom])
    expected = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.mat"))
    assert sorted(written) == expected == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mat"))
    for path in expected:
        np.testing.assert_array_equal(read_blob_mat(path), read_blob_mat(folder / path))


def test_names(tmp_path: Path) -> None:
    assert MatNames("res/x_").path(7, 1) == "res/x_iter_7_blob_1.mat"
    (tmp_path / "ids").write_text("a.jpg\nb.jpg\n")
    names = MatNames("res/", tmp_path / "ids", strip=4)
    assert [names.path(k, 0) for k in range(2)] == ["res/a_blob_0.mat", "res/b_blob_0.mat"]
    with pytest.raises(DataError, match=r"ids: out of names: iteration 2 .*the list has 2"):
        names.path(2, 0)


def test_names_run_out_only_when_one_is_needed(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("a\nb\n")
    writer = MatWriter(f"{tmp_path}/", tmp_path / "ids", period=2)
    assert [len(writer.write([blob(0)])) for _ in range(2)] == [1, 0]
    with pytest.raises(DataError, match="out of names"):
        writer.write([blob(0)])
    assert not (tmp_path / "b_blob_0.mat").exists()


def test_missing_folders_are_created(tmp_path: Path) -> None:
    assert MatWriter(f"{tmp_path}/new/fc8/").write([blob(1), blob(2)]) == [
        f"{tmp_path}/new/fc8/iter_0_blob_{i}.mat" for i in range(2)
    ]


def test_the_original_case_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    case, folder = load_case("matread"), case_dir("matread")
    monkeypatch.chdir(folder)
    reader = MatReader.from_param(proto.read_net("net.prototxt").layer[0])
    files = [read_blob_mat(f"in_iter_{k}_blob_0.mat") for k in range(3)]
    forwards = 0
    for step in case["steps"]:
        if step["op"] == "forward":
            (top,) = reader.next_batch()
            # The shape is the original's; the data it never copies, nor does it get beyond its first files.
            expected = [files[(2 * forwards + item) % 3] for item in range(2)]
            np.testing.assert_array_equal(top, np.concatenate(expected))
            forwards += 1
        elif step["op"] == "get_data":
            assert top.shape == np.load(step["file"]).shape
    assert forwards == 2


def test_reading_in_turn_from_a_list(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("a.png x\nb.png y\nc.png z\n")
    for k, name in enumerate("abc"):
        write_blob_mat(tmp_path / f"{name}_blob_0.mat", blob(k))
        write_blob_mat(tmp_path / f"{name}_blob_1.mat", blob(10 * k, (1, 1, 2, 2)))
    reader = MatReader(f"{tmp_path}/", tmp_path / "ids", strip=4, batch_size=2, tops=2)
    assert reader.shapes() == [(2, 2, 3, 4), (2, 1, 2, 2)]
    batches = [reader.next_batch() for _ in range(3)]
    assert [first[:, 0, 0, 0].tolist() for first, _ in batches] == [[0, 1], [2, 0], [1, 2]]
    assert [second[:, 0, 0, 0].tolist() for _, second in batches] == [[0, 10], [20, 0], [10, 20]]


def test_shards_and_position(tmp_path: Path) -> None:
    for k in range(5):
        write_blob_mat(tmp_path / f"iter_{k}_blob_0.mat", blob(k))
    whole = MatReader(f"{tmp_path}/", batch_size=4)
    parts = [MatReader(f"{tmp_path}/", batch_size=2, shard=Shard(rank, 2)) for rank in range(2)]
    for _ in range(3):
        state = whole.state_dict()
        (expected,) = whole.next_batch()
        np.testing.assert_array_equal(np.concatenate([part.next_batch()[0] for part in parts]), expected)
    whole.load_state_dict(state)
    np.testing.assert_array_equal(whole.next_batch()[0], expected)


def test_a_batch_of_several_sizes(tmp_path: Path) -> None:
    write_blob_mat(tmp_path / "iter_0_blob_0.mat", blob(0))
    write_blob_mat(tmp_path / "iter_1_blob_0.mat", blob(1, (1, 2, 3, 5)))
    with pytest.raises(DataError, match=r"iter_1_blob_0\.mat: expected .*\(1, 2, 3, 4\).* got \(1, 2, 3, 5\)"):
        MatReader(f"{tmp_path}/", batch_size=2).next_batch()
    write_blob_mat(tmp_path / "iter_0_blob_0.mat", blob(0, (2, 2, 3, 4)))
    with pytest.raises(DataError, match="expected one image a file"):
        MatReader(f"{tmp_path}/").next_batch()


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"iter_0_blob_0\.mat: does not exist"):
        MatReader(f"{tmp_path}/")
    (tmp_path / "ids").write_text("\n")
    with pytest.raises(DataError, match="the list holds no name"):
        MatReader(f"{tmp_path}/", tmp_path / "ids")


def test_senseless_parameters(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="period must be positive, got 0"):
        MatWriter("x", period=0)
    with pytest.raises(NetError, match="batch_size must be positive, got -1"):
        MatReader("x", batch_size=-1)
    with pytest.raises(DataError, match="cannot be read"):
        MatWriter("x", tmp_path / "none")
