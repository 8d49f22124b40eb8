"""Files of plain values and arrays, nested in dicts and lists; reading such a file runs no code from it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeplab_caffe.data.io.archive import check_torch_archive
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import SolverError

# The only key of a dict that holds an unsigned array as a signed one: torch before 2.6 cannot save the unsigned types.
_UNSIGNED = "unsigned array"


def write_state(path: str | PathLike[str], state: dict[str, Any]) -> None:
    """Write nested dicts (keys are strings), lists, arrays, numbers, strings, booleans and None, atomically.

    Values are read back bit for bit; tuples are read back as lists.

    Raises:
        DataError: the file cannot be written.
        TypeError: the state has a value of another type.
    """
    packed = _packed(state)
    with atomic_write(path, sync=True) as file:
        torch.save(packed, file)


def read_state(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a file that :func:`write_state` wrote.

    Raises:
        SolverError: the file cannot be read, or is not such a file.
    """
    try:
        check_torch_archive(path)
        # Pass a stream: given a path, torch also looks at the name.
        with Path(path).open("rb") as file:
            state = _unpacked(torch.load(file, map_location="cpu", weights_only=True))
        if not isinstance(state, dict):
            raise TypeError("it holds no dict")
    except Exception as error:  # zipfile, pickle and torch each raise their own errors for a damaged file
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        raise SolverError(f"cannot be read: {reason}", path) from error
    return state


def _packed(value: Any) -> Any:
    """Return the value with arrays replaced by tensors, which torch can read without running code."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "u" and value.itemsize > 1:
            return {_UNSIGNED: _packed(value.copy().view(f"i{value.itemsize}"))}
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys must be strings, got {list(value)}")
        return {key: _packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packed(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _unpacked(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        # With strides of 0 a small file could claim an array of any size.
        if not value.is_contiguous():
            raise ValueError("a tensor in it is not contiguous")
        return value.numpy()
    if isinstance(value, dict):
        found = {key: _unpacked(item) for key, item in value.items()}
        signed = found.get(_UNSIGNED)
        return signed.view(f"u{signed.itemsize}") if isinstance(signed, np.ndarray) else found
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    return value
