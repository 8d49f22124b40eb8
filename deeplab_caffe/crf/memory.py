"""Asking for memory before taking it: Linux hands out more than it has, and then kills the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.errors import CRFError

__all__ = ["CRFMemoryError", "available_memory", "check_memory", "memory_errors"]


class CRFMemoryError(CRFError, MemoryError):
    """A dense CRF would need more memory than there is."""


def check_memory(needed: int, what: str) -> None:
    """Raises CRFMemoryError if ``needed`` bytes are more than is available."""
    available = available_memory()
    if available is not None and needed > available:
        raise CRFMemoryError(f"{what} needs at least {_gib(needed)} of memory, but {_gib(available)} are available")


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turns a MemoryError from within into a CRFMemoryError that says what was being done."""
    try:
        yield
    except CRFMemoryError:
        raise
    except MemoryError as exc:
        raise CRFMemoryError(f"{what}: not enough memory") from exc


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
