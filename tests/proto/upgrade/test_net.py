from __future__ import annotations

import pytest
from google.protobuf import text_format

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2, format_message, parse_net, upgrade_net
from deeplab_caffe.proto.upgrade.net import upgrade_solver


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
    layer = parse_net(f'layers {{ type: {kind} {param} {{ source: "s" {fields} }} }}').layer[0]
    expected = parse_net(f'layers {{ type: {kind} {param} {{ source: "s" }} transform_param {{ {fields} }} }}').layer[0]
    assert layer == expected


def test_other_layers_keep_theirs():
    layer = parse_net("layers { type: RELU data_param { scale: 2 } }").layer[0]
    assert layer.data_param.scale == 2
    assert not layer.HasField("transform_param")


def test_a_transformation_given_twice():
    text = "layers { name: 'd' type: DATA data_param {\n crop_size: 3 } transform_param { crop_size: %d } }"
    assert parse_net(text % 3).layer[0].transform_param.crop_size == 3
    with pytest.raises(
        PrototxtError, match=r"layer 'd': data_param and transform_param give different .* crop_size"
    ) as e:
        parse_net(text % 4)
    assert e.value.line == 2


def test_bvlc_parts_of_the_v1_layout():
    net = parse_net(
        'input: "d" input_shape { dim: 1 dim: 3 } debug_info: true\n'
        'layers { name: "l" type: SOFTMAX_LOSS loss_param { ignore_label: 255 normalization: FULL } }\n'
        "layers { type: DUMMY_DATA dummy_data_param { shape { dim: [1, 2, 3, 4] } } }\n"
        'layers { type: DECONVOLUTION } layers { type: IMAGE_SEG_DATA image_data_param { source: "s" } }'
    )
    assert list(net.input_shape[0].dim) == [1, 3]
    loss = net.layer[0].loss_param
    assert (loss.ignore_label, loss.normalization) == (255, loss.FULL)
    assert list(net.layer[1].dummy_data_param.shape[0].dim) == [1, 2, 3, 4]
    assert [layer.type for layer in net.layer[2:]] == ["Deconvolution", "ImageSegData"]


def test_deconvolution_stays_one_when_protobuf_writes_it():
    net = text_format.Parse(
        'layers { name: "up" type: DECONVOLUTION convolution_param { num_output: 2 kernel_size: 4 } }',
        caffe_pb2.NetParameter(),
    )
    assert "type: IMAGE_SEG_DATA" in str(net)
    assert [layer.type for layer in parse_net(str(net)).layer] == ["Deconvolution"]


def test_messages_of_scripts_of_2014():
    net = caffe_pb2.NetParameter(input=["data"], input_dim=[1, 3, 4, 5])
    layer = net.layers.add(name="conv", type=caffe_pb2.V1LayerParameter.CONVOLUTION, blobs_lr=[1, 2], param=["w", "b"])
    layer.convolution_param.kernel_size = 3
    layer.convolution_param.hole = 12
    net.layers.add(type=39).convolution_param.num_output = 3
    net.layers.add(type=39).image_data_param.source = "s"
    found = upgrade_net(net)
    assert (found.dialect, list(found.input_shape[0].dim)) == ("v1", [1, 3, 4, 5])
    conv, deconvolution, data = found.layer
    assert (list(conv.convolution_param.kernel_size), list(conv.convolution_param.dilation)) == ([3], [12])
    assert [(spec.name, spec.lr_mult) for spec in conv.param] == [("w", 1), ("b", 2)]
    assert (deconvolution.type, data.type) == ("Deconvolution", "ImageSegData")
    assert upgrade_net(found) == found


def test_holes_of_the_v1_layout():
    def dilation(fields):
        conv = parse_net(f"layers {{ type: CONVOLUTION convolution_param {{ {fields} }} }}").layer[0].convolution_param
        return list(conv.dilation)

    assert dilation("hole: 4") == [4]
    assert dilation("hole_h: 4 hole_w: 4") == [4, 4]
    # The layer refuses these.
    assert dilation("hole_h: 4") == dilation("hole: 3 hole_h: 4 hole_w: 4") == []


def test_old_axes():
    assert parse_net("layers { type: CONCAT concat_param { concat_dim: 0 } }").layer[0].concat_param.axis == 0
    sliced = parse_net("layer { type: 'Slice' slice_param { slice_dim: 0 } }").layer[0].slice_param
    assert (sliced.axis, sliced.HasField("slice_dim")) == (0, False)


def test_the_dialect_of_a_net():
    for text, dialect in (
        ("layers { type: RELU }", "v1"),
        ("layers { layer { type: 'relu' } }", "v1"),
        ("layer { type: 'ReLU' }", "v2"),
        ("layer { type: 'OneHot' }", "v1"),
        ("layer { type: 'SoftmaxWithLoss' softmaxloss_param { } }", "v1"),
        ("layer { type: 'Convolution' convolution_param { hole: 2 } }", "v1"),
        ("layer { type: 'Convolution' strict_dim: false }", "v1"),
        ("layers { type: RELU } dialect: 'v2'", "v2"),
        ("layer { type: 'ReLU' } dialect: 'v1'", "v1"),
    ):
        assert parse_net(text).dialect == dialect, text
        assert parse_net(format_message(parse_net(text))) == parse_net(text)
    with pytest.raises(PrototxtError, match="dialect must be v1 or v2, got 'v3'"):
        parse_net("layer { type: 'ReLU' } dialect: 'v3'")


def test_the_batch_size_that_v1_wants_and_v2_has():
    for kind in ("IMAGE_DATA", "IMAGE_SEG_DATA"):
        for given, expected in (("", 0), ("batch_size: 3", 3)):
            net = parse_net(f'layers {{ type: {kind} image_data_param {{ source: "s" {given} }} }}')
            assert net.layer[0].image_data_param.batch_size == expected
    assert parse_net('layer { type: "ImageData" }').layer[0].image_data_param.batch_size == 1


def test_what_is_in_a_layer_of_number_39_tells_its_type():
    net = caffe_pb2.NetParameter()
    for _ in range(3):
        net.layers.add(type=39)
    net.layers[0].convolution_param.num_output = 2
    net.layers[1].blobs.add(num=1)
    assert [layer.type for layer in upgrade_net(net).layer] == ["Deconvolution", "Deconvolution", "ImageSegData"]


def test_a_solvers_type_is_given_once():
    solver = caffe_pb2.SolverParameter(type="Adam", solver_type=caffe_pb2.SolverParameter.ADAGRAD)
    with pytest.raises(PrototxtError, match="<SolverParameter>: give either type or solver_type, not both"):
        upgrade_solver(solver)
    solver.ClearField("type")
    upgraded = upgrade_solver(solver)
    assert (upgraded.type, upgraded.HasField("solver_type"), solver.HasField("solver_type")) == ("AdaGrad", False, True)
