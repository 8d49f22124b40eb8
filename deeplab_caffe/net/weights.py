"""Load a net's weights from caffemodels and save them; :mod:`deeplab_caffe.net.tensors` does it for named tensors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from deeplab_caffe.errors import CaffeModelError, ConversionError, NetError, warn
from deeplab_caffe.files.names import check_path, is_file
from deeplab_caffe.layers import Layer, NetContext, Shape
from deeplab_caffe.net.hdf5 import is_hdf5, read_model, write_model
from deeplab_caffe.net.tensors import (
    WeightedNet,
    WeightsWarning,
    blob_key,
    load_tensors,
    read_tensors,
    save_safetensors,
    save_state_dict,
    some,
)
from deeplab_caffe.proto import CaffeModel, Dialect, ModelBlob, caffe_pb2, write_caffemodel
from deeplab_caffe.proto.binary.write import places_of
from deeplab_caffe.proto.dims import without_leading_ones

# The file format of each suffix.
WEIGHT_SUFFIXES = {".caffemodel": "caffemodel", ".safetensors": "safetensors"}
WEIGHT_SUFFIXES |= {".pth": "state_dict", ".pt": "state_dict", ".h5": "hdf5"}

# Number of values at each end by which two copies of a shared parameter are compared.
_COMPARED = 1024


class CaffeNet(WeightedNet, Protocol):
    """A net that can be written as a caffemodel."""

    @property
    def param(self) -> caffe_pb2.NetParameter:
        """Return the NetParameter that the net was built from."""
        ...

    @property
    def dialect(self) -> Dialect:
        """Return the dialect of the net's layers."""
        ...

    @property
    def context(self) -> NetContext:
        """Return what the net's layers know of the net."""
        ...


def load_weights(
    net: WeightedNet,
    path: str | PathLike[str],
    *,
    missing: str = "error",
    of_any_network: bool = False,
    with_diff: Callable[[Layer, str, np.ndarray], object] | None = None,
) -> None:
    """Copy weights into the layers of the same name (net.cpp:690-740, CopyTrainedLayersFrom).

    The file is a caffemodel, also in HDF5, or a safetensors or state_dict file: its first bytes decide. Shapes must be
    equal. For a layer with ``strict_dim: false`` a caffemodel's blobs need only the same count, and the numbers are
    copied in order: so fully connected weights become convolutions. A caffemodel has a copy of a shared parameter for
    each layer that shares it; the last copy in the file is loaded, as in Caffe. Of the other copies only the ends are
    read, to compare them with it.

    Args:
        net: the net; it is changed only if everything fits.
        path: the file.
        missing: ``"error"`` or ``"warn"``: what to do about layers with parameters that the file has no weights for.
        of_any_network: do not raise a separate error for a caffemodel that has weights for none of the layers.
        with_diff: function that gets layer, role and gradient of each blob that a caffemodel has a gradient of.

    Raises:
        CaffeModelError: a caffemodel cannot be read.
        ConversionError: another file cannot be read or does not fit.
        NetError: a caffemodel's weights are missing or do not fit.
    """
    if missing not in ("error", "warn"):
        raise ValueError(f"missing must be 'error' or 'warn', got {missing!r}")
    check_path(path, "weights", "a state_dict is for net.load_state_dict")
    tensors = read_tensors(path) if is_file(path) else None
    if tensors is not None:
        load_tensors(net, tensors, path, missing=missing)
        return
    with_blobs = [layer for layer in net.layers if layer.blobs]
    sources = _hdf5_sources(with_blobs, path) if is_hdf5(path) else _sources(path)
    # A layer that shares all its parameters also gets them if the file has them for another layer.
    filled = {key for layer in with_blobs if layer.name in sources for key in _keys(layer)}
    absent = [layer.name for layer in with_blobs if not filled >= _keys(layer)]
    if absent and len(absent) == len(with_blobs) and not of_any_network:
        raise NetError(
            f"{path}: has no weights for any layer of net '{net.name}': it is of another network "
            f"(net: {some(absent)}; file: {some(list(sources))})"
        )
    if absent and missing == "error":
        raise NetError(f"{path}: has no weights for {some(absent)}; its layers are {some(list(sources))}")
    own = {layer.name: layer for layer in with_blobs}
    copies, differing = _chosen(own, sources, path)
    for copy in copies:
        copy.layer.load_blob(copy.role, torch.from_numpy(copy.found.copy()).view(copy.shape))
        if with_diff is not None and copy.found.diff is not None:
            with_diff(copy.layer, copy.role, copy.found.diff)
    if differing:
        warn(
            f"{path}: layers that share a parameter in net '{net.name}' have different numbers for {some(differing)}: "
            "those of the last one in the file count, as in Caffe",
            WeightsWarning,
        )
    if absent:
        warn(f"{path}: no weights for {some(absent)}: they keep their initial values", WeightsWarning)
    unused = [name for name in sources if name not in own]
    if unused:
        warn(f"{path}: weights of {some(unused)} are not used by net '{net.name}'", WeightsWarning)


def _sources(path: str | PathLike[str]) -> dict[str, list[ModelBlob]]:
    """Return a caffemodel's blobs by layer."""
    found: dict[str, list[ModelBlob]] = {}
    for layer in CaffeModel(path).layers:
        if layer.blobs:
            # If several layers have one name, the last one and its place in the file count.
            found.pop(layer.name, None)
            found[layer.name] = layer.blobs
    return found


def _hdf5_sources(layers: Sequence[Layer], path: str | PathLike[str]) -> dict[str, list[ModelBlob]]:
    """Return the blobs of a caffemodel in HDF5 by layer; a shared blob, which is stored once, for all its layers."""
    found = read_model(path)
    shared: dict[Hashable, np.ndarray] = {}
    for layer in layers:
        for i, role in enumerate(layer.named_blobs):
            if i in found.get(layer.name, {}):
                shared.setdefault(blob_key(layer, role), found[layer.name][i])
    for layer in layers:
        for i, (role, blob) in enumerate(layer.named_blobs.items()):
            value = shared.get(blob_key(layer, role))
            if value is not None and i not in found.setdefault(layer.name, {}):
                # The layer may see the shared blob in another shape.
                found[layer.name][i] = value.reshape(blob.shape) if value.size == blob.numel() else value
    return {name: [ModelBlob(blobs[i].shape, blobs[i]) for i in sorted(blobs)] for name, blobs in found.items()}


def _keys(layer: Layer) -> set[Hashable]:
    return {blob_key(layer, role) for role in layer.named_blobs}


class _Copy(NamedTuple):
    """A file's numbers, and the blob that they are loaded into."""

    layer: Layer
    role: str
    shape: Shape
    found: ModelBlob


def _chosen(
    own: Mapping[str, Layer], sources: Mapping[str, Sequence[ModelBlob]], path: str | PathLike[str]
) -> tuple[list[_Copy], list[str]]:
    """Return one copy for each parameter, and the names of shared parameters whose copies differ.

    The last copy of a shared parameter in the file is used; of the others only the ends are read.
    """
    copies: dict[Hashable, _Copy] = {}
    differing: list[str] = []
    for layer in (own[name] for name in sources if name in own):
        for key, copy in _match(layer, sources[layer.name], path).items():
            if key in copies and not _seem_equal(copies[key].found.data, copy.found.data):
                differing.append(f"{layer.name}.{copy.role}")
            copies[key] = copy
    return list(copies.values()), differing


def _match(layer: Layer, source: Sequence[ModelBlob], path: str | PathLike[str]) -> dict[Hashable, _Copy]:
    """Return a layer's copies by the keys of its parameters; see :func:`deeplab_caffe.net.tensors.blob_key`."""
    blobs = layer.named_blobs
    if len(source) != len(blobs):
        raise NetError(f"needs {len(blobs)} parameter blobs, {path} has {len(source)}", layer.name)
    for i, (blob, found) in enumerate(zip(blobs.values(), source, strict=True)):
        same_shape = without_leading_ones(blob.shape) == without_leading_ones(found.shape)
        if not same_shape and (layer.param.strict_dim or found.count != blob.numel()):
            kind = "the shape" if layer.param.strict_dim else "as many numbers as in"
            raise NetError(
                f"parameter blob {i} needs {kind} {layer.blob_shape(blob.shape)}, {path} has {found.shape}: to let the "
                "layer begin anew, as with other classes, give it another name in the prototxt",
                layer.name,
            )
    return {
        blob_key(layer, role): _Copy(layer, role, blob.shape, found)
        for (role, blob), found in zip(blobs.items(), source, strict=True)
    }


def _seem_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two arrays begin and end alike; comparing all values would read all of them from the disk."""
    ends = [(x.reshape(-1)[:_COMPARED], x.reshape(-1)[-_COMPARED:]) for x in (a, b)]
    return a.size == b.size and all(x.tobytes() == y.tobytes() for x, y in zip(*ends, strict=True))


def save_weights(
    net: CaffeNet,
    path: str | PathLike[str],
    diffs: dict[str, list[np.ndarray]] | None = None,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
) -> None:
    """Write a caffemodel that the original reads back (net.cpp, ToProto: automatic splits included).

    Args:
        net: the net.
        path: the file; it appears under its name only when it is complete.
        diffs: gradients by layer name, in the saved blobs' shapes, to write beside the weights.
        dialect: dialect of the file, see :func:`deeplab_caffe.proto.write_caffemodel`; None: the net's.
        dtype: ``"float32"`` or ``"float16"``, see :func:`deeplab_caffe.proto.write_caffemodel`.

    Raises:
        CaffeModelError: the file cannot be written, or the dialect cannot hold the net.
    """
    saved = caffe_pb2.NetParameter(name=net.param.name, input=net.param.input, layer=net.param.layer)
    saved.dialect = net.dialect.name
    for written, layer in zip(saved.layer, net.layers, strict=True):
        if (dialect or net.dialect.name) != "v1":
            written.phase = layer.phase
        if layer.default_loss_weight and not written.loss_weight:
            # The original's loss layers write their weight into the message when they are set up (loss_layer.cpp).
            written.loss_weight.append(layer.default_loss_weight)
    blobs = {
        layer.name: [blob.detach().float().cpu().numpy().reshape(layer.blob_shape(blob.shape)) for blob in layer.blobs]
        for layer in net.layers
        if layer.blobs
    }
    places = places_of(layer.name for layer in net.layers)
    owners = {layer.name: place for layer, place in zip(net.layers, places, strict=True) if layer.blobs}
    write_caffemodel(path, saved, blobs, diffs, places=owners, dialect=dialect, dtype=dtype)


def save_hdf5(net: WeightedNet, path: str | PathLike[str], diffs: dict[str, list[np.ndarray]] | None = None) -> None:
    """Write a caffemodel in HDF5 as BVLC's Caffe does; arguments and errors as for :func:`save_weights`."""
    write_model(path, net.layers, diffs)


def load_hdf5(
    net: WeightedNet, path: str | PathLike[str], *, missing: str = "error", of_any_network: bool = False
) -> None:
    """Copy weights from a caffemodel in HDF5; see :func:`load_weights`.

    Raises:
        CaffeModelError: the file cannot be read, or is not an HDF5 file.
        NetError: weights are missing or do not fit.
    """
    if is_file(path) and not is_hdf5(path):
        raise CaffeModelError("is no HDF5 file", path)
    load_weights(net, path, missing=missing, of_any_network=of_any_network)


def save(net: CaffeNet, path: str | PathLike[str]) -> None:
    """Write weights in the format that the file's suffix asks for; see :meth:`deeplab_caffe.Net.save`.

    Raises:
        ConversionError: the suffix is of no format, or the file cannot be written.
        CaffeModelError: a caffemodel cannot be written.
    """
    check_path(path, "a file to save weights in")
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
