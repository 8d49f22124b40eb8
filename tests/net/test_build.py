"""What a user reads of a file whose layers are refused: the file, the layers, their lines, what is nearest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deeplab_caffe as dc
from deeplab_caffe.errors import NetError, PrototxtError
from deeplab_caffe.solver import Solver
from tests.nets import parse

HEAD = 'input: "x"\ninput_shape { dim: 1 dim: 3 dim: 4 dim: 4 }\n'


def one(kind: str, name: str = "a") -> str:
    return f'layer {{\n  name: "{name}"\n  type: "{kind}"\n  bottom: "x"\n  top: "{name}"\n}}\n'


def refusal(folder: Path, text: str) -> NetError:
    path = folder / "net.prototxt"
    path.write_text(HEAD + text)
    with pytest.raises(NetError) as found:
        dc.Net(path)
    return found.value


@pytest.mark.parametrize(
    ("kind", "nearest"),
    [
        ("Batchnorm", "did you mean 'BatchNorm'?"),
        ("relu", "did you mean 'ReLU'?"),
        ("PReLu", "did you mean 'PReLU'?"),
        ("ImageSegdata", "did you mean 'ImageSegData'?"),
        ("Convolutional", "did you mean 'Convolution'?"),
        ("BN", "another program's; Caffe has BatchNorm and Scale"),
        ("Relu6", "another program's; Caffe has Clip with min: 0 max: 6"),
        ("Upsample", "another program's; Caffe has Interp and Deconvolution"),
        ("DepthwiseConvolution", "another program's; Caffe has Convolution with a group for each channel"),
    ],
)
def test_an_unknown_type(kind: str, nearest: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, one("ReLU", "r") + one(kind))
    said = f"layer type {kind} is not implemented; it is neither Caffe's nor DeepLab's ({nearest})"
    assert str(error) == f"{tmp_path}/net.prototxt:9: layer 'a': {said}"
    assert (error.layer, error.line, error.path) == ("a", 9, f"{tmp_path}/net.prototxt")
    assert error.reason == said


def test_a_type_that_nothing_is_like(tmp_path: Path) -> None:
    assert str(refusal(tmp_path, one("PriorBox"))).endswith("it is neither Caffe's nor DeepLab's")


def test_several_at_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, one("BN") + one("Upsample", "b") + one("ReLU", "c") + one("BN", "d") + one("Tile", "e"))
    assert str(error).startswith(f"{tmp_path}/net.prototxt:3: 4 layers are refused: layer type BN is not implemented")
    assert "('a' in line 3, 'd' in line 21); layer type Upsample" in str(error)
    assert str(error).endswith("('b' in line 9); tiles must be positive, got 0 ('e' in line 27)")
    assert [part.layer for part in error.parts] == ["a", "b", "d", "e"]


def test_a_layer_that_is_refused_for_something_else(tmp_path: Path) -> None:
    error = refusal(tmp_path, one("Tile"))
    assert str(error) == f"{tmp_path}/net.prototxt:3: layer 'a': tiles must be positive, got 0"


def test_names_with_variables(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(HEAD + one("ReLU", "fc8_${EXP}_x") + one("BN", "fc8_${EXP}"))
    with pytest.raises(NetError, match=r"net.prototxt:9: layer 'fc8_voc12': layer type BN"):
        dc.Net(path, variables={"EXP": "voc12"})


@pytest.mark.parametrize("layout", ["layers {{ name: 'a' {} }}", "layers {{ layer {{ name: 'a' {} }} }}"])
def test_old_layouts(layout: str, tmp_path: Path) -> None:
    fields = "type: RELU bottom: 'x'" if "layer {{" not in layout else "type: 'relu'"
    text = layout.format(fields) + "\n" + ("bottom: 'x'" if "layer {{" in layout else "")
    text = text.replace("'a' type: 'relu' } }\nbottom: 'x'", "'a' type: 'relu' } bottom: 'x' }")
    assert str(refusal(tmp_path, text)).startswith(f"{tmp_path}/net.prototxt:3: layer 'a': ReLU takes 1 top blobs")


def test_without_a_file_there_is_no_line() -> None:
    with pytest.raises(NetError, match="^layer 'a': layer type BN is not implemented"):
        dc.Net(parse(HEAD + one("BN")))


def test_a_solvers_net(tmp_path: Path) -> None:
    data = 'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } } }\n'
    (tmp_path / "train.prototxt").write_text(data + one("BN"))
    (tmp_path / "solver.prototxt").write_text('net: "train.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1')
    with pytest.raises(NetError, match=re.escape(f"{tmp_path}/train.prototxt:2: layer 'a': layer type BN")):
        Solver(tmp_path / "solver.prototxt")


@pytest.mark.parametrize(
    ("enum", "name"), [("BATCHNORM", "BatchNorm"), ("BATCH_NORM", "BatchNorm"), ("PRELU", "PReLU")]
)
def test_a_new_type_in_the_v1_layout(enum: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(HEAD + f"layers {{ name: 'a'\n type: {enum} }}")
    needs = f'({name} needs the layer {{ }} layout: type: "{name}")'
    with pytest.raises(
        PrototxtError, match=re.escape(f"layer type {enum} is not in the V1 layout's catalogue {needs}")
    ):
        dc.Net(path)


def test_a_loss_without_a_top_is_not_refused_with_others(tmp_path: Path) -> None:
    losses = "".join(f"layer {{ name: '{name}' type: 'EuclideanLoss' bottom: 'x' bottom: 'x' }}\n" for name in "cd")
    assert str(refusal(tmp_path, one("Tile") + losses)).endswith("layer 'a': tiles must be positive, got 0")
