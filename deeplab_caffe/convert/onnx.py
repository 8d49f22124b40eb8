"""Export of a net to ONNX, layer by layer. Torch is not traced, so that each of Caffe's rules is explicit."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from google.protobuf.message import EncodeError

from deeplab_caffe.convert.onnx_ends import Ends
from deeplab_caffe.convert.onnx_graph import Graph
from deeplab_caffe.data.classes import Classes, find_classes
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import ConversionError, DataError
from deeplab_caffe.net import Net


def to_onnx(
    net: Net,
    path: str | PathLike[str],
    *,
    image_input: bool = False,
    label_output: bool = False,
    classes: str | PathLike[str] | Sequence[str] | Classes | None = None,
) -> None:
    """Write a net with its weights as an ONNX model.

    Its inputs and outputs are the net's, float32 (N, C, H, W), under their blobs' names: for DeepLab ``data``, BGR
    minus mean, to ``fc8_interp``, scores. The batch can have any size; so can the image unless a layer (INNER_PRODUCT,
    average pooling with a stride) ties the model to the prototxt's. The metadata has the net's ``mean_value``. A
    warning says which RNN or LSTM goes on from the batch before, without ``expose_hidden``: the model does not.

    Args:
        net: the net.
        path: the file; it gets its name only when it is complete.
        image_input: let the model read ``image``, uint8 RGB (N, H, W, 3), and subtract the mean itself.
        label_output: let the model output ``labels``, uint8 (N, H, W), instead of the scores: the class with the
            highest score at each pixel, and among equal scores the largest class, as in the ARGMAX layer. With more
            than 256 classes they are int64.
        classes: names of the classes for the metadata, see :func:`deeplab_caffe.data.classes.find_classes`.

    Raises:
        ConversionError: the package onnx is not installed, a layer has no counterpart, the net's inputs or outputs do
            not fit the options, or the file cannot be written.
        EvaluationError: the names of the classes cannot be read.
        NetError: the net's weights were taken, see :meth:`deeplab_caffe.Net.require_weights`.
    """
    net.require_weights()
    ends = Ends(image_input, label_output, None if classes is None else find_classes(classes))
    model = Graph(net, ends).model()
    try:
        with atomic_write(path) as file:
            file.write(model.SerializeToString())
    except DataError as error:
        raise ConversionError(str(error)) from error
    except (ValueError, EncodeError) as error:
        raise ConversionError(f"{path}: an ONNX file holds at most 2 GB: {error}") from error
