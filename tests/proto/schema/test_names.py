from __future__ import annotations

import pytest

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.names import (
    all_names,
    did_you_mean,
    enum_of_name,
    name_of_enum,
    name_of_number,
    name_of_v0,
    v0_names,
    v1_names,
)


def test_every_layer_type_of_the_v1_layout_has_a_name():
    for enum, value in caffe_pb2.V1LayerParameter.LayerType.items():
        if enum != "NONE":
            assert enum_of_name(name_of_enum(enum)) == enum
            assert name_of_number(value, deconvolution=enum == "DECONVOLUTION") == name_of_enum(enum)


@pytest.mark.parametrize(
    ("enum", "name"),
    [
        ("CONVOLUTION", "Convolution"),
        ("SOFTMAX_LOSS", "SoftmaxWithLoss"),
        ("IM2COL", "Im2col"),
        ("RELU", "ReLU"),
        ("HDF5_DATA", "HDF5Data"),
        ("SIGMOID_CROSS_ENTROPY_LOSS", "SigmoidCrossEntropyLoss"),
        ("ARGMAX", "ArgMax"),
        ("IMAGE_SEG_DATA", "ImageSegData"),
        ("DENSE_CRF", "DenseCRF"),
        ("MAT_WRITE", "MatWrite"),
        ("DECONVOLUTION", "Deconvolution"),
    ],
)
def test_names(enum, name):
    assert name_of_enum(enum) == name
    assert enum_of_name(name) == enum


def test_the_number_that_two_types_have():
    assert name_of_number(39, deconvolution=False) == "ImageSegData"
    assert name_of_number(39, deconvolution=True) == "Deconvolution"


def test_v0_names():
    assert name_of_v0("conv") == "Convolution"
    assert name_of_v0("images") == "ImageData"
    assert "padding" not in v0_names()


def test_unknown_names():
    for number in (0, 999):
        with pytest.raises(KeyError):
            name_of_number(number, deconvolution=False)
    for lookup in (name_of_enum, enum_of_name, name_of_v0):
        with pytest.raises(KeyError):
            lookup("BatchNorm")


def test_did_you_mean():
    assert did_you_mean("Convolutoin", v1_names()) == " (did you mean 'Convolution'?)"
    assert did_you_mean("CONVOLUTION", v1_names()) == " (did you mean 'Convolution'?)"
    assert did_you_mean("zzzzzz", v1_names()) == ""
    assert did_you_mean("x", []) == ""
    assert did_you_mean("Convolution" * 100, ["Convolution" * 101]) == ""


def test_the_catalogue_is_bvlcs_and_deeplabs():
    names = all_names()
    assert len(names) == len(set(names))
    assert {"Convolution", "BatchNorm", "Python", "SoftmaxLoss", "DenseCRF", "OneHot", "DomainTransform"} <= set(names)
    assert not {"ROIPooling", "PriorBox", "BN", "Upsample", "", "NONE"} & set(names)
