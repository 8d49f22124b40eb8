"""The dense CRF's guard against taking more memory than there is: Linux hands it out, and then kills the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deeplab_caffe import _C
from deeplab_caffe.arrays import Array, Arrays, Shape
from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.errors import CRFError

# Keeps large buffers for the next image; clear_cache() frees them. Enough for 2048 x 1024 pixels with 21 labels, where
# the system would take a tenth of the time to clear new ones. 0 where a sanitizer is to see what is used after its end.
DEFAULT_WORKSPACE = _C.Workspace(4 * _C.Workspace().limit)


class CRFMemoryError(CRFError, MemoryError):
    """A dense CRF would need more memory than there is."""


def check_memory(needed: int, what: str, workspace: _C.Workspace = DEFAULT_WORKSPACE) -> None:
    """Check that ``needed`` bytes are available.

    Args:
        needed: bytes.
        what: what they are for.
        workspace: where they come from; what it keeps counts as available, since it makes room for other sizes.

    Raises:
        CRFMemoryError: they are not.
    """
    available = available_memory(reclaimable=workspace.nbytes)
    if available is not None and needed > available:
        raise CRFMemoryError(f"{what} needs at least {_gib(needed)} of memory, but {_gib(available)} are available")


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn a MemoryError from within into a CRFMemoryError that says what was being done."""
    try:
        yield
    except CRFMemoryError:
        raise
    except MemoryError as exc:
        raise CRFMemoryError(f"{what}: not enough memory") from exc


def allocate(arrays: Arrays, shape: Shape, dtype: str) -> Array:
    """Return a new array whose values are unspecified.

    Raises:
        CRFMemoryError: there is not enough memory.
    """
    try:
        return arrays.empty(shape, dtype)
    except arrays.out_of_memory as exc:
        raise CRFMemoryError(f"{arrays.device}: not enough memory for {dtype} {shape}") from exc


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
