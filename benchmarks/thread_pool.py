"""A short loop by the extension's thread pool (csrc/common/parallel.cpp) and by OpenMP, alone and on a busy machine.

    python benchmarks/thread_pool.py

The extension has its own pool because OpenMP's loop ends at a barrier, where threads spin and wait for threads that
have no core. Compiles benchmarks/thread_pool.cpp with ``$CXX`` or g++. Busy means that as many computing processes as
cores run beside it. Pool and OpenMP take turns within one process.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "benchmarks" / "thread_pool.cpp", ROOT / "csrc" / "common" / "parallel.cpp"]


def build(folder: Path) -> Path:
    """Compile the program with the extension's flags."""
    program = folder / "thread_pool"
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    flags = ["-std=c++17", "-O3", "-ffp-contract=off", "-fopenmp", "-pthread"]
    subprocess.run([*compiler, *flags, *map(str, SOURCES), "-o", str(program)], check=True)
    return program


def measure(program: Path, threads: int, loops: int, passes: int, busy: int) -> dict[str, float | int]:
    """Return the times of one case in ms, while ``busy`` other processes compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        command = [str(program), *map(str, (threads, loops, passes))]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    finally:
        for other in others:
            other.kill()
            other.wait()
    names = ("pool_ms", "openmp_ms", "pool_90_percent_ms", "openmp_90_percent_ms")
    return {"threads": threads, "busy_processes": busy, "passes": passes} | dict(
        zip(names, map(float, printed), strict=True)
    )


def main() -> None:
    """Measure all cases and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=400)
    parser.add_argument("--output", type=Path, default=RESULTS / "thread_pool_cpu.json")
    args = parser.parse_args()
    cores = os.cpu_count() or 1
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for busy in (0, cores):
            for passes in (1, 8):
                for threads in sorted({1, 2, cores}):
                    rows.append(row := measure(program, threads, args.loops, passes, busy))
                    print(row, flush=True)
    write_json(
        args.output, {"benchmark": "thread_pool", **describe(torch.device("cpu")), "loops": args.loops, "rows": rows}
    )


if __name__ == "__main__":
    main()
