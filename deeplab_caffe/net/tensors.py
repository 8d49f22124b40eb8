"""Weights as named tensors: safetensors and state_dict files."""

from __future__ import annotations

import io
import re
from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol

import torch
from torch import Tensor

from deeplab_caffe.data.io.archive import check_torch_archive
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import ConversionError, DataError, how_to_install, warn
from deeplab_caffe.layers import Layer

_NO_SAFETENSORS = f"safetensors files need safetensors: {how_to_install('safetensors')}"


class WeightsWarning(UserWarning):
    """A file has weights for too few or too many of a net's layers; the message names the layers."""


class WeightedNet(Protocol):
    """A net whose weights can be read and set."""

    @property
    def name(self) -> str:
        """Return the net's name."""
        ...

    @property
    def layers(self) -> Sequence[Layer]:
        """Return the net's layers in order."""
        ...


def tensors_of(net: WeightedNet) -> dict[str, Tensor]:
    """Return a net's weights by name: ``conv1_1.weight`` (O, C, kh, kw), ``conv1_1.bias`` (O,), ... in the net's order.

    The names are those of :meth:`deeplab_caffe.Net.state_dict`, and the values are those that the layers compute with.
    The tensors share the net's memory, except for pruned or parametrized blobs. A parameter that several layers share
    appears under each of them.
    """
    return {name: blob.detach() for name, (_, _, blob) in _own(net).items()}


def save_safetensors(net: WeightedNet, path: str | PathLike[str]) -> None:
    """Write a safetensors file; a shared parameter gets its first name only, as by safetensors' ``save_model``.

    Raises:
        ConversionError: safetensors is not installed, or the file cannot be written.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ConversionError(_NO_SAFETENSORS) from error
    copies = _copies(net)
    first: dict[Hashable, str] = {}
    for name, copy in copies.items():
        first.setdefault(copy.data_ptr() or name, name)
    # Only one metadata entry: several would be written in random order, but equal weights must give equal files.
    _write(path, save({name: copies[name] for name in first.values()}, metadata={"format": "pt"}))


def save_state_dict(net: WeightedNet, path: str | PathLike[str]) -> None:
    """Write a dict of tensors that ``torch.load(path, weights_only=True)`` reads.

    Raises:
        ConversionError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(_copies(net), buffer)
    _write(path, buffer.getvalue())


def _copies(net: WeightedNet) -> dict[str, Tensor]:
    """Return float32 copies of the weights by name; the names of a shared parameter have one copy."""
    memory: dict[Hashable, Tensor] = {}
    copies: dict[str, Tensor] = {}
    for name, (layer, role, blob) in _own(net).items():
        key = blob_key(layer, role)
        if key not in memory:
            memory[key] = blob.detach().float().cpu().contiguous().clone()
        copies[name] = memory[key].view(blob.shape)
    return copies


def _own(net: WeightedNet) -> dict[str, tuple[Layer, str, Tensor]]:
    return {f"{layer.name}.{role}": (layer, role, b) for layer in net.layers for role, b in layer.named_blobs.items()}


def blob_key(layer: Layer, role: str) -> Hashable:
    """Return a key that identifies a parameter in the net: equal for layers that share it or its memory."""
    parameter = layer._parameters.get(role)
    if parameter is None:
        return layer.name, role
    # An empty parameter has no address.
    return (parameter.numel() and parameter.data_ptr()) or id(parameter)


def _write(path: str | PathLike[str], content: bytes) -> None:
    try:
        with atomic_write(path) as file:
            file.write(content)
    except DataError as error:
        raise ConversionError(str(error)) from error


def read_tensors(path: str | PathLike[str]) -> dict[str, Tensor] | None:
    """Return the tensors of a safetensors or state_dict file; None if it is neither, so presumably a caffemodel.

    Raises:
        ConversionError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(9)
            size = file.seek(0, io.SEEK_END)
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        if head.startswith((b"PK\x03\x04", b"\x80\x02")):
            if head.startswith(b"PK"):
                check_torch_archive(path)
            # Pass a stream: given a path, torch also looks at the name.
            with Path(path).open("rb") as file:
                return _checked(torch.load(file, map_location="cpu", weights_only=True), path)
        if len(head) == 9 and head[8:] == b"{" and 8 < 8 + int.from_bytes(head[:8], "little") <= size:
            return _checked(_safetensors(path), path)
    except ConversionError:
        raise
    except UnpicklingError as error:
        if "Weights only" in str(error):
            raise ConversionError(
                f"{path}: holds Python objects, which could run any code, not just tensors: save state_dict() alone"
            ) from error
        raise ConversionError(f"{path}: cannot be read: {str(error).partition(chr(10))[0][:200]}") from error
    except Exception as error:  # torch's unpickler raises nearly anything on a damaged file
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ConversionError(f"{path}: cannot be read: {reason}") from error
    return None


def _safetensors(path: str | PathLike[str]) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConversionError(_NO_SAFETENSORS) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConversionError(f"{path}: cannot be read: {str(error)[:200]}") from error


def _checked(found: object, path: str | PathLike[str]) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise ConversionError(f"{path}: expected a dict of tensors, as state_dict() gives{_weights_inside(found)}")
    return dict(found)


def _weights_inside(found: object) -> str:
    """Return a hint where a training script's checkpoint seems to have the weights."""
    if not isinstance(found, Mapping):
        return f", got a {type(found).__name__}"
    inner = [key for key, value in found.items() if isinstance(value, Mapping) and _are_tensors(value)]
    if not inner:
        return f", got {some([str(key) for key in found])}"
    return f": this is a checkpoint whose {some([str(key) for key in inner])} is one; save that by itself"


def _are_tensors(found: Mapping[object, object]) -> bool:
    return bool(found) and all(isinstance(value, Tensor) for value in found.values())


_OTHERS = (
    "another program's names: deeplab-caffe convert reads torchvision's deeplabv3_resnet50 and _resnet101 and "
    "deeplab-pytorch's DeepLab v2"
)
# Prefixes that torch's tools and other programs put before the names of weights, and what to do about each.
_WRAPPERS = {
    "module.": "torch's DataParallel wrote 'module.' before each name: take it off, or save net.module.state_dict()",
    # The ResNet-101 of kazuto1011/deeplab-pytorch, v2's released weights converted.
    "base.": _OTHERS,
    "scale.base.": _OTHERS,
    "_orig_mod.": "torch.compile wrote '_orig_mod.' before each name: take it off, or save the net's own state_dict()",
}
_REPARAMETRIZED = re.compile(r"\.(parametrizations\.|\w+_(orig|mask|g|v)$)")


def _of_torchs_tools(unknown: Sequence[str]) -> str:
    """Return what to do about names that torch's wrappers and parametrizations wrote; ``""`` for others."""
    for prefix, advice in _WRAPPERS.items():
        if all(name.startswith(prefix) for name in unknown):
            return f" ({advice})"
    if any(_REPARAMETRIZED.search(name) for name in unknown):
        return " (pruned or parametrized weights: make them plain by torch's remove functions before saving)"
    return ""


def load_tensors(
    net: WeightedNet,
    tensors: Mapping[str, Tensor],
    path: str | PathLike[str] = "tensors",
    *,
    missing: str = "error",
) -> None:
    """Copy named tensors into a net; the names are those of :func:`tensors_of`.

    Args:
        net: the net; it is changed only if all tensors fit.
        tensors: float32, or a shorter float type that float32 can hold exactly. A shared parameter needs at least one
            of its names.
        path: the file of the tensors, for messages.
        missing: ``"error"`` or ``"warn"``: what to do about names that are missing or unknown.

    Raises:
        ConversionError: names are missing or unknown, or shapes or dtypes do not fit.
    """
    own = _own(net)
    filled = {blob_key(*own[name][:2]) for name in tensors if name in own}
    absent = [name for name, blob in own.items() if blob_key(*blob[:2]) not in filled]
    unknown = [name for name in tensors if name not in own]
    if absent or unknown:
        parts = [f"has no {some(absent)}"] * bool(absent) + [f"has {some(unknown)}, which are none"] * bool(unknown)
        message = f"{path}: {' and '.join(parts)} of net '{net.name}'{_of_torchs_tools(unknown) if unknown else ''}"
        if missing == "error" or len(absent) == len(own):
            raise ConversionError(message)
        warn(message, WeightsWarning)
    taken: dict[Hashable, tuple[str, Tensor]] = {}
    for name, blob in own.items():
        if name in tensors:
            _check(name, blob, tensors[name], path)
            first, value = taken.setdefault(blob_key(*blob[:2]), (name, tensors[name]))
            if not _same(value, tensors[name]):
                raise ConversionError(f"{path}: '{first}' and '{name}' are one parameter of the net, but differ")
    for name, value in taken.values():
        layer, role, held = own[name]
        layer.load_blob(role, value.reshape(held.shape))


def _check(name: str, blob: tuple[Layer, str, Tensor], came: Tensor, path: str | PathLike[str]) -> None:
    layer, role, held = blob
    # In a state_dict, a parameter that layers share in two shapes has the shape of its first layer.
    stored = layer._parameters.get(role)
    if came.shape not in (held.shape, held.shape if stored is None else stored.shape):
        raise ConversionError(f"{path}: '{name}' needs shape {tuple(held.shape)}, got {tuple(came.shape)}")
    if came.layout != torch.strided or came.is_meta or came.is_quantized:
        raise ConversionError(f"{path}: '{name}' needs plain numbers, got a tensor that is sparse or has none")
    if came.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ConversionError(f"{path}: '{name}' needs float32, which cannot hold {came.dtype} exactly")


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors have the same values; tensors of a file may share memory."""
    return (a.data_ptr() == b.data_ptr() and a.dtype == b.dtype) or torch.equal(a.reshape(-1), b.reshape(-1))


def some(names: Sequence[str], most: int = 6) -> str:
    """Return the first names, quoted, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name[:80]}'" for name in names[:most]) + more
