from __future__ import annotations

import pytest

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2, modern_name, parse_net, type_name


def v2(kind: str, body: str = "", name: str = "a") -> str:
    return f'layer {{\nname: "{name}" type: "{kind}" bottom: "x" top: "y"\n{body}\n}}'


def layer(kind: str, body: str = ""):
    return parse_net(v2(kind, body)).layers[0]


@pytest.mark.parametrize("value", [v for v in caffe_pb2.LayerParameter.LayerType.values() if v])
def test_every_layer_type_by_its_modern_name(value):
    result = layer(modern_name(type_name(value)))
    assert result.type == value
    assert (result.name, list(result.bottom), list(result.top)) == ("a", ["x"], ["y"])


def test_dilation_becomes_hole():
    body = (
        "convolution_param { num_output: 64 kernel_size: 3 pad: 12 dilation: 12 stride: 1 group: 2 bias_term: false }"
    )
    expected = parse_net(
        'layers { name: "a" type: CONVOLUTION bottom: "x" top: "y" convolution_param { num_output: 64 kernel_size: 3'
        " pad: 12 hole: 12 stride: 1 group: 2 bias_term: false } }"
    )
    assert parse_net(v2("Convolution", body)) == expected


def test_hole_may_be_written_in_the_layer_layout_too():
    conv = layer("Convolution", "convolution_param { hole_h: 2 hole_w: 5 } strict_dim: false").convolution_param
    assert (conv.hole_h, conv.hole_w, conv.HasField("hole")) == (2, 5, False)


@pytest.mark.parametrize("field", ["pad", "kernel_size", "stride", "dilation"])
def test_repeated_spatial_fields(field):
    new = {"dilation": "hole"}.get(field, field)
    stem = "kernel" if new == "kernel_size" else new
    conv = layer("Convolution", f"convolution_param {{ {field}: 3 {field}: 5 }}").convolution_param
    assert (getattr(conv, f"{stem}_h"), getattr(conv, f"{stem}_w"), conv.HasField(new)) == (3, 5, False)
    conv = layer("Convolution", f"convolution_param {{ {field}: [4, 4] }}").convolution_param
    assert (getattr(conv, new), conv.HasField(f"{stem}_h")) == (4, False)


def test_param_specs():
    conv = layer(
        "Convolution",
        'param { name: "w" lr_mult: 10 decay_mult: 1 share_mode: PERMISSIVE } param { lr_mult: 20 decay_mult: 0 }',
    )
    assert list(conv.param) == ["w", ""]
    assert list(conv.blobs_lr) == [10, 20]
    assert list(conv.weight_decay) == [1, 0]
    assert list(conv.blob_share_mode) == [conv.PERMISSIVE, conv.STRICT]


def test_param_specs_left_out_are_filled_up():
    # V1 wants a rate for each blob or for none; V2 takes 1 for those that are not mentioned.
    assert list(layer("Convolution", "param { lr_mult: 0 }").blobs_lr) == [0, 1]
    assert list(layer("InnerProduct", "param { decay_mult: 0 }").weight_decay) == [0, 1]
    only = layer("Convolution", "param { lr_mult: 0 } convolution_param { bias_term: false }")
    assert list(only.blobs_lr) == [0]
    assert not layer("Convolution", "param { }").blobs_lr


def test_inputs():
    text = 'input: "a" input_shape { dim: 2 dim: 3 }\nlayer { name: "i" type: "Input" top: "b" top: "c" input_param { '
    net = parse_net(text + "shape { dim: 1 dim: 3 dim: 5 dim: 7 } } }" + v2("ReLU"))
    assert list(net.input) == ["a", "b", "c"]
    assert list(net.input_dim) == [2, 3, 1, 1, 1, 3, 5, 7, 1, 3, 5, 7]
    assert [item.name for item in net.layers] == ["a"]
    net = parse_net(text + "shape { dim: 1 } shape { dim: [4, 4, 4, 4] } } }")
    assert list(net.input_dim)[4:] == [1, 1, 1, 1, 4, 4, 4, 4]


def test_rules_and_loss_weight():
    text = 'include { phase: TRAIN min_level: 2 stage: "s" not_stage: "t" } include { } loss_weight: 0.5'
    result = layer("SoftmaxWithLoss", text)
    rule = result.include[0]
    assert (rule.phase, rule.min_level, list(rule.stage), list(rule.not_stage)) == (caffe_pb2.TRAIN, 2, ["s"], ["t"])
    assert len(result.include) == 2
    assert list(result.loss_weight) == [0.5]


def test_loss_param():
    loss = layer("SoftmaxWithLoss", "loss_param { ignore_label: 255 normalization: VALID normalize: true }")
    assert list(loss.softmaxloss_param.ignore_label) == [255]
    both = layer("SoftmaxLoss", "loss_param { ignore_label: 255 } softmaxloss_param { ignore_label: 255 }")
    assert list(both.softmaxloss_param.ignore_label) == [255]
    assert not layer("EuclideanLoss", "loss_param { }").HasField("softmaxloss_param")


def test_axes():
    assert layer("Concat", "concat_param { axis: 0 }").concat_param.concat_dim == 0
    assert layer("Concat", "concat_param { axis: -3 }").concat_param.concat_dim == 1
    sliced = layer("Slice", "slice_param { axis: 1 slice_point: [2, 3] }").slice_param
    assert (sliced.slice_dim, list(sliced.slice_point)) == (1, [2, 3])
    for kind, body in (
        ("Softmax", "softmax_param { axis: 1 engine: CAFFE }"),
        ("InnerProduct", "inner_product_param { axis: 1 transpose: false }"),
        ("ArgMax", "argmax_param { axis: 1 }"),
        ("Flatten", "flatten_param { axis: 1 end_axis: -1 }"),
        ("Convolution", "convolution_param { axis: 1 force_nd_im2col: false weight_filler { variance_norm: FAN_IN } }"),
    ):
        assert layer(kind, body).name == "a"


def test_deeplab_layers():
    crf = layer("DenseCRF", "dense_crf_param { max_iter: 5 pos_w: [3, 4] bi_w: 5 output_probability: false }")
    assert (crf.dense_crf_param.max_iter, list(crf.dense_crf_param.pos_w)) == (5, [3, 4])
    accuracy = layer("SegAccuracy", "seg_accuracy_param { metric: PixelIOU ignore_label: 255 }").seg_accuracy_param
    assert accuracy.metric == accuracy.PixelIOU
    unique = layer("UniqueLabel", "unique_label_param { max_labels: 2 ignore_label: 255 }").unique_label_param
    assert list(unique.ignore_label) == [255.0]
    padding = layer("Padding", "padding_param { pad_beg: -1 }").padding_param
    assert (padding.pad_beg, padding.HasField("pad_end")) == (-1, False)


def test_the_changed_default_of_image_data():
    assert layer("ImageData").image_data_param.batch_size == 1
    assert layer("ImageSegData", "image_data_param { batch_size: 4 }").image_data_param.batch_size == 4
    assert parse_net("layers { type: IMAGE_SEG_DATA image_data_param { } }").layers[0].image_data_param.batch_size == 0


def test_transforms_and_dummy_data():
    data = layer(
        "Data", "transform_param { crop_height: 9 crop_width: 9 force_color: false } data_param { prefetch: 9 }"
    )
    assert data.transform_param.crop_size == 9
    dummy = layer(
        "DummyData", "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: [1, 2, 3, 4] } }"
    ).dummy_data_param
    assert (list(dummy.num), list(dummy.channels)) == ([2, 1], [3, 2])
    assert (list(dummy.height), list(dummy.width)) == ([1, 3], [1, 4])


def test_blobs_in_text():
    blob = layer("Convolution", "blobs { shape { dim: [2, 3] } data: [1, 2, 3, 4, 5, 6] }").blobs[0]
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 1, 2, 3)
    assert list(blob.data) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "body", "line", "message"),
    [
        ("Deconvolution", "", 2, "layer type 'Deconvolution' is not in the DeepLab v1 catalogue .did you mean 'Conv"),
        ("BatchNorm", "", 2, "'BatchNorm' is not in the DeepLab v1 catalogue"),
        ("ReLU", "batch_norm_param { }", 3, "batch_norm_param has no equivalent in DeepLab v1"),
        ("ReLU", "blobs_lr: 1", 3, "write param { lr_mult"),
        ("ReLU", "phase: TEST", 3, "include { phase: TEST }"),
        ("ReLU", "propagate_down: true", 3, "propagate_down has no equivalent"),
        ("Convolution", "convolution_param {\npad: 1\naxis: 2 }", 5, "layer 'a': axis: 2 has no equivalent"),
        ("Convolution", "convolution_param { pad: 1\npad: 1\npad: 1 }", 5, "pad has 3 values"),
        ("Convolution", "convolution_param { pad: 1\npad_h: 1 }", 3, "give either pad or pad_h, not both"),
        ("Convolution", "convolution_param { hole: 1\ndilation: 1 }", 4, "give either dilation or hole, not both"),
        ("Convolution", "param { } param { }\nparam { }", 4, "has 3 param { } for 2 parameter blobs"),
        ("Convolution", "convolution_param { weight_filler {\nvariance_norm: AVERAGE } }", 4, "AVERAGE has no equiv"),
        ("Concat", "concat_param {\naxis: 2 }", 4, "axis: 2 has no equivalent: DeepLab v1 knows axes 0 and 1"),
        ("Concat", "concat_param { axis: 1 concat_dim: 1 }", 3, "either axis or concat_dim"),
        ("Flatten", "flatten_param { axis: 2 }", 3, "flattens axes 1 to 3 only"),
        ("SoftmaxWithLoss", "loss_param {\nnormalization: BATCH_SIZE }", 4, "BATCH_SIZE has no equivalent"),
        ("SoftmaxWithLoss", "loss_param {\nnormalize: false }", 4, "normalize: false has no equivalent"),
        ("EuclideanLoss", "loss_param { ignore_label: 1 }", 3, "loss_param has no equivalent"),
        ("Accuracy", "accuracy_param { ignore_label: 255 }", 3, "ignore_label: 255 has no equivalent"),
        ("MVN", "mvn_param { eps: 1e-9 }", 3, "eps: .* has no equivalent"),
        ("Data", "transform_param { crop_width: 9 }", 3, "unless equal"),
        ("Data", "transform_param { scale_factors: 0.5 }", 3, "scale_factors has no equivalent"),
        ("DummyData", "dummy_data_param { num: 1 shape { } }", 3, "either shape or num"),
        ("BiasChannel", "bias_channel_param { background_label: 3 }", 3, "background_label: 3 has no equivalent"),
    ],
)
def test_what_has_no_equivalent_is_refused_by_name_and_line(kind, body, line, message):
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
        ('input: "a" input_shape { dim: [1, 1, 1, 1, 1] }', "has 5 dimensions"),
        ('input: "a" input_shape { dim: -1 }', "dimension -1 is not in 0 ..."),
        ('input: "a" input_shape { dim: 2147483648 }', "dimension 2147483648 is not in"),
        ('layer { type: "Input" top: "a" }', "has 1 tops and 0 shapes"),
        ('layer { type: "Input" top: "a" input_param { shape { } shape { } } }', "has 1 tops and 2 shapes"),
        ('input: "q" layer { type: "Input" top: "a" input_param { shape { } } }', "net inputs that have 0 input_dim"),
        ('layer { type: "Input" top: "a" include { } }', "include has no equivalent .* for an Input layer"),
        ("debug_info: true layer { type: 'ReLU' }", "debug_info: true has no equivalent"),
        ("layer { name: 'q' }", "layer 'q': has no type"),
    ],
)
def test_net_level_errors(text, message):
    with pytest.raises(PrototxtError, match=message):
        parse_net(text)
