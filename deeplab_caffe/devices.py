"""Which device to compute on, and how much memory it has left."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from deeplab_caffe.errors import NetError


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return a device by name.

    Args:
        device: None or ``"auto"``: the first GPU if there is one, else the CPU; ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        NetError: an unknown name, or no such GPU.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise NetError(f"device must be auto, cpu or cuda[:index], got {device!r}") from None
    if found.type not in ("cpu", "cuda"):
        raise NetError(f"device must be auto, cpu or cuda[:index], got {device!r}")
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise NetError(f"device {device}: torch {torch.__version__} sees no CUDA device on this machine")
        if (found.index or 0) >= torch.cuda.device_count():
            raise NetError(f"device {device}: there are {torch.cuda.device_count()} GPUs")
    return found


def available_memory(device: torch.device) -> int | None:
    """Bytes that could still be had on a device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [limit for limit in (_system_memory(), _control_group_memory()) if limit is not None]
    return min(limits) if limits else None


def _system_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _control_group_memory() -> int | None:
    """What a container's limit leaves."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        return None if limit == "max" else int(limit) - int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return None
