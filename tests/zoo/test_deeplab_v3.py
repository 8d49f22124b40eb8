"""The networks of DeepLab v3 as torchvision has them: strides, dilations, sizes, files."""

from __future__ import annotations

from functools import cache

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.zoo.paths import prototxt_path

VALUES = {"EXP": "voc12", "NET_ID": "n", "DATA_ROOT": "/", "TRAIN_SET": "t", "TEST_SET": "v", "NUM_LABELS": "21"}
each_depth = pytest.mark.parametrize("depth", [50, 101])


@cache
def deploy(depth: int) -> dc.Net:
    with torch.device("meta"):
        return dc.Net(prototxt_path(f"deeplab_v3_resnet{depth}"))


def read(depth: int, kind: str) -> caffe_pb2.NetParameter:
    return proto.read_net(prototxt_path(f"deeplab_v3_resnet{depth}", kind), VALUES)


@each_depth
@pytest.mark.parametrize(
    ("side", "scores"), [(513, 65), (520, 65), (512, 64), (505, 64), (500, 63), (321, 41), (33, 5)]
)
def test_scores_at_an_eighth_and_at_the_images_size(depth: int, side: int, scores: int) -> None:
    shapes = deploy(depth).infer_shapes(data=(1, 3, side, side + 7))
    assert shapes["fc1_voc12"][:3] == (1, 21, scores)
    assert shapes["fc1_interp"] == (1, 21, side, side + 7)
    assert shapes["aspp"][1] == 1280
    assert shapes["image_pool"] == (1, 2048, 1, 1)


@each_depth
def test_strides_and_dilations(depth: int) -> None:
    layers = {
        layer.name: layer.convolution_param for layer in read(depth, "deploy").layer if layer.type == "Convolution"
    }
    strided = [name for name, conv in layers.items() if list(conv.stride) == [2]]
    assert strided == ["conv1", "res3a_branch1", "res3a_branch2b"]
    assert not any(conv.bias_term for name, conv in layers.items() if not name.startswith("fc1_"))
    expected = {"res4a": 1, "res4b" if depth == 50 else "res4b22": 2, "res5a": 2, "res5b": 4, "res5c": 4}
    for name, dilation in expected.items():
        conv = layers[f"{name}_branch2b"]
        assert ([*conv.dilation, 1][0], list(conv.pad)) == (dilation, [dilation])
    for rate in (12, 24, 36):
        conv = layers[f"aspp_{rate}"]
        assert (list(conv.dilation), list(conv.pad), conv.num_output) == ([rate], [rate], 256)


@each_depth
def test_the_kinds_share_their_layers(depth: int) -> None:
    nets = {kind: {layer.name: layer for layer in read(depth, kind).layer} for kind in ("train", "test", "deploy")}
    assert set(nets["deploy"]) < set(nets["test"])
    for kind in ("train", "test"):
        for name, layer in nets["deploy"].items():
            assert (nets[kind][name].type, list(nets[kind][name].bottom)) == (layer.type, list(layer.bottom))
    norms = [layer for layer in nets["train"].values() if layer.type == "BatchNorm"]
    assert all(layer.batch_norm_param.moving_average_fraction == pytest.approx(0.9) for layer in norms)
    means = [pytest.approx(mean) for mean in (103.53, 116.28, 123.675)]
    for kind in ("train", "test"):
        assert list(nets[kind]["data"].transform_param.mean_value) == means
    assert list(read(depth, "deploy").mean_value) == means
    for kind in ("solver", "solver2"):
        solver = proto.read_solver(prototxt_path(f"deeplab_v3_resnet{depth}", kind), VALUES)
        assert (solver.base_lr, solver.weight_decay) == (pytest.approx(0.02), pytest.approx(1e-4))
