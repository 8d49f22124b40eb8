"""Caffe's databases, for reading: LMDB through ``lmdb``, LevelDB through ``plyvel``."""

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
    """Values by key. Keys have an order; values may be asked for in any thread.

    A pickled copy opens the database for itself; a forked child reads on in what its parent has opened, which does no
    harm as neither writes.

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
            DataError: there is no such key any more, or the database is damaged.
        """


class _Handle:
    """An open database of this process, shared by all that read it: LMDB and LevelDB both open only once."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self._process = os.getpid()

    def __del__(self) -> None:
        # A forked child's copy is not its to close: LevelDB might wait for a thread that only the parent has.
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
        """Return the open database; it stays open as long as it is read."""
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
        except Exception as exc:  # each library has its own errors
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
        DataError: it is no LMDB, or empty.
    """

    def _open(self) -> Any:
        lmdb = import_lmdb()
        folder = is_folder(self.path)
        # LMDB maps the file: a page beyond its end, or one that holds anything else, would end the process.
        LMDBPages(Path(self.path) / "data.mdb" if folder else Path(self.path))
        with self._named("cannot be opened as LMDB"):
            # No lock file: the database may lie where one must not write, and nothing writes to it.
            return lmdb.open(os.fspath(self.path), subdir=folder, readonly=True, lock=False, max_readers=1)

    def keys(self) -> Iterator[bytes]:
        """Return all keys in order."""
        with self._named("cannot be read"), self._handle().begin() as transaction, transaction.cursor() as cursor:
            yield from cursor.iternext(keys=True, values=False)

    def get(self, key: bytes) -> bytes:
        """Return the value of a key."""
        with self._named(f"key {key!r}"), self._handle().begin() as transaction:
            value = transaction.get(key)
        if value is None:
            raise DataError(f"key {key!r} is gone", self.path)
        return bytes(value)


class LevelDB(_Opened):
    """A LevelDB, through the library ``plyvel``. LevelDB has no reading without writing: it locks its folder.

    Raises:
        NetError: ``plyvel`` is not installed.
        DataError: it is no LevelDB, or another process has it open.
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
        """Return the value of a key."""
        with self._named(f"key {key!r}"):
            value = self._handle().get(key)
        if value is None:
            raise DataError(f"key {key!r} is gone", self.path)
        return bytes(value)


DATABASES: dict[str, type[_Opened]] = {"LMDB": LMDB, "LEVELDB": LevelDB}
