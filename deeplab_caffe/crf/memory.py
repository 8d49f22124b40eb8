"""Asking for memory before taking it: Linux hands out more than it has, and then kills the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deeplab_caffe import _C
from deeplab_caffe.errors import CRFError


class CRFMemoryError(CRFError, MemoryError):
    """A dense CRF would need more memory than there is."""


def available_memory() -> int | None:
    """Bytes that this process can still take, as far as the system tells; None where it does not."""
    limits = []
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/meminfo").read_text().splitlines():
                if line.startswith("MemAvailable:"):
                    limits.append(int(line.split()[1]) * 1024)
        # A container's limit, of either version of cgroups.
        for folder, limit, used in (
            ("/sys/fs/cgroup", "memory.max", "memory.current"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            with suppress(OSError, ValueError):
                limits.append(int(Path(folder, limit).read_text()) - int(Path(folder, used).read_text()))
        with suppress(OSError, ValueError, IndexError):
            import resource

            ceiling, _ = resource.getrlimit(resource.RLIMIT_AS)
            if ceiling != resource.RLIM_INFINITY:
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                limits.append(ceiling - pages * resource.getpagesize())
    # What is kept for the next image is given back if that needs other sizes.
    return max(0, min(limits)) + _C.kept_block_bytes() if limits else None


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
