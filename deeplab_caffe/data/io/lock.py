"""A lock that one process holds, and that ends with the process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from deeplab_caffe.errors import DataError, DeepLabCaffeError


@contextmanager
def exclusive(path: str | PathLike[str], refusal: DeepLabCaffeError) -> Iterator[None]:
    """Hold the operating system's lock on a file while the block runs.

    The file stays when the lock is given back, or its process is killed; a file that is left locks nothing.

    Args:
        path: the lock file; it is made where it is missing.
        refusal: the error to raise if another process holds the lock.

    Raises:
        DataError: the file cannot be made, or its file system knows no locks.
    """
    from filelock import FileLock, Timeout  # of the extra torch

    lock = FileLock(Path(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise refusal from None
    except (OSError, NotImplementedError) as error:
        raise DataError(f"cannot be locked: {getattr(error, 'strerror', None) or error}", path) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def folder_lock(folder: str | PathLike[str], *, wait: bool = True) -> Iterator[None]:
    """Hold the operating system's lock on a folder while the block runs; no file is made for it.

    Where there are no such locks (Windows, some network file systems), the block runs all the same.

    Args:
        folder: it is there.
        wait: until another process gives it back.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is False.
        OSError: the folder cannot be opened.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
