"""Atomic writing: a reader sees the old file or the complete new one, never a part.

All rooms write files through this module, each with its own error. Incomplete files of killed processes are removed.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import io
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from deeplab_caffe.errors import CaffeModelError, DataError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{12}\.dlc\.tmp", re.DOTALL)
# Folders in which this process has removed leftovers of others; each is searched once.
_swept: set[str] = set()
# Files that are being written, each with its process, because a forked one has a copy of this set.
_unfinished: set[tuple[int, Path]] = set()


@atexit.register
def _remove_unfinished() -> None:
    """Remove what a signal left: its exception may be raised where no block of this module catches it."""
    for process, path in list(_unfinished):
        if process == os.getpid():
            with suppress(OSError):
                path.unlink()


class _File(io.FileIO):
    """A file that keeps the error of a failed write, because some libraries replace it by their own errors.

    Attributes:
        failure: the operating system's error.
    """

    failure: OSError | None = None

    def write(self, content: Buffer) -> int:
        """Write to the file."""
        try:
            return super().write(content)
        except OSError as error:
            self.failure = error
            raise


@contextmanager
def all_or_none() -> Iterator[list[Path]]:
    """Remove the files of a list if the block raises, so that all of several files are written or none.

    Yields:
        An empty list: add each file to it after it is written.
    """
    written: list[Path] = []
    try:
        yield written
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


@contextmanager
def write_atomically(
    path: str | PathLike[str],
    error: type[DataError] | type[CaffeModelError],
    *,
    make_folders: bool = False,
    sync: bool = False,
) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` for writing; it is renamed to ``path`` if the block ends without an error.

    If the block raises, or the disk is full, the temporary file is removed and the old file at ``path`` is unchanged. A
    symbolic link is followed; a special file (``/dev/stdout``, a pipe) is written to directly. The temporary file is
    locked until it is renamed. The lock distinguishes the leftovers of killed processes from files that are being
    written, on any host and in any container; the first write to a folder removes leftovers.

    Args:
        path: the file to write.
        error: the class of error to raise.
        make_folders: create missing parent folders.
        sync: flush the bytes to the disk before renaming, for files that must survive a power failure.

    Yields:
        A binary file object open for writing.

    Raises:
        DataError: or ``error``: the operating system reports an error (no such folder, no permission, no space, ...).
    """
    working: Path | None = None
    try:
        # Replacing the link itself would leave its target unchanged.
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if make_folders:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            raw = _File(target, "wb")
        else:
            _sweep(target.parent)
            working, raw = _open_locked(target)
    except (OSError, ValueError) as exc:
        raise _unwritable(path, exc, error) from exc
    # Closing the stream keeps the lock, which both descriptors share.
    lock = os.dup(raw.fileno())
    try:
        with io.BufferedWriter(raw) as stream:
            yield stream
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        if working is not None:
            working.replace(target)
            _unfinished.discard((os.getpid(), working))
    except BaseException as exc:
        if working is not None:
            with suppress(OSError):
                working.unlink()
                _unfinished.discard((os.getpid(), working))
        cause = raw.failure if raw.failure is not None and isinstance(exc, Exception) else exc
        if isinstance(cause, OSError):
            raise _unwritable(path, cause, error) from exc
        raise
    finally:
        os.close(lock)


def _open_locked(target: Path) -> tuple[Path, _File]:
    # A name may have 255 bytes.
    start = os.fsencode(target.name)[:160].decode("utf-8", "ignore")
    while True:
        # Not tempfile: the result would keep its mode 0600.
        working = target.with_name(f".{start}.{secrets.token_hex(6)}.dlc.tmp")
        _unfinished.add((os.getpid(), working))
        try:
            raw = _File(working, "xb")
        except OSError:
            _unfinished.discard((os.getpid(), working))
            raise
        with suppress(OSError):  # a file system without locks
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have removed it as a leftover before it was locked.
        if os.fstat(raw.fileno()).st_nlink:
            return working, raw
        raw.close()
        _unfinished.discard((os.getpid(), working))


def _sweep(folder: Path) -> None:
    """Remove leftovers of processes that no longer run from a folder."""
    if str(folder) in _swept:
        return
    _swept.add(str(folder))
    with suppress(OSError):
        for left in folder.iterdir():
            if _LEFTOVER.fullmatch(left.name):
                with suppress(OSError), left.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()


def _unwritable(
    path: str | PathLike[str], exc: Exception, error: type[DataError] | type[CaffeModelError]
) -> DataError | CaffeModelError:
    """Return an error with the operating system's message, without the error number and the repeated path."""
    reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    if re.fullmatch(r"\d+ requested and \d+ written", reason):
        # numpy's tofile says how many items, and not why.
        reason = f"No space left on device, or a limit of size is reached ({reason})"
    return error(f"cannot be written: {reason}", path, reason=reason)
