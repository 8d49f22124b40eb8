from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.optimized import _inference_graph as inference_graph
from deeplab_caffe.net.graph import Graph, run_layer
from deeplab_caffe.zoo.paths import NETWORKS
from tests import nets
from tests.inference.narrow import narrow, photo_like


def kinds(graph: Graph) -> list[str]:
    return [step.layer.TYPE + (f"+{step.activation.TYPE}" if step.activation else "") for step in graph.steps]


def test_small_net_by_hand() -> None:
    graph = inference_graph(nets.build(nets.SMALL), ["score"])
    assert kinds(graph) == ["Convolution+ReLU", "Pooling", "Convolution+ReLU", "Convolution"]
    # Values: 0 data; 1 and 2 conv1 before and after its ReLU; 3 pool1; 4 and 5 fc; 6 fc after dropout; 7 score.
    assert [(step.reads, step.makes, step.dead) for step in graph.steps] == [
        ((0,), (2,), (0,)),
        ((2,), (3,), (2,)),
        ((3,), (5,), (3,)),
        ((5,), (7,), (5,)),
    ]
    assert graph.outputs == {"score": 7}
    assert graph.graph_break_reason is None
    assert graph.per_item


def test_layers_that_nothing_wanted_needs_are_left_out() -> None:
    graph = inference_graph(nets.build(nets.SMALL), ["pool1"])
    assert kinds(graph) == ["Convolution+ReLU", "Pooling"]


def test_a_blob_that_others_read_before_its_relu_keeps_both_values() -> None:
    text = nets.inputs(data=(1, 3, 5, 5)) + nets.conv("conv1", "data") + nets.layer("RELU", "relu", "conv1", "positive")
    graph = inference_graph(nets.build(text), ["conv1", "positive"])
    assert kinds(graph) == ["Convolution", "ReLU"]
    graph = inference_graph(nets.build(text), ["positive"])
    assert kinds(graph) == ["Convolution+ReLU"]


def test_leaky_relus_stay() -> None:
    text = nets.inputs(data=(1, 3, 5, 5)) + nets.conv("conv1", "data")
    text += nets.layer("RELU", "relu", "conv1", "conv1", "relu_param { negative_slope: 0.1 }")
    assert kinds(inference_graph(nets.build(text), ["conv1"])) == ["Convolution", "ReLU"]


def test_an_input_can_be_an_output() -> None:
    graph = inference_graph(nets.build(nets.SMALL), ["data"])
    x = photo_like(1, 3, 9, 11)
    assert graph.steps == ()
    assert torch.equal(graph.execute([x], run_layer)["data"], x)


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
    graph = inference_graph(net, net.outputs)
    assert (graph.graph_break_reason is None, graph.per_item) == (capturable, per_item)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_layers_themselves_give_the_nets_result(name: str) -> None:
    net = narrow(name)
    x = photo_like(2, 3, 65, 81)
    graph = inference_graph(net, net.outputs)
    assert not {"Dropout", "Split", "ReLU"} & set(kinds(graph))
    (got,) = graph.execute([x.clone()], run_layer).values()
    assert torch.equal(got, net(x))


def test_refusals() -> None:
    with pytest.raises(NetError, match=r"phase TRAIN"):
        inference_graph(nets.build(nets.SMALL, phase="TRAIN"), ["score"])
    with pytest.raises(NetError, match=r"no blob 'nothing'; it has data, conv1"):
        inference_graph(nets.build(nets.SMALL), ["nothing"])
    data = "dummy_data_param { num: 1 channels: 1 height: 1 width: 1 }"
    with pytest.raises(NetError, match=r"layer 'd': data layers cannot be optimized"):
        inference_graph(nets.build(nets.layer("DUMMY_DATA", "d", "", "d", data)), ["d"])


def test_the_memory_of_activations_by_hand() -> None:
    def peak(ends: str) -> int:
        text = nets.inputs(data=(1, 1, 2, 2)) + nets.conv("a", "data", out=2, kernel=1) + ends
        return nets.build(text).activation_bytes()

    # Four numbers of the data and eight of a; in place, then four of b beside them.
    assert peak(nets.relu("r", "a") + nets.conv("b", "a", out=1, kernel=1)) == 4 * 12
    # A Sigmoid's eight lie beside a's, which b needs no more.
    sigmoid = nets.layer("SIGMOID", "s", "a", "s")
    assert peak(sigmoid + nets.conv("b", "s", out=1, kernel=1)) == 4 * 16
    # A sum keeps a until it has been read: a, its Sigmoid, and the sum.
    assert peak(sigmoid + nets.layer("ELTWISE", "sum", "a s", "sum")) == 4 * 24
