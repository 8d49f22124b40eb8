"""Weights from a file into a net and back: caffemodels here, named tensors in :mod:`deeplab_caffe.net.tensors`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.errors import CaffeModelError, ConversionError, NetError
from deeplab_caffe.files.names import is_file
from deeplab_caffe.layers import Layer, NetContext
from deeplab_caffe.net.hdf5 import blob_key, is_hdf5, read_model, write_model
from deeplab_caffe.net.tensors import (
    WeightedNet,
    WeightsWarning,
    load_tensors,
    read_tensors,
    save_safetensors,
    save_state_dict,
    some,
)
from deeplab_caffe.proto import CaffeModel, Dialect, ModelBlob, caffe_pb2, write_caffemodel

# The format that a file's suffix asks for.
WEIGHT_SUFFIXES = {".caffemodel": "caffemodel", ".safetensors": "safetensors"}
WEIGHT_SUFFIXES |= {".pth": "state_dict", ".pt": "state_dict", ".h5": "hdf5"}


class CaffeNet(WeightedNet, Protocol):
    """A net that can be written as a caffemodel."""

    @property
    def param(self) -> caffe_pb2.NetParameter:
        """Return the NetParameter that it was built from."""
        ...

    @property
    def dialect(self) -> Dialect:
        """Return whose behaviour its layers have."""
        ...

    @property
    def context(self) -> NetContext:
        """Return what its layers know of it."""
        ...


def load_weights(
    net: WeightedNet, path: str | PathLike[str], *, missing: str = "error", of_any_network: bool = False
) -> None:
    """Copy weights into the layers of the same name (net.cpp:690-740, CopyTrainedLayersFrom).

    Of a caffemodel, also in HDF5, or a safetensors or state_dict file: the first bytes tell. Shapes must be equal; for
    a layer with ``strict_dim: false`` only a caffemodel's counts, and the numbers are copied in order, which is how
    fully connected weights become convolutions.

    Args:
        net: the net; changed only once everything has been found to fit.
        path: the file.
        missing: ``"error"`` or ``"warn"`` about layers with parameters that the file has none for.
        of_any_network: a caffemodel without weights for any layer is no error of its own.

    Raises:
        CaffeModelError: a caffemodel cannot be read.
        ConversionError: another file cannot be read or does not fit.
        NetError: a caffemodel's weights are missing or do not fit.
    """
    if missing not in ("error", "warn"):
        raise ValueError(f"missing must be 'error' or 'warn', got {missing!r}")
    tensors = read_tensors(path) if is_file(path) else None
    if tensors is not None:
        load_tensors(net, tensors, path, missing=missing)
        return
    with_blobs = [layer for layer in net.layers if layer.blobs]
    sources = _hdf5_sources(with_blobs, path) if is_hdf5(path) else _sources(path)
    # A layer that shares all its parameters gets them through their other owners too.
    filled = {key for layer in with_blobs if layer.name in sources for key in _keys(layer)}
    absent = [layer.name for layer in with_blobs if not filled >= _keys(layer)]
    if absent and len(absent) == len(with_blobs) and not of_any_network:
        raise NetError(
            f"{path}: has no weights for any layer of net '{net.name}': it is of another network "
            f"(net: {some(absent)}; file: {some(list(sources))})"
        )
    if absent and missing == "error":
        raise NetError(f"{path}: has no weights for {some(absent)}; its layers are {some(list(sources))}")
    copies: list[tuple[Layer, str, Tensor, np.ndarray]] = []
    for layer in with_blobs:
        if layer.name in sources:
            copies += _match(layer, sources[layer.name], path)
    for layer, role, blob, data in copies:
        # The view of the mapped file may be unaligned and is read-only: copying is what torch can take.
        values = torch.from_numpy(np.array(data, dtype=data.dtype.newbyteorder("=")))
        layer.load_blob(role, values.view(blob.shape))
    if absent:
        warnings.warn(f"{path}: no weights for {some(absent)}: they keep their initial values", WeightsWarning, 3)
    known = {layer.name for layer in with_blobs}
    unused = [name for name in sources if name not in known]
    if unused:
        warnings.warn(f"{path}: weights of {some(unused)} are not used by net '{net.name}'", WeightsWarning, 3)


def _sources(path: str | PathLike[str]) -> dict[str, list[ModelBlob]]:
    """Return a caffemodel's blobs by layer."""
    return {layer.name: layer.blobs for layer in CaffeModel(path).layers if layer.blobs}


def _hdf5_sources(layers: Sequence[Layer], path: str | PathLike[str]) -> dict[str, list[ModelBlob]]:
    """Return the blobs of a caffemodel in HDF5 by layer; a shared one, which only one layer has there, at all."""
    found = read_model(path)
    shared: dict[Hashable, np.ndarray] = {}
    for layer in layers:
        for i, (role, blob) in enumerate(layer.named_blobs.items()):
            if i in found.get(layer.name, {}):
                shared.setdefault(blob_key(layer, role, blob), found[layer.name][i])
    for layer in layers:
        for i, (role, blob) in enumerate(layer.named_blobs.items()):
            if (key := blob_key(layer, role, blob)) in shared:
                found.setdefault(layer.name, {}).setdefault(i, shared[key])
    return {name: [ModelBlob(blobs[i].shape, blobs[i]) for i in sorted(blobs)] for name, blobs in found.items()}


def _keys(layer: Layer) -> set[Hashable]:
    return {blob_key(layer, role, blob) for role, blob in layer.named_blobs.items()}


def _match(
    layer: Layer, source: Sequence[ModelBlob], path: str | PathLike[str]
) -> list[tuple[Layer, str, Tensor, np.ndarray]]:
    blobs = layer.named_blobs
    if len(source) != len(blobs):
        raise NetError(f"needs {len(blobs)} parameter blobs, {path} has {len(source)}", layer.name)
    for i, (blob, found) in enumerate(zip(blobs.values(), source, strict=True)):
        same_shape = _core(blob.shape) == _core(found.shape)
        if not same_shape and (layer.param.strict_dim or found.count != blob.numel()):
            kind = "the shape" if layer.param.strict_dim else "as many numbers as in"
            raise NetError(
                f"parameter blob {i} needs {kind} {layer.blob_shape(blob.shape)}, {path} has {found.shape}",
                layer.name,
            )
    return [(layer, role, blob, found.data) for (role, blob), found in zip(blobs.items(), source, strict=True)]


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its leading ones, which 4-D Caffe adds and later Caffe does not."""
    shape = tuple(shape)
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def save_weights(
    net: CaffeNet,
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
    saved = caffe_pb2.NetParameter(name=net.param.name, input=net.param.input, layer=net.param.layer)
    saved.dialect = net.dialect.name
    for written, layer in zip(saved.layer, net.layers, strict=True):
        if (dialect or net.dialect.name) != "v1":
            written.phase = net.context.phase
        if layer.default_loss_weight and not written.loss_weight:
            # The original's loss layers note their weight when they are set up (loss_layer.cpp).
            written.loss_weight.append(layer.default_loss_weight)
    blobs = {
        layer.name: [blob.detach().float().cpu().numpy().reshape(layer.blob_shape(blob.shape)) for blob in layer.blobs]
        for layer in net.layers
        if layer.blobs
    }
    write_caffemodel(path, saved, blobs, diffs, dialect=dialect)


def save_hdf5(net: WeightedNet, path: str | PathLike[str], diffs: dict[str, list[np.ndarray]] | None = None) -> None:
    """Write a caffemodel in HDF5, as BVLC's Caffe has it; arguments and errors as for :func:`save_weights`."""
    write_model(path, net.layers, diffs)


def load_hdf5(
    net: WeightedNet, path: str | PathLike[str], *, missing: str = "error", of_any_network: bool = False
) -> None:
    """Copy weights from a caffemodel in HDF5; see :func:`load_weights`.

    Raises:
        CaffeModelError: it cannot be read, or is no HDF5 file.
        NetError: weights are missing or do not fit.
    """
    if is_file(path) and not is_hdf5(path):
        raise CaffeModelError("is no HDF5 file", path)
    load_weights(net, path, missing=missing, of_any_network=of_any_network)


def save(net: CaffeNet, path: str | PathLike[str]) -> None:
    """Write weights in the format that the file's suffix asks for; see :meth:`deeplab_caffe.Net.save`."""
    suffix = Path(path).suffix.lower()
    if suffix not in WEIGHT_SUFFIXES:
        raise ConversionError(
            f"{path}: weights are saved as {', '.join(WEIGHT_SUFFIXES)}, got {suffix or 'no suffix'!r}"
        )
    WEIGHT_WRITERS[WEIGHT_SUFFIXES[suffix]](net, path)


WEIGHT_WRITERS: dict[str, Callable[[CaffeNet, str | PathLike[str]], None]] = {
    "caffemodel": save_weights,
    "safetensors": save_safetensors,
    "state_dict": save_state_dict,
    "hdf5": save_hdf5,
}
