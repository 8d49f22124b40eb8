"""Weights between caffemodel, safetensors, PyTorch's state_dict and ONNX."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import deeplab_caffe.arrays.needs_torch  # noqa: F401  # before what imports torch
from deeplab_caffe.convert import deeplab_pytorch, torchvision
from deeplab_caffe.convert.image_part import image_part
from deeplab_caffe.convert.initial import InitialModel, check_dtype, initial_model, write_weights
from deeplab_caffe.convert.onnx import to_onnx
from deeplab_caffe.convert.unit_outputs import unit_outputs
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.files.names import is_file
from deeplab_caffe.net import Net
from deeplab_caffe.net.tensors import load_tensors, read_tensors, save_safetensors, save_state_dict, tensors_of
from deeplab_caffe.net.weights import WEIGHT_SUFFIXES, WEIGHT_WRITERS

__all__ = [
    "FORMATS",
    "InitialModel",
    "convert",
    "image_part",
    "initial_model",
    "load_tensors",
    "read_tensors",
    "save_safetensors",
    "save_state_dict",
    "tensors_of",
    "to_onnx",
    "unit_outputs",
]

SUFFIXES = WEIGHT_SUFFIXES | {".onnx": "onnx"}
FORMATS = (*WEIGHT_WRITERS, "onnx")


def convert(
    source: str | PathLike[str],
    net: Net,
    out: str | PathLike[str],
    to: str | None = None,
    *,
    dtype: str = "float32",
    **onnx: Any,
) -> str:
    """Convert weights. Between all formats except ONNX they stay the same bit for bit.

    Weights of other projects' networks are changed: see :func:`deeplab_caffe.convert.torchvision.to_caffe` and
    :func:`deeplab_caffe.convert.deeplab_pytorch.to_caffe`.

    Args:
        source: a caffemodel, also in HDF5, or a safetensors or state_dict file with the names of :func:`tensors_of`; or
            the state_dict of torchvision's ``deeplabv3_resnet50`` or ``deeplabv3_resnet101``, or of deeplab-pytorch's
            DeepLab v2.
        net: the network of the weights, which are loaded into it.
        out: the file to write; it gets its name only when it is complete.
        to: one of :data:`FORMATS`; None: by the file's suffix.
        onnx: more arguments of :func:`to_onnx`, only for ONNX.
        dtype: ``"float16"`` halves a caffemodel, see :func:`deeplab_caffe.proto.write_caffemodel`.

    Returns:
        The format written.

    Raises:
        ConversionError: the source cannot be read, does not fit the net, the net has no counterpart in ONNX, or float16
            is requested for a format other than caffemodel, or one of ``onnx`` for a format other than ONNX.
        NetError: a caffemodel does not fit the net.
        CaffeModelError: a caffemodel cannot be read or written.
    """
    chosen = to or SUFFIXES.get(Path(out).suffix.lower())
    if chosen not in FORMATS:
        raise ConversionError(
            f"{out}: cannot tell the format: expected {', '.join(FORMATS)}, got {to or Path(out).suffix!r}"
        )
    # Checked before anything is read, so that nothing is written after an error.
    check_dtype(out, chosen, dtype)
    if any(onnx.values()) and chosen != "onnx":
        raise ConversionError(f"{out}: an image as input, labels as output and names of classes are for ONNX")
    tensors = read_tensors(source) if is_file(source) else None
    if tensors is None:
        net.copy_from(source, missing="error")
    else:
        if torchvision.is_torchvisions(tensors):
            tensors = torchvision.to_caffe(tensors, net, source)
        elif deeplab_pytorch.is_deeplab_pytorchs(tensors):
            tensors = deeplab_pytorch.to_caffe(tensors, net, source)
        load_tensors(net, tensors, source)
    if chosen == "onnx":
        to_onnx(net, out, **onnx)
    else:
        write_weights(net, out, chosen, dtype)
    return chosen
