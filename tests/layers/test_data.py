from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_caffe import proto
from deeplab_caffe.data import CaffeRNG
from deeplab_caffe.data.io.mat import read_blob_mat, write_blob_mat
from deeplab_caffe.errors import DataError, DeepLabCaffeError, NetError
from deeplab_caffe.net import Net
from deeplab_caffe.proto import V1, V2, caffe_pb2
from tests.layers.build import make, noise


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images with label maps and their list."""
    lines = []
    for k, (height, width) in enumerate([(4, 6), (5, 3)]):
        Image.fromarray(np.full((height, width, 3), (10 * k + 1, 2, 3), np.uint8)).save(tmp_path / f"{k}.png")
        Image.fromarray(np.full((height, width), k + 1, np.uint8)).save(tmp_path / f"{k}_label.png")
        lines.append(f"/{k}.png /{k}_label.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path


def seg_params(folder: Path, extra: str = "") -> str:
    return (
        "transform_param { crop_size: 8 mean_value: 1 mean_value: 1 mean_value: 1 } image_data_param { "
        f'root_folder: "{folder}" source: "{folder}/list.txt" batch_size: 1 label_type: PIXEL {extra} }}'
    )


@pytest.mark.parametrize("tops", [1, 2, 3])
def test_image_seg_data(photos: Path, tops: int) -> None:
    layer = make("ImageSegData", seg_params(photos), [], tops=tops)
    assert layer.top_shapes([]) == [(1, 3, 8, 8), (1, 1, 8, 8), (1, 1, 1, 2)][:tops]
    for k, (height, width) in enumerate([(4, 6), (5, 3), (4, 6)]):
        found = layer()
        assert len(found) == tops
        assert found[0][0, :, 0, 0].tolist() == [2, 1, 10 * (k % 2)]  # BGR minus mean
        assert found[0][0, :, height:].abs().max() == 0
        if tops > 1:
            assert found[1].unique().tolist() == [k % 2 + 1, 255]
        if tops > 2:
            assert found[2].flatten().tolist() == [height, width]


def test_batches_are_memory_of_their_own(photos: Path) -> None:
    layer = make("ImageSegData", seg_params(photos), [], tops=2)
    first = layer()
    before = [blob.clone() for blob in first]
    layer()
    assert all(torch.equal(a, b) for a, b in zip(first, before, strict=True))


def test_image_seg_data_without_files(tmp_path: Path) -> None:
    with pytest.raises(DeepLabCaffeError, match=r"list\.txt"):
        make("ImageSegData", seg_params(tmp_path), [], tops=2)


def test_mat_write_and_read(tmp_path: Path) -> None:
    writer = make("MatWrite", f'mat_write_param {{ prefix: "{tmp_path}/" }}', [(1, 2, 3, 4), (1, 1, 1, 5)], tops=0)
    batches = [(noise(1, 2, 3, 4, seed=k), noise(1, 1, 1, 5, seed=9 + k)) for k in range(3)]
    for blobs in batches:
        assert writer(*blobs) == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"iter_{k}_blob_{i}.mat" for k in range(3) for i in (0, 1)
    ]
    assert np.array_equal(read_blob_mat(tmp_path / "iter_1_blob_0.mat"), batches[1][0].numpy())

    reader = make("MatRead", f'mat_read_param {{ prefix: "{tmp_path}/" batch_size: 1 }}', [], tops=2)
    assert reader.top_shapes([]) == [(1, 2, 3, 4), (1, 1, 1, 5)]
    for blobs in (*batches, batches[0]):
        assert all(torch.equal(a, b) for a, b in zip(reader(), blobs, strict=True))


def test_mat_write_fills_up_to_four_axes(tmp_path: Path) -> None:
    """As blob.hpp's num(), channels(), height() and width(): an InnerProduct's top of v2 is (N, C, 1, 1)."""
    params, shapes = f'mat_write_param {{ prefix: "{tmp_path}/" }}', [(2, 3), (4,), ()]
    make("MatWrite", params, shapes, tops=0)(*(noise(*shape) for shape in shapes))
    found = [read_blob_mat(tmp_path / f"iter_0_blob_{i}.mat").shape for i in range(3)]
    assert found == [(2, 3, 1, 1), (4, 1, 1, 1), (1, 1, 1, 1)]
    with pytest.raises(NetError, match=r"must be \(N, C, H, W\)"):
        make("MatWrite", params, [(1, 1, 1, 1, 2)], tops=0)


def test_mat_write_takes_gradients_and_half_precision(tmp_path: Path) -> None:
    writer = make("MatWrite", f'mat_write_param {{ prefix: "{tmp_path}/" }}', tops=0)
    writer(noise(1, 1, 2, 2).requires_grad_())
    writer(torch.ones(1, 1, 2, 2, dtype=torch.bfloat16))
    assert read_blob_mat(tmp_path / "iter_1_blob_0.mat").tolist() == [[[[1, 1], [1, 1]]]]


def test_mat_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"iter_0_blob_0\.mat: does not exist"):
        make("MatRead", f'mat_read_param {{ prefix: "{tmp_path}/" }}', [])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        make("MatWrite", f'mat_write_param {{ prefix: "{tmp_path}/file/" }}', tops=0)(noise(1, 1, 1, 1))
    with pytest.raises(NetError, match="period must be positive"):
        make("MatWrite", 'mat_write_param { prefix: "x" period: 0 }', tops=0)


def test_mat_read_of_two_sizes(tmp_path: Path) -> None:
    for k, size in enumerate((2, 3)):
        write_blob_mat(tmp_path / f"iter_{k}_blob_0.mat", np.ones((1, 1, size, size), np.float32))
    reader = make("MatRead", f'mat_read_param {{ prefix: "{tmp_path}/" }}', [])
    assert [tuple(reader()[0].shape) for _ in range(2)] == [(1, 1, 2, 2), (1, 1, 3, 3)]
    with pytest.raises(DataError, match="expected one image a file"):
        make("MatRead", f'mat_read_param {{ prefix: "{tmp_path}/" batch_size: 2 }}', [])()


def hdf5_files(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "rows.h5", "w") as file:
        file["x"] = np.arange(12, dtype=np.float32).reshape(6, 2)
        file["y"] = np.arange(6, dtype=np.float64)
    (folder / "list.txt").write_text(f"{folder}/rows.h5\n")
    return folder


def hdf5_data(folder: Path, names: tuple[str, ...] = ("x", "y"), batch_size: int = 2, extra: str = "") -> str:
    tops = " ".join(f'top: "{name}"' for name in names)
    param = f'hdf5_data_param {{ source: "{folder}/list.txt" batch_size: {batch_size} }}'
    return f'layers {{ name: "d" type: HDF5_DATA {tops} {param} {extra} }}'


def test_hdf5_data(tmp_path: Path) -> None:
    net = Net(proto.parse_net(hdf5_data(hdf5_files(tmp_path))))
    assert net.blob_shapes == {"x": (2, 2, 1, 1), "y": (2, 1, 1, 1)}
    for rows in ([0, 1], [2, 3], [4, 5], [0, 1]):
        found = net()
        assert found["y"].flatten().tolist() == rows
        assert found["x"][:, 0, 0, 0].tolist() == [2 * row for row in rows]
    assert net(blobs=["y"])["y"].dtype == torch.float32


def test_hdf5_data_in_parts(tmp_path: Path) -> None:
    param = proto.parse_net(hdf5_data(hdf5_files(tmp_path), batch_size=1))
    nets = [Net(param, shard=(rank, 3)) for rank in range(3)]
    assert [[net()["y"].item() for net in nets] for _ in range(3)] == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


def test_hdf5_data_that_does_not_fit(tmp_path: Path) -> None:
    hdf5_files(tmp_path)
    with pytest.raises(DataError, match=r"rows\.h5: has no dataset 'z', as the layer's top is called; it has x, y"):
        Net(proto.parse_net(hdf5_data(tmp_path, ("x", "z"))))
    with pytest.raises(NetError, match="layer 'd': .*transform_param has no meaning here"):
        Net(proto.parse_net(hdf5_data(tmp_path, extra="transform_param { scale: 2 }")))
    with pytest.raises(NetError, match="layer 'd': batch_size must be positive, got 0"):
        Net(proto.parse_net(hdf5_data(tmp_path, batch_size=0)))
    with pytest.raises(NetError, match=r"^shard must be \(rank, world\)"):
        Net(proto.parse_net(hdf5_data(tmp_path)), shard=(1, 1))


def test_hdf5_output(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    params = f'hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }}'
    layer = make("HDF5Output", params, [(2, 3, 1, 1), (2, 1, 1, 1)], tops=0)
    assert layer.receptive_window() is None
    data, label = noise(4, 3, 1, 1).requires_grad_(), torch.arange(4.0).view(4, 1, 1, 1)
    for first in (0, 2):
        assert layer(data[first : first + 2], label[first : first + 2]) == ()
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["data"][()], data.detach().numpy())
        assert file["label"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(NetError, match="both bottoms need as many items, got 2 and 3"):
        make("HDF5Output", params, [(2, 3, 1, 1), (3, 1, 1, 1)], tops=0)
    with pytest.raises(NetError, match="layer 'l': hdf5_output_param needs a file_name"):
        make("HDF5Output", "", [(2, 3, 1, 1), (2, 1, 1, 1)], tops=0)


def test_dummy_data_constants() -> None:
    params = 'dummy_data_param { num: 2 channels: 3 height: 4 width: 5 data_filler { type: "constant" value: 2.5 } }'
    layer = make("DummyData", params, [])
    assert layer.top_shapes([]) == [(2, 3, 4, 5)]
    top = layer()[0]
    assert tuple(top.shape) == (2, 3, 4, 5)
    assert top.unique().tolist() == [2.5]
    top.zero_()
    assert layer()[0].unique().tolist() == [2.5]
    params = "dummy_data_param { num: 2 num: 1 channels: 3 height: 1 width: 1 }"
    tops = make("DummyData", params, [], tops=2)()
    assert [tuple(top.shape) for top in tops] == [(2, 3, 1, 1), (1, 3, 1, 1)]
    assert not any(top.any() for top in tops)


def test_dummy_data_shapes() -> None:
    one = "dummy_data_param { shape { dim: 2 dim: 3 } }"
    assert make("DummyData", one, [], tops=2, dialect=V2).top_shapes([]) == [(2, 3)] * 2
    assert make("DummyData", one, [], tops=2, dialect=V1).top_shapes([]) == [(2, 3, 1, 1)] * 2
    two = "dummy_data_param { shape { dim: 2 } shape { dim: 1 dim: 4 } }"
    assert [tuple(top.shape) for top in make("DummyData", two, [], tops=2, dialect=V2)()] == [(2,), (1, 4)]


def test_dummy_data_draws_anew_from_the_nets_generator() -> None:
    params = (
        "dummy_data_param { num: 1 channels: 1 height: 50 width: 50 "
        'data_filler { type: "gaussian" mean: 3 std: 0.5 } data_filler { type: "constant" value: 1 } }'
    )
    rng = CaffeRNG(4)
    layer = make("DummyData", params, [], tops=2, rng=rng)
    first, ones = layer()
    second, _ = layer()
    assert not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(3, abs=0.05)
    assert first.std().item() == pytest.approx(0.5, abs=0.05)
    assert ones.unique().tolist() == [1]
    assert rng.word() == CaffeRNG(4).words(3)[2]
    again = make("DummyData", params, [], tops=2, rng=CaffeRNG(4))
    assert torch.equal(again()[0], first)
    whole = make("DummyData", params.replace("num: 1", "num: 3"), [], tops=2, rng=CaffeRNG(4))()
    parts = [make("DummyData", params, [], tops=2, rng=CaffeRNG(4), shard=(rank, 3))() for rank in range(3)]
    for top, *shards in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat(shards), top)


@pytest.mark.parametrize(
    ("params", "tops", "message"),
    [
        ("channels: 1 height: 1 width: 1", 1, r"one positive num, or 1 for the tops, got \[\]"),
        ("num: 1 channels: 0 height: 1 width: 1", 1, r"one positive channels, or 1 for the tops, got \[0\]"),
        ("num: 1 num: 0 channels: 1 height: 1 width: 1", 2, r"one positive num, or 2 for the tops, got \[1, 0\]"),
        ("shape { dim: 2 } shape { dim: 3 }", 3, r"one shape of positive sizes, or 3, got \[\(2, 1, 1, 1\), \(3, 1, "),
        ("shape { dim: 2 dim: 0 }", 1, r"one shape of positive sizes, or 1, got \[\(2, 0, 1, 1\)\]"),
        ("shape { dim: 2 } num: 3 width: 1", 1, "has shape and num, width: give one kind or the other"),
        ("num: 1 channels: 1 height: 1 height: 2 width: 1", 3, r"one positive height, or 3 for the tops, got \[1, 2\]"),
        ("num: 1 channels: 1 height: 1 width: 1 data_filler { } data_filler { }", 3, "or 3 for the tops, got 2"),
        ('num: 1 channels: 1 height: 1 width: 1 data_filler { type: "one" }', 1, "unknown filler type 'one'"),
    ],
)
def test_dummy_data_that_does_not_fit(params: str, tops: int, message: str) -> None:
    with pytest.raises(NetError, match=message):
        make("DummyData", f"dummy_data_param {{ {params} }}", [], tops=tops)


def image_params(folder: Path) -> str:
    (folder / "list.txt").write_text("/0.png 7\n/1.png 8\n")
    return (
        f'transform_param {{ crop_size: 4 }} image_data_param {{ root_folder: "{folder}" '
        f'source: "{folder}/list.txt" batch_size: 2 }}'
    )


@pytest.mark.parametrize("tops", [1, 2])
def test_image_data(photos: Path, tops: int) -> None:
    layer = make("ImageData", image_params(photos), [], tops=tops)
    assert layer.top_shapes([]) == [(2, 3, 4, 4), (2, 1, 1, 1)][:tops]
    found = layer()
    assert found[0][:, :, 0, 0].tolist() == [[3, 2, 1], [3, 2, 11]]
    if tops == 2:
        assert found[1].flatten().tolist() == [7, 8]


def test_data(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as transaction:
        for i in range(3):
            datum = caffe_pb2.Datum(channels=1, height=2, width=2, data=bytes([i] * 4), label=10 + i)
            transaction.put(b"%d" % i, datum.SerializeToString())
    params = f'data_param {{ source: "{tmp_path}/db" batch_size: 2 backend: LMDB }}'
    layer = make("Data", params, [], tops=2, workers=2)
    assert layer.top_shapes([]) == [(2, 1, 2, 2), (2, 1, 1, 1)]
    assert [layer()[1].flatten().tolist() for _ in range(3)] == [[10, 11], [12, 10], [11, 12]]
    layer.source.close()
    assert len(make("Data", params, [], tops=1)()) == 1
    with pytest.raises(DataError, match="none: no such database"):
        make("Data", params.replace("/db", "/none"), [], tops=2)


def test_memory_data() -> None:
    params = "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 }"
    layer = make("MemoryData", params, [], tops=2)
    assert layer.top_shapes([]) == [(2, 1, 1, 3), (2, 1, 1, 1)]
    layer.source.reset(np.arange(12).reshape(4, 1, 1, 3), np.arange(4))
    assert [layer()[1].flatten().tolist() for _ in range(3)] == [[0, 1], [2, 3], [0, 1]]
    with pytest.raises(NetError, match="layer 'l': .* must be positive in memory_data_param"):
        make("MemoryData", "", [], tops=2)
    with pytest.warns(UserWarning, match="layer 'l': MEMORY_DATA takes arrays as they are"):
        make("MemoryData", params + " transform_param { scale: 2 }", [], tops=2)


def test_window_data(photos: Path) -> None:
    (photos / "windows.txt").write_text("# 0\n/0.png\n3 4 6\n2\n9 1 1 1 2 2\n0 0 0 0 3 3\n")
    params = (
        f'transform_param {{ crop_size: 2 }} window_data_param {{ source: "{photos}/windows.txt" '
        f'root_folder: "{photos}" batch_size: 4 fg_fraction: 0.5 }}'
    )
    layer = make("WindowData", params, [], tops=2, train=True)
    assert layer.top_shapes([]) == [(4, 3, 2, 2), (4, 1, 1, 1)]
    data, label = layer()
    assert data.unique().tolist() == [1, 2, 3]
    assert label.flatten().tolist() == [0, 0, 9, 9]
    with pytest.raises(NetError, match="layer 'l': transform_param needs a crop_size"):
        make("WindowData", params.replace("crop_size: 2", ""), [], tops=2)


def test_workers_and_shards_of_a_net(photos: Path) -> None:
    def seg(batch_size: int) -> caffe_pb2.NetParameter:
        params = seg_params(photos, "shuffle: true").replace("batch_size: 1", f"batch_size: {batch_size}")
        params = params.replace("crop_size: 8", "crop_size: 2 mirror: true")
        return proto.parse_net(f'layers {{ name: "d" type: IMAGE_SEG_DATA top: "x" top: "y" {params} }}')

    whole = Net(seg(4), phase="TRAIN", seed=3)
    ahead = Net(seg(4), phase="TRAIN", seed=3, workers=3)
    parts = [Net(seg(2), phase="TRAIN", seed=3, shard=(rank, 2), workers=rank) for rank in range(2)]
    for _ in range(5):
        expected, same, first, second = (net() for net in (whole, ahead, *parts))
        for name, blob in expected.items():
            assert torch.equal(same[name], blob)
            assert torch.equal(torch.cat([first[name], second[name]]), blob)
    assert ahead.layers[0].source.state_dict()["next"] == whole.layers[0].source.state_dict()["next"]
    for net in (ahead, *parts):
        net.layers[0].source.close()


def test_a_missing_image_ends_the_batch_and_not_the_process(photos: Path) -> None:
    (photos / "1.png").unlink()
    layer = make("ImageSegData", seg_params(photos), [], tops=2, workers=2)
    layer()
    with pytest.raises(DataError, match=r"list\.txt:2: .*1\.png: cannot be read: No such file"):
        layer()
    layer.source.close()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_their_way_to_a_gpu(photos: Path) -> None:
    param = proto.parse_net(
        f'layers {{ name: "d" type: IMAGE_SEG_DATA top: "x" top: "y" {seg_params(photos)} }} '
        'layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" convolution_param { num_output: 1 kernel_size: 1 } }'
    )
    plain, net = Net(param, seed=1), Net(param, seed=1, workers=2).cuda()
    for _ in range(20):
        expected, found = plain(blobs=["x", "y"]), net(blobs=["x", "y"])
        for name in ("x", "y"):
            assert found[name].is_cuda
            assert torch.equal(found[name].cpu(), expected[name])
    assert net.layers[0]()[0].is_pinned()
