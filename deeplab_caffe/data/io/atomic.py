"""Write data files so that a reader sees the old file or the complete new one, and never a part."""

from __future__ import annotations

from contextlib import AbstractContextManager
from os import PathLike
from typing import BinaryIO

from deeplab_caffe.errors import DataError
from deeplab_caffe.files.atomic import write_atomically


def atomic_write(
    path: str | PathLike[str], *, make_folders: bool = False, sync: bool = False
) -> AbstractContextManager[BinaryIO]:
    """Open a temporary file beside ``path`` for writing; it is renamed to ``path`` when the block ends without error.

    See :func:`deeplab_caffe.files.atomic.write_atomically`, whose error is a DataError here.
    """
    return write_atomically(path, DataError, make_folders=make_folders, sync=sync)
