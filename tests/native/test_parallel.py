"""The thread pool, csrc/common/parallel.cpp, under stress: by its own threads and by OpenMP's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="g++ and libgomp")


def test_loops_of_all_kinds(tmp_path: Path) -> None:
    sources = [HERE / "parallel.cpp", HERE.parents[1] / "csrc" / "common" / "parallel.cpp"]
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
    # It has no OpenMP loop of its own; the library is looked for when it runs.
    libraries = ["-Wl,--no-as-needed", "-lgomp", "-ldl"]
    subprocess.run(["g++", *flags, *sources, "-o", tmp_path / "parallel", *libraries], check=True)
    for arguments in ([], ["openmp"]):
        ran = subprocess.run([tmp_path / "parallel", *arguments], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert ran.stdout.split("\n")[-2] == "ok"
        assert arguments or "child 0" in ran.stdout
