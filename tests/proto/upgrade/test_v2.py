"""V2 text is taken as it is."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2, filter_net, format_message, parse_net
from deeplab_caffe.proto.schema.names import v1_names
from deeplab_caffe.proto.upgrade.net import fold_inputs


def v2(kind: str, body: str = "", name: str = "a") -> str:
    return f'layer {{\nname: "{name}" type: "{kind}" bottom: "x" top: "y"\n{body}\n}}'


def layer(kind: str, body: str = ""):
    return parse_net(v2(kind, body)).layer[0]


@pytest.mark.parametrize("kind", [*v1_names(), "BatchNorm", "Relux"])
def test_every_layer_type_by_its_name(kind):
    result = layer(kind)
    assert result.type == kind
    assert (result.name, list(result.bottom), list(result.top)) == ("a", ["x"], ["y"])


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Convolution", "convolution_param { pad: 1 pad: 1 pad: 1 axis: 2 weight_filler { variance_norm: AVERAGE } }"),
        ("Convolution", "param { } param { } param { lr_mult: 3 }"),
        ("BatchNorm", "batch_norm_param { use_global_stats: true } phase: TEST propagate_down: true"),
        ("Scale", "scale_param { axis: -1 }"),
        ("Concat", "concat_param { axis: 2 }"),
        ("Flatten", "flatten_param { axis: 2 }"),
        ("SoftmaxWithLoss", "loss_param { normalization: BATCH_SIZE normalize: false ignore_label: 255 }"),
        ("Accuracy", "accuracy_param { ignore_label: 255 }"),
        ("MVN", "mvn_param { eps: 1e-9 }"),
        ("Data", "transform_param { crop_width: 9 scale_factors: 0.5 } data_param { prefetch: 9 }"),
        ("BiasChannel", "bias_channel_param { background_label: 3 }"),
        ("DummyData", "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: [1, 2, 3, 4, 5] } }"),
        ("Crop", "crop_param { offset: 3 }"),
        ("Convolution", "blobs { shape { dim: [2, 3] } data: [1, 2, 3, 4, 5, 6] }"),
    ],
)
def test_nothing_is_changed_or_refused(kind, body):
    net = caffe_pb2.NetParameter()
    text_format.Parse(v2(kind, body), net)
    assert parse_net(v2(kind, body)).layer[0] == net.layer[0]
    assert parse_net(v2(kind, body)).dialect == "v2"


def test_hole_may_be_written_in_the_layer_layout_too():
    conv = layer("Convolution", "convolution_param { hole_h: 2 hole_w: 5 } strict_dim: false").convolution_param
    assert (list(conv.dilation), conv.HasField("hole_h")) == ([2, 5], False)


def test_an_input_without_a_shape_is_left_out_where_an_input_layer_makes_it():
    layers = 'layer { name: "i" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 } } }' + v2("ReLU")
    assert parse_net('input: "b" input: "a"' + layers) == parse_net(layers)
    ruled = layers.replace("input_param", "include { phase: TEST } input_param")
    assert parse_net('input: "a"' + ruled) == parse_net(ruled)
    with pytest.raises(PrototxtError, match="an Input layer follows 1 net inputs that have 0 input_dim"):
        parse_net('input: "a" input: "q"' + layers)


def test_inputs():
    text = 'input: "a" input_shape { dim: 2 dim: 3 }\nlayer { name: "i" type: "Input" top: "b" top: "c" input_param { '
    net = parse_net(text + "shape { dim: 1 dim: 3 dim: 5 dim: 7 } } }" + v2("ReLU"))
    assert list(net.input) == ["a", "b", "c"]
    assert [list(shape.dim) for shape in net.input_shape] == [[2, 3], [1, 3, 5, 7], [1, 3, 5, 7]]
    assert [item.name for item in net.layer] == ["a"]
    assert list(net.input_layer) == ["input", "i", "i"]
    assert "input_layer" not in format_message(net)
    net.layer.add(name="more", type="Input", top=["d"]).input_param.shape.add(dim=[5])
    fold_inputs(net)
    assert (list(net.input), list(net.input_layer)) == (["a", "b", "c", "d"], ["input", "i", "i", "more"])
    assert list(net.input_shape[3].dim) == [5]
    assert list(parse_net(v2("ReLU")).input_layer) == []
    net = parse_net(text + "shape { dim: 1 } shape { dim: [4, 4, 4, 4, 4] } } }")
    assert [list(shape.dim) for shape in net.input_shape[1:]] == [[1], [4, 4, 4, 4, 4]]


def test_input_layers_with_rules_wait_for_the_phase():
    body = "input_param { shape { dim: 1 } } transform_param { scale: 2 }"
    text = f'layer {{ type: "Input" top: "x" include {{ phase: TEST }} {body} }}' + v2("ReLU")
    assert len(parse_net(text).layer) == 2
    assert list(filter_net(parse_net(text), "TEST").input) == ["x"]
    assert [list(shape.dim) for shape in filter_net(parse_net(text), "TEST").input_shape] == [[1]]
    assert list(filter_net(parse_net(text), "TRAIN").input) == []
    assert len(filter_net(parse_net(text), "TRAIN").layer) == 1


def test_a_layers_own_phase():
    net = parse_net(v2("ReLU", "phase: TRAIN"))
    assert len(filter_net(net, "TRAIN").layer) == 1
    # It stays in a net of the other phase, as in net.cpp, FilterNet.
    assert len(filter_net(net, "TEST").layer) == 1


def test_rules_and_loss_weight():
    text = 'include { phase: TRAIN min_level: 2 stage: "s" not_stage: "t" } include { } loss_weight: 0.5'
    result = layer("SoftmaxWithLoss", text)
    rule = result.include[0]
    assert (rule.phase, rule.min_level, list(rule.stage), list(rule.not_stage)) == (caffe_pb2.TRAIN, 2, ["s"], ["t"])
    assert len(result.include) == 2
    assert list(result.loss_weight) == [0.5]


@pytest.mark.parametrize(
    ("kind", "body", "line", "message"),
    [
        ("ReLU", "blobs_lr: 1", 3, "write param { lr_mult"),
        ("ReLU", "weight_decay: 1", 3, "write param { decay_mult"),
        ("Concat", "concat_param { axis: 1\nconcat_dim: 1 }", 4, "either axis or concat_dim"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name_and_line(kind, body, line, message):
    with pytest.raises(PrototxtError, match=message) as error:
        parse_net(v2(kind, body))
    assert error.value.line == line


def test_lines_are_right_after_an_input_layer():
    text = 'layer { type: "Input" top: "x" input_param { shape { } } }\nlayer { type: "ReLU" }\nlayer { name: "q" }'
    with pytest.raises(PrototxtError, match="layer 'q': has no type") as error:
        parse_net(text)
    assert error.value.line == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('input: "a" input_dim: 1 input_shape { dim: 1 }', "either input_shape or input_dim"),
        ("input_shape { dim: 1 }", "1 input_shape for 0 input"),
        ('input: "a" input_shape { dim: -1 }', "dimension -1 is not in 0 ..."),
        ('input: "a" input_shape { dim: 2147483648 }', "dimension 2147483648 is not in"),
        ('layer { type: "Input" top: "a" }', "has 1 tops and 0 shapes"),
        ('layer { type: "Input" top: "a" bottom: "b" input_param { shape { } } }', "an Input layer has no bottom"),
        ('layer { type: "Input" top: "a" input_param { shape { } shape { } } }', "has 1 tops and 2 shapes"),
        ('input: "q" layer { type: "Input" top: "a" input_param { shape { } } }', "net inputs that have 0 input_dim"),
        ("layer { name: 'q' }", "layer 'q': has no type"),
    ],
)
def test_net_level_errors(text, message):
    with pytest.raises(PrototxtError, match=message):
        parse_net(text)
