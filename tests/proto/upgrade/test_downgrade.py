"""A net of the inner form as the files of each dialect hold it."""

from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto import CaffeModel, parse_net, write_caffemodel
from deeplab_caffe.proto.schema.names import enum_of_name, v1_names
from deeplab_caffe.proto.schema.tables import OPTIONS, dialect_schema, field_table
from deeplab_caffe.proto.upgrade.downgrade import to_dialect


def v2(kind: str, body: str = "", name: str = "a") -> str:
    return f'layer {{\nname: "{name}" type: "{kind}" bottom: "x" top: "y"\n{body}\n}}'


def v1_layer(kind: str, body: str = ""):
    return to_dialect(parse_net(v2(kind, body)), "v1").layers[0]


@pytest.mark.parametrize("kind", sorted(set(v1_names()) - {"Deconvolution"}))
def test_every_layer_type_of_v1(kind):
    result = v1_layer(kind)
    assert result.LayerType.Name(result.type) == enum_of_name(kind)
    assert (result.name, list(result.bottom), list(result.top)) == ("a", ["x"], ["y"])


@pytest.mark.parametrize("field", ["pad", "kernel_size", "stride", "dilation"])
def test_repeated_spatial_fields(field):
    new = {"dilation": "hole"}.get(field, field)
    stem = "kernel" if new == "kernel_size" else new
    conv = v1_layer("Convolution", f"convolution_param {{ {field}: 3 {field}: 5 }}").convolution_param
    assert (getattr(conv, f"{stem}_h"), getattr(conv, f"{stem}_w"), conv.HasField(new)) == (3, 5, False)
    conv = v1_layer("Convolution", f"convolution_param {{ {field}: 4 }}").convolution_param
    assert (getattr(conv, new), conv.HasField(f"{stem}_h")) == (4, False)


@pytest.mark.parametrize(("lone", "pair"), [("pad_w: 2", (0, 2)), ("pad_h: 1", (1, 0))])
def test_a_lone_pad_becomes_the_pair_that_v1_wants(lone, pair):
    conv = v1_layer("Convolution", f"convolution_param {{ kernel_size: 1 {lone} }}").convolution_param
    assert (conv.pad_h, conv.pad_w, conv.HasField("pad_h"), conv.HasField("pad_w")) == (*pair, True, True)


def test_param_specs():
    conv = v1_layer(
        "Convolution",
        'param { name: "w" lr_mult: 10 decay_mult: 1 share_mode: PERMISSIVE } param { lr_mult: 20 decay_mult: 0 }',
    )
    assert list(conv.param) == ["w"]
    assert list(conv.blobs_lr) == [10, 20]
    assert list(conv.weight_decay) == [1, 0]
    assert list(conv.blob_share_mode) == [conv.PERMISSIVE]


def test_param_specs_left_out_are_filled_up():
    # V1's programs want a rate for each blob or for none; V2 takes 1 for those that are not mentioned.
    assert list(v1_layer("Convolution", "param { lr_mult: 0 }").blobs_lr) == [0, 1]
    assert list(v1_layer("InnerProduct", "param { decay_mult: 0 }").weight_decay) == [0, 1]
    only = v1_layer("Convolution", "param { lr_mult: 0 } convolution_param { bias_term: false }")
    assert list(only.blobs_lr) == [0]
    assert not v1_layer("Convolution", "param { }").blobs_lr
    # How many blobs other layers have, their type does not say.
    gain = v1_layer("GainChannel", "param { } param { lr_mult: 3 } gain_channel_param { num_output_nz: 1 }")
    assert (list(gain.blobs_lr), list(gain.weight_decay)) == ([1, 3], [])


def test_loss_param():
    loss = v1_layer("SoftmaxWithLoss", "loss_param { ignore_label: 255 normalization: VALID normalize: true }")
    assert list(loss.softmaxloss_param.ignore_label) == [255]
    both = v1_layer("SoftmaxLoss", "loss_param { ignore_label: 255 } softmaxloss_param { ignore_label: 255 }")
    assert list(both.softmaxloss_param.ignore_label) == [255]
    assert not v1_layer("EuclideanLoss", "loss_param { }").HasField("softmaxloss_param")


def test_axes():
    assert v1_layer("Concat", "concat_param { axis: 0 }").concat_param.concat_dim == 0
    assert v1_layer("Concat", "concat_param { axis: -3 }").concat_param.concat_dim == 1
    sliced = v1_layer("Slice", "slice_param { axis: 1 slice_point: [2, 3] }").slice_param
    assert (sliced.slice_dim, list(sliced.slice_point)) == (1, [2, 3])
    for kind, body in (
        ("Softmax", "softmax_param { axis: 1 engine: CAFFE }"),
        ("InnerProduct", "inner_product_param { axis: 1 transpose: false }"),
        ("ArgMax", "argmax_param { axis: 1 }"),
        ("Flatten", "flatten_param { axis: 1 end_axis: -1 }"),
        ("Convolution", "convolution_param { axis: 1 force_nd_im2col: false weight_filler { variance_norm: FAN_IN } }"),
    ):
        assert v1_layer(kind, body).name == "a"


def test_deeplab_layers():
    crf = v1_layer("DenseCRF", "dense_crf_param { max_iter: 5 pos_w: [3, 4] bi_w: 5 output_probability: false }")
    assert (crf.dense_crf_param.max_iter, list(crf.dense_crf_param.pos_w)) == (5, [3, 4])
    unique = v1_layer("UniqueLabel", "unique_label_param { max_labels: 2 ignore_label: 255 }").unique_label_param
    assert list(unique.ignore_label) == [255.0]
    padding = v1_layer("Padding", "padding_param { pad_beg: -1 }").padding_param
    assert (padding.pad_beg, padding.HasField("pad_end")) == (-1, False)


def test_transforms_and_dummy_data():
    data = v1_layer(
        "Data", "transform_param { crop_height: 9 crop_width: 9 force_color: false } data_param { prefetch: 9 }"
    )
    assert data.transform_param.crop_size == 9
    dummy = v1_layer(
        "DummyData", "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: [1, 2, 3, 4] } }"
    ).dummy_data_param
    assert (list(dummy.num), list(dummy.channels)) == ([2, 1], [3, 2])
    assert (list(dummy.height), list(dummy.width)) == ([1, 3], [1, 4])


def test_inputs_and_blobs():
    net = to_dialect(parse_net('input: "a" input_shape { dim: 2 dim: 3 } layer { type: "ReLU" }'), "v1")
    assert list(net.input_dim) == [2, 3, 1, 1]
    blob = v1_layer("Convolution", "blobs { shape { dim: [2, 3] } data: [1, 2, 3, 4, 5, 6] }").blobs[0]
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 1, 2, 3)
    assert list(blob.data) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("BatchNorm", "", "type: there is no layer type 'BatchNorm'"),
        ("Convolutoin", "", r"type: there is no layer type 'Convolutoin' \(did you mean 'Convolution'"),
        ("ReLU", "batch_norm_param { }", "batch_norm_param has no equivalent in DeepLab v1"),
        ("ReLU", "phase: TEST", "phase: TEST: .*write include { phase: TEST }"),
        ("ReLU", "propagate_down: true", "propagate_down has no equivalent"),
        ("Convolution", "convolution_param { axis: 2 }", "convolution_param: axis: 2 has no equivalent"),
        ("Convolution", "convolution_param { pad: 1 pad: 1 pad: 1 }", "convolution_param.pad: 3 values"),
        ("Convolution", "convolution_param { weight_filler { variance_norm: AVERAGE } }", "AVERAGE has no equiv"),
        ("Concat", "concat_param { axis: 2 }", "axis: 2 has no equivalent: it knows axes 0 and 1"),
        ("Flatten", "flatten_param { axis: 2 }", "flattens axes 1 to 3 only"),
        ("SoftmaxWithLoss", "loss_param { normalization: BATCH_SIZE }", "loss_param.normalization: BATCH_SIZE has no"),
        ("SoftmaxWithLoss", "loss_param { normalize: false }", "normalize: false has no equivalent"),
        ("EuclideanLoss", "loss_param { ignore_label: 1 }", "loss_param: has no equivalent for this layer type"),
        ("Accuracy", "accuracy_param { ignore_label: 255 }", "ignore_label: 255 has no equivalent"),
        ("MVN", "mvn_param { eps: 1e-9 }", "eps: .* has no equivalent"),
        ("Data", "transform_param { crop_width: 9 }", "unless crop_height and crop_width are equal"),
        ("Data", "transform_param { scale_factors: 0.5 }", "scale_factors has no equivalent"),
        ("DummyData", "dummy_data_param { num: 1 shape { } }", "either shape or num"),
        ("BiasChannel", "bias_channel_param { background_label: 3 }", "background_label: 3 has no equivalent"),
    ],
)
def test_what_v1_cannot_hold_is_refused_by_layer_and_field(kind, body, message):
    with pytest.raises(CaffeModelError, match=f"layer 'a': cannot be written for DeepLab v1: .*{message}") as error:
        to_dialect(parse_net(v2(kind, body)), "v1", "m.caffemodel")
    assert (error.value.layer, error.value.path) == ("a", "m.caffemodel")


def test_net_level_refusals():
    for text, message in (
        ('input: "a" input_shape { dim: [1, 1, 1, 1, 1] } layer { type: "ReLU" }', "has 5 dimensions"),
        ("debug_info: true layer { type: 'ReLU' }", "debug_info: true has no equivalent"),
    ):
        with pytest.raises(CaffeModelError, match=message):
            to_dialect(parse_net(text), "v1")


@pytest.mark.parametrize("dialect", ["v2", "merge", "bvlc"])
def test_v2_dialects_keep_all_but_the_others_fields(dialect):
    text = v2("Convolution", "convolution_param { pad: [1, 2, 3] dilation: 2 } param { lr_mult: 3 } phase: TEST")
    net = to_dialect(parse_net(text), dialect)
    assert net.layer[0].SerializeToString() == parse_net(text).layer[0].SerializeToString()


@pytest.mark.parametrize(
    ("dialect", "kind", "body", "message"),
    [
        ("v2", "Crop", "crop_param { axis: 1 }", "crop_param has no equivalent in DeepLab v2"),
        ("bvlc", "Interp", "interp_param { zoom_factor: 2 }", "interp_param has no equivalent in BVLC Caffe"),
        ("merge", "GainChannel", "gain_channel_param { num_output_nz: 1 }", "gain_channel_param has no equivalent"),
        ("v2", "SoftmaxWithLoss", "softmaxloss_param { ignore_label: 2 }", "softmaxloss_param has no equivalent"),
    ],
)
def test_what_other_dialects_cannot_hold(dialect, kind, body, message):
    with pytest.raises(CaffeModelError, match=f"layer 'a': .*{message}"):
        to_dialect(parse_net(v2(kind, body)), dialect)


def test_numbers_of_the_dialects():
    net = parse_net(v2("Interp", "interp_param { zoom_factor: 2 }"))
    for dialect, number in (("v2", 143), ("merge", 153)):
        written = to_dialect(net, dialect)
        assert written.layer[0].DESCRIPTOR.fields_by_name["interp_param"].number == number
        assert dialect_schema(dialect).new("NetParameter").FromString(written.SerializeToString()) == written
    with pytest.raises(CaffeModelError, match="dialect must be one of v1, v2, merge, bvlc, got 'v3'"):
        to_dialect(net, "v3")


def test_options_of_this_package():
    text = "interp_param { zoom_factor: 2 align_corners: false }"
    net = parse_net(v2("Interp", text))
    assert net.dialect == "v2"
    for dialect in ("v1", "v2", "merge", "bvlc"):
        with pytest.raises(CaffeModelError, match="layer 'a': .*(align_corners: false|interp_param) has no equivalent"):
            to_dialect(net, dialect)
    assert "align_corners: false" in str(to_dialect(net, "v2", options=True))
    assert "align_corners: false" in str(to_dialect(net, "v1", options=True))
    pool = parse_net(v2("Pooling", "pooling_param { kernel_size: 2 round_mode: FLOOR }"))
    with pytest.raises(CaffeModelError, match="layer 'a': .*round_mode: FLOOR has no equivalent in DeepLab v2"):
        to_dialect(pool, "v2")
    assert to_dialect(pool, "v2", options=True).layer[0].pooling_param.round_mode == 1


def test_the_numbers_of_options_are_nobody_elses():
    for row in OPTIONS:
        for dialect in ("v1", "v2", "merge", "bvlc"):
            others = [other for other in field_table(dialect) if other.message == row.message]
            assert row.number not in [other.number for other in others if other.field != row.field]


@pytest.mark.parametrize(
    "text",
    [
        "type: 'Clip' clip_param { min: 0 max: 6 }",
        "type: 'Swish' swish_param { beta: 2 }",
        "type: 'Crop' crop_param { axis: 1 }",
        "type: 'Parameter' parameter_param { shape { dim: 2 } }",
    ],
)
@pytest.mark.parametrize("beside", ["", "layer { name: 'i' type: 'Interp' interp_param { align_corners: false } }"])
def test_own_files_hold_what_the_release_lacks(tmp_path, text, beside):
    """A net with BVLC's later layers beside DeepLab's can be saved, as every snapshot is."""
    net = parse_net(f"layer {{ name: 'a' {text} }} {beside}")
    weights = np.arange(3, dtype=np.float32)
    write_caffemodel(tmp_path / "a.caffemodel", net, {"a": [weights]})
    layer = next(layer for layer in CaffeModel(tmp_path / "a.caffemodel").layers if layer.name == "a")
    assert np.array_equal(layer.blobs[0].copy(), weights)
    with pytest.raises(CaffeModelError, match="has no equivalent in DeepLab v2"):
        write_caffemodel(tmp_path / "b.caffemodel", net, dialect="v2")
