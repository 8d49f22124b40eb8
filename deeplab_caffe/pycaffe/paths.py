"""Paths as pycaffe's scripts give them: those of Python 2 end in ``.encode()``."""

from __future__ import annotations

import os
from os import PathLike
from typing import TypeAlias, TypeVar

AnyPath: TypeAlias = str | bytes | PathLike[str]

_T = TypeVar("_T")


def text_path(path: _T | bytes) -> _T | str:
    """Return the path of bytes as text, as the file system names it; anything else as it is."""
    return os.fsdecode(path) if isinstance(path, bytes) else path
