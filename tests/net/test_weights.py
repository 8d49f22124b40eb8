from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import NetError
from deeplab_caffe.errors import CaffeModelError, ConversionError
from deeplab_caffe.net.weights import WeightsWarning, load_weights, save_weights
from deeplab_caffe.proto import CaffeModel, caffe_pb2
from deeplab_caffe.proto.upgrade_file import upgrade_file
from tests.goldens import case_dir
from tests.nets import SMALL, build, conv, inputs, layer, noise


def saved(net: dc.Net, folder: Path) -> Path:
    path = folder / "net.caffemodel"
    save_weights(net, path)
    return path


def state(net: dc.Net) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def parsed(path: Path) -> caffe_pb2.NetParameter:
    message = caffe_pb2.NetParameter()
    message.ParseFromString(path.read_bytes())
    return message


def dims(blob: caffe_pb2.BlobProto) -> tuple[int, ...]:
    return blob.num, blob.channels, blob.height, blob.width


def test_save_then_load(tmp_path: Path) -> None:
    net, other = build(SMALL, seed=1), build(SMALL, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.copy_from(saved(net, tmp_path))
        again = dc.Net(other.param, saved(net, tmp_path))
    assert same(state(net), state(other))
    assert same(state(net), state(again))
    assert [path.name for path in tmp_path.iterdir()] == ["net.caffemodel"]


def test_what_the_file_holds(tmp_path: Path) -> None:
    text = 'name: "n" force_backward: true ' + SMALL + layer("RELU", "extra", "fc", "extra")
    net = build(text, stages=["deploy"])
    message = parsed(saved(net, tmp_path))
    assert message.name == "n"
    assert list(message.input) == ["data"]
    assert {field.name for field, _ in message.ListFields()} == {"name", "input", "layers"}
    assert [each.name for each in message.layers] == [step.layer.name for step in net.steps]
    assert any(each.type == caffe_pb2.LayerParameter.SPLIT for each in message.layers)
    by_name = {each.name: each for each in message.layers}
    assert [dims(blob) for blob in by_name["fc"].blobs] == [(6, 4, 3, 3), (1, 1, 1, 6)]
    weight = net.by_name["fc"].weight.detach().numpy()
    assert np.array_equal(np.array(by_name["fc"].blobs[0].data, np.float32).reshape(weight.shape), weight)


def test_diffs_go_with_the_weights(tmp_path: Path) -> None:
    net = build(SMALL)
    gradients = {
        each.name: [np.full(each.blob_shape(blob.shape), 2.0, np.float32) for blob in each.blobs]
        for each in net.layers
        if each.blobs
    }
    save_weights(net, tmp_path / "x.caffemodel", gradients)
    blob = next(each for each in parsed(tmp_path / "x.caffemodel").layers if each.name == "fc").blobs[0]
    assert set(blob.diff) == {2.0}
    assert len(blob.diff) == len(blob.data)


def test_shared_parameters_are_saved_with_every_layer_and_needed_once(tmp_path: Path) -> None:
    text = inputs(data=(1, 4, 4, 4)) + conv("one", "data", more='param: "w" param: "b"')
    net = build(text + conv("two", "one", more='param: "w" param: "b"'))
    message = parsed(saved(net, tmp_path))
    assert [len(each.blobs) for each in message.layers] == [2, 2]
    alone = build(text, seed=3)
    net.copy_from(saved(alone, tmp_path))
    assert torch.equal(net.by_name["two"].weight, alone.by_name["one"].weight)


def twins(*names: str) -> str:
    """Convolutions of one blob that share weight and bias."""
    return inputs(data=(1, 4, 4, 4)) + "".join(conv(n, "data", more='param: "w" param: "b"') for n in names)


def test_of_copies_that_differ_the_last_in_the_file_counts(tmp_path: Path) -> None:
    apart = build(inputs(data=(1, 4, 4, 4)) + conv("b", "data") + conv("a", "data"))
    path = saved(apart, tmp_path)
    net = build(twins("a", "b"))
    with pytest.warns(WeightsWarning, match=r"have different numbers for 'a.weight', 'a.bias': those of the last one"):
        net.copy_from(path)
    assert torch.equal(net.by_name["b"].weight, apart.by_name["a"].weight)
    assert torch.equal(net.by_name["b"].bias, apart.by_name["a"].bias)


def test_copies_that_are_equal_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(build(twins("a", "b", "c")), tmp_path)
    loaded = []
    monkeypatch.setattr(dc.layers.Layer, "load_blob", lambda layer, role, value: loaded.append(layer.name + role))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(twins("a", "b", "c")).copy_from(path)
    assert loaded == ["cweight", "cbias"]


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_named_tensors_hold_a_shared_parameter_once(suffix: str, tmp_path: Path) -> None:
    one, three = build(twins("a")), build(twins("a", "b", "c"))
    for net, name in ((one, "one"), (three, "three")):
        net.save(tmp_path / f"{name}.{suffix}")
    sizes = [(tmp_path / f"{name}.{suffix}").stat().st_size for name in ("one", "three")]
    assert sizes[1] < sizes[0] + 600
    again = build(twins("a", "b", "c"), seed=4)
    again.copy_from(tmp_path / f"three.{suffix}")
    assert same(state(again), state(three))
    again = build(twins("a", "b", "c"), seed=4)
    again.copy_from(tmp_path / f"one.{suffix}")
    assert torch.equal(again.by_name["c"].weight, one.by_name["a"].weight)


@pytest.mark.parametrize(
    ("name", "net"), [("strict_dim_false_load", "src_net.prototxt"), ("slim_largefov_small", "net.prototxt")]
)
def test_our_file_has_what_the_originals_has(name: str, net: str, tmp_path: Path) -> None:
    folder = case_dir(name)
    original = next(path for path in sorted(folder.glob("*.caffemodel")) if not path.name.startswith("saved_"))
    built = dc.Net(folder / net, original)
    ours, theirs = parsed(saved(built, tmp_path)), parsed(original)
    assert ours.name == theirs.name
    assert list(ours.input) == list(theirs.input)
    assert [(x.name, x.type) for x in ours.layers] == [(x.name, x.type) for x in theirs.layers]
    for our, their in zip(ours.layers, theirs.layers, strict=True):
        assert [dims(blob) for blob in our.blobs] == [dims(blob) for blob in their.blobs]
        assert [list(blob.data) for blob in our.blobs] == [list(blob.data) for blob in their.blobs]
        assert list(our.bottom) == list(their.bottom)
        assert list(our.top) == list(their.top)


def test_missing_weights_are_an_error_in_test_and_a_warning_in_train(tmp_path: Path) -> None:
    path = saved(build(SMALL.replace('"score"', '"score7"'), seed=2), tmp_path)
    for options in ({}, {"phase": "TRAIN"}):
        net = build(SMALL, **options)
        before = state(net)
        if options:
            with pytest.warns(WeightsWarning) as found:
                net.copy_from(path)
            messages = sorted(str(each.message) for each in found)
            assert len(messages) == 2
            assert "no weights for 'score': they keep their initial values" in messages[0]
            assert "weights of 'score7' are not used by net" in messages[1]
            assert found[0].filename == __file__
            assert torch.equal(net.by_name["score"].weight, before["score.weight"])
            assert not torch.equal(net.by_name["fc"].weight, before["fc.weight"])
        else:
            with pytest.raises(NetError, match=r"net\.caffemodel: has no weights for 'score'; its layers are 'conv1'"):
                net.copy_from(path)
            assert same(state(net), before)
            with pytest.warns(WeightsWarning) as found:
                net.copy_from(path, missing="warn")
            assert len(found) == 2


def test_missing_must_be_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="missing must be 'error' or 'warn', got 'ignore'"):
        load_weights(build(SMALL), "x", missing="ignore")


@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
def test_weights_of_another_network(phase: str, tmp_path: Path) -> None:
    path = saved(build(inputs(data=(1, 3, 4, 4)) + conv("other", "data")), tmp_path)
    net = build(SMALL, phase=phase)
    with pytest.raises(NetError, match=r"no weights for any layer of net '': it is of another network .*file: 'other'"):
        net.copy_from(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            SMALL.replace("num_output: 6", "num_output: 8"),
            r"layer 'fc': parameter blob 0 needs the shape \(6, 4, 3, 3\), .*\(8, 4, 3, 3\): .* another name in",
        ),
        (
            SMALL.replace("num_output: 5", "num_output: 5 bias_term: false"),
            "layer 'score': needs 2 parameter blobs, .* has 1",
        ),
    ],
)
def test_shapes_that_do_not_fit_change_nothing(changed: str, message: str, tmp_path: Path) -> None:
    path = saved(build(changed, seed=2), tmp_path)
    net = build(SMALL)
    before = state(net)
    with pytest.raises(NetError, match=message):
        net.copy_from(path)
    assert same(state(net), before)


FC = layer(
    "INNER_PRODUCT", "fc", "data", "fc", 'inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'
)
AS_CONVOLUTION = layer(
    "CONVOLUTION", "fc", "data", "fc", "convolution_param { num_output: 5 kernel_h: 2 kernel_w: 3 } strict_dim: false"
)


def test_fully_connected_weights_become_a_convolution(tmp_path: Path) -> None:
    head = inputs(data=(1, 4, 2, 3))
    dense, whole = build(head + FC), build(head + AS_CONVOLUTION)
    path = saved(dense, tmp_path)
    whole.copy_from(path)
    x = noise(1, 4, 2, 3)
    torch.testing.assert_close(whole(x), dense(x))
    with pytest.raises(
        NetError, match=r"layer 'fc': parameter blob 0 needs the shape \(5, 4, 2, 3\), .* has \(1, 1, 5, 24\)"
    ):
        build(head + AS_CONVOLUTION.replace("strict_dim: false", "")).copy_from(path)
    with pytest.raises(NetError, match="as many numbers as in"):
        build(inputs(data=(1, 5, 2, 3)) + AS_CONVOLUTION).copy_from(path)


def test_a_truncated_or_missing_file_changes_nothing(tmp_path: Path) -> None:
    net = build(SMALL)
    before = state(net)
    data = saved(build(SMALL, seed=2), tmp_path).read_bytes()
    bad = tmp_path / "bad.caffemodel"
    for size in (0, 1, len(data) // 3, len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:size])
        with pytest.raises((CaffeModelError, NetError), match=r"bad\.caffemodel"):
            net.copy_from(bad)
        assert same(state(net), before)
    with pytest.raises(CaffeModelError, match="none"):
        net.copy_from(tmp_path / "none")


def test_the_file_may_go_away_after_loading(tmp_path: Path) -> None:
    source = build(SMALL, seed=2)
    path = saved(source, tmp_path)
    net = dc.Net(source.param, path)
    os.truncate(path, 0)
    assert same(state(net), state(source))


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CaffeModelError):
        save_weights(build(SMALL), tmp_path / "no" / "x.caffemodel")
    assert list(tmp_path.iterdir()) == []


def test_loading_into_and_saving_from_other_dtypes(tmp_path: Path) -> None:
    source = build(SMALL, seed=2)
    path = saved(source, tmp_path)
    half = dc.Net(source.param, path, dtype=torch.bfloat16)
    assert torch.equal(half.by_name["fc"].weight, source.by_name["fc"].weight.bfloat16())
    last = dc.Net(source.param, path, channels_last=True)
    assert saved(last, tmp_path).read_bytes() == path.read_bytes()
    back = build(SMALL)
    back.copy_from(saved(half, tmp_path))
    assert torch.equal(back.by_name["fc"].weight, half.by_name["fc"].weight.float())


@pytest.mark.parametrize("suffix", ["caffemodel", "safetensors", "pth", "pt"])
def test_save_and_load_by_suffix(suffix: str, tmp_path: Path) -> None:
    if suffix == "safetensors":
        pytest.importorskip("safetensors", reason="the package safetensors is not installed")
    net = build(SMALL, seed=2)
    net.save(tmp_path / f"x.{suffix}")
    assert same(state(dc.Net(net.param, tmp_path / f"x.{suffix}")), state(net))
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{suffix}"]
    with pytest.raises(ConversionError, match=r"x\.onnx: weights are saved as .caffemodel, .*got '.onnx'"):
        net.save(tmp_path / "x.onnx")


def test_a_state_dict_may_lack_layers_when_training(tmp_path: Path) -> None:
    build(SMALL.replace('"score"', '"score7"'), seed=2).save(tmp_path / "x.pth")
    with pytest.raises(ConversionError, match=r"x\.pth: has no 'score\.weight', 'score\.bias' and has 'score7"):
        build(SMALL).copy_from(tmp_path / "x.pth")
    net = build(SMALL, phase="TRAIN")
    with pytest.warns(WeightsWarning, match=r"has no 'score\.weight'"):
        net.copy_from(tmp_path / "x.pth")
    assert torch.equal(net.by_name["fc"].weight, build(SMALL, seed=2).by_name["fc"].weight)


NAMES = ["conv1_1", "inception/1x1", "a", "a.b", "a.b.weight", "outputs", "training", "forward", "loss", "9"]


def test_layer_names_of_all_kinds_are_keys(tmp_path: Path) -> None:
    text = inputs(data=(1, 3, 5, 5)) + "".join(conv(name, "data", f"top{i}") for i, name in enumerate(NAMES))
    text += layer("RELU", "a", "top0", "top0") + layer("RELU", "", "top1", "top1")
    net, other = build(text), build(text, seed=2)
    keys = [f"{name}.{role}" for name in NAMES for role in ("weight", "bias")]
    assert list(net.state_dict()) == keys == [name for name, _ in net.named_parameters()]
    assert other.load_state_dict(net.state_dict()) == ([], [])
    assert same(state(net), state(other))
    wrapped = torch.nn.Sequential(build(text, seed=3))
    wrapped.load_state_dict({f"0.{key}": value for key, value in net.state_dict().items()})
    assert same(state(wrapped[0]), state(net))
    for path in (tmp_path / "x.pth", tmp_path / "x.caffemodel"):
        net.save(path)
        assert same(state(dc.Net(net.param, path)), state(net))
    wrong = state(net) | {"nobody.weight": torch.zeros(1), "a.c": torch.zeros(1)}
    del wrong["a.b.bias"]
    with pytest.raises(RuntimeError) as error:
        other.load_state_dict(wrong)
    assert 'Missing key(s) in state_dict: "a.b.bias"' in str(error.value)
    assert '"nobody.weight"' in str(error.value)
    assert '"a.c"' in str(error.value)
    net.eval()
    net.train()
    assert net.training
    assert net.outputs == sorted(f"top{i}" for i in range(len(NAMES)))


def test_names_are_those_of_the_other_phase() -> None:
    text = SMALL + layer("SILENCE", "s", "score", "", "include { phase: TRAIN }")
    assert list(build(text).state_dict()) == list(build(text, phase="TRAIN").state_dict())


def test_options_of_this_package_are_written_for_itself_and_refused_for_others(tmp_path: Path) -> None:
    params = "interp_param { zoom_factor: 2 align_corners: false }"
    up = f'layer {{ name: "up" type: "Interp" bottom: "data" top: "up" {params} }}'
    net = build('input: "data" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 }' + up)
    save_weights(net, tmp_path / "own.caffemodel")
    with pytest.raises(CaffeModelError, match="layer 'up': cannot be written for DeepLab v2: .*align_corners: false"):
        save_weights(net, tmp_path / "v2.caffemodel", dialect="v2")
    assert [path.name for path in tmp_path.iterdir()] == ["own.caffemodel"]
    saved(build(SMALL + layer("INTERP", "up", "score", "up", params)), tmp_path)


def test_a_caffemodel_of_halves(tmp_path: Path) -> None:
    source, path = build(SMALL, seed=1), tmp_path / "half.caffemodel"
    save_weights(source, path, dtype="float16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = dc.Net(source.param, path)
    for name, value in state(net).items():
        expected = source.state_dict()[name]
        assert value.dtype == torch.float32
        assert torch.equal(value, expected.half().float() if name.endswith("weight") else expected)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")  # people's networks still have it
def test_a_pruned_or_normed_layer_takes_halves_as_floats(tmp_path: Path) -> None:
    source, path = build(SMALL, seed=1), tmp_path / "half.caffemodel"
    save_weights(source, path, dtype="float16")
    net = build(SMALL, seed=2)
    torch.nn.utils.weight_norm(net.by_name["fc"])
    net.copy_from(path)
    value = source.by_name["fc"].weight.detach().half().float()
    assert torch.equal(net.by_name["fc"].weight_g.detach(), torch.norm_except_dim(value, 2, 0))


@pytest.mark.parametrize(
    "layer",
    [
        'type: DECONVOLUTION convolution_param { num_output: 2 kernel_size: 4 weight_filler { type: "xavier" } }',
        'type: INNER_PRODUCT inner_product_param { num_output: 2 axis: 2 weight_filler { type: "xavier" } }',
        "type: POOLING pooling_param { pool: MAX kernel_size: 2 stride: 2 round_mode: FLOOR }",
        "type: POOLING pooling_param { pool: MAX kernel_size: 2 stride: 2 ceil_mode: false }",
    ],
)
def test_what_deeplab_v1_has_no_room_for_is_saved_all_the_same(layer: str, tmp_path: Path) -> None:
    """A net in V1's layout with what later Caffes added to it: without a dialect the file is this package's own."""
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "x" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 5 '
        f'layers {{ name: "one" bottom: "x" top: "one" {layer} }}'
    )
    net = dc.Net(path, seed=1)
    net.save(tmp_path / "x.caffemodel")
    x = torch.ones(1, 3, 5, 5)
    assert torch.equal(dc.Net(path, tmp_path / "x.caffemodel")(x), net(x))


@pytest.mark.parametrize("first", [True, False])
def test_a_layer_with_anothers_name_gets_none_of_its_weights(tmp_path: Path, first: bool) -> None:
    """A ReLU called as its convolution was saved with the weights too, and the file could not be upgraded then."""
    filler = 'weight_filler { type: "gaussian" std: 1 }'
    own = layer("CONVOLUTION", "c", "x", "y", f"convolution_param {{ num_output: 2 kernel_size: 1 {filler} }}")
    others = [layer("RELU", "c", "data", "x"), layer("RELU", "c", "y", "z")]
    if first:
        others[0] = others[0].replace('"c"', '"r"')
    net = build(inputs(data=(1, 3, 4, 4)) + others[0] + own + others[1])
    net.save(tmp_path / "x.caffemodel")
    upgrade_file(tmp_path / "x.caffemodel", tmp_path / "y.caffemodel")
    for name in ("x", "y"):
        found = [one for one in CaffeModel(tmp_path / f"{name}.caffemodel").layers if one.name == "c"]
        assert [(one.type, len(one.blobs)) for one in found if one.blobs] == [("Convolution", 2)]
        assert len(found) == 3 - first
    for suffix in ("h5", "caffemodel"):
        path = tmp_path / f"x.{suffix}"
        net.save(path)
        with torch.no_grad():
            expected, _ = net.c.weight.clone(), net.c.weight.zero_()
        net.copy_from(path)  # the HDF5 file had none of the weights
        assert torch.equal(net.c.weight, expected)
    again = build(inputs(data=(1, 3, 4, 4)) + own.replace('"x"', '"data"'))
    again.copy_from(tmp_path / "y.caffemodel")
    assert torch.equal(again.c.weight, net.c.weight)
