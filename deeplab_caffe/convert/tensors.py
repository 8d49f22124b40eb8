"""Weights as named tensors: safetensors and state_dict files."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import ConversionError, DataError

if TYPE_CHECKING:
    from deeplab_caffe.net import Net


def tensors_of(net: Net) -> dict[str, Tensor]:
    """A net's weights by name: ``conv1_1.weight`` (O, C, kh, kw), ``conv1_1.bias`` (O,), ... in the net's order.

    They share the net's memory. A parameter that several layers share appears under each of them.
    """
    return {
        f"{layer.name}.{name}": blob.detach()
        for layer in net.layers
        for name, blob in layer.named_parameters(recurse=False)
    }


def save_safetensors(net: Net, path: str | PathLike[str]) -> None:
    """Writes a safetensors file.

    Raises:
        ConversionError: safetensors is not installed, or the file cannot be written.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ConversionError("safetensors files need the package safetensors: pip install safetensors") from error
    # Copies: the format refuses tensors that share memory.
    tensors = {name: blob.float().cpu().contiguous().clone() for name, blob in tensors_of(net).items()}
    # One entry: more would come in any order, and the same weights are to give the same file.
    _write(path, save(tensors, metadata={"format": "pt"}))


def save_state_dict(net: Net, path: str | PathLike[str]) -> None:
    """Writes what ``torch.load(path, weights_only=True)`` reads: a dict of tensors.

    Raises:
        ConversionError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({name: blob.float().cpu().contiguous().clone() for name, blob in tensors_of(net).items()}, buffer)
    _write(path, buffer.getvalue())


def _write(path: str | PathLike[str], content: bytes) -> None:
    try:
        with atomic_write(path) as file:
            file.write(content)
    except DataError as error:
        raise ConversionError(str(error)) from error


def read_tensors(path: str | PathLike[str]) -> dict[str, Tensor] | None:
    """The tensors of a safetensors or state_dict file; None if it is neither, so presumably a caffemodel.

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
            return _checked(torch.load(path, map_location="cpu", weights_only=True), path)
        if len(head) == 9 and head[8:] == b"{" and 8 < 8 + int.from_bytes(head[:8], "little") <= size:
            return _checked(_safetensors(path), path)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f"{path}: cannot be read: {str(error).partition(chr(10))[0]}") from error
    return None


def _safetensors(path: str | PathLike[str]) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConversionError("safetensors files need the package safetensors: pip install safetensors") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConversionError(f"{path}: cannot be read: {error}") from error


def _checked(found: object, path: str | PathLike[str]) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConversionError(f"{path}: expected a dict of tensors, as state_dict() gives")
    return dict(found)


def load_tensors(net: Net, tensors: Mapping[str, Tensor], path: str | PathLike[str] = "tensors") -> None:
    """Copies named tensors into a net; the names are those of :func:`tensors_of`.

    Args:
        net: the net; changed only once all of it has been found to fit.
        tensors: float32, or a shorter float that float32 can hold exactly.
        path: the file they come from, for messages.

    Raises:
        ConversionError: names are missing or unknown, or shapes or dtypes do not fit.
    """
    own = tensors_of(net)
    missing, unknown = [name for name in own if name not in tensors], [name for name in tensors if name not in own]
    if missing or unknown:
        parts = [f"has no {_some(missing)}"] * bool(missing) + [f"has {_some(unknown)}, which are none"] * bool(unknown)
        raise ConversionError(f"{path}: {' and '.join(parts)} of net '{net.name}'")
    taken: dict[int, tuple[str, Tensor]] = {}
    for name, blob in own.items():
        came = tensors[name]
        if came.shape != blob.shape:
            raise ConversionError(f"{path}: '{name}' needs shape {tuple(blob.shape)}, got {tuple(came.shape)}")
        if came.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise ConversionError(f"{path}: '{name}' needs float32, which cannot hold {came.dtype} exactly")
        first, value = taken.setdefault(blob.data_ptr(), (name, came))
        if value is not came and not torch.equal(value, came):
            raise ConversionError(f"{path}: '{first}' and '{name}' are one parameter of the net, but differ")
    with torch.no_grad():
        for name, blob in own.items():
            blob.copy_(tensors[name])


def _some(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
