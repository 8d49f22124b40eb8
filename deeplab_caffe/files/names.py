"""Tests whether files exist whose names come from other files: pathlib raises errors for impossible names."""

from __future__ import annotations

import os
import stat
from os import PathLike
from reprlib import repr as short_repr
from typing import Any

_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Paths of <(command) in the shell and similar ones: this process has these files open already.
_OPEN = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


def check_path(path: Any, name: str, hint: str = "") -> None:
    """Check that an argument is a path.

    Args:
        path: the argument.
        name: its name, for the message.
        hint: what else may be meant, for the message.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(path, (str, PathLike)) or isinstance(os.fspath(path), bytes):
        hint = "take os.fsdecode(path)" if isinstance(path, bytes) else hint
        came = "None" if path is None else f"{type(path).__name__} {short_repr(path)}"
        raise TypeError(f"{name} must be a path (str or os.PathLike), got {came}{hint and f': {hint}'}")


def exists(path: str | PathLike[str]) -> bool:
    """Return whether something has this name; False for a name that is too long or holds a null character."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | PathLike[str]) -> bool:
    """Return whether this is a file; False for an impossible name."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | PathLike[str]) -> bool:
    """Return whether this is a folder; False for an impossible name."""
    return os.path.isdir(path)  # noqa: PTH112


def special(path: str | PathLike[str] | os.DirEntry[str]) -> str:
    """Return the kind of a special file, such as ``"a pipe"``; ``""`` for a file, a folder or a missing name.

    Opening a special file may block forever. What this process has open, such as ``/dev/fd/63``, counts as a file.
    """
    try:
        found = path.stat() if isinstance(path, os.DirEntry) else os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return ""
    name = os.fspath(path)
    return "" if name.startswith(_OPEN) else _SPECIAL.get(stat.S_IFMT(found.st_mode), "")
