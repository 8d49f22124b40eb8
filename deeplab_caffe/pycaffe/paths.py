"""Paths in pycaffe's scripts: scripts from Python 2 may pass bytes (``.encode()``)."""

from __future__ import annotations

import os
from os import PathLike
from typing import TypeAlias, TypeVar

AnyPath: TypeAlias = str | bytes | PathLike[str]

_T = TypeVar("_T")


def text_path(path: _T | bytes) -> _T | str:
    """Decode a path of bytes with the file system's encoding; return anything else unchanged."""
    return os.fsdecode(path) if isinstance(path, bytes) else path
