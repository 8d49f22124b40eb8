from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
from google.protobuf import text_format

from deeplab_caffe.proto import CaffeModel, caffe_pb2
from deeplab_caffe.proto.schema.inner import inner_schema
from deeplab_caffe.proto.schema.tables import Schema, dialect_schema, enum_table, field_table
from deeplab_caffe.proto.upgrade.downgrade import to_dialect
from tests.proto.originals import file_id, original_files


@pytest.mark.parametrize("dialect", ["v1", "v2", "merge", "bvlc"])
def test_tables_have_no_number_or_name_twice(dialect):
    for key in ("number", "field"):
        seen = [(row.message, getattr(row, key)) for row in field_table(dialect)]
        assert len(seen) == len(set(seen))
    names = [(row.enum, row.name) for row in enum_table(dialect)]
    assert len(names) == len(set(names))


def test_deeplab_v1_numbers():
    layer = caffe_pb2.V1LayerParameter
    assert (layer.IMAGE_SEG_DATA, layer.INTERP, layer.DENSE_CRF, layer.ONEHOT) == (39, 41, 45, 56)
    numbers = {field.name: field.number for field in layer.DESCRIPTOR.fields}
    assert (numbers["interp_param"], numbers["softmaxloss_param"], numbers["dense_crf_param"]) == (43, 44, 48)
    assert numbers["strict_dim"] == 1003
    assert caffe_pb2.V1ConvolutionParameter.HOLE_FIELD_NUMBER == 17
    assert len(layer.LayerType.keys()) == 58
    assert layer.DECONVOLUTION == layer.IMAGE_SEG_DATA


def test_the_inner_forms_numbers_are_bvlcs_and_its_own_are_beyond():
    inner = {name: message.DESCRIPTOR for name, message in inner_schema().messages.items()}
    bvlc = {(row.message, row.field): row.number for row in field_table("bvlc") if row.message != "V1LayerParameter"}
    # v2 has mat_write_param at 145, the merge others at 147 and 148.
    moved = {"parameter_param": 645, "swish_param": 647, "clip_param": 648}
    for (message, field), number in bvlc.items():
        assert inner[message].fields_by_name[field].number == moved.get(field, number)
    for message in {message for message, _ in bvlc}:
        known = {row.field for name in ("merge", "bvlc") for row in field_table(name) if row.message == message}
        # Of NVIDIA's and SSD's Caffe, under their numbers.
        known |= {"raw_data", "raw_diff", "raw_data_type", "raw_diff_type"} if message == "BlobProto" else set()
        known |= {"distort_param"} if message == "TransformationParameter" else set()
        own = [field for field in inner[message].fields if field.name not in known]
        assert all(field.number >= 1000 for field in own)


@pytest.mark.parametrize(
    ("dialect", "numbers"),
    [("v2", (143, 144, 145, 146)), ("merge", (153, 154, 155, 152)), ("bvlc", (None, None, None, None))],
)
def test_the_numbers_that_tell_the_dialects_of_the_v2_layout(dialect, numbers):
    fields = dialect_schema(dialect).messages["LayerParameter"].DESCRIPTOR.fields_by_name
    found = [fields.get(f"{name}_param") for name in ("interp", "seg_accuracy", "mat_write", "dense_crf")]
    assert tuple(field and field.number for field in found) == numbers
    assert ("crop_param" in fields) == (dialect != "v2")


def test_nvidias_numbers():
    numbers = {field.name: field.number for field in caffe_pb2.BlobProto.DESCRIPTOR.fields if "raw" in field.name}
    assert numbers == {"raw_data_type": 10, "raw_diff_type": 11, "raw_data": 12, "raw_diff": 13}
    assert (caffe_pb2.DOUBLE, caffe_pb2.FLOAT, caffe_pb2.FLOAT16, caffe_pb2.Type.Value("BOOL")) == (0, 1, 2, 5)


def test_ssds_numbers():
    assert caffe_pb2.TransformationParameter.DISTORT_PARAM_FIELD_NUMBER == 13
    names = ["brightness_prob", "brightness_delta", "contrast_prob", "contrast_lower", "contrast_upper"]
    names += ["hue_prob", "hue_delta", "saturation_prob", "saturation_lower", "saturation_upper", "random_order_prob"]
    fields = caffe_pb2.DistortionParameter.DESCRIPTOR.fields
    assert {field.name: field.number for field in fields} == {name: i for i, name in enumerate(names, 1)}


def test_shaped_as_protoc_makes_it():
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)
    assert caffe_pb2.Phase.Name(1) == "TEST"
    assert caffe_pb2.LayerParameter.LayerType.Name(4) == "CONVOLUTION"
    assert caffe_pb2.ConvolutionParameter.CUDNN == 2
    namespace: dict[str, object] = {}
    exec("from deeplab_caffe.proto.caffe_pb2 import *", namespace)
    assert namespace["NetParameter"] is caffe_pb2.NetParameter
    assert namespace["TRAIN"] == 0


def test_layer_types_of_2014_fit_both_layouts():
    data = caffe_pb2.LayerParameter.DATA
    net = caffe_pb2.NetParameter()
    net.layers.add().type = data
    net.layer.add(type=data).name = "d"
    assert (net.layers[0].type, net.layer[0].type) == (5, "Data")
    assert type(net.layer[0].type) is str
    assert net.layers[0].type == data == net.layer[0].type
    assert data == caffe_pb2.V1LayerParameter.DATA == 5
    assert (net.layers[0].type != data, net.layer[0].type != data) == (False, False)
    assert caffe_pb2.LayerParameter.DECONVOLUTION == caffe_pb2.LayerParameter.IMAGE_SEG_DATA == 39
    assert data not in (6, "DATA", "Dropout", caffe_pb2.LayerParameter.DROPOUT, None)
    assert {caffe_pb2.LayerParameter.CONVOLUTION: "conv"}[4] == "conv"
    assert caffe_pb2.V1LayerParameter.LayerType.Name(data) == "DATA"
    assert f"{data} {data!r} {int(data)}" == "5 5 5"
    assert caffe_pb2.LayerParameter(type=caffe_pb2.LayerParameter.DECONVOLUTION).type == "Deconvolution"
    assert caffe_pb2.LayerParameter(type=caffe_pb2.LayerParameter.SOFTMAX_LOSS).type == "SoftmaxWithLoss"


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "p" type: "Pooling" pooling_param { round_mode: FLOOR kernel_size: 2 } }',
        'layer { name: "c" type: "Clip" clip_param { min: -1 max: 1 } }',
        'layer { name: "s" type: "Swish" swish_param { beta: 2 } }',
        'layer { name: "l" type: "InfogainLoss" infogain_loss_param { axis: 2 } }',
    ],
)
def test_bvlcs_fields_of_2020(text):
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    bvlc = text_format.Parse(text, dialect_schema("bvlc").new("NetParameter"))
    assert str(net) == str(bvlc)
    for older in ("merge", "v2"):
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text, dialect_schema(older).new("NetParameter"))


@pytest.mark.parametrize("dialect", ["v1", "v2", "merge"])
def test_protobuf_reads_every_dialects_files(dialect):
    net = caffe_pb2.NetParameter()
    net.layer.add(name="a", type="Interp").interp_param.height = 321
    net.layer.add(name="b", type="DenseCRF").dense_crf_param.pos_w.append(3)
    net.layer.add(name="c", type="SegAccuracy").seg_accuracy_param.ignore_label.append(255)
    net.layer.add(name="d", type="MatWrite").mat_write_param.prefix = "features/val/"
    net.layer.add(name="e", type="AdaptiveBiasChannel").adaptive_bias_channel_param.bg_portion = 0.4
    read = caffe_pb2.NetParameter.FromString(to_dialect(net, dialect).SerializeToString())
    assert [layer.name for layer in read.layer or read.layers] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("path", original_files("caffemodel"), ids=file_id)
def test_protobuf_reads_the_originals_files(path):
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    found = [(layer.name, len(layer.blobs)) for layer in net.layer or net.layers]
    assert found == [(layer.name, len(layer.blobs)) for layer in CaffeModel(path).layers]


def test_the_name_that_scripts_for_pycaffe_import():
    pytest.importorskip("torch")
    import deeplab_caffe.pycaffe.proto.caffe_pb2 as by_module
    from deeplab_caffe.pycaffe.proto import caffe_pb2 as by_package

    assert by_module is by_package
    assert by_module.NetParameter is caffe_pb2.NetParameter
    assert (by_module.TRAIN, by_module.LayerParameter.CONVOLUTION) == (0, 4)


def test_defaults_are_those_of_the_table():
    assert caffe_pb2.V1ConvolutionParameter().hole == 1
    assert caffe_pb2.ConvolutionParameter().bias_term is True
    assert caffe_pb2.ImageDataParameter().ignore_label == 255
    assert caffe_pb2.SolverParameter().solver_mode == caffe_pb2.SolverParameter.GPU
    assert caffe_pb2.WindowDataParameter().crop_mode == "warp"
    assert caffe_pb2.NetState().phase == caffe_pb2.TEST
    assert not caffe_pb2.InterpParameter().HasField("zoom_factor")


def test_bytes_by_hand():
    # field 10 (convolution_param) of field 2 (layers): num_output (1) = 3, hole (17) = 12
    raw = bytes([0x12, 0x07, 0x52, 0x05, 0x08, 0x03, 0x88, 0x01, 0x0C])
    net = caffe_pb2.NetParameter.FromString(raw)
    assert net.layers[0].convolution_param.num_output == 3
    assert net.layers[0].convolution_param.hole == 12
    assert net.SerializeToString() == raw


def test_messages_copy_and_pickle():
    net = caffe_pb2.NetParameter(name="n")
    net.layer.add(name="a", type="Interp").interp_param.zoom_factor = 8
    assert pickle.loads(pickle.dumps(net)) == net
    assert copy.deepcopy(net) == net


def test_the_inner_form_is_a_superset_of_the_dialects():
    renamed = {"LayerParameter": "V1LayerParameter", "ConvolutionParameter": "V1ConvolutionParameter"}
    for dialect in ("v1", "v2", "merge", "bvlc"):
        for row in field_table(dialect):
            message = renamed.get(row.message, row.message) if dialect == "v1" else row.message
            assert row.field in inner_schema().messages[message].DESCRIPTOR.fields_by_name
    assert "censor_label_param" in caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name
    assert "hole_h" in caffe_pb2.ConvolutionParameter.DESCRIPTOR.fields_by_name
    assert "blobs_lr" not in caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name


def test_unknown_type_in_a_table_is_an_error():
    rows = [row for row in field_table("v1") if row.message == "ConcatParameter"]
    bad = [type(rows[0])("ConcatParameter", "x", 9, "optional", "uint23", "", False)]
    with pytest.raises(ValueError, match=r"ConcatParameter\.x has unknown type 'uint23'"):
        Schema("bad.proto", rows + bad, [])


def test_pools_are_private():
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")
    assert inner_schema().pool.FindMessageTypeByName("caffe.NetParameter") is caffe_pb2.NetParameter.DESCRIPTOR


def test_import_needs_no_torch():
    code = "import sys, deeplab_caffe.proto; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
