from __future__ import annotations

import pytest

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import parse_net


@pytest.mark.parametrize(
    ("kind", "param"),
    [
        ("DATA", "data_param"),
        ("IMAGE_DATA", "image_data_param"),
        ("IMAGE_SEG_DATA", "image_data_param"),
        ("WINDOW_DATA", "window_data_param"),
    ],
)
def test_transformations_move_out_of_the_data_parameters(kind, param):
    fields = 'scale: 0.5 mean_file: "m" crop_size: 321 mirror: true'
    layer = parse_net(f'layers {{ type: {kind} {param} {{ source: "s" {fields} }} }}').layers[0]
    expected = parse_net(f'layers {{ type: {kind} {param} {{ source: "s" }} transform_param {{ {fields} }} }}').layers[
        0
    ]
    assert layer == expected


def test_other_layers_keep_theirs():
    layer = parse_net("layers { type: RELU data_param { scale: 2 } }").layers[0]
    assert layer.data_param.scale == 2
    assert not layer.HasField("transform_param")


def test_a_transformation_given_twice():
    text = "layers { name: 'd' type: DATA data_param {\n crop_size: 3 } transform_param { crop_size: %d } }"
    assert parse_net(text % 3).layers[0].transform_param.crop_size == 3
    with pytest.raises(
        PrototxtError, match=r"layer 'd': data_param and transform_param give different .* crop_size"
    ) as e:
        parse_net(text % 4)
    assert e.value.line == 2


def test_bvlc_parts_of_the_v1_layout():
    net = parse_net(
        'input: "d" input_shape { dim: 1 dim: 3 } debug_info: false\n'
        'layers { name: "l" type: SOFTMAX_LOSS loss_param { ignore_label: 255 } }\n'
        "layers { type: DUMMY_DATA dummy_data_param { shape { dim: [1, 2, 3, 4] } } }"
    )
    assert list(net.input_dim) == [1, 3, 1, 1]
    assert list(net.layers[0].softmaxloss_param.ignore_label) == [255]
    assert list(net.layers[1].dummy_data_param.width) == [4]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("layers { type: HINGE_LOSS\n loss_param { normalize: true } }", 2, "loss_param has no equivalent"),
        ("layers { type: SOFTMAX_LOSS\n loss_param {\n normalization: FULL } }", 3, "FULL has no equivalent"),
        ("layers { type: RELU }\ndebug_info: true", 2, "debug_info: true has no equivalent"),
    ],
)
def test_bvlc_parts_without_an_equivalent(text, line, message):
    with pytest.raises(PrototxtError, match=message) as error:
        parse_net(text)
    assert error.value.line == line
