from __future__ import annotations

import copy
import gc
import pickle
import resource
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe import NetError
from deeplab_caffe.net.weights import WeightsWarning
from tests.goldens import relative_error
from tests.nets import INTERP, SMALL, conv, inputs, layer, noise, parse, relu

DEPLOY = SMALL + INTERP
FORCED = "force_backward: true " + DEPLOY
X = noise(1, 3, 9, 11).numpy()


def make(text: str = DEPLOY, phase: int = caffe.TEST, **options: object) -> caffe.Net:
    options.setdefault("seed", 1)
    return caffe.Net(parse(text), phase, **options)


API = {
    "blobs",
    "params",
    "inputs",
    "outputs",
    "layers",
    "layer_dict",
    "bottom_names",
    "top_names",
    "blob_loss_weights",
    "forward",
    "backward",
    "forward_all",
    "copy_from",
    "save",
    "share_with",
    "reshape",
    "clear_param_diffs",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_device",
    "set_phase_train",
    "set_phase_test",
    "save_hdf5",
    "load_hdf5",
    "before_forward",
    "after_forward",
    "before_backward",
    "after_backward",
}


def test_names() -> None:
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert {"Convolution", "Interp", "SoftmaxWithLoss", "DenseCRF"} <= set(caffe.layer_type_list())
    message = caffe.proto.caffe_pb2.NetParameter()
    assert message.DESCRIPTOR.name == "NetParameter"
    net = make()
    assert set(dir(net)) >= API
    assert net.inputs == ["data"]
    assert net.outputs == ["up"]
    assert isinstance(net.blobs, OrderedDict)
    assert list(net.blobs) == ["data", "conv1", "pool1", "fc", "score", "up"]
    assert list(net.params) == ["conv1", "fc", "score"]
    assert [blob.shape for blob in net.params["fc"]] == [(6, 4, 3, 3), (1, 1, 1, 6)]
    assert [each.type for each in net.layers[:3]] == ["Convolution", "ReLU", "Pooling"]
    assert net.layers[0].blobs[0] is net.params["conv1"][0]
    assert net.layer_dict["pool1"].blobs == []
    # Scripts that merge BatchNorm into convolutions ask for this very type.
    assert all(type(blobs) is caffe._caffe.BlobVec for blobs in net.params.values())
    assert type(net.layer_dict["pool1"].blobs) is caffe.BlobVec
    with pytest.raises(NetError, match="add_blob: only layers written in Python"):
        net.params["fc"].add_blob(2)
    assert net.bottom_names["pool1"] == ["conv1"]
    assert net.top_names["pool1"] == ["pool1"]
    assert net.blob_loss_weights["up"] == 0


WITHOUT_WEIGHTS = {"phase", "phase level stages", "all by keyword, no weights"}
OF_TEST = {"weights", "network_file, weights"}


@pytest.mark.parametrize(
    "order",
    [
        "phase",
        "weights phase",
        "phase keyword",
        "weights",
        "phase weights",
        "phase level stages",
        "phase level stages weights",
        "phase, weights keyword",
        "network_file, weights",
        "all by keyword",
        "all by keyword, no weights",
        "numpy's phase",
    ],
)
def test_ways_to_make_one(order: str, tmp_path: Path) -> None:
    source, prototxt, weights = make(seed=9), tmp_path / "net.prototxt", str(tmp_path / "x.caffemodel")
    prototxt.write_text(DEPLOY)
    source.save(weights)
    made = {
        "phase": lambda: caffe.Net(str(prototxt), caffe.TRAIN),
        "weights phase": lambda: caffe.Net(str(prototxt), weights, caffe.TRAIN),
        "phase keyword": lambda: caffe.Net(str(prototxt), weights=weights, phase=caffe.TRAIN),
        "weights": lambda: caffe.Net(str(prototxt), weights),
        "phase weights": lambda: caffe.Net(str(prototxt), caffe.TRAIN, weights),
        "phase level stages": lambda: caffe.Net(str(prototxt), caffe.TRAIN, 1, ["a"]),
        "phase level stages weights": lambda: caffe.Net(str(prototxt), caffe.TRAIN, 0, None, weights),
        "phase, weights keyword": lambda: caffe.Net(str(prototxt), caffe.TRAIN, weights=weights),
        "network_file, weights": lambda: caffe.Net(network_file=str(prototxt), weights=weights),
        "all by keyword": lambda: caffe.Net(
            network_file=str(prototxt), phase=caffe.TRAIN, level=0, stages=[], weights=weights
        ),
        "all by keyword, no weights": lambda: caffe.Net(network_file=prototxt, phase=caffe.TRAIN, weights=None),
        "numpy's phase": lambda: caffe.Net(str(prototxt), weights, np.int64(caffe.TRAIN)),
    }[order]()
    assert made.module.context.phase == (caffe.TEST if order in OF_TEST else caffe.TRAIN)
    assert made.module.training == (order not in OF_TEST)
    same = np.array_equal(made.params["fc"][0].data, source.params["fc"][0].data)
    assert same == (order not in WITHOUT_WEIGHTS)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None, Path("x.caffemodel")), {}, "expected the path of weights and a phase, got None and .*x.caffemodel"),
        (("w", 0, 0), {}, r"expected weights, phase behind the network's file, got \('w', 0, 0\)"),
        ((0, 0, [], "w", 1), {}, "expected phase, level, stages, weights behind the network's file"),
        ((0,), {"phase": 1}, "phase is given by place and by name"),
        ((), {"weights": 1}, "expected the path of weights and a phase, got 1 and None"),
    ],
)
def test_arguments_that_do_not_go_together(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetError, match=message):
        caffe.Net("net.prototxt", *arguments, **options)


def test_level_and_stages() -> None:
    ip = "inner_product_param { num_output: 1 }"
    text = 'input: "x" input_shape { dim: 1 dim: 2 }\n'
    for name, rule in (("all", ""), ("high", "include { min_level: 1 }"), ("staged", 'include { stage: "a" }')):
        text += f'layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "{name}" {rule} {ip} }}\n'
    for options, expected in (
        ({}, ["all"]),
        ({"level": 1}, ["all", "high"]),
        ({"stages": ["a"]}, ["all", "staged"]),
        ({"stages": ["a"], "level": 2}, ["all", "high", "staged"]),
    ):
        assert make(text, **options).outputs == expected


def test_names_by_number() -> None:
    text = inputs(data=(2, 3, 4, 4), label=(2, 1, 4, 4)) + conv("score", "data", out=3) + relu("r", "score")
    net = make(text + layer("SOFTMAX_LOSS", "loss", "score label", "loss", "loss_weight: 0.5"))
    assert net._blob_names == ["data", "label", "score", "loss"]
    assert all(blob is net.blobs[name] for name, blob in zip(net._blob_names, net._blobs, strict=True))
    assert net._layer_names == ["score", "r", "loss"]
    assert (net._inputs, net._outputs) == ([0, 1], [3])
    assert [net._bottom_ids(i) for i in range(3)] == [[0], [2], [2, 1]]
    assert [net._top_ids(i) for i in range(3)] == [[2], [2], [3]]
    assert net._blob_loss_weights == [0, 0, 0, 0.5]


def test_callbacks() -> None:
    net, calls = make(FORCED), []
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, when)(lambda number, when=when: calls.append((when, number)))
    net.after_forward(lambda number: calls.append(("seen", float(net.blobs["conv1"].data.min()) < 0)))
    net.forward(data=X, end="relu1")
    # conv1 has negative tops, and relu1 behind it none.
    assert calls == [
        ("before_forward", 0),
        ("after_forward", 0),
        ("seen", True),
        ("before_forward", 1),
        ("after_forward", 1),
        ("seen", False),
    ]
    calls.clear()
    net.backward(start="relu1")
    assert calls == [(f"{when}_backward", number) for number in (1, 0) for when in ("before", "after")]


def test_arrays_stay_live_across_forwards() -> None:
    net = make()
    data, out = net.blobs["data"].data, net.blobs["up"].data
    data[...] = X
    first = net.forward()["up"]
    assert first is not None
    assert np.shares_memory(first, out)
    before = out.copy()
    data *= -1
    net.forward()
    assert not np.array_equal(out, before)
    with torch.no_grad():
        expected = net.module(torch.from_numpy(-X)).numpy()
    assert np.array_equal(out, expected)


def test_reshaping_the_input_reshapes_the_rest() -> None:
    net = make()
    net.blobs["data"].reshape(2, 3, 21, 13)
    assert net.blobs["up"].shape == (1, 5, 9, 11)
    net.reshape()
    assert net.blobs["up"].shape == (2, 5, 21, 13)
    net.blobs["data"].reshape(1, 3, 5, 5)
    assert net.forward()["up"].shape == (1, 5, 5, 5)
    net.blobs["data"].reshape(1, 4, 5, 5)
    with pytest.raises(NetError, match="layer 'conv1': the weights are for 3 input channels"):
        net.forward()


def test_changed_parameters_count_at_once() -> None:
    for options in ({}, {"channels_last": True}, {"engine": "CAFFE"}):
        net = make(**options)
        first = net.forward(data=X)["up"].copy()
        for blob in net.params["score"]:
            blob.data[...] *= 2
        assert relative_error(net.forward()["up"], 2 * first) < 1e-6
        net.params["conv1"][0].data[...] = 0
        net.params["conv1"][1].data[...] = 0
        assert np.ptp(net.forward(blobs=["conv1"])["conv1"]) == 0


def test_forward_with_start_end_and_blobs() -> None:
    net = make()
    assert list(net.forward(data=X)) == ["up"]
    assert set(net.forward(blobs=["conv1", "fc"])) == {"up", "conv1", "fc"}
    score = net.blobs["score"].data.copy()
    assert list(net.forward(end="pool1")) == ["pool1"]
    assert list(net.forward(start="fc", end="score")) == ["score"]
    assert np.array_equal(net.blobs["score"].data, score)
    net.blobs["score"].data[...] = 1
    assert np.array_equal(net.forward(start="up")["up"], np.ones((1, 5, 9, 11)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.forward(start="nowhere"), "the net has no layer 'nowhere'; it has conv1, relu1"),
        (lambda net: net.forward(blobs=["nothing"]), "the net has no blob 'nothing'; it has data, conv1"),
        (lambda net: net.forward(image=X), r"values for \['image'\] do not match the net's \['data'\]"),
        (
            lambda net: net.forward(data=np.zeros((2, 3, 9, 11))),
            "blob 'data' is not batch sized: it has 1 items, got 2",
        ),
        (lambda net: net.forward(data=np.zeros((1, 3, 9, 9))), r"blob 'data' is \(1, 3, 9, 11\), .*reshape it first"),
        (lambda net: net.forward(data=1), r"blob 'data' is \(1, 3, 9, 11\), got an array of \(\)"),
        (lambda net: net.forward(start="score", end="fc"), "forward: layer 'score' comes after layer 'fc'"),
        (lambda net: net.backward(start="fc", end="score"), "backward: layer 'fc' comes before layer 'score'"),
        (lambda net: net.backward(diffs=["nothing"]), "the net has no blob 'nothing'"),
        (lambda net: net.backward(fc=X), r"values for \['fc'\] do not match the net's \['up'\]"),
        (lambda net: net.forward_all(image=X), r"values for \['image'\] do not match"),
    ],
)
def test_calls_that_do_not_fit(call: object, message: str) -> None:
    with pytest.raises(NetError, match=message):
        call(make())


@pytest.mark.parametrize("shape", [(1, 1, 9, 11), (1, 3, 1, 1), (1, 11), (1, 1, 1, 3, 9, 11)])
def test_forward_takes_what_numpy_spreads_over_the_blob(shape: tuple[int, ...]) -> None:
    net, array = make(), noise(*shape, seed=5).numpy()
    net.forward(data=array)
    expected = np.empty((1, 3, 9, 11), np.float32)
    expected[...] = array
    assert np.array_equal(net.blobs["data"].data, expected)


def test_blob_of_another_net_in_a_layers_place_is_shared() -> None:
    one, other = make(), make()
    for blobs in one.params.values():
        for blob in blobs:
            blob.data[...] = noise(*blob.shape, seed=blob.count).numpy()
    for name, blobs in one.params.items():
        other.params[name][0] = blobs[0]
        other.layer_dict[name].blobs[1:] = blobs[1:]
    expected = one.forward(data=X)["up"].copy()
    assert np.array_equal(other.forward(data=X)["up"], expected)
    # One memory: what is written to either counts for both, in files too.
    one.params["conv1"][0].data[...] *= 2
    assert np.array_equal(other.forward(data=X)["up"], one.forward(data=X)["up"])
    assert not np.array_equal(other.blobs["up"].data, expected)
    assert np.shares_memory(other.params["conv1"][0].diff, one.params["conv1"][0].diff)


def test_saved_file_has_the_blob_that_was_taken_over(tmp_path: Path) -> None:
    one, other = make(), make()
    one.params["conv1"][0].data[...] = 3
    other.params["conv1"][0] = one.params["conv1"][0]
    other.save(tmp_path / "a.caffemodel")
    again = make()
    again.copy_from(tmp_path / "a.caffemodel")
    assert (again.params["conv1"][0].data == 3).all()
    copied = copy.deepcopy(other)
    copied.params["conv1"][0].data[...] = 4
    assert (other.params["conv1"][0].data == 3).all()
    copied.params["fc"][0] = one.params["fc"][0]
    assert copied.params["fc"][0] is one.params["fc"][0]


def test_blob_that_cannot_be_replaced() -> None:
    net, other = make(), make()
    with pytest.raises(NetError, match=r"parameter blob 0 cannot be replaced by ndarray: write into its array, \.data"):
        net.params["conv1"][0] = np.zeros(net.params["conv1"][0].shape)
    with pytest.raises(NetError, match="layer 'conv1': its parameter blob 0 is .*, the one to replace it "):
        net.params["conv1"][0] = other.params["fc"][0]
    for entries, name in ((net.blobs, "data"), (net.params, "conv1"), (net.blobs, "more")):
        with pytest.raises(NetError, match=rf"entry '{name}' cannot be replaced by ndarray: write into its array"):
            entries[name] = X
    with pytest.raises(NetError, match="entry 'fc' cannot be replaced by BlobVec"):
        net.params["fc"] = other.params["fc"]
    with pytest.raises(NetError, match="expected 2 parameter blobs, got 1"):
        net.params["conv1"][:] = other.params["fc"][:1]


def gradients(net: caffe.Net) -> list[np.ndarray]:
    return [net.blobs["data"].diff.copy()] + [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


def expected_gradients(net: caffe.Net, x: np.ndarray, gradient: np.ndarray) -> list[np.ndarray]:
    """By one run of autograd through the whole net."""
    data = torch.from_numpy(x).requires_grad_()
    parameters = [blob.parameter for blobs in net.params.values() for blob in blobs]
    with torch.enable_grad():
        out = net.module(data)
    found = torch.autograd.grad(out, [data, *parameters], torch.from_numpy(gradient))
    return [each.numpy() for each in found]


def check_gradients(net: caffe.Net, x: np.ndarray, gradient: np.ndarray) -> None:
    for found, expected in zip(gradients(net), expected_gradients(net, x, gradient), strict=True):
        assert relative_error(found.ravel(), expected.ravel()) < 1e-5


def test_backward() -> None:
    net, gradient = make(FORCED), noise(1, 5, 9, 11, seed=4).numpy()
    net.forward(data=X)
    found = net.backward(up=gradient)
    assert list(found) == ["data"]
    check_gradients(net, X, gradient)
    again = gradients(net)
    net.backward()  # the same once more: gradients are overwritten, not added
    assert all(np.array_equal(a, b) for a, b in zip(gradients(net), again, strict=True))
    x = noise(1, 3, 9, 11, seed=5).numpy()
    net.forward(data=x)
    net.backward(up=2 * gradient)
    check_gradients(net, x, 2 * gradient)


def test_backward_in_pieces() -> None:
    net, gradient = make(FORCED), noise(1, 5, 9, 11, seed=4).numpy()
    net.forward(data=X)
    assert set(net.backward(up=gradient, end="score", diffs=["score"])) == {"fc", "score"}
    assert not net.blobs["pool1"].diff.any()
    net.backward(start="drop")
    check_gradients(net, X, gradient)


def test_backward_of_a_deploy_net() -> None:
    # Nobody said that gradients would be asked for: the parameters get theirs, the input none.
    net, forced, gradient = make(), make(FORCED), noise(1, 5, 9, 11, seed=4).numpy()
    for each in (net, forced):
        each.forward(data=X)
    blobs = {name: blob.data.copy() for name, blob in net.blobs.items()}
    for _ in range(2):
        net.backward(up=gradient)
        forced.backward(up=gradient)
        for found, expected in zip(gradients(net)[1:], gradients(forced)[1:], strict=True):
            assert np.array_equal(found, expected)
        assert not net.blobs["data"].diff.any()
        assert all(np.array_equal(net.blobs[name].data, data) for name, data in blobs.items())
        for each in (net, forced):
            each.forward()


def test_backward_does_not_run_what_has_no_gradient_again(tmp_path: Path) -> None:
    text = inputs(data=(1, 3, 4, 4), label=(1, 1, 4, 4)) + conv("score", "data", out=2)
    text += layer("MAT_WRITE", "write", "score", "", f'mat_write_param {{ prefix: "{tmp_path}/" }}')
    text += layer("SEG_ACCURACY", "acc", "score label", "acc", "seg_accuracy_param { reset: false }")
    net = make(text)
    net.forward()
    net.backward()
    net.forward()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iter_0_blob_0.mat", "iter_1_blob_0.mat"]
    assert net.module.by_name["acc"].confusion.matrix.sum() == 2 * 16


def test_backward_before_forward_works_from_what_blobs_hold() -> None:
    net, done = make(FORCED), make(FORCED)
    done.forward(data=X)
    for name, blob in done.blobs.items():
        net.blobs[name].data[...] = blob.data
    for each in (net, done):
        each.backward(up=np.ones((1, 5, 9, 11)))
    assert all(np.array_equal(a, b) for a, b in zip(gradients(net), gradients(done), strict=True))
    part = make("force_backward: true " + inputs(data=(1, 1, 1, 2)) + conv("c", "data", out=1, kernel=1))
    part.params["c"][0].data[...] = 3
    part.blobs["data"].data[...] = [[[[5, 7]]]]
    part.blobs["c"].diff[...] = [[[[1, 2]]]]
    assert part.backward(start="c", end="c")["data"].tolist() == [[[[3, 6]]]]
    assert part.params["c"][0].diff.item() == 1 * 5 + 2 * 7
    assert not part.blobs["c"].data.any()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # diff times top * (1 - top), 1 - top ** 2, top
        ("SIGMOID", [0.25 * 0.75 * 2, 0.5 * 0.5 * 4]),
        ("TANH", [(1 - 0.25**2) * 2, (1 - 0.5**2) * 4]),
        ("EXP", [0.25 * 2, 0.5 * 4]),
        ("SOFTMAX", [0.25 * (2 - 2.5), 0.5 * (4 - 2.5)]),  # top * (diff - sum of top * diff)
    ],
)
def test_some_gradients_follow_from_the_top(kind: str, expected: list[float], in_place: bool) -> None:
    text = "force_backward: true " + inputs(data=(1, 2, 1, 1)) + layer("POWER", "same", "data", "x")
    net = make(text + layer(kind, "f", "x", "x" if in_place else "y"))
    top = net.blobs[net.outputs[0]]
    for ran_before in (False, True):
        if ran_before:
            net.forward()
        top.data[...] = np.array([0.25, 0.5]).reshape(1, 2, 1, 1)
        top.diff[...] = np.array([2, 4]).reshape(1, 2, 1, 1)
        assert np.allclose(net.backward()["data"].ravel(), expected, atol=1e-6)
        assert top.data.ravel().tolist() == [0.25, 0.5]


def test_backward_after_parts_ran_again() -> None:
    net, gradient = make(FORCED), noise(1, 5, 9, 11, seed=4).numpy()
    net.forward(data=X)
    net.forward(end="pool1")
    net.forward(start="fc", end="drop")
    net.backward(up=gradient)
    check_gradients(net, X, gradient)


def test_backward_works_from_the_blobs_as_they_are() -> None:
    net = make("force_backward: true " + inputs(data=(1, 3, 5, 5)) + conv("c", "data"))
    net.forward(data=noise(1, 3, 5, 5).numpy())
    x = noise(1, 3, 5, 5, seed=8).numpy()
    net.blobs["data"].data[...] = x
    net.blobs["c"].diff[...] = 1
    net.backward()
    fresh = expected_gradients(net, x, np.ones((1, 4, 5, 5), np.float32))
    assert relative_error(net.params["c"][0].diff, fresh[1]) < 1e-5


def test_backward_after_other_weights_says_so(tmp_path: Path) -> None:
    net = make(FORCED)
    net.forward()
    net.save(tmp_path / "x.caffemodel")
    net.copy_from(tmp_path / "x.caffemodel")
    with pytest.raises(NetError, match="layer 'score': backward: .*run forward again first"):
        net.backward()
    net.forward()
    net.backward()


def test_frozen_parameters_get_no_gradient() -> None:
    text = inputs(data=(1, 3, 5, 5)) + conv("a", "data", more="blobs_lr: 0 blobs_lr: 0")
    text += conv("b", "a", more="blobs_lr: 1 blobs_lr: 0")
    net = make(text)
    net.forward(data=noise(1, 3, 5, 5).numpy())
    net.blobs["b"].diff[...] = 1
    net.backward()
    assert net.params["b"][0].diff.any()
    for blob in (*net.params["a"], net.params["b"][1], net.blobs["a"]):
        assert not blob.diff.any()


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_force_backward_gives_frozen_parameters_a_gradient(dialect: str) -> None:
    frozen = "blobs_lr: 0 blobs_lr: 0"
    text = inputs(data=(1, 3, 5, 5)) + conv("a", "data", more=frozen) + conv("b", "a", more=frozen)
    net = make("force_backward: true " + text, dialect=dialect)
    net.forward(data=noise(1, 3, 5, 5).numpy())
    net.blobs["b"].diff[...] = 1
    net.backward()
    for blob in (*net.params["a"], *net.params["b"], net.blobs["data"]):
        assert blob.diff.any()


def v2_net(*layers: str) -> caffe.Net:
    """Return a net of the inputs a and b, (2, 3), and layers of three fields: type, bottoms and top, the rest."""
    text = 'input: "a" input: "b" input_shape { dim: 2 dim: 3 } input_shape { dim: 2 dim: 3 } '
    for number, each in enumerate(layers):
        kind, blobs, rest = each.split(" | ")
        *bottoms, top = blobs.split()
        text += f'layer {{ name: "l{number}" type: "{kind}" {rest} top: "{top}" '
        text += "".join(f'bottom: "{name}" ' for name in bottoms) + "} "
    net = make(text)
    for name, values in (("a", [1, -2, 3]), ("b", [4, 4, -4])):
        net.blobs[name].data[...] = values
    for blobs in net.params.values():
        blobs[0].data[...] = 1
    net.forward()
    return net


INNER = "inner_product_param { num_output: 3 bias_term: false }"


def test_propagate_down_does_not_make_a_layer_run() -> None:
    both = "propagate_down: true propagate_down: true"
    net = v2_net(f"EuclideanLoss | a b l | {both}")
    assert not net.backward()["a"].any()  # a net without weights and without force_backward has no gradients
    net = v2_net(f"InnerProduct | a y | propagate_down: true {INNER}", "EuclideanLoss | y b l | ")
    assert net.backward()["a"].any()  # this layer runs for its weights, and the gradient of a is asked for


def test_no_gradient_passes_a_layer_in_place_that_stops_it() -> None:
    for stop, learns in (("", True), ("propagate_down: false", False)):
        net = v2_net(f"InnerProduct | a y | {INNER}", f"ReLU | y y | {stop}", "EuclideanLoss | y b l | ")
        net.backward()
        assert net.blobs["y"].diff.any()
        assert net.params["l0"][0].diff.any() == learns


def test_a_layer_above_a_stopped_one_has_its_gradients() -> None:
    net = v2_net(f"InnerProduct | a y | {INNER}", "TanH | y z | propagate_down: false", "EuclideanLoss | z b l | ")
    net.backward()
    assert not net.params["l0"][0].diff.any()
    assert net.blobs["z"].diff.any()


def test_splits_of_inputs_follow_their_own_input_layer() -> None:
    """The order of blobs and layers beside a real pycaffe."""
    shape = "input_param { shape { dim: 1 dim: 2 } }"
    text = "".join(f'layer {{ name: "{n}" type: "Input" top: "{n[-1]}" {shape} }} ' for n in ("in_a", "in_b"))
    for name in ("a1", "a2", "b1", "b2"):
        text += f'layer {{ name: "{name}" type: "TanH" bottom: "{name[0]}" top: "{name}" }} '
    net = make(text)
    assert net._layer_names == ["in_a", "a_in_a_0_split", "in_b", "b_in_b_0_split", "a1", "a2", "b1", "b2"]
    splits = {name: [f"{name}_in_{name}_0_split_{k}" for k in range(2)] for name in "ab"}
    assert list(net.blobs) == ["a", *splits["a"], "b", *splits["b"], "a1", "a2", "b1", "b2"]
    assert (net.inputs, net.outputs) == (["a", "b"], ["a1", "a2", "b1", "b2"])
    assert net.top_names["b_in_b_0_split"] == splits["b"]


def test_force_backward_finds_no_gradient_of_stored_statistics() -> None:
    text = 'input: "x" input_shape { dim: 2 dim: 3 } force_backward: true '
    net = make(text + 'layer { name: "b" type: "BatchNorm" bottom: "x" top: "y" }', caffe.TRAIN, dialect="v2")
    net.forward(x=np.arange(6, dtype=np.float32).reshape(2, 3) ** 2)
    net.backward(y=np.array([[1, 2, 3], [0, 0, 0]], np.float32))
    assert net.blobs["x"].diff.any()
    assert not any(blob.diff.any() for blob in net.params["b"])


LOSS = (
    inputs(data=(2, 3, 4, 4), label=(2, 1, 4, 4))
    + conv("score", "data", out=3)
    + layer("SOFTMAX_LOSS", "loss", "score label", "loss", "loss_weight: 0.5")
)


def test_losses_start_the_backward_pass() -> None:
    net = make(LOSS, caffe.TRAIN)
    label = np.random.default_rng(0).integers(0, 3, (2, 1, 4, 4))
    net.blobs["data"].data[...] = noise(2, 3, 4, 4).numpy()
    net.blobs["label"].data[...] = label
    loss = net._forward(0, len(net.layers) - 1)
    assert loss == pytest.approx(0.5 * net.blobs["loss"].data.item())
    assert net.blobs["loss"].diff.item() == 0.5
    net.backward()
    found = net.params["score"][0].diff.copy()
    out = net.module(torch.from_numpy(net.blobs["data"].data), torch.from_numpy(net.blobs["label"].data))
    (expected,) = torch.autograd.grad(net.module.loss(out), net.params["score"][0].parameter)
    assert relative_error(found, expected.numpy()) < 1e-5
    net.clear_param_diffs()
    assert not net.params["score"][0].diff.any()


def test_a_weighted_blob_keeps_its_weight_when_its_shape_changes() -> None:
    net = make(inputs(data=(1, 1, 2, 2)) + layer("RELU", "r", "data", "r", "loss_weight: 3"))
    net.blobs["data"].reshape(1, 1, 3, 3)
    net.blobs["data"].data[...] = 1
    assert net._forward(0, 0) == 27
    assert set(net.blobs["r"].diff.ravel()) == {3}


def test_phases_can_be_switched() -> None:
    net = make(FORCED)
    still = net.forward(data=X)["up"].copy()
    net.set_phase_train()
    assert not np.array_equal(net.forward()["up"], still)
    net.backward(up=np.ones((1, 5, 9, 11)))
    net.set_phase_test()
    assert np.array_equal(net.forward()["up"], still)


def test_the_process_has_a_phase() -> None:
    """As in 2014: it holds for nets that were built without a phase of their own, before and after."""
    text = inputs(data=(1, 1, 1, 64)) + layer("DROPOUT", "d", "data", "d")
    ones = np.ones((1, 1, 1, 64))
    free, fixed, own = make(text, None), make(text, caffe.TEST), make(text, None)
    own.set_phase_test()
    try:
        caffe.set_phase_train()
        assert 0 in free.forward(data=ones)["d"]
        assert 0 in make(text, None).forward(data=ones)["d"]
        assert 0 not in fixed.forward(data=ones)["d"]
        assert 0 not in own.forward(data=ones)["d"]
    finally:
        caffe.set_phase_test()
    assert 0 not in free.forward(data=ones)["d"]


def test_hdf5_weights(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    net, other = make(seed=1), make(seed=2)
    net.save_hdf5(str(tmp_path / "x"))
    other.load_hdf5(str(tmp_path / "x"))
    assert np.array_equal(other.forward(data=X)["up"], net.forward(data=X)["up"])
    net.save_hdf5(str(tmp_path / "x.h5"))
    third = caffe.Net(parse(DEPLOY), caffe.TEST, weights=str(tmp_path / "x.h5"))
    assert np.array_equal(third.forward(data=X)["up"], net.blobs["up"].data)


def test_share_with() -> None:
    net, other = make(seed=1), make(seed=2)
    net.share_with(other)
    assert np.array_equal(net.forward(data=X)["up"], other.forward(data=X)["up"])
    other.params["fc"][0].data[...] = 0
    assert not net.params["fc"][0].data.any()
    assert np.shares_memory(net.params["fc"][0].data, other.params["fc"][0].data)
    assert np.array_equal(net.forward()["up"], other.forward()["up"])
    # One Parameter: it stays one wherever either net moves.
    assert net.module.by_name["fc"].weight is other.module.by_name["fc"].weight
    wider = make(DEPLOY.replace("num_output: 6", "num_output: 8"))
    with pytest.raises(NetError, match=r"layer 'fc': share_with: parameters are \[\(8, 4, 3, 3\), \(8,\)\] here"):
        wider.share_with(net)
    make(inputs(data=(1, 3, 4, 4)) + conv("unknown", "data")).share_with(net)


def test_share_with_reaches_internally_shared_parameters() -> None:
    text = inputs(data=(1, 4, 5, 5)) + conv("one", "data", more='param: "w"') + conv("two", "one", more='param: "w"')
    net, other = make(text, seed=1), make(text, seed=2)
    net.share_with(other)
    weights = {id(each.module.by_name[name].weight) for each in (net, other) for name in ("one", "two")}
    assert len(weights) == 1


def test_save_and_copy_from(tmp_path: Path) -> None:
    net, other = make(FORCED, seed=1), make(FORCED, seed=2)
    net.forward(data=X)
    net.backward(up=np.ones((1, 5, 9, 11)))
    net.save(str(tmp_path / "x.caffemodel"), True)
    other.copy_from(str(tmp_path / "x.caffemodel"))
    assert np.array_equal(other.forward(data=X)["up"], net.blobs["up"].data)
    message = caffe.proto.caffe_pb2.NetParameter()
    message.ParseFromString((tmp_path / "x.caffemodel").read_bytes())
    saved = next(each for each in message.layers if each.name == "fc").blobs[0]
    assert np.array_equal(caffe.io.blobproto_to_array(saved), net.params["fc"][0].data)
    assert np.array_equal(caffe.io.blobproto_to_array(saved, return_diff=True), net.params["fc"][0].diff)
    with pytest.warns(WeightsWarning, match="no weights for 'new'"):
        make(DEPLOY + conv("new", "up")).copy_from(tmp_path / "x.caffemodel")


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_copy_from_loads_gradients(tmp_path: Path, dialect: str) -> None:
    """As Caffe: so the gradients of a snapshot with snapshot_diff are looked at."""
    net = make(FORCED, seed=1, dialect=dialect)
    net.forward(data=X)
    net.backward(up=np.ones((1, 5, 9, 11)))
    net.save(tmp_path / "with.caffemodel", True)
    net.save(tmp_path / "without.caffemodel")
    other = make(FORCED, seed=2, dialect=dialect)
    for name in ("with", "without"):
        other.copy_from(tmp_path / f"{name}.caffemodel")
        assert net.params["fc"][0].diff.any()
        for key, blobs in net.params.items():
            for mine, found in zip(blobs, other.params[key], strict=True):
                np.testing.assert_array_equal(found.diff, mine.diff)  # a file without gradients leaves them


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_reshaped_parameters(tmp_path: Path, dialect: str) -> None:
    """The net surgery that gives a last layer another number of classes."""
    net = make(dialect=dialect)
    before = net.params["score"][0].data.copy()
    net.params["score"][0].reshape(3, 6, 1, 1)
    net.params["score"][1].reshape(*(1, 1, 1, 3) if dialect == "v1" else (3,))
    assert np.array_equal(net.params["score"][0].data, before[:3])
    net.params["score"][0].diff[...] = 2
    message = (
        r"layer 'score': its parameter blob 0 was reshaped to \(3, 6, 1, 1\), .* computes with \(5, 6, 1, 1\): save"
    )
    with pytest.raises(NetError, match=message):
        net.forward(data=X)
    net.forward(data=X, end="drop")
    net.save(tmp_path / "three.caffemodel", True)
    three = make(DEPLOY.replace("num_output: 5", "num_output: 3"), dialect=dialect)
    three.copy_from(tmp_path / "three.caffemodel")
    assert np.array_equal(three.params["score"][0].data, before[:3])
    assert three.params["score"][1].data.shape == net.params["score"][1].data.shape
    assert three.forward(data=X)["up"].shape == (1, 3, 9, 11)
    # Back again it fits.
    net.params["score"][0].reshape(5, 6, 1, 1)
    net.params["score"][1].reshape(*(1, 1, 1, 5) if dialect == "v1" else (5,))
    assert not net.forward(data=X)["up"].any()


def test_backward_asks_for_parameters_of_its_shapes() -> None:
    net = make(FORCED)
    net.forward(data=X)
    net.params["score"][1].reshape(3)
    with pytest.raises(NetError, match="layer 'score': its parameter blob 1 was reshaped"):
        net.backward()
    assert net.backward(start="drop")["data"].shape == X.shape


def test_weights_of_another_network_warn(tmp_path: Path) -> None:
    make(inputs(data=(1, 3, 5, 5)) + conv("other", "data")).save(tmp_path / "x.caffemodel")
    net, before = make(), make()
    with pytest.warns(WeightsWarning) as found:
        net.copy_from(tmp_path / "x.caffemodel")
    assert "no weights for 'conv1', 'fc', 'score': they keep their initial values" in str(found[0].message)
    assert np.array_equal(net.params["fc"][0].data, before.params["fc"][0].data)


def test_forward_all() -> None:
    net = make(DEPLOY.replace("input_dim: 1 ", "input_dim: 2 ", 1))
    items = noise(5, 3, 9, 11).numpy()
    found = net.forward_all(data=items, blobs=["fc"])
    assert {name: array.shape for name, array in found.items()} == {"up": (5, 5, 9, 11), "fc": (5, 6, 5, 6)}
    one = make()
    for item, out in zip(items, found["up"], strict=True):
        assert relative_error(one.forward(data=item[None])["up"][0], out) < 1e-6
    two = make(inputs(a=(1, 1, 2, 2), b=(1, 1, 2, 2)) + layer("ELTWISE", "e", "a b", "e"))
    with pytest.raises(NetError, match=r"every input needs as many items, got \[2, 3\]"):
        two.forward_all(a=np.ones((2, 1, 2, 2)), b=np.ones((3, 1, 2, 2)))


def test_in_place_layers_and_splits_have_memory_of_their_own() -> None:
    text = (
        inputs(data=(1, 3, 4, 4))
        + relu("r", "data")
        + conv("a", "data")
        + layer("SPLIT", "s", "a", "b c")
        + relu("rb", "b")
    )
    net = make(text)
    net.forward(data=noise(1, 3, 4, 4).numpy())
    assert net.blobs["data"].data.min() == 0
    assert net.blobs["b"].data.min() == 0
    assert net.blobs["c"].data.min() < 0
    assert net.blobs["a"].data.min() < 0


def test_a_copy_has_memory_of_its_own() -> None:
    net = caffe.Net(parse(SMALL), caffe.TEST)
    net.blobs["data"].data[...] = 1
    before = {name: blob.data.copy() for name, blob in net.blobs.items()} | {"": net.params["conv1"][0].data.copy()}
    other = copy.deepcopy(net)
    other.blobs["data"].data[...] = 2
    other.params["conv1"][0].data[...] = 3
    other.blobs["data"].diff[...] = 4
    other.forward()
    after = {name: blob.data for name, blob in net.blobs.items()} | {"": net.params["conv1"][0].data}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not net.blobs["data"].diff.any()
    assert (other.params["conv1"][0].data == 3).all()


def test_only_float32() -> None:
    with pytest.raises(NetError, match="pycaffe's arrays are float32: dtype cannot be torch.bfloat16"):
        make(dtype=torch.bfloat16)


def test_memory_does_not_grow() -> None:
    net = make(FORCED)
    made: list[weakref.ref] = []
    for each in net.module.layers:
        each.register_forward_hook(lambda module, args, tops: made.extend(weakref.ref(top) for top in tops))
    for _ in range(4):
        net.forward(data=X)
        net.backward()
    gc.collect()
    assert len({id(ref()) for ref in made if ref() is not None}) <= len(net.layers)
    net.blobs["data"].reshape(8, 3, 65, 65)
    for _ in range(2):
        net.forward()
        net.backward()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        net.forward()
        net.backward()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    activations = sum(blob.data.nbytes for blob in net.blobs.values())
    assert grown * 1024 < 4 * activations


def test_a_loss_without_a_top_is_no_output() -> None:
    # net.cpp, Init: its blob is not among the available ones.
    net = make(SMALL + inputs(label=(1, 1, 5, 6)) + layer("SOFTMAX_LOSS", "loss", "score label", ""))
    assert net.outputs == []
    assert net.forward() == {}
    assert net.blobs["(automatic)"].data.item() > 0
    assert net.blob_loss_weights["(automatic)"] == 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's memory from /proc")
def test_a_net_takes_no_memory_for_blobs_that_are_not_written() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before = resident()
    # Two blobs of 256 MiB each, and their gradients: a prototxt of training with a large batch.
    net = make(inputs(data=(64, 4, 512, 512)) + layer("RELU", "r", "data", "top"))
    assert resident() - before < 64 << 20
    net.blobs["top"].reshape(64, 8, 512, 512)
    assert resident() - before < 64 << 20
    assert not net.blobs["top"].diff[-1, -1].any()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_after_forward_goes_its_own_way(duplicate: Any) -> None:
    net = make(FORCED)
    net.forward(data=X)
    copied = duplicate(net)
    assert np.array_equal(copied.blobs["data"].data, X)
    (output,) = net.outputs
    with pytest.raises(NetError, match="the net was copied after its forward: run forward again first"):
        copied.backward(**{output: np.ones_like(net.blobs[output].data)})
    found = []
    for one in (net, copied):
        one.forward(data=X)
        found.append(one.backward(**{output: np.ones_like(one.blobs[output].data)})["data"].copy())
    assert np.any(found[0])
    np.testing.assert_array_equal(found[1], found[0])
    copied.blobs["data"].data[...] = 0
    assert np.array_equal(net.blobs["data"].data, X)
