"""Reading files in a child process if they may crash the library that reads them."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from deeplab_caffe.errors import DataError, NetError, how_to_install

_SCRIPT = Path(__file__).with_name("reader.py")
_PIPE_BYTES = 1 << 20


class _Child:
    """This process's child; it is started at the first request, and again after it has ended."""

    process: subprocess.Popen[bytes] | None = None
    lock = threading.Lock()


def _after_fork() -> None:
    # After a fork, the parent's child still belongs to the parent.
    _Child.process, _Child.lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    if _Child.process is not None:
        _end(_Child.process)


def is_running() -> bool:
    """Return whether this process has started a child."""
    return _Child.process is not None


def ask(
    path: str | PathLike[str], kind: str, do: str, into: memoryview | None = None, **request: Any
) -> dict[str, Any]:
    """Send a request about a file to the child.

    Args:
        path: the file.
        kind: kind of the file, for messages.
        do: name of a function of reader.py.
        into: buffer for the bytes of the answer, of exactly their number.
        **request: its other arguments.

    Returns:
        The answer.

    Raises:
        DataError: the file is damaged, rejected or cannot be read. A library that crashes ends only the child.
        NetError: the library is not installed.
    """
    # The child keeps the working directory of its start, so paths must be absolute.
    into = memoryview(bytearray()) if into is None else into
    asked = {"do": do, "path": os.fspath(Path(path).absolute()), "most": len(into), **request}
    line = json.dumps(asked).encode() + b"\n"
    with _Child.lock:
        head = _exchange(line, into) or _exchange(line, into)  # It may just have ended because it was idle.
    if head is None:
        raise DataError("cannot be read: the child process that reads it does not answer", path)
    if "signal" in head:
        raise DataError(f"the {kind} file is damaged: the library that reads it ended by {head['signal']}", path)
    if "missing" in head:
        lacking = str(head["missing"])
        raise NetError(f"'{os.fspath(path)}' cannot be read: it needs {lacking}: {how_to_install(lacking)}")
    if "damaged" in head:
        raise DataError(f"the {kind} file is damaged: {head['damaged']}", path)
    if "refused" in head:
        raise DataError(head["refused"], path)
    return head


def _exchange(line: bytes, into: memoryview) -> dict[str, Any] | None:
    """Send a request; return the answer, or None if the child had already ended normally."""
    process = _running()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
        first = process.stdout.readline()
        if first.endswith(b"\n"):
            head: dict[str, Any] = json.loads(first)
            count = head.get("bytes", 0)
            if process.stdout.readinto(into[:count]) == count:  # type: ignore[attr-defined]  # a BufferedReader
                return head
    except BrokenPipeError:
        pass
    except BaseException:  # Ctrl-C: a late answer would be taken for the answer to the next request
        process.kill()
        _end(process)
        raise
    code = _end(process)
    return None if code >= 0 else {"signal": signal.Signals(-code).name}


def _running() -> subprocess.Popen[bytes]:
    if _Child.process is not None:
        return _Child.process
    # Threads of the libraries would only use memory.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-I", str(_SCRIPT), json.dumps(sys.path)]
    try:
        _Child.process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with suppress(OSError, AttributeError):  # only on Linux; fewer context switches
            fcntl.fcntl(_Child.process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[arg-type]
    except OSError as error:
        raise DataError(f"no child process can be started to read files: {error.strerror}", sys.executable) from error
    return _Child.process


def _end(process: subprocess.Popen[bytes]) -> int:
    _Child.process = None
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    with suppress(BrokenPipeError):
        process.stdin.close()
    return process.wait()
