"""A lock that one process holds, and that ends with the process, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from filelock import FileLock, Timeout

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
