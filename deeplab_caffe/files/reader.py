"""The child process of child.py: it reads HDF5, because a damaged file can crash the library.

It runs as a script, without the package; its argument is ``sys.path`` in JSON. Each line of its input is a request in
JSON; it answers with a line of JSON, followed by the number of bytes given there. It ends when its input ends, or when
it has been idle for a while.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

IDLE_SECONDS = 60.0
# More processor time than this means an endless loop in a library; requested bytes get additional time.
CPU_SECONDS, CPU_BYTES_PER_SECOND = 60.0, 4e6
# The most bytes that deflate can make of one byte; and the size that any file may claim.
MOST_UNPACKED, FREE_BYTES = 1032, 64 << 20
MOST_OBJECTS, MOST_DEPTH = 100_000, 32
MOST_NAMES = 20
_CHUNK_CACHE_BYTES = 64 << 20

Answer = tuple[dict[str, Any], Any]


class RefusedError(Exception):
    """The file is valid, but not accepted."""


class _Open:
    """The HDF5 file that rows were read from last."""

    key: Any = None
    file: Any = None


def stamp(file: str | int) -> list[int]:
    """Return the identity of a file, given by path or descriptor, to detect its replacement."""
    info = os.stat(file)  # noqa: PTH116
    return [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns]


def describe(path: str, names: list[str] | None) -> Answer:
    """Return place, type and size of the named datasets, or without names of all datasets."""
    before = stamp(path)
    if _Open.file is not None and _Open.key[1] != before:
        # The library would show a rewritten file as it was when it was opened, for as long as it is open.
        close(path)
    with _h5py_file(path) as file:
        wanted, groups = names or [], list[str]()
        if names is None:
            _walk(file, "", wanted, groups)
        facts = [_facts(file, name, before[2]) for name in wanted]
        held = []
        if any(one is None for one in facts):
            held = [name for name in list(file)[:MOST_NAMES] if _is_dataset(file.get(name))]
    return {"stamp": before, "names": wanted, "facts": facts, "held": held, "groups": groups}, b""


def read(path: str, stamp_then: list[int], name: str, start: int | None, stop: int | None) -> Answer:
    """Return rows of a dataset, or all of it."""
    import numpy as np

    if stamp(path) != stamp_then:
        close(path)
        raise RefusedError("has changed since it was opened")
    if _Open.key != (path, stamp_then):
        close(path)
        _Open.key, _Open.file = (path, stamp_then), _h5py_file(path)
    dataset = _Open.file[name]
    # h5py removes the closing zeros of a single string.
    values = np.asarray(dataset[()] if start is None else dataset[start:stop], dataset.dtype, order="C")
    return {"dtype": values.dtype.str, "shape": list(values.shape), "bytes": values.nbytes}, values.reshape(-1).data


def close(path: str) -> Answer:
    """Close the open file, if any."""
    if _Open.file is not None:
        _Open.key, file, _Open.file = None, _Open.file, None
        file.close()
    return {}, b""


def _h5py_file(path: str) -> Any:
    import h5py

    try:
        # No lock: another process may continue to write the file.
        return h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES, locking=False)
    except Exception as error:
        raise RefusedError(f"cannot be read as HDF5: the HDF5 file is damaged: {_words(error)}") from error


def _is_dataset(item: Any) -> bool:
    import h5py

    return isinstance(item, h5py.Dataset)


def _walk(group: Any, inside: str, found: list[str], groups: list[str]) -> None:
    """Collect the names of all datasets and groups below a group; links are not followed."""
    import h5py

    if inside.count("/") > MOST_DEPTH:
        raise RefusedError(f"its groups are nested more than {MOST_DEPTH} deep")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise RefusedError(f"'{_shown(name)}' is a link")
        path, item = f"{inside}{_shown(name)}", group[name]
        if isinstance(item, h5py.Group):
            groups.append(path)
            _walk(item, f"{path}/", found, groups)
        else:
            found.append(path)
        if len(found) + len(groups) > MOST_OBJECTS:
            raise RefusedError(f"has more than {MOST_OBJECTS:,} groups and datasets")


def _facts(file: Any, name: str, file_size: int) -> dict[str, Any] | None:
    """Return the facts for reading a dataset; None if there is no such dataset."""
    import h5py

    item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        return None
    if item.file.filename != file.filename or item.is_virtual or item.external:
        raise RefusedError(f"dataset '{_shown(name)}' lies in other files")
    shape, dtype = item.shape, item.dtype
    if shape is None:
        return {"shape": [0], "dtype": dtype.str, "offset": None, "attributes": []}
    size = math.prod(shape) * dtype.itemsize
    _check_claims(item, name, size, file_size)
    plain = dtype.kind in "fiu" and h5py.h5t.py_create(dtype).equal(item.id.get_type())
    offset = item.id.get_offset() if plain and item.chunks is None else None
    attributes = list(item.attrs)[:MOST_NAMES]
    return {"shape": list(shape), "dtype": dtype.str, "offset": offset, "attributes": attributes}


def _check_claims(item: Any, name: str, size: int, file_size: int) -> None:
    """Reject sizes that the bytes in the file cannot produce, before memory is allocated for them."""
    stored = min(item.id.get_storage_size(), file_size)
    chunk = math.prod(item.chunks or ()) * item.dtype.itemsize
    most = max(FREE_BYTES, MOST_UNPACKED * stored)
    for what, claimed in (("values", size), ("chunks", chunk)):
        if claimed > most:
            raise RefusedError(f"dataset '{_shown(name)}': its {what} claim more than {most:,} bytes: {claimed:,}")


DO: dict[str, Callable[..., Answer]] = {"describe": describe, "read": read, "close": close}


def _shown(name: str | bytes) -> str:
    """Return a name as text: h5py returns bytes if a name is not UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def _words(error: Exception) -> str:
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).partition("\n")[0]
    return text[:300].encode("utf-8", "backslashreplace").decode()


def _answer(request: dict[str, Any]) -> Answer:
    most = request.pop("most")
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS + most / CPU_BYTES_PER_SECOND)
    try:
        head, payload = DO[request.pop("do")](**request)
        if head.get("bytes", 0) > most:
            raise RefusedError(f"gives {head['bytes']:,} bytes instead of {most:,}")
        return head, payload
    except RefusedError as error:
        return {"refused": str(error)}, b""
    except ImportError as error:
        return {"missing": error.name or str(error)}, b""
    except Exception as error:  # a damaged file can cause any exception of the library
        return {"damaged": _words(error)}, b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def serve() -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    requests = sys.stdin.buffer
    sys.path[:] = json.loads(sys.argv[1])
    while select.select([requests], [], [], IDLE_SECONDS)[0] and (line := requests.readline()):
        head, payload = _answer(json.loads(line))
        out.write(json.dumps(head, default=_shown).encode() + b"\n")
        out.write(payload)
        out.flush()


if __name__ == "__main__":
    try:
        serve()
    except BrokenPipeError:
        os._exit(0)
