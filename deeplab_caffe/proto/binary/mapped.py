"""Opening a binary Caffe file: mapping it into memory, and checking that it is one."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.files.hdf5 import SIGNATURE as HDF5
from deeplab_caffe.proto.binary.wire import WireError

_SIGNATURES = (
    (HDF5, "an HDF5 file"),
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint?)"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"<!DOCTYPE", "a web page: the download went wrong"),
    (b"<html", "a web page: the download went wrong"),
    (b"version https://git-lfs", "a git-lfs pointer; run git lfs pull"),
)


def map_file(path: str | os.PathLike[str], kind: str) -> memoryview:
    """Map a file read-only and return its bytes; a page is read only when it is used.

    The mapping lives as long as the view or an array made of it. The file must not be shortened in this time; writing a
    new file and renaming it, as this package does, is safe.

    Args:
        path: the file.
        kind: the expected kind of file (``"caffemodel"``), for messages.

    Raises:
        CaffeModelError: the file cannot be opened, is empty, or is clearly of another kind.
    """
    try:
        # Checked before opening, because opening a named pipe waits for its writer.
        info = Path(path).stat()
        if not stat.S_ISREG(info.st_mode):
            raise CaffeModelError("is a directory" if stat.S_ISDIR(info.st_mode) else "is not a regular file", path)
        if info.st_size == 0:
            raise CaffeModelError("is empty", path)
        with Path(path).open("rb") as file:
            try:
                buffer = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError):  # a file system that cannot map
                buffer = memoryview(file.read())
    except OSError as error:
        raise CaffeModelError(f"cannot be read: {error.strerror or error}", path) from error
    except CaffeModelError:
        raise
    except ValueError as error:  # a NUL in the file name
        raise CaffeModelError(f"cannot be read: {error}", path) from error
    head = bytes(buffer[:256])
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise CaffeModelError(f"is not a binary {kind} but {what}", path, 0)
    if _looks_like_text(head):
        raise CaffeModelError(f"is not a binary {kind} but text (a prototxt?)", path, 0)
    return buffer


_KINDS = ("caffemodel", "solverstate", "binaryproto")


def _looks_like_text(head: bytes) -> bool:
    # A net's, a state's and a blob's second field at the latest has a tag or value below 32 in its first bytes.
    return all(byte >= 32 or byte in b"\t\r\n" for byte in head)


@contextmanager
def named_errors(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turn WireError into CaffeModelError with the file's name."""
    try:
        yield
    except WireError as error:
        raise CaffeModelError(
            f"is not a sound {kind}{_hint(path, kind)}: {error}", path, error.offset, error.layer
        ) from error


def _hint(path: str | os.PathLike[str], kind: str) -> str:
    """Return the other kind of file that the file's name suggests, or ``""``."""
    name = os.fspath(path)
    found = next((other for other in _KINDS if other != kind and name.endswith(f".{other}")), None)
    return f" but, by its name, a {found}" if found else ""
