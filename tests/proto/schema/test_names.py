from __future__ import annotations

import pytest

from deeplab_caffe.proto import caffe_pb2, enum_name, modern_name, type_name
from deeplab_caffe.proto.names import did_you_mean, enum_name_of_v0, modern_names, v0_names


def test_every_layer_type_has_both_names():
    for name, value in caffe_pb2.LayerParameter.LayerType.items():
        assert type_name(value) == name
        if name != "NONE":
            assert enum_name(modern_name(name)) == name


@pytest.mark.parametrize(
    ("enum", "modern"),
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
    ],
)
def test_modern_names(enum, modern):
    assert modern_name(enum) == modern
    assert enum_name(modern) == enum


def test_v0_names():
    assert enum_name_of_v0("conv") == "CONVOLUTION"
    assert enum_name_of_v0("images") == "IMAGE_DATA"
    assert "padding" not in v0_names()


def test_unknown_names():
    with pytest.raises(ValueError):
        type_name(999)
    for lookup in (modern_name, enum_name, enum_name_of_v0):
        with pytest.raises(KeyError):
            lookup("Deconvolution")


def test_did_you_mean():
    assert did_you_mean("Convolutoin", modern_names()) == " (did you mean 'Convolution'?)"
    assert did_you_mean("CONVOLUTION", modern_names()) == " (did you mean 'Convolution'?)"
    assert did_you_mean("zzzzzz", modern_names()) == ""
    assert did_you_mean("x", []) == ""
