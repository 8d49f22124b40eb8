"""A CuPy on numpy's memory whose ``RawModule`` compiles for the host what NVRTC would compile for a GPU.

The kernels run in ``include/cuda_runtime.h``'s coroutines, as those of ``python -m tests.cuda_on_host``.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tests.cuda_on_host import cupy_stand_in

HERE = Path(__file__).resolve().parent
FOLDER = Path(tempfile.gettempdir()) / "deeplab_caffe_nvrtc_on_host"

# The standard library is the real one: csrc/nvrtc's are left out as if they had been included.
_BEFORE = """
#include <cfloat>
#include "cuda_runtime.h"
#include <type_traits>
#define __CUDACC_RTC__
#define DEEPLAB_ONCE_nvrtc_cstdint
#define DEEPLAB_ONCE_nvrtc_cfloat
#define DEEPLAB_ONCE_nvrtc_cmath
#define DEEPLAB_ONCE_nvrtc_limits
#define DEEPLAB_ONCE_nvrtc_type_traits
"""
_AFTER = """
template <typename... P, size_t... I>
void call(void (*kernel)(P...), void** parameters, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_const_t<P>*>(parameters[I])...);
}
template <typename... P>
void on_grid(void (*kernel)(P...), const unsigned* size, void** parameters) {
  on_host::run(dim3(size[0], size[1], size[2]), dim3(size[3], size[4], size[5]),
               [&] { call(kernel, parameters, std::index_sequence_for<P...>()); });
}
extern "C" __attribute__((visibility("default"))) void launch(const unsigned* size, void** parameters) {
  on_grid(&KERNEL, size, parameters);
}
"""


class RawModule:
    """cupy.RawModule, of one name expression."""

    def __init__(self, code: str, options: tuple[str, ...], name_expressions: tuple[str, ...]) -> None:
        assert "--fmad=false" in options
        self.code = code
        self.names = name_expressions

    def get_function(self, name: str) -> SimpleNamespace:
        assert name in self.names
        library = ctypes.CDLL(str(_built(_BEFORE + self.code + _AFTER.replace("KERNEL", name))))
        return SimpleNamespace(kernel=SimpleNamespace(ptr=library.launch, library=library, name=name))


def _built(text: str) -> Path:
    newest = "".join(path.read_text() for path in (HERE / "runtime.cpp", HERE / "include" / "cuda_runtime.h"))
    stem = FOLDER / hashlib.sha256((text + newest).encode()).hexdigest()
    library = stem.with_suffix(".so")
    if not library.exists():
        FOLDER.mkdir(exist_ok=True)
        source = stem.with_suffix(".cpp")
        source.write_text(text)
        flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off"]
        made = stem.with_suffix(".part")
        command = ["g++", *flags, f"-I{HERE / 'include'}", str(source), str(HERE / "runtime.cpp"), "-o", str(made)]
        subprocess.run(command, check=True)
        made.rename(library)
    return library


def _launch_kernel(function: Any, *arguments: int) -> None:
    *size, shared, _stream, parameters, extra = arguments
    assert len(size) == 6
    assert (shared, extra) == (0, 0)
    function((ctypes.c_uint * 6)(*size), ctypes.c_void_p(parameters))


def _memset(data: int, value: int, count: int, stream: int) -> None:
    ctypes.memset(data, value, count)


def _memcpy(target: int, source: int, count: int, kind: int, stream: int) -> None:
    assert kind == 2
    ctypes.memmove(target, source, count)


def _from_external(stream: Any) -> cupy_stand_in.Stream:
    version, pointer = stream.__cuda_stream__()
    assert (version, pointer) == (0, cupy_stand_in.Stream.ptr)
    return cupy_stand_in.Stream()


def _extend_runtime(cupy: ModuleType) -> None:
    """What deeplab_caffe/arrays/nvrtc/runtime.py takes."""
    runtime = cupy.cuda.runtime
    runtime.memsetAsync, runtime.memcpyAsync = _memset, _memcpy
    runtime.streamSynchronize = lambda stream: None
    runtime.streamIsCapturing = lambda stream: cupy_stand_in.CAPTURED is not None
    runtime.deviceGetAttribute = lambda attribute, device: {16: 1}[attribute]
    cupy.cuda.UnownedMemory = lambda pointer, size, owner, device: (ctypes.c_char * size).from_address(pointer)
    cupy.cuda.MemoryPointer = lambda memory, offset: memory
    runtime.setDevice = lambda device: None
    cupy.cuda.Stream.from_external = staticmethod(_from_external)
    cupy.__version__ = "14.2.0"
    cupy.dtype = np.dtype
    cupy.argsort = lambda array: np.argsort(array, kind="stable")


def extend(cupy: ModuleType) -> None:
    """Puts into a stand-in for ``cupy`` what compiling modules and the operations take."""
    cupy.RawModule = RawModule
    cupy.cuda.driver = SimpleNamespace(launchKernel=_launch_kernel)
    cupy.ascontiguousarray = lambda array: np.ascontiguousarray(array).reshape(array.shape).view(cupy.ndarray)
    cupy.asarray = lambda array, dtype=None: (
        array
        if type(array) is cupy.ndarray and dtype in (None, array.dtype)
        else np.array(array, dtype).view(cupy.ndarray)
    )
    cupy.from_dlpack = lambda array: array.__dlpack__()
    cupy.zeros = lambda shape, dtype: np.zeros(shape, dtype).view(cupy.ndarray)
    cupy.broadcast_to = lambda array, shape: np.broadcast_to(array, shape, subok=True)
    cupy.matmul = np.matmul
    _extend_runtime(cupy)


def make() -> ModuleType:
    """A module to stand in for ``cupy``, all on the host."""
    cupy = cupy_stand_in.make()
    extend(cupy)
    return cupy
