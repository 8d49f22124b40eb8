"""Check the memory before a dense CRF: Linux grants more than there is, and kills the process when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deeplab_caffe import _C
from deeplab_caffe.arrays import Array, Arrays, Shape
from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.errors import CRFError

# Keeps large buffers for the next image; clear_cache() frees them. Enough for 2048 x 1024 pixels with 21 labels, where
# clearing new ones would take the system a tenth of the time. The limit is 0 under a sanitizer, so that it can see uses
# after free.
DEFAULT_WORKSPACE = _C.Workspace(4 * _C.Workspace().limit)


class CRFMemoryError(CRFError, MemoryError):
    """A dense CRF would need more memory than there is."""


def check_memory(needed: int, what: str, workspace: _C.Workspace = DEFAULT_WORKSPACE) -> None:
    """Check that ``needed`` bytes are available.

    Args:
        needed: number of bytes.
        what: what the memory is for, for the message.
        workspace: the workspace that provides it; the buffers that it keeps count as available, since it frees them.

    Raises:
        CRFMemoryError: not that much is available.
    """
    available = available_memory(reclaimable=workspace.nbytes)
    if available is not None and needed > available:
        raise CRFMemoryError(f"{what} needs at least {_gib(needed)} of memory, but {_gib(available)} are available")


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn a MemoryError within the block into a CRFMemoryError that names ``what`` was being computed."""
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
