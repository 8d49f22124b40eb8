from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.errors import CaffeModelError, PrototxtError
from deeplab_caffe.proto import CaffeModel, parse_net, read_net, read_solver, write_caffemodel
from deeplab_caffe.proto.schema.tables import own_schema
from deeplab_caffe.proto.upgrade_file import upgrade_file

V0 = (
    'name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n'
    'layers { layer { name: "c" type: "conv" num_output: 2 kernelsize: 3 } bottom: "data" top: "c" }\n'
)
V1 = V0.splitlines(keepends=True)[0] + (
    'layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2 '
    "convolution_param { num_output: 2 kernel_size: 3 hole: 2 } }\n"
)


@pytest.mark.parametrize(("text", "layout"), [(V0, "V0"), (V1, "V1")])
def test_text_says_the_same(tmp_path: Path, text: str, layout: str) -> None:
    old, new = tmp_path / "old.prototxt", tmp_path / "new.prototxt"
    old.write_text(text)
    assert upgrade_file(old, new) == f"a net of the {layout} layout"
    assert "layers" not in new.read_text()
    assert 'type: "Convolution"' in new.read_text()
    assert read_net(new) == read_net(old)
    assert upgrade_file(new, new) == "a net of the V2 layout"
    assert read_net(new) == read_net(old)


def test_text_for_caffe(tmp_path: Path) -> None:
    old, new = tmp_path / "old.prototxt", tmp_path / "new.prototxt"
    old.write_text(V1)
    upgrade_file(old, new, "bvlc")
    assert "dialect" not in new.read_text()
    assert "dilation: 2" in new.read_text()
    assert "lr_mult: 2" in new.read_text()
    old.write_text(V1 + 'layers { name: "i" type: INTERP bottom: "c" top: "i" interp_param { zoom_factor: 8 } }')
    before = new.read_text()
    with pytest.raises(CaffeModelError, match=r"layer 'i': cannot be written for BVLC Caffe"):
        upgrade_file(old, new, "bvlc")
    assert new.read_text() == before
    upgrade_file(old, new, "v2")
    assert "interp_param" in new.read_text()


def test_solver(tmp_path: Path) -> None:
    old, new = tmp_path / "solver.prototxt", tmp_path / "new.prototxt"
    old.write_text('net: "train.prototxt" base_lr: 0.01 lr_policy: "fixed" solver_type: ADAGRAD max_iter: 5')
    assert upgrade_file(old, new) == "a solver"
    assert 'type: "AdaGrad"' in new.read_text()
    assert "solver_type" not in new.read_text()
    assert read_solver(new) == read_solver(old)


@pytest.fixture
def old_model(tmp_path: Path) -> tuple[Path, dict[str, list[np.ndarray]]]:
    """A caffemodel of DeepLab v1's layout, and its weights."""
    numbers = np.random.default_rng(0)
    weights = {"c": [numbers.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 3, 3), (1, 1, 1, 2))]}
    write_caffemodel(tmp_path / "old.caffemodel", parse_net(V1), weights, dialect="v1")
    return tmp_path / "old.caffemodel", weights


def test_caffemodel(tmp_path: Path, old_model) -> None:
    path, weights = old_model
    new = tmp_path / "new.caffemodel"
    assert upgrade_file(path, new) == "a caffemodel of the V1 layout"
    found = CaffeModel(new)
    assert found.dialect == "bvlc"
    for blob, expected in zip(found.by_name["c"].blobs, weights["c"], strict=True):
        np.testing.assert_array_equal(blob.data, expected)
    net = own_schema("bvlc").new("NetParameter")
    net.ParseFromString(new.read_bytes())
    assert list(net.layer[0].convolution_param.dilation) == [2]
    assert upgrade_file(new, tmp_path / "again.caffemodel") == "a caffemodel of the V2 layout"
    assert (tmp_path / "again.caffemodel").read_bytes() == new.read_bytes()


def test_whose_caffemodel_it_becomes(tmp_path: Path, old_model) -> None:
    """The first program that has all of a net's layers, unless one is asked for."""
    path, _ = old_model
    new = tmp_path / "new.caffemodel"
    interp = 'layers { name: "i" type: INTERP bottom: "c" top: "i" interp_param { zoom_factor: 8 } }'
    for text, expected in (("", "bvlc"), (interp, "v2")):
        write_caffemodel(path, parse_net(V1 + text), dialect="v1")
        upgrade_file(path, new)
        assert CaffeModel(new).dialect == expected
    write_caffemodel(path, parse_net(V1 + interp), dialect="v1")
    upgrade_file(path, new, dialect="merge")
    assert CaffeModel(new).dialect == "merge"
    with pytest.raises(CaffeModelError, match="interp_param has no equivalent in BVLC Caffe"):
        upgrade_file(path, new, dialect="bvlc")


def test_a_caffemodel_with_two_layers_of_one_name(tmp_path: Path) -> None:
    message = own_schema("v1").new("NetParameter")
    for _ in range(2):
        layer = message.layers.add(name="c", type=4, bottom=["data"], top=["c"])
        layer.blobs.add(num=1, channels=1, height=1, width=1, data=[3])
    path, new = tmp_path / "old.caffemodel", tmp_path / "new.caffemodel"
    path.write_bytes(message.SerializeToString())
    with pytest.raises(CaffeModelError, match="several layers with weights are called 'c'"):
        upgrade_file(path, new)


def test_caffemodel_of_the_first_days(tmp_path: Path) -> None:
    message = own_schema("v1").new("NetParameter")
    message.input.append("data")
    message.input_dim.extend([1, 1, 9, 9])
    layer = message.layers.add(bottom=["data"], top=["c"]).layer
    layer.name, layer.type, layer.num_output, layer.kernelsize = "c", "conv", 2, 1
    layer.blobs.add(num=2, channels=1, height=1, width=1, data=[1.5, -2])
    path, new = tmp_path / "v0.caffemodel", tmp_path / "new.caffemodel"
    path.write_bytes(message.SerializeToString())
    assert upgrade_file(path, new) == "a caffemodel of the V0 layout"
    assert CaffeModel(new).by_name["c"].type == "Convolution"
    np.testing.assert_array_equal(CaffeModel(new).by_name["c"].blobs[0].data.ravel(), [1.5, -2])


def test_bvlcs_deconvolution_of_2014(tmp_path: Path) -> None:
    message = own_schema("bvlc").new("NetParameter")
    layer = message.layers.add(name="d", type=39, bottom=["data"], top=["d"])
    layer.convolution_param.num_output = 1
    layer.blobs.add(num=1, channels=1, height=1, width=1, data=[3])
    path, new = tmp_path / "old.caffemodel", tmp_path / "new.caffemodel"
    path.write_bytes(message.SerializeToString())
    upgrade_file(path, new)
    assert CaffeModel(new).by_name["d"].type == "Deconvolution"


def test_bad_files(tmp_path: Path) -> None:
    new = tmp_path / "new"
    with pytest.raises(PrototxtError, match="cannot be read"):
        upgrade_file(tmp_path / "none", new)
    (tmp_path / "bad").write_text("layers { name: 'a' tipe: RELU }")
    with pytest.raises(PrototxtError, match="tipe"):
        upgrade_file(tmp_path / "bad", new)
    # A name in another encoding than UTF-8.
    (tmp_path / "bad").write_bytes("naïve: 1\nname: 'a'".encode("latin-1"))
    with pytest.raises(PrototxtError, match="bad:1: column 3: text outside of comments must be UTF-8"):
        upgrade_file(tmp_path / "bad", new)
    (tmp_path / "bad").write_bytes(b"\x0a\x02ab\x00\x01\x02\x03")
    with pytest.raises(CaffeModelError):
        upgrade_file(tmp_path / "bad", new)
    # A field that no Caffe has.
    message = own_schema("v1").new("NetParameter")
    message.layers.add(name="c", type=4).blobs.add(num=1, channels=1, height=1, width=1, data=[1])
    (tmp_path / "bad").write_bytes(message.SerializeToString() + b"\xfa\x3f\x02ab")
    with pytest.raises(CaffeModelError, match="fields, or layer types"):
        upgrade_file(tmp_path / "bad", new)
    assert not new.exists()
