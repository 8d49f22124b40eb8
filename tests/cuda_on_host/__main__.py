"""See this package's docstring."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11
import pytest

from tests.cuda_on_host import cupy_stand_in, nvrtc_stand_in

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def build(folder: Path, segment: int | None, sanitize: str) -> Path:
    """Compiles what changed and links the extension."""
    csrc = ROOT / "csrc"
    sources = [*csrc.rglob("*.cpp"), *csrc.rglob("*.cu"), HERE / "runtime.cpp"]
    headers = [*csrc.rglob("*.h"), *csrc.rglob("*.cuh"), *HERE.rglob("include/**/*.*")]
    newest = max(path.stat().st_mtime for path in headers)
    includes = [HERE / "include", sysconfig.get_path("include"), pybind11.get_include()]
    flags = [
        "-std=c++17",
        "-O1",
        "-g",
        "-fPIC",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fopenmp",
    ]
    flags += ["-Wall", "-Wno-unknown-pragmas"]
    flags += ["-DDEEPLAB_WITH_CUDA", '-DDEEPLAB_CUDA_ARCHITECTURES="host"']
    flags += [f"-DDEEPLAB_SEGMENT={segment}"] if segment else []
    flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"] if sanitize else []
    folder /= f"{segment}_{sanitize.replace(',', '_')}"
    folder.mkdir(parents=True, exist_ok=True)

    def compiled(source: Path) -> str:
        target = folder / f"{source.parent.name}_{source.name}.o"
        if not target.exists() or target.stat().st_mtime < max(newest, source.stat().st_mtime):
            command = [
                "g++",
                *flags,
                *(f"-I{path}" for path in includes),
                "-x",
                "c++",
                "-c",
                str(source),
                "-o",
                str(target),
            ]
            subprocess.run(command, check=True)
        return str(target)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources))
    library = folder / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    link = ["g++", "-shared", "-fopenmp", *objects, "-o", str(library)]
    subprocess.run([*link, f"-fsanitize={sanitize}"] if sanitize else link, check=True)
    return library


def main() -> int:
    """Builds, puts both stand-ins in place and runs the tests."""
    parser = argparse.ArgumentParser(prog="python -m tests.cuda_on_host")
    parser.add_argument("--segment", type=int, help="entries of a segment of the splat")
    parser.add_argument("--sanitize", default="", help="sanitizers, address,undefined say; LD_PRELOAD libasan with it")
    checkout = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]  # two of them must not share objects
    folder = Path(tempfile.gettempdir()) / f"deeplab_caffe_cuda_on_host_{checkout}"
    parser.add_argument("--folder", type=Path, default=folder)
    options, arguments = parser.parse_known_args()
    library = build(options.folder, options.segment, options.sanitize)

    nvrtc_stand_in.extend(cupy_stand_in.install(library))
    spec = importlib.util.spec_from_file_location("deeplab_caffe._C", library)
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    sys.modules["deeplab_caffe._C"] = extension
    import deeplab_caffe

    deeplab_caffe._C = extension
    folder = ROOT / "tests"
    tests = [*sorted(folder.glob("crf/test_cuda*.py")), *sorted(folder.glob("ops/test_*_on_host.py"))]
    return pytest.main([*(arguments or [*map(str, tests), "-q", "-k", "not torch]"])])


if __name__ == "__main__":
    sys.exit(main())
