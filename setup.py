"""Builds the extension ``deeplab_caffe._C``: always for the CPU, and for CUDA where nvcc is found.

Environment variables, printed with their values at build time:
    DEEPLAB_CAFFE_CUDA      auto (default): build the CUDA half if nvcc is found; 1: it must be found; 0: leave it out
    DEEPLAB_CAFFE_ARCHS     CUDA architectures (default "80;90"); the last one is added as PTX for newer cards
    CUDA_HOME               where the CUDA toolkit is; else nvcc on PATH, else the nvidia-cuda-nvcc wheel
    NVCC_FLAGS              more flags for nvcc
    DEEPLAB_CAFFE_DEBUG     1: no optimisation, debug symbols
    DEEPLAB_CAFFE_SANITIZE  e.g. "address,undefined": build the CPU half with these sanitizers
    DEEPLAB_CAFFE_WERROR    1: compiler warnings are errors (CI)
    MAX_JOBS                compilers run side by side (default: the number of cores)
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CSRC = Path("csrc")

CUDA = os.environ.get("DEEPLAB_CAFFE_CUDA", "auto")
ARCHS = os.environ.get("DEEPLAB_CAFFE_ARCHS", "80;90")
NVCC_FLAGS = os.environ.get("NVCC_FLAGS", "")
DEBUG = os.environ.get("DEEPLAB_CAFFE_DEBUG", "0") == "1"
SANITIZE = os.environ.get("DEEPLAB_CAFFE_SANITIZE", "")
WERROR = os.environ.get("DEEPLAB_CAFFE_WERROR", "0") == "1"
JOBS = int(os.environ.get("MAX_JOBS", os.cpu_count() or 1))


def find_cuda_home() -> Path | None:
    """Return the toolkit's root: CUDA_HOME, else around the nvcc on PATH, else inside the nvidia-cuda-nvcc wheel."""
    candidates = []
    if os.environ.get("CUDA_HOME"):
        candidates.append(Path(os.environ["CUDA_HOME"]))
    if shutil.which("nvcc"):
        candidates.append(Path(shutil.which("nvcc")).resolve().parent.parent)
        candidates.append(Path("/usr/local/cuda"))
    wheel = importlib.util.find_spec("nvidia")
    for folder in wheel.submodule_search_locations if wheel else ():
        candidates.extend(sorted(Path(folder).glob("cu[0-9]*"), reverse=True))
    for home in candidates:
        if (home / "bin" / "nvcc").exists() and find_cudart(home):
            return home
    return None


def find_cudart(home: Path) -> Path | None:
    """Return the static cudart, which lets the wheel be imported on machines without a driver."""
    for folder in ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"):
        if (home / folder / "libcudart_static.a").exists():
            return home / folder / "libcudart_static.a"
    return None


def gencode_flags() -> list[str]:
    """Return the flags of nvcc for DEEPLAB_CAFFE_ARCHS."""
    archs = [arch.strip().removesuffix("+PTX") for arch in ARCHS.replace(",", ";").split(";") if arch.strip()]
    flags = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    return [*flags, f"-gencode=arch=compute_{archs[-1]},code=compute_{archs[-1]}"]


def included(source: Path) -> set[Path]:
    """Return a source and all files of csrc/ that it includes, directly or not: what it is compiled from."""
    found: set[Path] = set()
    left = [source.resolve()]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            names = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
            left += [found_at for name in names if (found_at := (path.parent / name).resolve()).exists()]
    return found


class BuildExtension(build_ext):
    """build_ext that compiles several files at once, recompiles only what changed, and knows .cu files."""

    def build_extension(self, ext: Extension) -> None:
        """Compiles and links csrc/."""
        cuda_home = self._cuda_home()
        self._print_options(cuda_home)
        cpp_sources = sorted(CSRC.rglob("*.cpp"))
        cu_sources = sorted(CSRC.rglob("*.cu"))

        compiler = shlex.split(os.environ.get("CXX", "g++" if sys.platform != "darwin" else "clang++"))
        cpp_flags = self._cpp_flags(ext, cuda_home)
        objects_root = Path(self.build_temp) / ("cuda" if cuda_home else "cpu")
        jobs = []
        for source in cpp_sources:
            target = objects_root / source.with_suffix(".o")
            jobs.append((source, target, [*compiler, *cpp_flags, "-c", str(source), "-o", str(target)]))
        # Without nvcc their host code is compiled, whose kernels are then compiled at run time: kernel_launch.h.
        cu_command = self._nvcc_command(cuda_home) if cuda_home else [*compiler, *cpp_flags, "-x", "c++"]
        for source in cu_sources:
            target = objects_root / source.with_suffix(".cu.o")
            jobs.append((source, target, [*cu_command, "-c", str(source), "-o", str(target)]))
        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(self._compile, jobs))

        output = Path(self.get_ext_fullpath(ext.name))
        output.parent.mkdir(parents=True, exist_ok=True)
        link = [*compiler, "-shared", *(str(target) for _, target, _ in jobs), "-o", str(output)]
        if sys.platform == "darwin":
            link += ["-undefined", "dynamic_lookup"]
        else:
            link += ["-pthread", "-ldl"]
        if SANITIZE:
            link.append(f"-fsanitize={SANITIZE}")
        if cuda_home:
            link += [str(find_cudart(cuda_home)), "-Wl,--exclude-libs,ALL", "-ldl", "-lrt", "-lpthread"]
        self._run(link)

    def _cuda_home(self) -> Path | None:
        home = None if CUDA == "0" else find_cuda_home()
        if CUDA == "1" and home is None:
            raise RuntimeError("DEEPLAB_CAFFE_CUDA=1, but no nvcc with libcudart_static.a: set CUDA_HOME")
        return home

    def _print_options(self, cuda_home: Path | None) -> None:
        options = {"CUDA": CUDA, "ARCHS": ARCHS, "DEBUG": DEBUG, "SANITIZE": SANITIZE or "-", "WERROR": WERROR}
        text = ", ".join(f"DEEPLAB_CAFFE_{name}={value}" for name, value in options.items())
        print(f"deeplab_caffe: {text}, CUDA_HOME={cuda_home}, NVCC_FLAGS={NVCC_FLAGS or '-'}, MAX_JOBS={JOBS}")
        print(f"deeplab_caffe: building {'with' if cuda_home else 'WITHOUT'} the CUDA half")

    def _cpp_flags(self, ext: Extension, cuda_home: Path | None) -> list[str]:
        includes = [*self.compiler.include_dirs, *ext.include_dirs, pybind11.get_include()]
        flags = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
        # No contraction into FMA: the same bits on every processor, and the original's rounding (it had none either).
        # csrc/stem and csrc/winograd, which are no algorithms of the original's, allow it for themselves.
        # -O1, as AddressSanitizer's manual advises: -O3 takes a compiler minutes for some files then.
        flags += ["-O0", "-g"] if DEBUG else ["-O1" if SANITIZE else "-O3", "-g0"]
        flags += ["-ffp-contract=off", "-fno-math-errno"]
        if WERROR:
            flags.append("-Werror")
        if SANITIZE:
            flags += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
        if cuda_home:
            flags += ["-DDEEPLAB_WITH_CUDA", f'-DDEEPLAB_CUDA_ARCHITECTURES="{ARCHS}"']
        return [*flags, *(f"-I{folder}" for folder in includes)]

    def _nvcc_command(self, cuda_home: Path) -> list[str]:
        flags = ["-std=c++17", "-O0" if DEBUG else "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden", "--fmad=false"]
        flags += ["-Xcudafe", "--diag_suppress=186", "-DDEEPLAB_WITH_CUDA", "-t", "1"]
        return [str(cuda_home / "bin" / "nvcc"), *flags, *gencode_flags(), *shlex.split(NVCC_FLAGS)]

    def _compile(self, job: tuple[Path, Path, list[str]]) -> None:
        source, target, command = job
        stamp = target.with_suffix(".command")
        newest = max(path.stat().st_mtime for path in included(source))
        text = shlex.join(command)
        if target.exists() and target.stat().st_mtime > newest and stamp.exists() and stamp.read_text() == text:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        self._run(command)
        stamp.write_text(text)

    def _run(self, command: list[str]) -> None:
        print(shlex.join(command), flush=True)
        subprocess.run(command, check=True, cwd=ROOT)


class BuildPython(build_py):
    """build_py that puts the root's prototxt/ and csrc/ into the package; an editable install reads them in place."""

    def run(self) -> None:
        """Copy the modules, the package's data, the prototxts, and what NVRTC compiles."""
        super().run()
        if self.editable_mode:
            return
        kernels = (path for path in CSRC.rglob("*") if path.suffix in (".h", ".cuh") or path.parent.name == "nvrtc")
        for source in sorted([*Path("prototxt").rglob("*.prototxt"), *kernels]):
            target = Path(self.build_lib) / "deeplab_caffe" / source
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))


def readme() -> str:
    """Return README.md for an index page: its links to files lead to [project.urls]' Repository, or are text."""
    repository = re.search(r'^Repository = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    to_file = r"(!?)\[([^\]]+)\]\((?!https?:|#)([^)]+)\)"
    if repository is None:
        return re.sub(to_file, lambda link: "" if link[1] else link[2], text)
    return re.sub(to_file, lambda link: f"{link[1]}[{link[2]}]({repository[1]}/{_view(link)}/HEAD/{link[3]})", text)


def _view(link: re.Match[str]) -> str:
    """Return what GitHub and GitLab call a picture's bytes, and a page."""
    return "raw" if link[1] else "blob"


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    ext_modules=[Extension("deeplab_caffe._C", sources=[])],
    cmdclass={"build_ext": BuildExtension, "build_py": BuildPython},
)
