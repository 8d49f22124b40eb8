"""Plain values and arrays, nested in dicts and lists, in one file that runs no code when it is read."""

from __future__ import annotations

import json
import zipfile
import zlib
from os import PathLike
from typing import Any

import numpy as np

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import SolverError

_TREE = "tree"
_ARRAY = "$array"
# What numpy, zipfile and json raise on files that are cut off, changed or something else.
_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    AttributeError,
    SyntaxError,
    MemoryError,
    OverflowError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_state(path: str | PathLike[str], state: dict[str, Any]) -> None:
    """Writes a nest of dicts (keys are strings), lists, arrays, numbers, strings, booleans and None, atomically.

    Floats come back bit for bit; tuples come back as lists.

    Raises:
        DataError: the file cannot be written.
        TypeError: something else is in the nest.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_encode(state, arrays)).encode()
    with atomic_write(path, sync=True) as file:
        np.savez(file, **{_TREE: np.frombuffer(tree, np.uint8)}, **arrays)


def read_state(path: str | PathLike[str]) -> dict[str, Any]:
    """Reads what :func:`write_state` wrote.

    Raises:
        SolverError: the file cannot be read, or is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        state = _decode(json.loads(arrays.pop(_TREE).tobytes()), arrays)
        if not isinstance(state, dict):
            raise ValueError("holds no dict")
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise SolverError(f"cannot be read: {reason}", path) from error
    return state


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"an array of {value.dtype} cannot be stored")
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        if not all(isinstance(key, str) and key != _ARRAY for key in value):
            raise TypeError(f"keys must be strings other than {_ARRAY!r}, got {list(value)}")
        return {key: _encode(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item, arrays) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if isinstance(value, dict):
        if _ARRAY in value:
            return arrays[value[_ARRAY]]
        return {key: _decode(item, arrays) for key, item in value.items()}
    return value
