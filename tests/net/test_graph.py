from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.net.graph import build_plan, run_layer
from deeplab_caffe.zoo.paths import NETWORKS
from tests import nets
from tests.inference.narrow import narrow, photo_like


def kinds(plan) -> list[str]:
    return [operation.layer.TYPE + ("+ReLU" if operation.relu else "") for operation in plan.operations]


def test_small_net_by_hand() -> None:
    plan = build_plan(nets.build(nets.SMALL), ["score"])
    assert kinds(plan) == ["Convolution+ReLU", "Pooling", "Convolution+ReLU", "Convolution"]
    # Values: 0 data; 1 and 2 conv1 before and after its ReLU; 3 pool1; 4 and 5 fc; 6 score.
    assert [(o.bottoms, o.tops, o.dead) for o in plan.operations] == [
        ((0,), (2,), (0,)),
        ((2,), (3,), (2,)),
        ((3,), (5,), (3,)),
        ((5,), (6,), (5,)),
    ]
    assert plan.outputs == {"score": 6}
    assert plan.capturable
    assert plan.per_item


def test_layers_that_nothing_wanted_needs_are_left_out() -> None:
    plan = build_plan(nets.build(nets.SMALL), ["pool1"])
    assert kinds(plan) == ["Convolution+ReLU", "Pooling"]


def test_a_blob_that_others_read_before_its_relu_keeps_both_values() -> None:
    text = nets.inputs(data=(1, 3, 5, 5)) + nets.conv("conv1", "data") + nets.layer("RELU", "relu", "conv1", "positive")
    plan = build_plan(nets.build(text), ["conv1", "positive"])
    assert kinds(plan) == ["Convolution", "ReLU"]
    plan = build_plan(nets.build(text), ["positive"])
    assert kinds(plan) == ["Convolution+ReLU"]


def test_leaky_relus_stay() -> None:
    text = nets.inputs(data=(1, 3, 5, 5)) + nets.conv("conv1", "data")
    text += nets.layer("RELU", "relu", "conv1", "conv1", "relu_param { negative_slope: 0.1 }")
    assert kinds(build_plan(nets.build(text), ["conv1"])) == ["Convolution", "ReLU"]


def test_an_input_can_be_an_output() -> None:
    plan = build_plan(nets.build(nets.SMALL), ["data"])
    x = photo_like(1, 3, 9, 11)
    assert plan.operations == ()
    assert torch.equal(plan.execute([x], run_layer)["data"], x)


@pytest.mark.parametrize(
    ("layer", "capturable", "per_item"),
    [
        ("", True, True),
        (nets.layer("DOMINANT_CHANNEL", "d", "score", "d", "dominant_channel_param { top_k: 2 }"), False, False),
        (nets.layer("CONCAT", "d", "score data", "d", "concat_param { concat_dim: 0 }"), True, False),
    ],
)
def test_what_a_graph_can_hold(layer: str, capturable: bool, per_item: bool) -> None:
    text = nets.inputs(data=(1, 5, 9, 11)) + nets.conv("score", "data", out=5) + layer
    net = nets.build(text)
    plan = build_plan(net, net.outputs)
    assert (plan.capturable, plan.per_item) == (capturable, per_item)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_layers_themselves_give_the_nets_result(name: str) -> None:
    net = narrow(name)
    x = photo_like(2, 3, 65, 81)
    plan = build_plan(net, net.outputs)
    assert not {"Dropout", "Split", "ReLU"} & set(kinds(plan))
    (got,) = plan.execute([x.clone()], run_layer).values()
    assert torch.equal(got, net(x))


def test_refusals() -> None:
    with pytest.raises(NetError, match=r"phase TRAIN"):
        build_plan(nets.build(nets.SMALL, phase="TRAIN"), ["score"])
    with pytest.raises(NetError, match=r"no blob 'nothing'; it has data, conv1"):
        build_plan(nets.build(nets.SMALL), ["nothing"])
    data = "dummy_data_param { num: 1 channels: 1 height: 1 width: 1 }"
    with pytest.raises(NetError, match=r"layer 'd': data layers cannot be optimized"):
        build_plan(nets.build(nets.layer("DUMMY_DATA", "d", "", "d", data)), ["d"])
