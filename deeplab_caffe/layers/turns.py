"""Turns that threads take where they share a layer with a state."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet


class Turns:
    """A lock for a ``with`` block, which its own thread may enter again.

    A copy, pickled ones too, is a lock of its own. So it is in a forked process, which would wait for ever for a thread
    that only its parent has.
    """

    def __init__(self) -> None:
        self.begin()
        _ALL.add(self)

    def begin(self) -> None:
        """Begin with nobody inside."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Turns], tuple[()]]:
        return Turns, ()


_ALL: WeakSet[Turns] = WeakSet()


def _after_fork() -> None:
    for turns in _ALL:
        turns.begin()


os.register_at_fork(after_in_child=_after_fork)
