"""The networks of DeepLab v2 and after it: the released texts and names, sizes, parameters, rates."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.zoo.paths import BASES, KINDS, LATER_NETWORKS, prototxt_path

# With 21 classes: of VGG-16's thirteen convolutions 14,714,688; of a branch of fc6 to fc8 5,790,741. ResNet-101 has
# 42,394,816 in convolutions, 105,448 in BatchNorm and 105,344 in Scale; a head of ASPP has 387,093.
PARAMETERS = {
    "deeplab_largefov_vgg16_v2": 20_505_429,
    "deeplab_aspp_vgg16": 37_877_652,
    "deeplab_aspp_s_vgg16": 37_877_652,
    "deeplab_aspp_resnet101": 44_153_980,
    "deeplab_largefov_resnet101": 42_992_701,
    "deeplab_attention_vgg16": 34_663_256,
    "deeplab_dt_edgenet": 20_505_429 + 449,
}
NETWORKS = [name for name in LATER_NETWORKS if name in PARAMETERS]
RECIPES = [*NETWORKS, *(name for name, base in BASES.items() if base in NETWORKS)]
RESNETS = [name for name in NETWORKS if "resnet101" in name]
THREE_SCALES = [*RESNETS, "deeplab_attention_vgg16"]
TOWERS = ("", "_res05", "_res075")
LEARNING = ("Convolution", "BatchNorm", "Scale")

# SHA-256 of the layers of the authors' own files, read and written again as protobuf.
RELEASED = {
    ("deeplab_aspp_resnet101", "train"): "d9a41b623df77043415ac3ea2a5ec41df2b0af17273022c48a1dff88913cb641",
    ("deeplab_aspp_resnet101", "test"): "e112bc7b146b9285c1d3584488ccb29534c5fe99d3a4c94e0a12bfb238f84e74",
    ("deeplab_aspp_vgg16", "train"): "4299d39c31a17c6ff5504ff04b135077993c4f693589a5e033a8bddfab655a32",
    ("deeplab_aspp_vgg16", "test"): "355e9ee7fe9bc5bed1b4be023932d6119c19544d5d4ae7587f7eee6d676d90e2",
}


each_network = pytest.mark.parametrize("name", NETWORKS)


@cache
def deploy(name: str) -> dc.Net:
    """The net of deploy.prototxt, with its parameters on no device."""
    with torch.device("meta"):
        return dc.Net(prototxt_path(name), None, "TEST")


VALUES = {"EXP": "voc12", "NET_ID": "net", "TRAIN_SET": "train_aug", "TEST_SET": "val", "NUM_LABELS": "21"}


@cache
def net_of(name: str, kind: str) -> caffe_pb2.NetParameter:
    return proto.read_net(prototxt_path(name, kind), VALUES | {"DATA_ROOT": "/d", "FEATURE_DIR": "features"})


def layers_of(name: str, kind: str) -> dict[str, caffe_pb2.LayerParameter]:
    return {layer.name: layer for layer in net_of(name, kind).layer}


@pytest.mark.parametrize(("name", "kind"), RELEASED)
def test_the_layers_are_the_released_ones(name: str, kind: str) -> None:
    layers = b"".join(layer.SerializeToString(deterministic=True) for layer in net_of(name, kind).layer)
    assert hashlib.sha256(layers).hexdigest() == RELEASED[name, kind]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_parses(name: str, kind: str) -> None:
    if kind.startswith("solver"):
        message = proto.read_solver(prototxt_path(name, kind), VALUES)
        assert message.train_net == "voc12/config/net/train_train_aug.prototxt"
        assert message.snapshot_prefix == f"voc12/model/net/{kind.replace('solver', 'train')}"
    else:
        assert len(net_of(name, kind).layer) > 30


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "deploy"])
@pytest.mark.parametrize("name", RECIPES)
def test_an_unfilled_variable_is_named(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VALUES:
        monkeypatch.delenv(variable, raising=False)
    read = proto.read_solver if kind.startswith("solver") else proto.read_net
    first = "EXP" if kind.startswith("solver") else "NET_ID"
    with pytest.raises(PrototxtError, match=rf"\$\{{{first}\}}"):
        read(prototxt_path(name, kind), {name: value for name, value in VALUES.items() if name != first})


@each_network
def test_deploy_has_the_papers_size(name: str) -> None:
    net = deploy(name)
    assert net.parameter_count() == PARAMETERS[name]
    assert net.inputs == ["data"]
    assert net.blob_shapes["data"] == (1, 3, 513, 513)
    assert net.outputs == [
        "fc1_interp" if name in RESNETS else "fc8_dt" if name.startswith("deeplab_dt") else "fc8_interp"
    ]
    assert net.blob_shapes[net.outputs[0]] == (1, 21, 513, 513)


@each_network
def test_scores_cover_every_image_of_a_fitting_side(name: str) -> None:
    net = deploy(name)
    step = 32 if name in THREE_SCALES else 8
    for k in (2, 5, 10):
        side = step * k + 1
        shapes = net.infer_shapes(data=(1, 3, side, side + step))
        assert shapes[net.outputs[0]] == (1, 21, side, side + step)


@pytest.mark.parametrize("name", NETWORKS)
def test_another_data_set_renames_all_heads_and_gives_them_its_classes(name: str) -> None:
    values = VALUES | {"DATA_ROOT": "/d", "FEATURE_DIR": "features", "EXP": "camvid", "NUM_LABELS": "11"}
    for kind in ("train", "test"):
        layers = proto.read_net(prototxt_path(name, kind), values).layer
        heads = [layer for layer in layers if layer.convolution_param.num_output == 11]
        assert len(heads) == {"deeplab_aspp_resnet101": 12, "deeplab_aspp_vgg16": 4, "deeplab_aspp_s_vgg16": 4}.get(
            name, 3 if name in THREE_SCALES else 1
        )
        assert all("_camvid" in head.name for head in heads)
        assert not any("voc12" in layer.name for layer in layers)


@pytest.mark.parametrize("name", THREE_SCALES)
@pytest.mark.parametrize(("side", "scores", "scaled"), [(321, 41, (21, 31)), (513, 65, (33, 49))])
def test_three_scales_meet(name: str, side: int, scores: int, scaled: tuple[int, int]) -> None:
    shapes = deploy(name).infer_shapes(data=(1, 3, side, side))
    stem = "fc1_voc12" if name in RESNETS else "fc8_voc12"
    fusion = "fc_fusion" if name in RESNETS else "fc8_fusion"
    found = [shapes[f"{stem}{suffix}"][2:] for suffix in TOWERS]
    assert found == [(scores, scores), (scaled[0],) * 2, (scaled[1],) * 2]
    for blob in (f"{stem}_res05_interp", f"{stem}_res075_interp", fusion):
        assert shapes[blob] == (1, 21, scores, scores)


@each_network
@pytest.mark.usefixtures("in_exper")
def test_train_and_test_are_built(name: str, variables: dict[str, str]) -> None:
    for kind, phase in (("train", "TRAIN"), ("test", "TEST")):
        param = proto.read_net(prototxt_path(name, kind), variables)
        for layer in param.layer:
            if layer.type == "ImageSegData":
                layer.image_data_param.batch_size = 1
        with torch.device("meta"):
            net = dc.Net(param, None, phase)
        assert net.parameter_count() == PARAMETERS[name]
        assert net.blob_shapes["data"] == ((1, 3, 321, 321) if kind == "train" else (1, 3, 513, 513))
        if name == "deeplab_aspp_resnet101" and kind == "train":
            # A parameter of three layers counts once; BatchNorm and Scale do not learn.
            rated = {
                id(blob): blob.numel()
                for layer in net.layers
                for blob, spec in zip(layer.blobs, layer.param.param, strict=True)
                if spec.lr_mult > 0
            }
            assert sum(rated.values()) == 43_943_188
        if kind == "train" and not name.startswith("deeplab_dt"):
            assert net.blob_shapes["label_shrink8" if "attention" in name else "label_shrink"] == (1, 1, 41, 41)


@pytest.mark.parametrize("name", RECIPES)
def test_the_kinds_of_a_network_have_the_same_parameters(name: str) -> None:
    """So that a caffemodel of one loads into the others."""
    found = []
    for kind in ("train", "test", "deploy"):
        layers = []
        for layer in net_of(name, kind).layer:
            if layer.type in LEARNING:
                layers.append(caffe_pb2.LayerParameter.FromString(layer.SerializeToString()))
                layers[-1].convolution_param.ClearField("weight_filler")
                layers[-1].convolution_param.ClearField("bias_filler")
        found.append(
            [(one.name, [spec.name for spec in one.param if spec.name], one.convolution_param) for one in layers]
        )
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize("kind", ["train", "deploy"])
def test_resnet_towers_have_the_released_names(name: str, kind: str) -> None:
    blocks = ["2a", "2b", "2c", "3a", "3b1", "3b2", "3b3", "4a", *(f"4b{i}" for i in range(1, 23)), "5a", "5b", "5c"]
    parts = ["conv1"]
    for block in blocks:
        parts += [f"{block}_branch1"] * block.endswith("a") + [f"{block}_branch2{part}" for part in "abc"]
    layers = layers_of(name, kind)
    for suffix in TOWERS:
        for type_, prefix, blobs in (("BatchNorm", "bn", 3), ("Scale", "scale", 2)):
            names = [f"{prefix}_conv1", *(f"{prefix}{part}" for part in parts[1:])]
            assert len(names) == 104
            for layer_name in names:
                layer = layers[layer_name + suffix]
                assert layer.type == type_
                assert [spec.name for spec in layer.param] == [f"{layer_name}_{i}" for i in range(blobs)]
                assert [spec.lr_mult for spec in layer.param] == [0] * blobs
                assert layer.bottom == layer.top
                assert layer.batch_norm_param.use_global_stats or type_ == "Scale"
        for part in parts:
            conv = layers[("conv1" if part == "conv1" else f"res{part}") + suffix]
            assert [spec.name for spec in conv.param] == [f"{conv.name.removesuffix(suffix)}_0"]
            assert not conv.convolution_param.bias_term


def test_a_tower_has_450_layers() -> None:
    layers = layers_of("deeplab_aspp_resnet101", "test")
    by_tower = {suffix: [name for name in layers if name.endswith(suffix)] for suffix in TOWERS[1:]}
    full = [name.removesuffix("_res05") for name in by_tower["_res05"] if not name.startswith(("data", "fc1"))]
    assert [
        name.removesuffix("_res075") for name in by_tower["_res075"] if not name.startswith(("data", "fc1"))
    ] == full
    assert len(full) + 4 == 450
    assert all(name in layers for name in full)
    for name in full:
        # The same layer but for the suffix of its blobs.
        one, other = caffe_pb2.LayerParameter(), caffe_pb2.LayerParameter()
        one.CopyFrom(layers[name])
        other.CopyFrom(layers[f"{name}_res05"])
        for layer in (one, other):
            for field in ("name", "bottom", "top"):
                layer.ClearField(field)
        assert one == other


def test_resnet_has_stride_2_in_res3_and_dilation_after_it() -> None:
    layers = layers_of("deeplab_aspp_resnet101", "deploy")
    convs = {name: layer.convolution_param for name, layer in layers.items() if layer.type == "Convolution"}
    strided = [name for name, conv in convs.items() if list(conv.stride) == [2]]
    assert strided == [f"{name}{suffix}" for suffix in TOWERS for name in ("conv1", "res3a_branch1", "res3a_branch2a")]
    for name, conv in convs.items():
        dilation = 2 if name.startswith("res4") else 4 if name.startswith("res5") else 1
        if name.startswith("res") and "branch2b" in name:
            assert ([*conv.dilation, 1][0], list(conv.pad)) == (dilation, [dilation])
    heads = [convs[f"fc1_voc12_c{i}"] for i in range(4)]
    assert [list(head.dilation) for head in heads] == [list(head.pad) for head in heads] == [[6], [12], [18], [24]]


@pytest.mark.parametrize("name", RECIPES)
def test_rates_of_training(name: str) -> None:
    for layer in layers_of(name, "train").values():
        if layer.type != "Convolution":
            continue
        new = layer.name.startswith(("fc1_", "fc8_", "att_")) or layer.name == "edge"
        rates = [10, 20] if new else [1, 2] if name not in RESNETS else [1]
        assert [spec.lr_mult for spec in layer.param] == rates
        assert [spec.decay_mult for spec in layer.param] == [1, 0][: len(rates)]
        filler = layer.convolution_param.weight_filler
        assert (filler.type, filler.std) == ("gaussian", pytest.approx(0.01)) if new else filler.type == "constant"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deeplab_aspp_resnet101", (2.5e-4, "poly", 20000, 10)),
        ("deeplab_largefov_resnet101", (2.5e-4, "poly", 20000, 10)),
        ("deeplab_aspp_vgg16", (1e-3, "poly", 20000, 1)),
        ("deeplab_aspp_s_vgg16", (1e-3, "poly", 20000, 1)),
        ("deeplab_largefov_vgg16_v2", (1e-3, "poly", 20000, 1)),
        ("deeplab_attention_vgg16", (1e-3, "step", 6000, 3)),
    ],
)
@pytest.mark.parametrize("kind", ["solver", "solver2"])
def test_solvers(name: str, kind: str, expected: tuple[float, str, int, int]) -> None:
    solver = proto.read_solver(prototxt_path(name, kind), VALUES)
    assert (pytest.approx(solver.base_lr), solver.lr_policy, solver.max_iter, solver.iter_size) == expected
    assert (
        solver.power == pytest.approx(0.9)
        if expected[1] == "poly"
        else (solver.gamma, solver.stepsize)
        == (
            pytest.approx(0.1),
            2000,
        )
    )
    assert (solver.momentum, solver.weight_decay) == (pytest.approx(0.9), pytest.approx(5e-4))


def test_attention_without_supervision_has_one_loss() -> None:
    plain = layers_of("deeplab_attention_vgg16_plain", "train")
    full = layers_of("deeplab_attention_vgg16", "train")
    more = [f"{what}_{size}" for size in ("res1", "res075", "res05") for what in ("loss", "accuracy")]
    assert sorted(set(full) - set(plain)) == sorted([*more, "label_shrink16"])
    assert all(full[name] == layer for name, layer in plain.items())
