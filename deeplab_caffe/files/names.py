"""Whether files are there whose names come from other files: pathlib raises for names that cannot be any file's."""

from __future__ import annotations

import os
from os import PathLike


def exists(path: str | PathLike[str]) -> bool:
    """Return whether something has this name; False for a name that is too long or holds a null character."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | PathLike[str]) -> bool:
    """Return whether a file has this name; False likewise."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | PathLike[str]) -> bool:
    """Return whether a folder has this name; False likewise."""
    return os.path.isdir(path)  # noqa: PTH112
