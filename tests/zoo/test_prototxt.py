"""The released networks' prototxts: they parse, build, and have the sizes that the papers and the data call for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.zoo.paths import KINDS, NETWORKS, prototxt_path
from tests.zoo import FIRST_BASES as BASES

# Chen et al. 2015, Table 2, in millions with 21 classes: 20.5, 65.1 (both 4x4 networks) and 134.3. The MSc networks
# add, for the image and poolings of 64, 128, 256 and 512 channels, filters of 3x3 and 1x1 and scores.
MSC = sum(c * 9 * 128 + 128 + 128 * 128 + 128 + 128 * 21 + 21 for c in (3, 64, 128, 256, 512))
PARAMETERS = {
    "deeplab_largefov": 20_505_429,
    "deeplab": 65_140_565,
    "deeplab_4x4": 65_140_565,
    "deeplab_7x7": 134_346_581,
    "deeplab_pool3": 65_140_565,
    "deeplab_msc": 65_140_565 + MSC,
    "deeplab_msc_largefov": 20_505_429 + MSC,
}
PASCAL = ("deeplab", "deeplab_msc")  # The first two that were released call their last layer fc8_pascal.
WITHOUT_TEMPLATE = [(name, kind) for name in NETWORKS for kind in KINDS if kind != "deploy"]


def score_layer(name: str) -> str:
    return "fc8_pascal" if name in PASCAL else "fc8_voc12"


def output(name: str) -> str:
    return "fc_fusion" if "msc" in name else "fc8_crop" if name == "deeplab" else "fc8_interp"


def build(name: str, kind: str, variables: dict[str, str], phase: str, **edits: int) -> dc.Net:
    """The net with its parameters on no device: shapes are all that is asked."""
    param = proto.read_net(prototxt_path(name, kind), variables)
    for layer in param.layer:
        if layer.type == "ImageSegData":
            layer.image_data_param.batch_size = edits.get("batch_size", layer.image_data_param.batch_size)
            layer.transform_param.crop_size = edits.get("crop_size", layer.transform_param.crop_size)
    with torch.device("meta"):
        return dc.Net(param, None, phase)


@pytest.mark.parametrize("name", [*NETWORKS, *BASES])
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_parses(name: str, kind: str, variables: dict[str, str]) -> None:
    read = proto.read_solver if kind.startswith("solver") else proto.read_net
    message = read(prototxt_path(name, kind), variables)
    assert message.max_iter in (6000, 8000, 12000) if kind.startswith("solver") else len(message.layer) > 30


@pytest.mark.parametrize(("name", "kind"), WITHOUT_TEMPLATE)
def test_an_unfilled_variable_is_named(name: str, kind: str, variables: dict[str, str], monkeypatch) -> None:
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    read = proto.read_solver if kind.startswith("solver") else proto.read_net
    first = "EXP" if kind.startswith("solver") else "NET_ID"
    with pytest.raises(PrototxtError, match=rf"\$\{{{first}\}}"):
        read(prototxt_path(name, kind), {name: v for name, v in variables.items() if name != first})


@pytest.mark.parametrize("name", NETWORKS)
def test_deploy_needs_no_variables_and_has_the_papers_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("EXP", "NET_ID", "NUM_LABELS"):
        monkeypatch.delenv(variable, raising=False)
    net = build(name, "deploy", {}, "TEST")
    assert net.parameter_count() == PARAMETERS[name]
    assert net.inputs == ["data"]
    side = 514 if name == "deeplab" else 513
    assert net.blob_shapes["data"] == (1, 3, side, side)
    assert net.outputs == [output(name)]
    assert net.blob_shapes[net.outputs[0]] == (1, 21, side, side)
    assert score_layer(name) in net.by_name


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_cover_every_image_of_a_fitting_side(name: str) -> None:
    net = build(name, "deploy", {}, "TEST")
    for k in (3, 20, 40, 64, 111):
        side = 8 * k + (2 if name == "deeplab" else 1)
        shapes = net.infer_shapes(data=(1, 3, side, side + 8))
        assert shapes[net.outputs[0]] == (1, 21, side, side + 8)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("in_exper")
def test_train_labels_shrink_to_the_scores(name: str, variables: dict[str, str]) -> None:
    crop, scores = (306, 39) if name == "deeplab" else (321, 41)
    net = build(name, "train", variables, "TRAIN", batch_size=1)
    assert net.blob_shapes["data"] == (1, 3, crop, crop)
    assert net.blob_shapes["fc_fusion" if "msc" in name else score_layer(name)] == (1, 21, scores, scores)
    assert net.blob_shapes["label_shrink"] == (1, 1, scores, scores)
    assert net.parameter_count() == PARAMETERS[name]


def convolutions(param: caffe_pb2.NetParameter) -> list[caffe_pb2.LayerParameter]:
    return [layer for layer in param.layer if layer.type == "Convolution"]


@pytest.mark.parametrize("name", [name for name in (*NETWORKS, *BASES) if "msc" not in name])
def test_train_rates_are_the_recipes(name: str, variables: dict[str, str]) -> None:
    layers = convolutions(proto.read_net(prototxt_path(name, "train"), variables))
    assert len(layers) == 16
    for layer in layers:
        assert [spec.lr_mult for spec in layer.param] == ([10, 20] if layer.name.startswith("fc8") else [1, 2])
        assert [spec.decay_mult for spec in layer.param] == [1, 0]
    filler = layers[-1].convolution_param.weight_filler
    assert (filler.type, filler.std) == ("gaussian", pytest.approx(0.01))


@pytest.mark.parametrize("name", [name for name in (*NETWORKS, *BASES) if "msc" in name])
def test_msc_learns_the_scores_and_nothing_below_them(name: str, variables: dict[str, str]) -> None:
    layers = convolutions(proto.read_net(prototxt_path(name, "train"), variables))
    assert len(layers) == 16 + 3 * 5
    for layer in layers:
        kept = layer.name.startswith("conv") or layer.name in ("fc6", "fc7")
        assert [spec.lr_mult for spec in layer.param] == ([0, 0] if kept else [1, 2])
        assert [spec.decay_mult for spec in layer.param] == ([0, 0] if kept else [1, 0])


@pytest.mark.parametrize("name", ["deeplab_msc", "deeplab_msc_largefov"])
def test_msc_branches_have_strides_in_training_and_are_enlarged_in_test(name: str, variables: dict[str, str]) -> None:
    sources = ("data", "pool1", "pool2", "pool3", "pool4")
    for kind, strides in (("train", (8, 4, 2, 1, 1)), ("test", (1,) * 5), ("deploy", (1,) * 5)):
        layers = {layer.name: layer for layer in proto.read_net(prototxt_path(name, kind), variables).layer}
        assert tuple([*layers[f"{source}_conv"].convolution_param.stride, 1][0] for source in sources) == strides
        enlarged = [f"{source}_interp" for source in sources[1:]] + ["fc8_interp"]
        small = [f"{source}_ms" for source in sources[1:]] + [score_layer(name)]
        assert list(layers["fc_fusion"].bottom) == ["data_ms", *(small if kind == "train" else enlarged)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kinds_of_a_network_have_the_same_parameters(name: str, variables: dict[str, str]) -> None:
    """So that a caffemodel of one loads into the others."""
    shapes = []
    for kind in ("train", "test", "deploy"):
        layers = convolutions(proto.read_net(prototxt_path(name, kind), variables))
        convs = [(layer.name, layer.convolution_param) for layer in layers]
        shapes.append(
            [
                (name, conv.num_output, list(conv.kernel_size), list(conv.dilation), list(conv.pad))
                for name, conv in convs
            ]
        )
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("in_exper")
def test_test_writes_scores_and_crf(name: str, variables: dict[str, str]) -> None:
    net = build(name, "test", variables, "TEST")
    side = 514 if name == "deeplab" else 513
    writers = [layer for layer in net.layers if layer.TYPE == "MatWrite"]
    assert [layer.name for layer in writers] == ["fc8_mat", "crf_mat"]
    assert net.blob_shapes["crf_inf"] == (1, 21, side, side)
    assert net.blob_shapes["data_dim"] == (1, 1, 1, 2)
    crf = net.by_name["crf"].crf
    assert (crf.pos_w, crf.bi_w, crf.bi_xy_std, crf.bi_rgb_std) == ((3.0,), (5.0,), (50.0,), (10.0,))


@pytest.mark.usefixtures("in_exper")
def test_largefov_test_runs_into_files(variables: dict[str, str], tmp_path: Path) -> None:
    """The whole pipeline, with the released file's own layers at a smaller crop: zero weights, so equal scores."""
    param = proto.read_net(prototxt_path("deeplab_largefov", "test"), variables)
    for layer in param.layer:
        if layer.type == "ImageSegData":
            layer.transform_param.crop_size = 41
    dc.Net(param, None, "TEST").forward()
    scores = dc.data.read_blob_mat(tmp_path / "features" / "val" / "fc8" / "a_blob_0.mat")
    marginals = dc.data.read_blob_mat(tmp_path / "features" / "val" / "crf" / "a_blob_0.mat")
    assert scores.shape == marginals.shape == (1, 21, 41, 41)
    assert not scores.any()
    np.testing.assert_allclose(marginals[:, :, :30, :40], 1 / 21, rtol=1e-5)
    assert not marginals[:, :, 30:].any()
    assert not marginals[:, :, :, 40:].any()
