"""Resident memory of this process. Does without torch: benchmarks/crf.py also runs with the peer's Python."""

from __future__ import annotations

from pathlib import Path


def memory_mib(what: str = "VmHWM") -> float:
    """Return ``VmHWM`` (peak) or ``VmRSS`` (now) in MiB.

    Not getrusage's peak: that begins with the parent's at the fork.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process's memory: use --no-peak")
