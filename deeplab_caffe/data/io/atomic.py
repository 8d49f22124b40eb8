"""Writing files so that a reader sees the old one or the whole new one, never a part."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from deeplab_caffe.errors import DataError


@contextmanager
def atomic_write(path: str | PathLike[str], *, make_folders: bool = False, sync: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` for writing; it takes the name ``path`` when the block ends well.

    If the block raises, or the disk is full, the temporary file is removed and what was at ``path`` stays as it was. A
    symbolic link is followed; something that is no plain file (``/dev/stdout``, a pipe) is written to directly.

    Args:
        path: the file to write.
        make_folders: create the folders above it where they are missing.
        sync: have the bytes on the disk before the name changes, for files that must outlive a power cut.

    Yields:
        A binary file object open for writing.

    Raises:
        DataError: if the operating system refuses (no such folder, no permission, no space, ...).
    """
    # Replacing the link itself would leave the file that others know under its real name untouched.
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise DataError("cannot be written: it is a folder", path, reason="it is a folder")
    try:
        if make_folders:
            target.parent.mkdir(parents=True, exist_ok=True)
        special = target.exists() and not target.is_file()
        working = target if special else target.with_name(f".{target.name[:128]}.{secrets.token_hex(6)}.tmp")
        stream = working.open("wb" if special else "xb")
    except (OSError, ValueError) as exc:
        raise _unwritable(path, exc) from exc
    try:
        with stream:
            yield stream
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        if not special:
            working.replace(target)
    except BaseException as exc:
        if not special:
            with suppress(OSError):
                working.unlink()
        if isinstance(exc, OSError):
            raise _unwritable(path, exc) from exc
        raise


def _unwritable(path: str | PathLike[str], exc: Exception) -> DataError:
    """Return an error with the operating system's words, without its number and its repetition of the path."""
    reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    if re.fullmatch(r"\d+ requested and \d+ written", reason):
        # numpy's tofile says how many items, and not why.
        reason = f"no space is left, or a limit of size is reached ({reason})"
    return DataError(f"cannot be written: {reason}", path, reason=reason)
