"""NVRTC by ctypes: it needs neither a GPU nor CuPy."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import os
from functools import lru_cache
from pathlib import Path

# What CuPy adds to a module's options.
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")


@lru_cache
def find() -> ctypes.CDLL | None:
    """libnvrtc of CUDA_HOME, of NVIDIA's wheels, or of the system."""
    candidates: list[Path | str] = []
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    wheel = importlib.util.find_spec("nvidia")
    for folder in wheel.submodule_search_locations if wheel else ():
        homes.extend(sorted(Path(folder).glob("cu*")))
    homes.append(Path("/usr/local/cuda"))
    for home in homes:
        for folder in ("lib64", "lib"):
            candidates.extend(sorted((home / folder).glob("libnvrtc.so*")))
    if ctypes.util.find_library("nvrtc"):
        candidates.append(ctypes.util.find_library("nvrtc"))
    for candidate in candidates:
        try:
            return ctypes.CDLL(str(candidate))
        except OSError:
            continue
    return None


def compile(text: str, names: list[str], arch: str, options: tuple[str, ...]) -> tuple[list[str], bytes]:
    """Lowered names and the PTX or cubin.

    Raises:
        ValueError: NVRTC's log.
    """
    library = find()
    assert library is not None
    program = ctypes.c_void_p()

    def check(status: int) -> None:
        if status:
            size = ctypes.c_size_t()
            library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value + 1)
            library.nvrtcGetProgramLog(program, log)
            raise ValueError(log.value.decode())

    check(library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None))
    try:
        for name in names:
            check(library.nvrtcAddNameExpression(program, name.encode()))
        options = (*options, f"-arch={arch}")
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        check(library.nvrtcCompileProgram(program, len(options), array))
        lowered = []
        for name in names:
            result = ctypes.c_char_p()
            check(library.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(result)))
            lowered.append(result.value.decode())
        kind = "CUBIN" if arch.startswith("sm") else "PTX"
        size = ctypes.c_size_t()
        check(getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size)))
        code = ctypes.create_string_buffer(size.value)
        check(getattr(library, f"nvrtcGet{kind}")(program, code))
        return lowered, code.raw
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
