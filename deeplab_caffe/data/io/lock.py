"""Locks that one process holds, and that end with the process, even if it is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from deeplab_caffe.errors import DataError, DeepLabCaffeError


@contextmanager
def exclusive(path: str | PathLike[str], refusal: DeepLabCaffeError) -> Iterator[None]:
    """Hold the operating system's lock on a file within the block.

    The file stays when the lock is released or the process is killed; a leftover file locks nothing.

    Args:
        path: the lock file; created if it does not exist.
        refusal: the error to raise if another process holds the lock.

    Raises:
        DataError: the file cannot be created, or its file system does not support locks.
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
    """Hold the operating system's lock on a folder within the block; no file is created.

    If locks of folders are not supported (Windows, some network file systems), the block runs without one.

    Args:
        folder: an existing folder.
        wait: wait until another process releases the lock.

    Raises:
        BlockingIOError: another process holds the lock, and ``wait`` is False.
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
