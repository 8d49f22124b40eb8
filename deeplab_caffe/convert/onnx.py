"""A net as an ONNX model, built from its layers: torch is not traced, so that each of Caffe's rules is written down."""

from __future__ import annotations

from os import PathLike

from google.protobuf.message import EncodeError

from deeplab_caffe.convert.onnx_graph import Graph
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import ConversionError, DataError
from deeplab_caffe.net import Net


def to_onnx(net: Net, path: str | PathLike[str]) -> None:
    """Write a net with its weights as an ONNX model.

    Its inputs and outputs are the net's, float32 (N, C, H, W), under their blobs' names: for DeepLab ``data``, BGR
    minus mean, to ``fc8_interp``, scores. The batch can have any size; so can the image unless a layer (INNER_PRODUCT,
    average pooling with a stride) ties the model to the prototxt's.

    Raises:
        ConversionError: the package onnx is not installed, a layer has no counterpart, or the file cannot be written.
    """
    model = Graph(net).model()
    try:
        with atomic_write(path) as file:
            file.write(model.SerializeToString())
    except DataError as error:
        raise ConversionError(str(error)) from error
    except (ValueError, EncodeError) as error:
        raise ConversionError(f"{path}: an ONNX file holds at most 2 GB: {error}") from error
