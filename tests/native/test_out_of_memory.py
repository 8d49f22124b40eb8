"""A lack of memory anywhere in the extension is a MemoryError in the caller, and the next call is right again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD and nm")


def compile_library(source: Path, library: Path) -> None:
    """Compile a library for LD_PRELOAD."""
    subprocess.run(
        ["g++", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-std=c++17", "-o", library, source],
        check=True,
    )


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer takes the same functions")
def test_every_allocation_may_fail(tmp_path: Path) -> None:
    """No operation, nor the dense CRF, dies or gives a wrong result for lack of memory, with any number of threads."""
    library = tmp_path / "failing_allocations.so"
    compile_library(HERE / "failing_allocations.cpp", library)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.native.out_of_memory"],
        env={**os.environ, "LD_PRELOAD": str(library)},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr[-2000:]


def test_threads_are_no_more_than_processors() -> None:
    """A hundred thousand threads asked for are as many as the machine has processors, and give the same bits."""
    code = (
        "import os, numpy as np\n"
        "from deeplab_caffe import _C\n"
        "from deeplab_caffe.ops.interp import interp\n"
        "x = np.ones((64, 8, 33, 33), np.float32)\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "_C.set_num_threads(100_000)\n"
        "first = interp(x, height=65, width=65)\n"
        "started = len(os.listdir('/proc/self/task')) - before\n"
        "assert started <= os.cpu_count() - 1, started\n"
        "_C.set_num_threads(1)\n"
        "assert (first == interp(x, height=65, width=65)).all()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
