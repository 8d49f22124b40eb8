"""Read Caffe's databases: LMDB with ``lmdb``, LevelDB with ``plyvel``."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from deeplab_caffe.data.io.lmdb_pages import LMDBPages
from deeplab_caffe.errors import DataError, NetError, how_to_install
from deeplab_caffe.files.names import exists, is_folder


class Database(ABC):
    """Values by key. Keys are ordered; values may be read in any thread.

    A pickled copy opens the database itself. A forked child goes on reading what its parent has opened, which is safe
    because neither writes.

    Args:
        path: the database.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = path

    @abstractmethod
    def keys(self) -> Iterator[bytes]:
        """Return all keys in order."""

    @abstractmethod
    def get(self, key: bytes) -> bytes:
        """Return the value of a key.

        Raises:
            DataError: the key no longer exists, or the database is damaged.
        """


class _Handle:
    """An open database, shared by all its readers in this process: LMDB and LevelDB can be opened only once."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self._process = os.getpid()

    def __del__(self) -> None:
        # A forked child must not close its copy: LevelDB might wait for a thread that exists only in the parent.
        if self._process == os.getpid():
            self.database.close()


_handles: WeakValueDictionary[str, _Handle] = WeakValueDictionary()
_lock = threading.Lock()


class _Opened(Database):
    """A database that a library opens."""

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path)
        if not exists(path):
            raise DataError("no such database", path)
        self._held: _Handle | None = None
        self._handle()

    @abstractmethod
    def _open(self) -> Any:
        """Open it."""

    def _handle(self) -> Any:
        """Return the open database, which stays open while it is read."""
        if self._held is None:
            key = os.path.realpath(self.path)
            with _lock:
                handle = _handles.get(key)
                if handle is None:
                    handle = _handles[key] = _Handle(self._open())
                self._held = handle
        return self._held.database

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except Exception as exc:  # each library raises its own errors
            raise DataError(f"{doing}: {exc or type(exc).__name__}", self.path) from exc

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": None}


def import_lmdb() -> Any:
    """Return the library.

    Raises:
        NetError: it is not installed.
    """
    try:
        import lmdb
    except ImportError as exc:
        raise NetError(f"LMDB databases need lmdb: {how_to_install('lmdb')}") from exc
    return lmdb


class LMDB(_Opened):
    """An LMDB, a folder or a file.

    Raises:
        NetError: the library ``lmdb`` is not installed.
        DataError: it is not an LMDB, or is empty.
    """

    def _open(self) -> Any:
        lmdb = import_lmdb()
        folder = is_folder(self.path)
        # LMDB maps the file into memory: missing or damaged pages would crash the process, so check them first.
        LMDBPages(Path(self.path) / "data.mdb" if folder else Path(self.path))
        with self._named("cannot be opened as LMDB"):
            # No lock file, because the folder may be read-only; and nothing writes to the database.
            return lmdb.open(os.fspath(self.path), subdir=folder, readonly=True, lock=False, max_readers=1)

    def keys(self) -> Iterator[bytes]:
        """Return all keys in order."""
        with self._named("cannot be read"), self._handle().begin() as transaction, transaction.cursor() as cursor:
            yield from cursor.iternext(keys=True, values=False)

    def get(self, key: bytes) -> bytes:
        """Return the value of a key.

        Raises:
            DataError: there is no such key any more.
        """
        with self._named(f"key {key!r}"), self._handle().begin() as transaction:
            value = transaction.get(key)
        if value is None:
            raise DataError(f"key {key!r} is gone", self.path)
        return bytes(value)


class LevelDB(_Opened):
    """A LevelDB, read with ``plyvel``. LevelDB cannot open a database for reading only: it locks the folder.

    Raises:
        NetError: ``plyvel`` is not installed.
        DataError: it is not a LevelDB, or another process has it open.
    """

    def _open(self) -> Any:
        try:
            import plyvel
        except ImportError as exc:
            raise NetError(
                f"backend LEVELDB (the default) needs plyvel: {how_to_install('plyvel')}, or convert the "
                "database to LMDB and say backend: LMDB"
            ) from exc
        with self._named("cannot be opened as LevelDB"):
            return plyvel.DB(os.fspath(self.path), create_if_missing=False)

    def keys(self) -> Iterator[bytes]:
        """Return all keys in order."""
        with self._named("cannot be read"), self._handle().iterator(include_value=False) as iterator:
            yield from iterator

    def get(self, key: bytes) -> bytes:
        """Return the value of a key.

        Raises:
            DataError: there is no such key any more.
        """
        with self._named(f"key {key!r}"):
            value = self._handle().get(key)
        if value is None:
            raise DataError(f"key {key!r} is gone", self.path)
        return bytes(value)


DATABASES: dict[str, type[_Opened]] = {"LMDB": LMDB, "LEVELDB": LevelDB}
