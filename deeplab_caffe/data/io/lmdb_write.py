"""Write LMDBs, completely or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike, fspath
from pathlib import Path

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.database import import_lmdb
from deeplab_caffe.errors import DataError
from deeplab_caffe.files.names import exists

# As in Caffe (db_lmdb.cpp): reserved address space, not memory or disk.
_MAP_BYTES = 1 << 40
# Records per transaction, as in convert_imageset.
_TRANSACTION = 1000

Put = Callable[[bytes, bytes], None]


@contextmanager
def write_lmdb(path: str | PathLike[str]) -> Iterator[Put]:
    """Make an LMDB, a folder with ``data.mdb``, which appears when the block ends without error.

    Args:
        path: the folder, which must not exist; nothing is added to an existing LMDB.

    Yields:
        A function that stores a value under a key; the last value of a key counts.

    Raises:
        NetError: the library ``lmdb`` is not installed.
        DataError: the folder exists already, or cannot be written.
    """
    lmdb = import_lmdb()
    folder = Path(path)
    if exists(folder):
        raise DataError("is there already: an LMDB is written anew", path)
    try:
        with (
            atomic_write(folder / "data.mdb", make_folders=True) as stream,
            lmdb.open(fspath(stream.name), subdir=False, lock=False, map_size=_MAP_BYTES) as environment,
        ):
            pending: list[tuple[bytes, bytes]] = []

            def flush() -> None:
                with environment.begin(write=True) as transaction:
                    for key, value in pending:
                        transaction.put(key, value)
                pending.clear()

            def put(key: bytes, value: bytes) -> None:
                pending.append((key, value))
                if len(pending) == _TRANSACTION:
                    flush()

            yield put
            flush()
    except BaseException as error:
        with suppress(OSError):
            folder.rmdir()
        if isinstance(error, lmdb.Error):
            # LMDB reports a write that a full disk cut short as an I/O error of the disk.
            hint = ": is the disk full?" if "Input/output error" in str(error) else ""
            raise DataError(f"cannot be written: {error}{hint}", path) from error
        raise
