from __future__ import annotations

import pytest

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2, parse_net
from deeplab_caffe.proto.schema.names import v0_names
from deeplab_caffe.proto.schema.tables import read_table


def v0(body: str, wiring: str = "") -> str:
    return f"layers {{ layer {{ {body} }} {wiring} }}\n"


def test_a_net_of_the_first_days():
    net = parse_net(
        'name: "v0"\ninput: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n'
        + v0('name: "pad1" type: "padding" pad: 2', 'bottom: "data" top: "pad1"')
        + v0(
            'name: "conv1" type: "conv" num_output: 4 kernelsize: 5 stride: 2 group: 1 biasterm: false'
            ' weight_filler { type: "gaussian" std: 0.5 } blobs_lr: 1. weight_decay: 0.',
            'bottom: "pad1" top: "conv1"',
        )
        + v0('name: "relu1" type: "relu"', 'bottom: "conv1" top: "conv1"')
        + v0('name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2', 'bottom: "conv1" top: "pool1"')
        + v0('name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5', 'bottom: "pool1" top: "norm1"')
        + v0('name: "fc" type: "innerproduct" num_output: 7', 'bottom: "norm1" top: "fc"')
        + v0('name: "prob" type: "softmax"', 'bottom: "fc" top: "prob"')
    )
    expected = parse_net(
        'name: "v0"\ninput: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n'
        'layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 weight_decay: 0'
        " convolution_param { num_output: 4 kernel_size: 5 stride: 2 group: 1 bias_term: false pad: 2"
        ' weight_filler { type: "gaussian" std: 0.5 } } }'
        'layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }'
        'layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1"'
        " pooling_param { pool: AVE kernel_size: 3 stride: 2 } }"
        'layers { name: "norm1" type: LRN bottom: "pool1" top: "norm1"'
        " lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 } }"
        'layers { name: "fc" type: INNER_PRODUCT bottom: "norm1" top: "fc" inner_product_param { num_output: 7 } }'
        'layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }'
    )
    assert net == expected


@pytest.mark.parametrize("kind", v0_names())
def test_every_type(kind):
    layer = parse_net(v0(f'name: "x" type: "{kind}"')).layer[0]
    assert layer.name == "x"
    assert layer.type


def test_every_field_of_the_table_exists():
    for row in read_table("v0_fields.csv"):
        assert row["v0_field"] in caffe_pb2.V0LayerParameter.DESCRIPTOR.fields_by_name
        fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name
        if row["param"]:
            fields = fields[row["param"]].message_type.fields_by_name
        assert row["field"] in fields


def test_data_layers():
    fields = 'source: "s" batchsize: 5 scale: 0.5 meanfile: "m" cropsize: 7 mirror: true rand_skip: 2'
    data = parse_net(v0(f'type: "data" {fields}')).layer[0]
    assert (data.data_param.source, data.data_param.batch_size, data.data_param.rand_skip) == ("s", 5, 2)
    transform = data.transform_param
    assert (transform.scale, transform.mean_file, transform.crop_size, transform.mirror) == (0.5, "m", 7, True)
    assert not data.data_param.HasField("scale")
    images = parse_net(v0('name: "i" type: "images" shuffle_images: true new_height: 3 new_width: 4')).layer[0]
    param = images.image_data_param
    assert (param.shuffle, param.new_height, param.new_width) == (True, 3, 4)
    window = (
        parse_net(v0('type: "window_data" det_fg_threshold: 0.25 det_crop_mode: "square"')).layer[0].window_data_param
    )
    assert (window.fg_threshold, window.crop_mode) == (0.25, "square")
    output = parse_net(v0('type: "hdf5_output" hdf5_output_param { file_name: "f" }')).layer[0]
    assert output.hdf5_output_param.file_name == "f"


PAD = 'input: "d"\n' + v0('name: "p" type: "padding" pad: 1', 'bottom: "d" top: "p"')


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (v0('\nname: "c" type: "convv"'), 2, "layer 'c': unknown V0 layer type 'convv' .did you mean 'conv'"),
        (v0('name: "c" type: "conv"\npool: MAX'), 2, "layer 'c': V0 layer type 'conv' has no field 'pool'"),
        (v0('name: "c" type: "relu"\nnew_num: 3'), 2, "has no field 'new_num'"),
        ("layers { type: RELU name: 'r' }\n" + v0('type: "relu"'), 1, "layer 'r': is not in the V0 layout"),
        (v0('name: "c" type: "conv"', 'bottom: "q"'), 1, "layer 'c': unknown bottom blob 'q'"),
        (
            PAD + v0('name: "r" type: "relu"', 'bottom: "p" top: "r"'),
            3,
            "layer 'r': a padding layer must feed a conv or",
        ),
        (PAD + v0('name: "c" type: "conv"', 'bottom: "p" bottom: "d"'), 3, "a padding layer must feed"),
        (PAD + v0('name: "c" type: "conv" pad: 1', 'bottom: "p"'), 3, "layer 'c': has a pad of its own"),
        (
            PAD.replace('top: "p"', 'top: "p" top: "z"') + v0('name: "c" type: "conv"', 'bottom: "p"'),
            2,
            "layer 'p': must have one bottom and one top",
        ),
    ],
)
def test_errors(text, line, message):
    with pytest.raises(PrototxtError, match=message) as error:
        parse_net(text)
    assert error.value.line == line


def test_lines_are_right_after_a_padding_layer():
    text = PAD + v0('name: "c" type: "conv"', 'bottom: "p"') + v0('type: "relu"', "include { }\nexclude { }")
    with pytest.raises(PrototxtError, match="layer '#2': has both include and exclude") as error:
        parse_net(text)
    assert error.value.line == 5


def test_all_that_is_wrong_is_named_at_once():
    text = "layers { layer { name: 'a' type: 'cnv' } }\nlayers { layer { name: 'b' type: 'pool'\n cropsize: 3"
    text += " batchsize: 1 } }"
    with pytest.raises(PrototxtError) as error:
        parse_net(text, "v0.prototxt")
    assert error.value.line == 1
    assert str(error.value) == (
        "v0.prototxt:1: 3 things are wrong: line 1: layer 'a': unknown V0 layer type 'cnv' (did you mean 'conv'?); "
        "line 3: layer 'b': V0 layer type 'pool' has no field 'batchsize'; "
        "line 3: layer 'b': V0 layer type 'pool' has no field 'cropsize'"
    )
