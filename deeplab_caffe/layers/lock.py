"""The lock by which threads that share a layer with a state take turns."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet


class ForkSafeLock:
    """A reentrant lock for a ``with`` block, which can be copied, pickled and forked.

    A copy or an unpickled object is a new, free lock. A forked process gets a free lock too: otherwise it would wait
    for ever for a thread that exists only in its parent.
    """

    def __init__(self) -> None:
        self.begin()
        _ALL.add(self)

    def begin(self) -> None:
        """Replace the lock by a free one."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[ForkSafeLock], tuple[()]]:
        return ForkSafeLock, ()


_ALL: WeakSet[ForkSafeLock] = WeakSet()


def _after_fork() -> None:
    for lock in _ALL:
        lock.begin()


os.register_at_fork(after_in_child=_after_fork)
