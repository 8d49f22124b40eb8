from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.errors import CaffeModelError, NetError
from deeplab_caffe.net.hdf5 import read_model, read_tree, write_tree
from deeplab_caffe.net.weights import load_hdf5, load_weights, save_hdf5, save_weights
from tests.nets import SMALL, build, conv, inputs, relu

SHARED = (
    inputs(data=(1, 3, 5, 5))
    + """
    layer { name: "a" type: "Convolution" bottom: "data" top: "a" param { name: "w" } param { }
      convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }
    layer { name: "b/1x1" type: "Convolution" bottom: "a" top: "b" param { name: "w" } param { }
      convolution_param { num_output: 3 kernel_size: 1 bias_filler { type: "constant" value: 2 } } }
    """
)


def names(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def written(folder: Path, **groups: object) -> Path:
    path = folder / "x.caffemodel.h5"
    with h5py.File(path, "w") as file:
        for name, values in groups.items():
            file[name.replace("__", "/")] = values
    return path


def test_what_the_file_holds(tmp_path: Path) -> None:
    net = build(inputs(data=(1, 3, 5, 5)) + conv("c", "data", out=2, kernel=3) + relu("r", "c"))
    net.save(tmp_path / "net.caffemodel.h5")
    with h5py.File(tmp_path / "net.caffemodel.h5") as file:
        # A layer without parameters has an empty group.
        assert names(file) == ["data", "data/c", "data/c/0", "data/c/1", "data/r"]
        assert file["data/c/0"].dtype == np.float32
        # DeepLab v1's bias has four axes.
        assert file["data/c/1"].shape == (1, 1, 1, 2)
        np.testing.assert_array_equal(file["data/c/0"], net.by_name["c"].weight.detach().numpy())


def test_save_then_load(tmp_path: Path) -> None:
    net, other = build(SMALL, seed=1), build(SMALL, seed=2)
    save_hdf5(net, tmp_path / "net.h5")
    load_hdf5(other, tmp_path / "net.h5")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    again = tmp_path / "again.h5"
    save_hdf5(other, again)
    # The same weights give the same file.
    assert again.read_bytes() == (tmp_path / "net.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.h5", "net.h5"]


def test_diffs_are_in_a_group_of_their_own(tmp_path: Path) -> None:
    net = build(inputs(data=(1, 3, 5, 5)) + conv("c", "data", out=2, kernel=3))
    save_hdf5(net, tmp_path / "x.h5", {"c": [np.full((2, 3, 3, 3), 4.0), np.full((1, 1, 1, 2), 5.0)]})
    with h5py.File(tmp_path / "x.h5") as file:
        assert names(file)[-3:] == ["diff/c", "diff/c/0", "diff/c/1"]
        assert set(file["diff/c/0"][...].ravel()) == {4.0}
        assert set(file["diff/c/1"][...].ravel()) == {5.0}


def test_a_shared_blob_is_stored_once(tmp_path: Path) -> None:
    net, other = build(SHARED, seed=1), build(SHARED, seed=2)
    save_hdf5(net, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        # `b/1x1` shares its weights and has a bias of its own; its name makes a group in a group.
        assert names(file) == ["data", "data/a", "data/a/0", "data/a/1", "data/b", "data/b/1x1", "data/b/1x1/1"]
    load_weights(other, tmp_path / "x.h5")
    assert torch.equal(other.by_name["b/1x1"].weight, net.by_name["a"].weight)
    assert other.by_name["b/1x1"].bias.tolist() == [2.0, 2.0, 2.0]


def test_a_blob_that_is_missing_and_not_shared(tmp_path: Path) -> None:
    net = build(inputs(data=(1, 3, 5, 5)) + conv("c", "data", out=2, kernel=3))
    path = written(tmp_path, data__c__0=np.zeros((2, 3, 3, 3), np.float32))
    with pytest.raises(NetError, match=r"layer 'c': needs 2 parameter blobs, .*x.caffemodel.h5 has 1"):
        load_weights(net, path)
    path = written(tmp_path, data__d__0=np.zeros(1, np.float32))
    with pytest.raises(NetError, match="has no weights for any layer"):
        load_weights(net, path)
    path = written(tmp_path, data__c__0=np.zeros((2, 3, 3, 4), np.float32), data__c__1=np.zeros(2, np.float32))
    with pytest.raises(NetError, match="parameter blob 0 needs the shape"):
        load_weights(net, path)


def test_doubles_and_integers_are_numbers_too(tmp_path: Path) -> None:
    net = build(inputs(data=(1, 1, 5, 5)) + conv("c", "data", out=1, kernel=1))
    load_weights(net, written(tmp_path, data__c__0=np.full((1, 1, 1, 1), 0.5), data__c__1=np.array([3])))
    assert (net.by_name["c"].weight.item(), net.by_name["c"].bias.item()) == (0.5, 3.0)


def test_convert_both_ways(tmp_path: Path) -> None:
    net = build(SMALL, seed=1)
    save_weights(net, tmp_path / "a.caffemodel")
    other = dc.Net(net.param, tmp_path / "a.caffemodel")
    other.save(tmp_path / "b.h5")
    dc.Net(net.param, tmp_path / "b.h5").save(tmp_path / "c.caffemodel")
    assert (tmp_path / "c.caffemodel").read_bytes() == (tmp_path / "a.caffemodel").read_bytes()


def test_files_that_are_no_caffemodel(tmp_path: Path) -> None:
    with pytest.raises(CaffeModelError, match="none.h5: cannot be read"):
        load_hdf5(build(SMALL), tmp_path / "none.h5")
    save_weights(build(SMALL), tmp_path / "x.h5")
    with pytest.raises(CaffeModelError, match="x.h5: is no HDF5 file"):
        load_hdf5(build(SMALL), tmp_path / "x.h5")
    with pytest.raises(CaffeModelError, match="has no group 'data'"):
        read_model(written(tmp_path, other=np.zeros(3)))
    with pytest.raises(CaffeModelError, match="expected numbers, got object"):
        read_model(written(tmp_path, data__c__0="text"))


def test_claims_beyond_the_files_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        # 4 TB that were never written, and take nothing in the file.
        file.create_dataset("data/c/0", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(1, 1 << 10))
    with pytest.raises(CaffeModelError, match="claim more than"):
        read_model(path)
    with h5py.File(path, "w") as file:
        # One row, whose part of the file claims 4 GB when it is unpacked.
        file.create_dataset("data/c/0", shape=(1, 1), maxshape=(None, 1), dtype="f4", chunks=(1 << 30, 1))
    with pytest.raises(CaffeModelError, match="claim more than"):
        read_model(path)


def test_other_files_are_not_looked_at(tmp_path: Path) -> None:
    np.zeros(4, np.float32).tofile(tmp_path / "secret")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/c/0", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(CaffeModelError, match="lies in other files"):
        read_model(path)
    for link in (h5py.ExternalLink(str(tmp_path / "y.h5"), "/data"), h5py.SoftLink("/")):
        with h5py.File(path, "w") as file:
            file["data"] = link
        with pytest.raises(CaffeModelError, match="is a link"):
            read_model(path)
    with h5py.File(path, "w") as file:
        # A group that is in itself.
        group = file.create_group("data")
        group["again"] = group
    with pytest.raises(CaffeModelError, match="more than 32 deep"):
        read_model(path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    save_hdf5(build(SMALL), path)
    whole, rng = path.read_bytes(), random.Random(1)
    messages = []
    for _ in range(60):
        # Byte for byte the library survives; what ends its process is for a child to find out.
        damaged = bytearray(whole)
        damaged[rng.randrange(100)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            read_tree(path)
        except CaffeModelError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all("\n" not in message and len(message) < 400 for message in messages)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CaffeModelError, match="cannot be read as HDF5"):
        read_tree(path)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_tree(path, {"data": {"0": np.arange(3)}})
    script = f"""
import resource, signal, numpy as np
from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.net.hdf5 import write_tree
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    write_tree({str(path)!r}, {{"data": {{"0": np.zeros(100000)}}}})
except CaffeModelError as error:
    print("refused", "File too large" in str(error))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "refused True\n"
    assert read_tree(path)["data"]["0"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["x.h5"]


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CaffeModelError, match=r"pip install 'deeplab-caffe\[hdf5\]'"):
        write_tree(tmp_path / "x.h5", {})
    assert not (tmp_path / "x.h5").exists()


def test_a_name_that_is_group_and_dataset(tmp_path: Path) -> None:
    with pytest.raises(CaffeModelError, match="cannot be written as HDF5"):
        write_tree(tmp_path / "x.h5", {"data": {"a": {"0": np.zeros(1)}, "a/0": {"0": np.zeros(1)}}})
    assert not (tmp_path / "x.h5").exists()
