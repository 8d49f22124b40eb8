"""The free memory of a device."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeplab_caffe.arrays.libraries import import_cupy, imported


def available_memory(device: Any = "cpu", *, reclaimable: int = 0) -> int | None:
    """Return the bytes that this process can still allocate on a device; None if the system does not say.

    On the CPU it is the smallest of the machine's free memory, the rest of a container's limit (cgroups of either
    version) and the rest of the process' limit (``ulimit -v``).

    Args:
        device: "cpu", "cuda", "cuda:1", ..., or a ``torch.device``.
        reclaimable: bytes of CPU memory that the caller keeps and can free when needed: they count as free.
    """
    kind, _, number = str(device).partition(":")
    if kind == "cuda":
        return _cuda_memory(int(number) if number else None)
    limits = [limit for limit in (_machine_memory(), *_container_memory(), _process_memory()) if limit is not None]
    return max(0, min(limits)) + reclaimable if limits else None


def _cuda_memory(index: int | None) -> int:
    torch = imported("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(index)[0])
    cuda = import_cupy().cuda
    with cuda.Device(index):
        return int(cuda.runtime.memGetInfo()[0])


def _machine_memory() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _container_memory() -> list[int]:
    found = []
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" means no limit
            found.append(int(Path(folder, limit).read_text()) - int(Path(folder, used).read_text()))
    return found


def _process_memory() -> int | None:
    if sys.platform != "linux":
        return None
    with suppress(OSError, ValueError, IndexError):
        import resource

        ceiling, _ = resource.getrlimit(resource.RLIMIT_AS)
        if ceiling != resource.RLIM_INFINITY:
            return ceiling - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return None
