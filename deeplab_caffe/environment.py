"""The environment of the package: versions, extras, its extension, processor, memory, GPUs; for bug reports.

This module needs neither torch nor CuPy nor the extension: it reports libraries that are missing or cannot be loaded.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from deeplab_caffe._version import __version__

_PACKAGE = "deeplab-caffe"
# Extras for developers of the package.
_FOR_DEVELOPERS = ("test", "lint", "docs", "wheel")
# Instruction sets that speed or number formats depend on.
_INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def describe() -> dict[str, Any]:
    """Return all facts as a dict for JSON; None for missing or unknown facts."""
    requirements = _requirements()
    extras = sorted({extra for extra, _ in requirements if extra and extra not in _FOR_DEVELOPERS})
    base = {name for extra, name in requirements if not extra} | {"torch"}
    return {
        "deeplab_caffe": {"version": __version__, "folder": str(Path(__file__).parent)},
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "memory": _memory(),
        "extension": _extension(),
        "packages": _versions(base),
        "extras": {extra: _versions(name for one, name in requirements if one == extra) for extra in extras},
        "torch": _torch(),
        "gpus": gpus(),
    }


def usable_cores() -> int:
    """Return the number of cores that the process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(indices: Iterable[int] | None = None) -> list[dict[str, Any]]:
    """Return facts of the GPUs with the given indices, of all by default, from torch or, without torch, from CuPy.

    Each has ``index``, ``name``, ``compute_capability``, ``total_memory`` and ``free_memory`` in bytes, and
    ``multiprocessors``.
    """
    torch = _imported("torch")
    if not hasattr(torch, "cuda"):
        return _gpus_of_cupy()
    found = []
    for index in range(torch.cuda.device_count()) if indices is None else indices:
        device = torch.device("cuda", index)
        facts = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        found.append(_gpu(index, facts.name, f"{facts.major}.{facts.minor}", total, free, facts.multi_processor_count))
    return found


def _gpu(index: int, name: str, capability: str, total: int, free: int, processors: int) -> dict[str, Any]:
    return {
        "index": index,
        "name": name,
        "compute_capability": capability,
        "total_memory": total,
        "free_memory": free,
        "multiprocessors": processors,
    }


def _gpus_of_cupy() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    # If CuPy finds no driver, it raises its own errors.
    with suppress(Exception):
        runtime = importlib.import_module("cupy").cuda.runtime
        for index in range(runtime.getDeviceCount()):
            facts = runtime.getDeviceProperties(index)
            with importlib.import_module("cupy").cuda.Device(index):
                free, total = runtime.memGetInfo()
            capability = f"{facts['major']}.{facts['minor']}"
            name = facts["name"].decode(errors="replace")
            found.append(_gpu(index, name, capability, total, free, facts["multiProcessorCount"]))
    return found


def _requirements() -> list[tuple[str, str]]:
    """Return pairs of an extra, or "", and a distribution that the package requires, from its metadata."""
    try:
        lines = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        if name and name[0] != _PACKAGE:
            found.append((extra[1] if extra else "", name[0]))
    return found


def _versions(distributions: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of distributions; None for those that are not installed."""
    found: dict[str, str | None] = {}
    for name in sorted(set(distributions)):
        found[name] = None
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _processor() -> dict[str, Any]:
    name, flags = platform.processor() or platform.machine(), set[str]()
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
        named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        flagged = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
        name, flags = named[1] if named else name, set(flagged[1].split()) if flagged else flags
    return {
        "name": name,
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "instructions": [flag for flag in _INSTRUCTIONS if flag in flags],
    }


def _memory() -> dict[str, int | None]:
    total = available = None
    with suppress(OSError, ValueError):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(ImportError):
        from deeplab_caffe.arrays.memory import available_memory

        available = available_memory()
    return {"total": total, "available": available}


def _extension() -> dict[str, Any]:
    try:
        from deeplab_caffe import _C
    except ImportError as error:
        return {"file": None, "error": str(error)}
    return {
        "file": Path(_C.__file__).name,
        "with_cuda": _C.with_cuda,
        "cuda_architectures": _C.cuda_architectures or None,
        "threads": _C.num_threads(),
    }


def _torch() -> dict[str, Any] | None:
    """Return torch's build settings, or its error if it is installed but cannot be imported."""
    torch = _imported("torch")
    if torch is None or isinstance(torch, str):
        return torch if torch is None else {"error": torch}
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn,
        "threads": torch.get_num_threads(),
    }


def _imported(name: str) -> Any:
    """Return a library, or None if it is not installed, or the error if it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError) as error:
        return str(error)
