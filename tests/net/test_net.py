from __future__ import annotations

import copy
import gc
import io
import pickle
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import deeplab_caffe as dc
import deeplab_caffe.pycaffe as caffe
from deeplab_caffe import NetError
from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.layers import LAYERS
from deeplab_caffe.proto import caffe_pb2, format_message, parse_net
from deeplab_caffe.proto.schema.tables import dialect_schema
from tests.goldens import relative_error
from tests.nets import INTERP, SMALL, build, conv, inputs, layer, noise, parse, relu

X = noise(1, 3, 9, 11)


def by_hand(net: dc.Net, x: torch.Tensor) -> torch.Tensor:
    """SMALL in plain torch."""
    conv1, fc, score = (net.by_name[name] for name in ("conv1", "fc", "score"))
    y = F.relu(F.conv2d(x, conv1.weight, conv1.bias, padding=1))
    y = F.max_pool2d(y, 3, 2, 1, ceil_mode=True)
    y = F.relu(F.conv2d(y, fc.weight, fc.bias, padding=1))
    return F.conv2d(y, score.weight, score.bias)


@torch.no_grad()
def test_forward_is_what_the_layers_say() -> None:
    net = build(SMALL)
    torch.testing.assert_close(net(X), by_hand(net, X))
    torch.testing.assert_close(net(data=X), by_hand(net, X))
    assert net.inputs == ["data"]
    assert net.outputs == ["score"]
    assert net.blob_shapes["score"] == (1, 5, 5, 6)


@torch.no_grad()
def test_any_input_size() -> None:
    net = build(SMALL)
    for shape in [(1, 3, 9, 11), (2, 3, 17, 5), (3, 3, 1, 1), (1, 3, 9, 11)]:
        x = noise(*shape)
        found = net(x)
        assert tuple(found.shape) == net.infer_shapes(data=shape)["score"]
        torch.testing.assert_close(found, by_hand(net, x))


@torch.no_grad()
def test_callers_tensors_are_never_written_to() -> None:
    text = inputs(data=(1, 2, 3, 3)) + relu("r", "data") + relu("r2", "data") + layer("DROPOUT", "d", "data", "data")
    x = noise(1, 2, 3, 3)
    before = x.clone()
    assert torch.equal(build(text)(x), before.relu())
    assert torch.equal(x, before)


@torch.no_grad()
@pytest.mark.parametrize(
    "between",
    [
        layer("SPLIT", "s", "a", "b c"),
        layer("SLICE", "s", "a", "b c"),
        layer("DROPOUT", "s", "a", "b"),
        layer("SPLIT", "s0", "a", "a0 c") + layer("DROPOUT", "s", "a0", "b"),
        layer("SPLIT", "s0", "a", "a0 c") + layer("SLICE", "s", "a0", "b d"),
    ],
)
def test_in_place_layers_leave_memory_that_is_shared(between: str) -> None:
    text = inputs(data=(1, 3, 5, 5)) + conv("a", "data") + between + relu("r", "b")
    net = build(text)
    blobs = net(noise(1, 3, 5, 5), blobs=["a", "b"])
    assert blobs["a"].min() < 0
    assert blobs["b"].min() == 0
    if "c" in blobs:
        assert blobs["c"].min() < 0


@torch.no_grad()
def test_the_reader_before_an_in_place_layer_sees_the_old_numbers() -> None:
    # Caffe refuses this too: the in-place layer reads a split of the blob, so its top is a second maker of it.
    text = inputs(data=(1, 3, 5, 5)) + conv("a", "data") + layer("SOFTMAX", "s", "a", "s") + relu("r", "a")
    with pytest.raises(NetError, match="layer 'r': top 'a' is made by an earlier layer too"):
        build(text)


@torch.no_grad()
def test_in_place_saves_memory() -> None:
    net = build(inputs(data=(1, 3, 5, 5)) + conv("a", "data") + relu("r", "a"))
    (step,) = (step for step in net.steps if step.layer.name == "r")
    a = noise(1, 4, 5, 5)
    assert net.run_layer(step, [a])[0].data_ptr() == a.data_ptr()


def watch(net: dc.Net) -> tuple[list[weakref.ref], list[int]]:
    """References to every layer's tops, and how many of them live when the next layer has run."""
    made, alive = [], []

    def after(module: torch.nn.Module, args: tuple, tops: tuple) -> None:
        made.extend(weakref.ref(top) for top in tops)
        alive.append(sum(ref() is not None for ref in made))

    for each in net.layers:
        each.register_forward_hook(after)
    return made, alive


CHAIN = inputs(data=(1, 4, 5, 5)) + "".join(conv(f"c{i}", f"c{i - 1}" if i else "data") for i in range(6))


@torch.no_grad()
def test_intermediates_are_freed() -> None:
    net = build(CHAIN)
    made, alive = watch(net)
    out = net(noise(1, 4, 5, 5))
    assert max(alive) == 2
    assert [ref() for ref in made if ref() is not None] == [out]


@torch.no_grad()
def test_blobs_that_are_asked_for_stay() -> None:
    net = build(CHAIN)
    made, _ = watch(net)
    found = net(noise(1, 4, 5, 5), blobs=["c1", "data"])
    assert list(found) == ["c5", "c1", "data"]
    gc.collect()
    assert sum(ref() is not None for ref in made) == 2
    assert torch.equal(found["c5"], net(noise(1, 4, 5, 5)))
    with pytest.raises(NetError, match="the net has no blob 'c9'; it has data, c0"):
        net(noise(1, 4, 5, 5), blobs=["c9"])


TWO_INPUTS = inputs(b=(1, 1, 2, 2), a=(1, 1, 2, 2)) + layer(
    "ELTWISE", "e", "b a", "e", "eltwise_param { coeff: 1 coeff: -1 }"
)


@torch.no_grad()
def test_two_inputs_by_place_and_by_name() -> None:
    net, b, a = build(TWO_INPUTS), noise(1, 1, 2, 2), noise(1, 1, 2, 2, seed=1)
    for found in (net(b, a), net(b, a=a), net(a=a, b=b)):
        assert torch.equal(found, b - a)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "no value for the inputs b, a"),
        ((X,), {}, "no value for the inputs a"),
        ((X, X, X), {}, "3 inputs given, the net has 2: b, a"),
        ((X,), {"b": X}, "input 'b' is given by place and by name"),
        ((X, X), {"c": X}, r"values for unknown inputs \['c'\]; the net's inputs are \['b', 'a'\]"),
        ((X[0], X), {}, r"input 'b': expected a tensor like \(1, 1, 2, 2\), got \(3, 9, 11\)"),
        (([1.0], X), {}, "input 'b': expected a tensor like .*, got list"),
        ((X, X[:, :1]), {}, r"layer 'e': bottom 'a' is \(1, 1, 9, 11\)"),
    ],
)
def test_inputs_that_do_not_fit(args: tuple, kwargs: dict, message: str) -> None:
    with pytest.raises(NetError, match=message):
        build(TWO_INPUTS)(*args, **kwargs)


def test_a_net_without_layers_or_with_unread_inputs_returns_its_inputs() -> None:
    x = noise(1, 1, 2, 2)
    assert build(inputs(data=(1, 1, 2, 2)))(x) is x
    found = build(inputs(b=(1, 1, 2, 2), a=(1, 1, 2, 2)) + layer("RELU", "r", "a", "r"))(x, x)
    assert list(found) == ["b", "r"]


@torch.no_grad()
def test_outputs_are_sorted_as_in_caffe() -> None:
    net = build(inputs(data=(1, 4, 2, 2)) + layer("SLICE", "s", "data", "z b a c"))
    assert net.outputs == ["a", "b", "c", "z"]
    assert list(net(noise(1, 4, 2, 2))) == net.outputs


def test_phase_level_and_stage() -> None:
    text = inputs(data=(1, 1, 2, 2)) + "".join(
        layer("RELU", f"{rule}", "data", rule, f"include {{ {text} }}")
        for rule, text in {
            "train": "phase: TRAIN",
            "test": "phase: TEST",
            "level": "min_level: 2",
            "stage": 'stage: "deploy"',
            "not_stage": 'not_stage: "deploy"',
        }.items()
    )
    for options, expected in [
        ({}, {"test", "not_stage"}),
        ({"phase": "TRAIN"}, {"train", "not_stage"}),
        ({"level": 2}, {"test", "not_stage", "level"}),
        ({"stages": ["deploy"]}, {"test", "stage"}),
    ]:
        assert set(build(text, **options).outputs) == expected
    with pytest.raises(NetError, match="phase"):
        build(text, phase="VALIDATE")


@torch.no_grad()
def test_a_layer_runs_in_its_own_phase(tmp_path: Path) -> None:
    # As in BVLC's Caffe, which lists such layers in nets of either phase.
    text = inputs(data=(1, 2, 8, 8)) + "".join(
        f'layer {{ name: "{name}" type: "{kind}" bottom: "data" top: "{name}" {phase} }}'
        for name, kind, phase in (
            ("drop", "Dropout", "phase: TRAIN"),
            ("copy", "Dropout", "phase: TEST"),
            ("norm", "BatchNorm", "phase: TRAIN"),
            ("stored", "BatchNorm", "phase: TEST"),
            ("free", "Dropout", ""),
        )
    )
    x = 3 + noise(1, 2, 8, 8)
    for phase, mode in (("TEST", False), ("TRAIN", True)):
        net = build(text, phase=phase, dialect="v2")
        for blob, value in zip(net.stored.blobs, (1, 4, 1), strict=True):
            blob.fill_(value)
        for _ in range(2):
            found = net(x)
            assert (found["drop"] == 0).any()
            assert torch.equal(found["copy"], x)
            assert found["norm"].mean().abs() < 1e-4
            torch.testing.assert_close(found["stored"], (x - 1) / 2, atol=1e-4, rtol=1e-4)
            assert bool((found["free"] == 0).any()) == mode
            net.train(mode)
        net.save(tmp_path / "m.caffemodel")
        saved = {layer.name: layer.phase for layer in _layers_of(tmp_path / "m.caffemodel")}
        own = caffe_pb2.TRAIN if mode else caffe_pb2.TEST
        assert [saved[name] for name in ("drop", "copy", "free")] == [caffe_pb2.TRAIN, caffe_pb2.TEST, own]


def _layers_of(path: Path):
    message = dialect_schema("v2").new("NetParameter")
    message.ParseFromString(path.read_bytes())
    return message.layer


def test_variables_fill_the_prototxt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(SMALL.replace("num_output: 5", "num_output: ${NUM_LABELS}"))
    assert dc.Net(path, variables={"NUM_LABELS": "7"}).blob_shapes["score"][1] == 7
    monkeypatch.setenv("NUM_LABELS", "3")
    assert dc.Net(path).blob_shapes["score"][1] == 3
    monkeypatch.delenv("NUM_LABELS")
    with pytest.raises(PrototxtError, match=r"net\.prototxt:\d+: .*NUM_LABELS"):
        dc.Net(path)


SHARED = (
    inputs(a=(1, 2, 4, 4), b=(1, 2, 4, 4))
    + conv("one", "a", more='param: "w" param: "bias"')
    + conv("two", "b", more='param: "w" param: "bias"')
    + layer("ELTWISE", "sum", "one two", "sum")
)


def test_shared_parameters_are_one() -> None:
    net = build(SHARED)
    one, two = net.by_name["one"], net.by_name["two"]
    assert one.weight is two.weight
    assert one.bias is two.bias
    assert len(list(net.parameters())) == 2
    assert net.parameter_count() == 4 * 2 * 9 + 4
    a, b = noise(1, 2, 4, 4), noise(1, 2, 4, 4, seed=1)
    net(a, b).sum().backward()
    weight = one.weight.detach().clone().requires_grad_()
    (F.conv2d(a, weight, padding=1) + F.conv2d(b, weight, padding=1)).sum().backward()
    torch.testing.assert_close(one.weight.grad, weight.grad)
    moved = copy.deepcopy(net).double()
    assert moved.by_name["one"].weight is moved.by_name["two"].weight


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('param: "w"', r"layer 'two': param 'w' has shape \(6, 2, 3, 3\) here and \(4, 2, 3, 3\) in layer 'one'"),
        ('param: "" param: "" param: "x"', "3 param { } for 2 parameter blobs"),
        ("blobs_lr: 1 blobs_lr: 2 blobs_lr: 0", r"in the V1 layout: blobs_lr, weight_decay or param names"),
        ("weight_decay: 1 weight_decay: 0 weight_decay: 0", "3 param { } for 2 parameter blobs"),
    ],
)
def test_parameters_that_cannot_be_shared(more: str, message: str) -> None:
    text = inputs(data=(1, 2, 4, 4)) + conv("one", "data", more='param: "w"') + conv("two", "data", out=6, more=more)
    with pytest.raises(NetError, match=message):
        build(text)


# A convolution's weight (4, 2, 3, 3) is a 1x1 convolution's (36, 2, 1, 1) too; v2 and v1.
PERMISSIVE = {
    "v2": inputs(data=(1, 2, 4, 4))
    + """
    layer { name: "one" type: "Convolution" bottom: "data" top: "one" param { name: "w" } param { lr_mult: 2 }
      convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 1 } } }
    layer { name: "two" type: "Convolution" bottom: "data" top: "two" param { name: "w" share_mode: PERMISSIVE }
      convolution_param { num_output: 36 kernel_size: 1 } }
    """,
    "v1": inputs(data=(1, 2, 4, 4))
    + conv("one", "data", more='param: "w"')
    + conv("two", "data", out=36, kernel=1, more='param: "w" blob_share_mode: PERMISSIVE'),
}


@pytest.mark.parametrize("dialect", PERMISSIVE)
def test_permissive_sharing_in_two_shapes(dialect: str, tmp_path: Path) -> None:
    net = build(PERMISSIVE[dialect])
    assert net.dialect.name == dialect
    for seen in (net, copy.deepcopy(net).double().float(), pickle.loads(pickle.dumps(net))):
        one, two = seen.by_name["one"], seen.by_name["two"]
        assert type(two).__name__ == "Convolution"
        assert one._parameters["weight"] is two._parameters["weight"]
        assert [tuple(each.weight.shape) for each in (one, two)] == [(4, 2, 3, 3), (36, 2, 1, 1)]
        assert seen.parameter_count() == 72 + 4 + 36
        x = noise(1, 2, 4, 4)
        found = seen(x)
        expected = F.conv2d(x, one.weight.view(36, 2, 1, 1), two.bias)
        torch.testing.assert_close(found["two"], expected)
        (found["two"].sum() + found["one"].sum()).backward()
        both = one.weight.grad.clone()
        one.weight.grad = None
        seen(x)["two"].sum().backward()
        assert not torch.equal(one.weight.grad, both)
        assert two._parameters["weight"].grad is one.weight.grad
    torch.testing.assert_close(net.optimize()(x)["two"], expected)
    for suffix in ("caffemodel", "h5", "safetensors", "pth"):
        net.save(tmp_path / f"w.{suffix}")
        again = build(PERMISSIVE[dialect], seed=2)
        again.copy_from(tmp_path / f"w.{suffix}")
        assert torch.equal(again(x)["two"], net(x)["two"])
    torch.save(net.state_dict(), tmp_path / "state.pth")
    again.copy_from(tmp_path / "state.pth")


def test_permissive_sharing_needs_the_same_count() -> None:
    text = PERMISSIVE["v2"].replace("num_output: 36", "num_output: 35")
    with pytest.raises(NetError, match=r"layer 'two': param 'w' has shape \(35, 2, 1, 1\) here and \(4, 2, 3, 3\)"):
        build(text)


def sharers(*params: str) -> str:
    """Convolutions in v2's layout, one upon the other, with these `param` for their weights."""
    layers = [
        f'layer {{ name: "c{i}" type: "Convolution" bottom: "c{i - 1}" top: "c{i}" param {{ name: "w" {param} }} '
        "convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }"
        for i, param in enumerate(params, 1)
    ]
    return inputs(c0=(1, 2, 1, 1)) + " ".join(layers)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (["lr_mult: 1", "lr_mult: 2"], "layer 'c2': param 'w': lr_mult is 2 here and 1 in layer 'c1', which shares it"),
        (["", "lr_mult: 3", "lr_mult: 0"], "layer 'c3': param 'w': lr_mult is 0 here and 3 in layer 'c2'"),
        (["decay_mult: 1", "", "decay_mult: 0"], "layer 'c3': param 'w': decay_mult is 0 here and 1 in layer 'c1'"),
    ],
)
def test_sharers_give_one_rate(params: list[str], message: str, phase: str) -> None:
    with pytest.raises(NetError, match=message):
        build(sharers(*params), phase=phase)
    # DeepLab v1's layers have a rate each.
    rates = [param or "lr_mult: 1" for param in params]
    build(sharers(*(rate.replace("decay_mult", "lr_mult") for rate in rates)), phase=phase, dialect="v1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("RELU", "r", "nothing", "r"), "layer 'r': unknown bottom blob 'nothing'"),
        (conv("c", "data") + conv("d", "data", "c"), "layer 'd': top 'c' is made by an earlier layer too"),
        (layer("SPLIT", "s", "data", "x x"), "layer 's': top 'x' is made by an earlier layer too"),
        (conv("c", "data") + conv("c", "c", "d"), "layer 'c': an earlier layer with weights has this name too"),
        (layer("RELU", "r", "data", "r", "loss_weight: 1 loss_weight: 2"), "layer 'r': 2 loss weights for 1 tops"),
    ],
)
def test_nets_that_do_not_fit_together(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        build(inputs(data=(1, 3, 4, 4)) + text)


def test_an_unknown_layer_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LAYERS, "ReLU")
    with pytest.raises(
        NetError, match=r"2 layers are refused: layer type ReLU is not implemented \('relu1', 'relu_fc'\)"
    ):
        build(SMALL)
    with pytest.raises(PrototxtError, match=r"<string>:2: .*RELUX"):
        build(SMALL.replace("RELU", "RELUX"))


def test_inputs_of_the_prototxt_that_make_no_sense() -> None:
    with pytest.raises(NetError, match="2 inputs need 8 input_dim, got 4"):
        build(inputs(data=(1, 1, 2, 2)) + 'input: "more"')
    with pytest.raises(NetError, match="input 'data': input_dim must be positive"):
        build(inputs(data=(1, 0, 2, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "MKL"}, "engine must be CAFFE, CUDNN, DEFAULT or None, got 'MKL'"),
        ({"dtype": "int8"}, "dtype must be a floating-point torch.dtype, got 'int8'"),
        ({"dtype": "no"}, "dtype must be a floating-point torch.dtype, got 'no'"),
        ({"dtype": torch.int8}, "dtype must be"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"seed": 2**32}, "seed must be at most 2\\^32 - 1, got 4294967296"),
        ({"seed": True}, "seed must be a whole number, got True"),
        ({"python_layers": "no"}, "python_layers must be True or False, got 'no'"),
        ({"channels_last": "no"}, "channels_last must be True or False, got 'no'"),
        ({"crf_image_of_first": None}, "crf_image_of_first must be True or False, got None"),
        ({"workers": "2"}, "workers must be a whole number, got '2'"),
        ({"label_reading": "x"}, "label_reading must be one of index, luminance, got 'x'"),
        ({"shard": (2, 1)}, r"shard must be \(rank, world\) with 0 <= rank < world, got \(2, 1\)"),
        ({"shard": 1}, r"shard must be \(rank, world\), two whole numbers, got 1"),
        ({"shard": (0.5, 2)}, "shard's rank must be a whole number, got 0.5"),
        ({"level": "a"}, "level must be a whole number, got 'a'"),
        ({"level": 2**31}, r"level must be at most 2\^31 - 1, got 2147483648"),
        ({"stages": 3}, "stages must be names, each a text, got 3"),
        ({"stages": ["deploy", 1]}, "stages must be names, each a text, got 1"),
    ],
)
def test_options_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(NetError, match=message):
        build(SMALL, **options)


def test_loss_weights() -> None:
    text = inputs(data=(1, 3, 2, 2), label=(1, 1, 2, 2)) + conv("score", "data", out=3)
    label = torch.randint(0, 3, (1, 1, 2, 2)).float()
    x = noise(1, 3, 2, 2)
    plain = build(text + layer("SOFTMAX_LOSS", "loss", "score label", "loss"))
    assert plain.losses == {"loss": 1}
    assert plain.loss(plain(x, label)) == plain(x, label).sum()
    two = layer("SOFTMAX_LOSS", "loss", "score label", "loss", "loss_weight: 0.5")
    two += layer("RELU", "r", "score", "r", "loss_weight: 2")
    net = build(text + two)
    found = net(x, label)
    torch.testing.assert_close(net.loss(found), 0.5 * found["loss"].sum() + 2 * found["r"].sum())
    silent = build(text + layer("SOFTMAX_LOSS", "loss", "score label", "loss", "loss_weight: 0"))
    assert silent.losses == {}
    assert silent.loss(silent(x, label)) == 0


def test_a_loss_that_is_read_again_is_asked_for() -> None:
    text = inputs(data=(1, 3, 2, 2), label=(1, 1, 2, 2)) + conv("score", "data", out=3)
    text += layer("SOFTMAX_LOSS", "loss", "score label", "loss") + layer("RELU", "r", "loss", "r")
    net, label = build(text), torch.zeros(1, 1, 2, 2)
    with pytest.raises(NetError, match="no value for the loss blob 'loss': run forward with blobs=net.losses"):
        net.loss(net(X[:, :, :2, :2], label))
    assert net.loss(net(X[:, :, :2, :2], label, blobs=net.losses)) > 0


def test_losses_without_tops_get_some() -> None:
    text = inputs(data=(1, 3, 2, 2), label=(1, 1, 2, 2)) + conv("score", "data", out=3)
    text += layer("SOFTMAX_LOSS", "one", "score label") + layer("SOFTMAX_LOSS", "two", "score label")
    net = build(text)
    found = net(X[:, :, :2, :2], torch.zeros(1, 1, 2, 2))
    assert list(found) == ["(automatic)", "(automatic) two"]
    assert net.loss(found) == found["(automatic)"].sum() * 2


def test_dropout_acts_in_phase_train_only() -> None:
    test, train = build(SMALL), build(SMALL, phase="TRAIN")
    assert torch.equal(test(X), test(X))
    assert not torch.equal(train(X), train(X))
    assert torch.equal(train.eval()(X), test(X))
    assert not test.training


@pytest.mark.parametrize("engine", [None, "CAFFE"])
def test_the_whole_train_net_has_gradients(engine: str | None) -> None:
    # conv, ReLU and dropout in place on one blob: what every released train.prototxt has.
    net = build(SMALL, phase="TRAIN", engine=engine)
    x = X.clone().requires_grad_()
    net(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert x.grad.abs().max() > 0


def test_in_place_relu_behind_layers_that_need_their_top() -> None:
    text = inputs(data=(1, 3, 4, 4)) + conv("c", "data") + layer("SOFTMAX", "s", "c", "s") + relu("r", "s")
    text += layer("SPLIT", "sp", "s", "s0 s1") + layer(
        "ELTWISE", "p", "s0 s1", "p", "eltwise_param { operation: PROD }"
    )
    net = build(text + relu("rp", "p"))
    net(noise(1, 3, 4, 4)).sum().backward()
    weight = net.by_name["c"].weight
    found, weight.grad = weight.grad, None
    layer_c = net.by_name["c"]
    F.conv2d(noise(1, 3, 4, 4), layer_c.weight, layer_c.bias, padding=1).softmax(1).square().sum().backward()
    torch.testing.assert_close(found, weight.grad)


@pytest.mark.parametrize("engine", ["CUDNN", "CAFFE"])
def test_autograd_equals_pycaffes_backward(engine: str) -> None:
    text = "force_backward: true " + SMALL + INTERP
    net = build(text, engine=engine)
    face = caffe.Net(parse(text), caffe.TEST, seed=1, engine=engine)
    x = X.clone().requires_grad_()
    out = net(x)
    gradient = noise(*out.shape, seed=3)
    out.backward(gradient)
    face.forward(data=X.numpy())
    face.backward(up=gradient.numpy())
    assert relative_error(face.blobs["up"].data, out.detach().numpy()) < 1e-6
    assert relative_error(face.blobs["data"].diff, x.grad.numpy()) < 1e-5
    for name, blobs in face.params.items():
        for blob, parameter in zip(blobs, net.by_name[name].blobs, strict=True):
            assert relative_error(blob.diff, parameter.grad.numpy().reshape(blob.shape)) < 1e-5


@torch.no_grad()
def test_engines_agree() -> None:
    fast, exact = build(SMALL, engine="CUDNN"), build(SMALL, engine="CAFFE")
    assert {step.layer.engine for step in exact.steps if step.layer.TYPE == "Convolution"} == {"CAFFE"}
    assert relative_error(fast(X).numpy(), exact(X).numpy()) < 1e-5


@torch.no_grad()
def test_channels_last_agrees() -> None:
    plain, last = build(SMALL + INTERP), build(SMALL + INTERP, channels_last=True)
    for shape in [(1, 3, 9, 11), (2, 3, 20, 33), (1, 3, 9, 11)]:
        assert relative_error(last(noise(*shape)).numpy(), plain(noise(*shape)).numpy()) < 1e-5
    with torch.enable_grad():
        assert relative_error(last(X).detach().numpy(), plain(X).detach().numpy()) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("channels_last", [False, True])
def test_bfloat16_agrees_within_its_precision(channels_last: bool) -> None:
    plain, half = build(SMALL + INTERP), build(SMALL + INTERP, dtype=torch.bfloat16, channels_last=channels_last)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    found = half(X)
    # Interp works in float32. bfloat16 has 8 bits, and three layers round.
    assert found.dtype == torch.float32
    assert relative_error(found.numpy(), plain(X).numpy()) < 2e-2


@torch.no_grad()
@pytest.mark.parametrize(
    ("text", "engine", "dtypes"),
    [
        (SMALL.replace("num_output: 6", "num_output: 6 engine: CAFFE"), None, {torch.float32, torch.bfloat16}),
        (SMALL, "CAFFE", {torch.float32}),
    ],
    ids=["a layer's", "the net's"],
)
def test_engine_caffe_stays_float32_in_a_net_of_bfloat16(
    text: str, engine: str | None, dtypes: set[torch.dtype]
) -> None:
    half = build(text, dtype="bfloat16", engine=engine)
    assert {blob.dtype for blob in half.by_name["fc"].blobs} == {torch.float32}
    assert {blob.dtype for blob in half.parameters()} == dtypes
    assert relative_error(half(X).float().numpy(), build(SMALL)(X).numpy()) < 2e-2


@torch.no_grad()
def test_packed_weights_follow_the_weights() -> None:
    net, plain = build(SMALL, channels_last=True), build(SMALL)

    def check() -> None:
        plain.load_state_dict({name: value.float() for name, value in net.state_dict().items()})
        assert relative_error(net(X).numpy(), plain(X).numpy()) < 1e-5

    check()
    net.by_name["conv1"].weight.mul_(2)
    check()
    net.load_state_dict(build(SMALL, seed=2).state_dict())
    check()
    net.bfloat16().float()  # rounds, and may come back to the same addresses
    check()
    net.by_name["fc"].weight.data = noise(6, 4, 3, 3, seed=5)
    check()
    net.double().float()
    check()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    check()


def test_a_net_made_in_inference_mode_works() -> None:
    with torch.inference_mode():
        net = build(SMALL, channels_last=True)
        assert relative_error(net(X).numpy(), build(SMALL)(X).numpy()) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"channels_last": True}, {"engine": "CAFFE"}])
def test_the_same_bits_every_time(options: dict) -> None:
    net, x = build(SMALL + INTERP, **options), noise(1, 3, 65, 33)
    first = net(x)
    assert all(torch.equal(net(x), first) for _ in range(3))
    assert torch.equal(build(SMALL + INTERP, **options)(x), first)


def test_a_seed_settles_initial_values_and_dropout() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (build(SMALL, seed=seed, phase="TRAIN") for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first(X), again(X))
    assert not torch.equal(first.by_name["fc"].weight, other.by_name["fc"].weight)


@pytest.mark.parametrize("python_layers", [False, True])
def test_a_seed_is_one_of_torchs(python_layers: bool) -> None:
    """Drawn from a generator of its own or from torch's, it gives the same numbers."""
    weight = build(SMALL, seed=5, python_layers=python_layers).by_name["conv1"].weight
    drawn = torch.empty(weight.shape).normal_(0, 0.3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(weight, drawn)


def test_a_seed_counts_in_threads() -> None:
    """With torch's generator, which all threads share, most of these had other weights."""
    many = inputs(data=(1, 3, 5, 5)) + "".join(conv(f"c{i}", f"c{i - 1}" if i else "data", out=3) for i in range(20))
    expected = build(many, seed=5).state_dict()
    state = torch.random.get_rng_state()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: build(many, seed=5).state_dict(), range(40)))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(each[name], expected[name]) for each in found for name in expected)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_copies() -> None:
    net = build(SMALL, phase="TRAIN", channels_last=True).eval()
    expected = net(X)
    buffer = io.BytesIO()
    torch.save(net, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), torch.load(buffer, weights_only=False)):
        assert torch.equal(other(X), expected)
        assert other.steps[0].layer is other.layers[0]
        with torch.no_grad():
            other.by_name["conv1"].weight.zero_()
    assert torch.equal(net(X), expected)


def test_state_dict_round_trip() -> None:
    net, other = build(SMALL, seed=1), build(SMALL, seed=2)
    assert not torch.equal(net(X), other(X))
    other.load_state_dict(net.state_dict())
    assert torch.equal(net(X), other(X))


def test_float64() -> None:
    net = build(SMALL + INTERP)
    expected = net(X)
    for exact in (copy.deepcopy(net).to(torch.float64), build(SMALL + INTERP, dtype=torch.float64)):
        found = exact(X.double())
        assert found.dtype == torch.float64
        assert relative_error(found.detach().numpy(), expected.detach().numpy()) < 1e-6


def test_errors_of_a_layer_at_work_name_it() -> None:
    text = inputs(data=(1, 3, 2, 2), label=(1, 1, 2, 2)) + layer("SOFTMAX_LOSS", "loss", "data label", "loss")
    with pytest.raises(NetError, match="layer 'loss': .*label 9"):
        build(text)(X[:, :, :2, :2], torch.full((1, 1, 2, 2), 9.0))
    with pytest.raises(NetError, match="layer 'conv1': the weights are for 3 input channels, the bottom has 4"):
        build(SMALL)(noise(1, 4, 9, 11))
    with pytest.raises(NetError, match="layer 'up': "):
        build(inputs(data=(1, 1, 2, 2)) + layer("INTERP", "up", "data", "up", "interp_param { zoom_factor: 2 }"))(
            torch.ones(1, 1, 2, 2, dtype=torch.int64)
        )


def test_costs() -> None:
    net = build(SMALL)
    assert net.parameter_count() == (4 * 27 + 4) + (6 * 36 + 6) + (5 * 6 + 5)
    assert net.multiply_adds() == 9 * 11 * 4 * 27 + 5 * 6 * 6 * 36 + 5 * 6 * 5 * 6
    shapes = net.infer_shapes(data=(2, 3, 9, 11))
    assert net.multiply_adds(shapes) == 2 * net.multiply_adds()
    # At most conv1 and its input, or conv1 and pool1, live together.
    assert net.activation_bytes() == 4 * (3 * 99 + 4 * 99)
    with pytest.raises(NetError, match="shapes for unknown inputs"):
        net.infer_shapes(image=(1, 3, 5, 5))
    assert "inputs=['data']" in repr(net)


def test_a_nets_dialect_is_its_files_unless_asked_for() -> None:
    layers = 'layer { name: "a" type: "ArgMax" bottom: "x" top: "a" } layer { name: "e" type: "EuclideanLoss" '
    text = 'input: "x" input_shape { dim: 2 dim: 3 dim: 1 dim: 4 } ' + layers + 'bottom: "x" bottom: "x" top: "e" }'
    param = parse(text)
    shapes = {"v1": ((2, 1, 1, 4), (1, 1, 1, 1)), "v2": ((2, 1, 1, 1), ())}
    for asked, name in ((None, "v2"), ("v1", "v1"), ("v2", "v2")):
        net = dc.Net(param, dialect=asked)
        assert net.dialect.name == net.param.dialect == name
        assert (net.blob_shapes["a"], net.blob_shapes["e"]) == shapes[name]
        # What is made of the net's own message is the same again.
        assert dc.Net(net.param).dialect is net.dialect
    with pytest.raises(NetError, match="dialect must be v1 or v2"):
        dc.Net(param, dialect="bvlc")


def test_propagate_down_false_keeps_gradients_from_a_bottom() -> None:
    text = """input: "x" input_shape { dim: 1 dim: 2 dim: 3 dim: 3 } %s
        layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
        layer { name: "d" type: "Convolution" bottom: "c" top: "d" propagate_down: false
            convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }"""
    for force, flows in (("", False), ("force_backward: true", True)):
        net = dc.Net(parse(text % force), seed=1)
        net(noise(1, 2, 3, 3)).sum().backward()
        assert net.by_name["d"].weight.grad is not None
        assert (net.by_name["c"].weight.grad is not None) == flows


SEVERAL = """input: "d" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
layer { name: "huge" type: "InnerProduct" bottom: "d" top: "huge" inner_product_param { num_output: 2000000 } }
layer { name: "bn1" type: "BatchNorm" bottom: "d" top: "bn1" }
layer { name: "scale" type: "Scale" bottom: "bn1" top: "bn1" scale_param { num_axes: -7 } }
layer { name: "bn2" type: "BatchNorm" bottom: "bn1" top: "bn2" }
layer { name: "c" type: "Convolution" bottom: "d" top: "c"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "bilineer" } } }
layer { name: "p" type: "Pooling" bottom: "bn2" top: "p" pooling_param { pool: STOCHASTIC kernel_size: 2 } }
layer { name: "roi" type: "ROIPooling" bottom: "d" top: "roi" }
"""


def test_all_layers_that_are_refused_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LAYERS, "BatchNorm")
    with pytest.raises(NetError) as error:
        dc.Net(parse_net(SEVERAL))
    text = str(error.value)
    assert text.startswith("6 layers are refused: layer type BatchNorm is not implemented ('bn1', 'bn2'); ")
    assert "num_axes must be at least -1, got -7 ('scale')" in text
    assert "unknown filler type 'bilineer'" in text
    assert "STOCHASTIC pooling is not implemented: the original has none on the CPU either ('p')" in text
    assert "layer type ROIPooling is not implemented; it is neither Caffe's nor DeepLab's" in text
    assert error.value.layer == "bn1"


def test_options_of_later_layers_are_named_with_the_first() -> None:
    with pytest.raises(NetError, match=r"^2 layers are refused: top_k must .* \('a'\); STOCHASTIC .* \('b'\)$"):
        dc.Net(
            parse_net(
                """input: "d" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
                layer { name: "a" type: "ArgMax" bottom: "d" top: "a" argmax_param { axis: 1 top_k: 7 } }
                layer { name: "b" type: "Pooling" bottom: "a" top: "b" pooling_param { pool: STOCHASTIC } }
                """
            )
        )


def test_many_refused_layers_make_a_bounded_message() -> None:
    layers = "".join(f'layer {{ name: "l{i}" type: "Fork{i}" bottom: "d" top: "t{i}" }}\n' for i in range(1000))
    with pytest.raises(NetError, match=r"^1000 layers are refused: .*Fork19.*; and 980 more$"):
        dc.Net(parse_net('input: "d" input_shape { dim: 1 }\n' + layers))


def test_the_mean_that_an_input_layer_says() -> None:
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } %s }'
    means = "transform_param { mean_value: 103.5 mean_value: 116 mean_value: 123 }"
    net = build(text % means)
    assert net.mean_value == (103.5, 116, 123)
    assert parse_net(format_message(parse(text % means))).mean_value == [103.5, 116, 123]
    assert build(text % "transform_param { mean_value: 7 }").mean_value == (7, 7, 7)
    assert build(text % "").mean_value == dc.data.sources.transform.IMAGENET_MEAN_BGR
    with pytest.raises(NetError, match="its input needs one mean_value or three, got 2"):
        _ = build(text % "transform_param { mean_value: 7 mean_value: 8 }").mean_value
    old = inputs(data=(1, 3, 4, 4)) + relu("r", "data")
    assert build(old).mean_value == dc.data.sources.transform.IMAGENET_MEAN_BGR
