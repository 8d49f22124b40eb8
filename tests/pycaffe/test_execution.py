"""Layers written in Python in pycaffe's nets, which work on the net's own blobs; gradients nobody was said to want."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from tests.nets import inputs, parse
from tests.python_layers import Slope, Times, Watcher, text, write_problem

DATA = inputs(data=(1, 2, 1, 2))
X = np.array([1, 2, 3, 4], np.float32).reshape(1, 2, 1, 2)


def make(text_: str, phase: int = caffe.TEST) -> caffe.Net:
    return caffe.Net(parse(text_), phase)


def test_forward_and_backward() -> None:
    net = make("force_backward: true " + DATA + text("a", "Times", "data", "a", "3") + text("b", "Times", "a", "b"))
    assert net.forward(data=X)["b"].ravel().tolist() == [30, 60, 90, 120]
    assert net.backward(b=np.ones_like(X))["data"].ravel().tolist() == [30] * 4
    net.blobs["data"].reshape(2, 1, 1, 1)
    assert net.forward(data=np.ones((2, 1, 1, 1)))["b"].tolist() == [[[[30]]]] * 2


def test_backward_from_blobs_set_by_hand_calls_no_forward() -> None:
    net = make("force_backward: true " + DATA + text("a", "Times", "data", "a"))
    net.blobs["a"].diff[...] = 2
    net.backward()
    assert net.blobs["data"].diff.ravel().tolist() == [20] * 4
    assert net.layers[-1].calls == ["reshape", "backward [True]"]


def test_layers_are_the_users_own_objects() -> None:
    net = make(DATA + text("a", "Times", "data", "a") + text("w", "Slope", "a", "w"))
    user = net.layer_dict["a"]
    assert isinstance(user, Times)
    assert isinstance(net.layer_dict["w"], Slope)
    user.factor = 5  # as Fast R-CNN's set_roidb reaches its layer
    assert net.forward(data=X)["w"].ravel().tolist() == [15, 30, 45, 60]
    assert "Python" in caffe.layer_type_list()


def test_net_reshape_asks_the_layers() -> None:
    net = make(DATA + text("a", "Times", "data", "a"))
    net.blobs["data"].reshape(3, 2, 2, 2)
    net.reshape()
    assert net.blobs["a"].shape == (3, 2, 2, 2)
    assert net.layer_dict["a"].calls == ["reshape", "reshape"]


def test_data_layer() -> None:
    net = make(text("d", "Batches", "", "x y") + text("ten", "Times", "y", "ten"))
    for number in range(3):
        net.forward()
        assert net.blobs["x"].shape == (number + 1, 1, 2, 2)
        assert set(net.blobs["ten"].data.ravel()) == {20 * number}
    assert net.inputs == []


def test_phase() -> None:
    for phase in (caffe.TRAIN, caffe.TEST):
        assert make(text("p", "Phase", "", "p"), phase).forward()["p"] == phase


def test_what_setup_wrote_stays() -> None:
    assert make(text("c", "Constant", "", "c")).forward()["c"].tolist() == [[4, 5]]


def test_a_layer_in_place_and_one_without_tops() -> None:
    net = make(DATA + text("a", "Times", "data", "data") + text("w", "Watcher", "data"))
    before = len(Watcher.seen)
    net.forward(data=X)
    assert Watcher.seen[before:] == [100]
    assert net.outputs == []


def test_parameters(tmp_path: Path) -> None:
    net, other = (make(DATA + text("a", "Slope", "data", "a")) for _ in range(2))
    assert net.params["a"][0].shape == (1,)
    assert net.layer_dict["a"].blobs[0] is net.params["a"][0]
    net.forward(data=X)
    net.blobs["a"].diff[...] = 1
    net.backward()
    net.backward()
    assert net.params["a"][0].diff.tolist() == [20]
    net.clear_param_diffs()
    assert net.params["a"][0].diff.tolist() == [0]
    net.params["a"][0].data[...] = 8
    net.save(tmp_path / "x.caffemodel")
    other.copy_from(tmp_path / "x.caffemodel")
    assert other.forward(data=X)["a"].ravel().tolist() == [8, 16, 24, 32]
    third = make(DATA + text("a", "Slope", "data", "a"))
    third.share_with(net)
    net.params["a"][0].data[...] = 2
    assert third.forward(data=X)["a"].ravel().tolist() == [2, 4, 6, 8]


def test_a_reshaped_parameter_is_the_class_own_business() -> None:
    net = make(DATA + text("a", "Slope", "data", "a"))
    net.params["a"][0].data[...] = 3
    net.params["a"][0].reshape(1, 1)
    assert net.params["a"][0].shape == (1, 1)
    assert net.forward(data=X)["a"].ravel().tolist() == [3, 6, 9, 12]


def test_no_way_back_where_no_loss_follows() -> None:
    """A layer beside the loss, an accuracy in Python, has no use for `backward`, and need not have one."""
    both = inputs(data=(1, 2, 1, 2), label=(1, 2, 1, 2)) + text("s", "Slope", "data", "s")
    both += text("loss", "Distance", "s label", "loss", more="loss_weight: 2") + text(
        "p", "Broken", "s", "p", "backward"
    )
    net = make(both, caffe.TRAIN)
    net.forward(data=X, label=np.zeros_like(X))
    assert net.blobs["loss"].diff.tolist() == [2]
    net.backward()
    # d/dw of (w x)^2 / 2 is w x^2, and x^2 adds up to 30.
    assert net.params["s"][0].diff.tolist() == [2 * 3 * 30]


@pytest.mark.parametrize("method", ["setup", "reshape", "forward", "backward"])
def test_exceptions_come_out_as_they_are(method: str) -> None:
    def run() -> None:
        net = make("force_backward: true " + DATA + text("a", "Broken", "data", "a", method))
        net.forward(data=X)
        net.backward()

    with pytest.raises(KeyError, match=f"no {method}"):
        run()


def test_training(tmp_path: Path) -> None:
    solver = caffe.SGDSolver(str(write_problem(tmp_path)))
    losses = []
    for _ in range(3):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data[0]))
    # The loss is (2 w - 10)^2, its derivative 4 (2 w - 10): w is 3, 3.8, 4.28.
    assert losses == pytest.approx([16, 2.4**2, 1.44**2])
    assert [name for name, each in solver.net.layer_dict.items() if isinstance(each, caffe.Layer)] == ["w", "t", "loss"]


RELU = 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }\n'
FIELDS = 'input: "data" input_shape { dim: 1 dim: 1 dim: 2 dim: 2 } input: "b" input_shape { dim: 3 }\n'
SHAPE = "input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } }"


@pytest.mark.parametrize(
    ("text_", "names", "types"),
    [
        (f'layer {{ name: "in" type: "Input" top: "data" {SHAPE} }}\n' + RELU, ["in", "r"], ["Input", "ReLU"]),
        (FIELDS + RELU, ["input", "r"], ["Input", "ReLU"]),
        (
            FIELDS + f'layer {{ name: "c" type: "Input" top: "c" {SHAPE} }}' + RELU,
            ["input", "c", "r"],
            2 * ["Input"] + ["ReLU"],
        ),
        (inputs(data=(1, 1, 2, 2)) + 'layers { name: "r" type: RELU bottom: "data" top: "r" }', ["r"], ["ReLU"]),
    ],
    ids=["Input layer", "fields", "both", "V1"],
)
def test_input_layers_are_listed_as_there(text_: str, names: list[str], types: list[str]) -> None:
    net = make("force_backward: true " + text_)
    assert net._layer_names == list(net.layer_dict) == names
    assert [each.type for each in net.layers] == types
    assert net.top_names[names[0]] == {"in": ["data"], "input": ["data", "b"], "r": ["r"]}[names[0]]
    assert net.inputs[0] == "data"
    data = np.array([[[[-1, 2], [3, -4]]]], np.float32)
    net.blobs["data"].data[...] = data
    called = []
    net.before_forward(called.append)
    assert net.forward()["r"].tolist() == [[[[0, 2], [3, 0]]]]
    assert called == list(range(len(names)))
    assert np.array_equal(net.blobs["data"].data, data)
    net.blobs["r"].diff[...] = 5
    net.backward()
    assert net.blobs["data"].diff.tolist() == [[[[0, 5], [5, 0]]]]
    net.blobs["data"].reshape(1, 1, 3, 2)
    net.reshape()
    assert net.blobs["r"].shape == (1, 1, 3, 2)
    assert net.forward(start="r")["r"].shape == (1, 1, 3, 2)


IN_PLACE = [
    'type: "Scale" scale_param { filler { type: "constant" value: 3 } }',
    'type: "PReLU"',
    'type: "ELU"',
    'type: "Clip" clip_param { min: -0.5 max: 0.5 }',
    'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
    'type: "Power" power_param { power: 2 }',
    'type: "ReLU"',
]


@pytest.mark.parametrize("bottom", ["data", "c"])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_the_first_backward_of_a_net_without_a_loss(kind: str, bottom: str, tmp_path: Path) -> None:
    """Layers in place overwrite what their gradients need: the net's input, or what another layer made."""
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 3 dim: 2 dim: 4 dim: 4 } } }'
    if bottom == "c":
        text += 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2'
        text += ' kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }'
    place = f'bottom: "{bottom}" top: "{bottom}"'
    text += f'layer {{ name: "two" {place} type: "Scale" scale_param {{ filler {{ type: "constant" value: 2 }} }} }}'
    text += f'layer {{ name: "one" {place} {kind} }} layer {{ name: "end" {place} type: "ReLU" }}'
    text += f'layer {{ name: "sum" bottom: "{bottom}" top: "sum" type: "Power" power_param {{ power: 2 }} }}'
    path = tmp_path / "net.prototxt"
    x = np.random.default_rng(1).standard_normal((3, 2, 4, 4)).astype(np.float32)
    weight = np.array([[1, -2], [0.5, 3]], np.float32).reshape(2, 2, 1, 1)

    def gradients(head: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        path.write_text(head + text)
        net = caffe.Net(str(path), caffe.TEST)
        if bottom == "c":
            net.params["c"][0].data[...] = weight
        net.blobs["data"].data[...] = x
        net.forward()
        before = {f"{name} {i}": blob.data.copy() for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
        net.blobs["sum"].diff[...] = 1
        net.backward()
        after = {f"{name} {i}": blob.data for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
        assert all(np.array_equal(before[name], after[name]) for name in before)
        found = {f"{name} {i}": blob.diff.copy() for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
        return found, {name: blob.data.copy() for name, blob in net.blobs.items()}

    (found, blobs), (expected, same) = gradients(""), gradients("force_backward: true ")
    for name, diff in expected.items():
        np.testing.assert_array_equal(found[name], diff, err_msg=name)
    for name, data in same.items():
        np.testing.assert_array_equal(blobs[name], data, err_msg=name)
