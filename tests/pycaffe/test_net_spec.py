"""``NetSpec``, ``layers`` and ``params``: the nets that pycaffe writes, and the errors that it raises."""

# ruff: noqa: C408  # dict(...), as such scripts write it

from __future__ import annotations

import copy

import numpy as np
import pytest
from google.protobuf import text_format

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import parse_net
from deeplab_caffe.proto.schema.tables import dialect_schema
from deeplab_caffe.pycaffe import NetSpec, net_spec, to_proto
from deeplab_caffe.pycaffe import layers as L  # as scripts say
from deeplab_caffe.pycaffe import params as P
from deeplab_caffe.pycaffe.proto import caffe_pb2

SMALL = """layer {
  name: "data"
  type: "DummyData"
  top: "data"
  top: "label"
  dummy_data_param {
    shape {
      dim: 2
      dim: 1
      dim: 9
      dim: 9
    }
    shape {
      dim: 2
    }
  }
}
layer {
  name: "conv"
  type: "Convolution"
  bottom: "data"
  top: "conv"
  param {
    lr_mult: 1
  }
  param {
    lr_mult: 2
    decay_mult: 0
  }
  convolution_param {
    num_output: 4
    kernel_size: 3
    weight_filler {
      type: "xavier"
    }
  }
}
layer {
  name: "relu"
  type: "ReLU"
  bottom: "conv"
  top: "conv"
}
layer {
  name: "pool"
  type: "Pooling"
  bottom: "conv"
  top: "pool"
  pooling_param {
    pool: AVE
    kernel_size: 2
    stride: 2
  }
}
layer {
  name: "score"
  type: "InnerProduct"
  bottom: "pool"
  top: "score"
  inner_product_param {
    num_output: 3
  }
}
layer {
  name: "loss"
  type: "SoftmaxWithLoss"
  bottom: "score"
  bottom: "label"
  top: "loss"
  loss_weight: 0.5
  include {
    phase: TRAIN
  }
  loss_param {
    ignore_label: 255
  }
}
"""


def small_net() -> NetSpec:
    n = NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[2, 1, 9, 9]), dict(dim=[2])], ntop=2)
    n.conv = L.Convolution(
        n.data,
        kernel_size=3,
        num_output=4,
        weight_filler=dict(type="xavier"),
        param=[dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)],
    )
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=P.Pooling.AVE, kernel_size=2, stride=2)
    n.score = L.InnerProduct(n.pool, num_output=3)
    n.loss = L.SoftmaxWithLoss(
        n.score, n.label, loss_weight=0.5, include={"phase": 0}, loss_param=dict(ignore_label=255)
    )
    return n


def test_text_is_the_net_as_one_writes_it():
    assert str(small_net().to_proto()) == SMALL


@pytest.mark.parametrize("dialect", ["merge", "bvlc"])
def test_text_is_read_by_the_original_schemas(dialect):
    message = dialect_schema(dialect).new("NetParameter")
    text_format.Parse(str(small_net().to_proto()), message)
    assert [layer.name for layer in message.layer] == ["data", "conv", "relu", "pool", "score", "loss"]


def test_net_runs(tmp_path):
    (tmp_path / "net.prototxt").write_text(str(small_net().to_proto()))
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    assert net.forward()["score"].shape[:2] == (2, 3)
    # 9 - 3 + 1 = 7 pixels, pooled by two, rounded up.
    assert net.blobs["pool"].data.shape == (2, 4, 4, 4)


def test_names_are_made_up_in_order():
    data, label = L.DummyData(ntop=2)
    conv = L.Convolution(data, num_output=2, kernel_size=1)
    proto = to_proto(L.ReLU(conv, in_place=True), L.Convolution(label, num_output=2, kernel_size=1))
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in proto.layer] == [
        ("DummyData1", [], ["DummyData1", "DummyData2"]),
        ("Convolution1", ["DummyData1"], ["Convolution1"]),
        ("ReLU1", ["Convolution1"], ["Convolution1"]),
        ("Convolution2", ["DummyData2"], ["Convolution2"]),
    ]
    assert conv.to_proto() == to_proto(conv)


def test_what_is_no_blob_is_named():
    data, label = L.DummyData(ntop=2)
    with pytest.raises(
        net_spec.NetSpecError, match=r"^argument 0 of to_proto is no blob but list: .*to_proto\(\*tops\)"
    ):
        to_proto([data, label])
    with pytest.raises(net_spec.NetSpecError, match="^argument 1 of to_proto is no blob but str$"):
        to_proto(data, "label")


def test_made_up_names_leave_given_ones_alone():
    n = NetSpec()
    n.ReLU1 = L.Sigmoid(L.ReLU(L.DummyData()))
    assert [layer.name for layer in n.to_proto().layer] == ["DummyData1", "ReLU2", "ReLU1"]


def test_layer_without_tops_and_own_name():
    n = NetSpec()
    n.data = L.DummyData(name="source")
    n.nothing = L.Silence(n.data, ntop=0)
    assert [(layer.name, list(layer.top)) for layer in n.to_proto().layer] == [("source", ["data"]), ("nothing", [])]


def test_items_and_attributes_are_the_same():
    n = NetSpec()
    n["res2a/conv"] = L.DummyData()
    n.relu = L.ReLU(n["res2a/conv"])
    assert n["relu"] is n.relu
    assert list(n.tops) == n.keys() == ["res2a/conv", "relu"]
    assert n.vals() == [n["res2a/conv"], n["relu"]]
    n.update("relu", {"negative_slope": 0.5})
    assert n.to_proto().layer[1].relu_param.negative_slope == 0.5
    assert copy.copy(n).to_proto() == n.to_proto()
    del n["relu"]
    assert n.keys() == ["res2a/conv"]


def test_values_of_every_kind():
    layer = L.Convolution(
        num_output=np.int64(8),
        kernel_size=(3, 5),
        pad=np.array([1, 2]),
        bias_term=np.bool_(False),
        weight_filler=caffe_pb2.FillerParameter(type="msra"),
        param=caffe_pb2.ParamSpec(name="w"),
        phase=caffe_pb2.Phase.Value("TEST"),
        exclude=[dict(stage="deploy"), dict(stage=["a", "b"])],
    )
    message = layer.to_proto().layer[0]
    conv = message.convolution_param
    assert (conv.num_output, list(conv.kernel_size), list(conv.pad), conv.bias_term) == (8, [3, 5], [1, 2], False)
    assert (conv.weight_filler.type, message.param[0].name, message.phase) == ("msra", "w", 1)
    assert [list(rule.stage) for rule in message.exclude] == [["deploy"], ["a", "b"]]


@pytest.mark.parametrize(
    ("layer", "field", "value"),
    [
        (lambda: L.Interp(zoom_factor=8), "interp_param", {"zoom_factor": 8}),
        (lambda: L.DenseCRF(max_iter=5), "dense_crf_param", {"max_iter": 5}),
        (lambda: L.MatWrite(prefix="a", period=2), "mat_write_param", {"prefix": "a", "period": 2}),
        (lambda: L.ImageSegData(image_data_param=dict(source="l")), "image_data_param", {"source": "l"}),
        (lambda: L.Input(shape=dict(dim=[1, 3])), "input_param", {}),
        (lambda: L.Python(module="m", layer="c", param_str="x"), "python_param", {"module": "m", "layer": "c"}),
    ],
)
def test_message_is_found_by_the_type(layer, field, value):
    message = getattr(layer().to_proto().layer[0], field)
    assert message.ListFields()
    assert {name: getattr(message, name) for name in value} == value


def test_every_parameter_message_is_known():
    names = net_spec.param_name_dict()
    assert names["InnerProduct"] == "inner_product"
    assert names["LRN"] == "lrn"
    assert {f"{name}_param" for name in names.values()} <= {f.name for f in caffe_pb2.LayerParameter.DESCRIPTOR.fields}


def test_deep_nets():
    top = L.DummyData()
    for _ in range(2000):
        top = L.ReLU(top)
    layers = top.to_proto().layer
    assert len(layers) == 2001
    assert layers[-1].name == "ReLU2000"


def test_input_layers_build():
    n = NetSpec()
    n.data = L.Input(input_param=dict(shape=dict(dim=[1, 3, 4, 4])))
    n.up = L.Interp(n.data, zoom_factor=2)
    net = parse_net(str(n.to_proto()))
    assert list(net.input_shape[0].dim) == [1, 3, 4, 4]
    assert net.dialect == "v2"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: L.Convolution(kernal_size=3).to_proto(),
            AttributeError,
            r"^layer 'Convolution1': Convolution: ConvolutionParameter has no field 'kernal_size' \(did you mean 'kern",
        ),
        (
            lambda: L.Convolution(kernel_size="x").to_proto(),
            TypeError,
            "ConvolutionParameter.kernel_size cannot be 'x'",
        ),
        (
            lambda: L.ImageSegData(source="l").to_proto(),
            AttributeError,
            "LayerParameter has no field 'source'; write data_param=dict\\(source=...\\) or hdf5_data_param=",
        ),
        (lambda: L.ReLU(blob_param=dict(a=1)).to_proto(), AttributeError, "LayerParameter has no field 'blob_param'"),
        (
            lambda: L.Silence(L.DummyData(ntop=2)),
            TypeError,
            r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$",
        ),
        (lambda: NetSpec().data, AttributeError, "^the net has no blob 'data'$"),
        (lambda: NetSpec()["data"], KeyError, "^the net has no blob 'data'$"),
        (lambda: P.Poling, AttributeError, r"no parameters are called 'Poling' \(did you mean 'Pooling'\?\)"),
        (lambda: P.Pooling.MEAN, AttributeError, "MEAN"),
    ],
)
def test_errors_are_pycaffes_and_the_packages(make, error, message):
    with pytest.raises(error, match=message) as caught:
        make()
    assert isinstance(caught.value, NetError) or message == "MEAN"


def test_two_tops_under_one_name():
    n = NetSpec()
    n.data = L.DummyData(ntop=2)
    with pytest.raises(TypeError, match="'data' is no blob but tuple"):
        n.to_proto()
