"""Weights from a caffemodel into a net, and from a net into a NetParameter."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer
from deeplab_caffe.proto import CaffeModel, caffe_pb2, write_caffemodel

if TYPE_CHECKING:
    from deeplab_caffe.net import Net
    from deeplab_caffe.proto import ModelLayer


class WeightsWarning(UserWarning):
    """A caffemodel and a net do not cover each other; the message names the layers."""


def load_weights(net: Net, path: str | PathLike[str], *, missing: str = "error") -> None:
    """Copies a caffemodel's blobs into the layers of the same name (net.cpp:690-740, CopyTrainedLayersFrom).

    Shapes must be equal; with ``strict_dim: false`` in the layer only the counts, and the numbers are copied in order,
    which is how fully connected weights become convolutions.

    Args:
        net: the net; changed only once everything has been found to fit.
        path: the caffemodel.
        missing: ``"error"`` or ``"warn"`` about layers with parameters that the file has none for.

    Raises:
        CaffeModelError: the file cannot be read.
        NetError: weights are missing or do not fit.
    """
    if missing not in ("error", "warn"):
        raise ValueError(f"missing must be 'error' or 'warn', got {missing!r}")
    model = CaffeModel(path)
    with_blobs = [layer for layer in net.layers if layer.blobs]
    sources = {layer.name: layer for layer in model.layers if layer.blobs}
    # A layer that shares all its parameters gets them through their other owners too.
    filled = {id(blob) for layer in with_blobs if layer.name in sources for blob in layer.blobs}
    absent = [layer.name for layer in with_blobs if not filled >= {id(blob) for blob in layer.blobs}]
    if absent and len(absent) == len(with_blobs):
        raise NetError(
            f"{path}: has no weights for any layer of net '{net.name}': it is of another network "
            f"(net: {_some(absent)}; file: {_some(list(sources))})"
        )
    if absent and missing == "error":
        raise NetError(f"{path}: has no weights for {_some(absent)}; its layers are {_some(list(sources))}")
    copies: list[tuple[nn.Parameter, np.ndarray]] = []
    for layer in with_blobs:
        if layer.name in sources:
            copies += _match(layer, sources[layer.name], path)
    with torch.no_grad():
        for parameter, data in copies:
            # The view of the mapped file may be unaligned and is read-only: copying is what torch can take.
            parameter.copy_(torch.from_numpy(np.array(data, dtype=data.dtype.newbyteorder("="))).view(parameter.shape))
    if absent:
        warnings.warn(f"{path}: no weights for {_some(absent)}: they keep their initial values", WeightsWarning, 3)
    known = {layer.name for layer in with_blobs}
    unused = [name for name in sources if name not in known]
    if unused:
        warnings.warn(f"{path}: weights of {_some(unused)} are not used by net '{net.name}'", WeightsWarning, 3)


def _some(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def _match(layer: Layer, source: ModelLayer, path: str | PathLike[str]) -> list[tuple[nn.Parameter, np.ndarray]]:
    blobs = layer.blobs
    if len(source.blobs) != len(blobs):
        raise NetError(f"needs {len(blobs)} parameter blobs, {path} has {len(source.blobs)}", layer.name)
    for i, (blob, found) in enumerate(zip(blobs, source.blobs, strict=True)):
        same_shape = _core(blob.shape) == _core(found.shape)
        if not same_shape and (layer.param.strict_dim or found.count != blob.numel()):
            kind = "the shape" if layer.param.strict_dim else "as many numbers as in"
            raise NetError(
                f"parameter blob {i} needs {kind} {layer.blob_shape(blob.shape)}, {path} has {found.shape}",
                layer.name,
            )
    return [(blob, found.data) for blob, found in zip(blobs, source.blobs, strict=True)]


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its leading ones, which 4-D Caffe adds and later Caffe does not."""
    shape = tuple(shape)
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def save_weights(
    net: Net,
    path: str | PathLike[str],
    diffs: dict[str, list[np.ndarray]] | None = None,
    *,
    dialect: str | None = None,
) -> None:
    """Write a caffemodel that the original reads back (net.cpp, ToProto: automatic splits included).

    Args:
        net: the net.
        path: the file; it appears under its name only when it is complete.
        diffs: gradients by layer name, of the saved blobs' shapes, to be written beside the weights.
        dialect: whose file, see :func:`deeplab_caffe.proto.write_caffemodel`; None: the net's.

    Raises:
        CaffeModelError: the file cannot be written, or the dialect cannot hold the net.
    """
    dialect = dialect or net.dialect.name
    saved = caffe_pb2.NetParameter(name=net.param.name, input=net.param.input, layer=net.param.layer)
    saved.dialect = net.dialect.name
    for written, layer in zip(saved.layer, net.layers, strict=True):
        if dialect != "v1":
            written.phase = net.context.phase
        if layer.DEFAULT_LOSS_WEIGHT and not written.loss_weight:
            # The original's loss layers note their weight when they are set up (loss_layer.cpp).
            written.loss_weight.append(layer.DEFAULT_LOSS_WEIGHT)
    blobs = {
        layer.name: [blob.detach().float().cpu().numpy().reshape(layer.blob_shape(blob.shape)) for blob in layer.blobs]
        for layer in net.layers
        if layer.blobs
    }
    write_caffemodel(path, saved, blobs, diffs, dialect=dialect)
