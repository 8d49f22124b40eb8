"""The library of an array. This module imports neither torch nor CuPy unless asked to."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.errors import KernelError, how_to_install

_DLPACK_CUDA = 2
_REBUILD = "rebuild it with nvcc on PATH or CUDA_HOME set"
_INSTALL = f"install CuPy with NVRTC ({how_to_install('cupy')})"


def imported(name: str) -> Any:
    """Return a library, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def import_cupy(*, kernels: bool = False) -> Any:
    """Return CuPy.

    Args:
        kernels: CuPy is needed to compile CUDA kernels; the error message then says so.

    Raises:
        KernelError: CuPy cannot be imported; the message says what to do.
    """
    try:
        return importlib.import_module("cupy")
    except ImportError as exc:
        if not kernels:
            raise KernelError(f"CuPy cannot be imported ({exc}): {how_to_install('cupy')}") from exc
        why = "was built without CUDA" if not _C.with_cuda else "is to compile its CUDA kernels at run time"
        raise KernelError(f"deeplab_caffe {why}, and CuPy cannot be imported ({exc}): {_advice()}") from exc


def _advice() -> str:
    return _INSTALL if _C.with_cuda else f"either {_REBUILD}, or {_INSTALL}"


def check_cuda_kernels(error: type[Exception]) -> None:
    """Check that there are CUDA kernels: compiled ones, or CuPy to compile them.

    Raises:
        error: neither is available.
    """
    if not _C.with_cuda and imported("cupy") is None:
        raise error(f"deeplab_caffe was built without CUDA: {_advice()}")


def is_torch(array: Any) -> bool:
    """Return whether an array is a torch tensor, on any device."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _by_dlpack(array: Any) -> bool:
    return hasattr(array, "__dlpack__") and array.__dlpack_device__()[0] == _DLPACK_CUDA


def offers_gpu_memory(array: Any) -> bool:
    """Return whether an array's memory is on a CUDA device according to DLPack or the CUDA array interface."""
    return hasattr(array, "__cuda_array_interface__") or _by_dlpack(array)


def is_on_gpu(array: Any) -> bool:
    """Return whether an array's memory is on a CUDA device."""
    return bool(array.is_cuda) if is_torch(array) else offers_gpu_memory(array)


def as_cupy(cupy: Any, array: Any) -> Any:
    """Return an array on a GPU as a CuPy array, without a copy.

    DLPack is used if the array supports it: CuPy's stream then waits for pending work of the array's library.

    Args:
        cupy: the library.
        array: a CuPy array, or one for which :func:`offers_gpu_memory` is true.
    """
    if isinstance(array, cupy.ndarray):
        return array
    return cupy.from_dlpack(array) if _by_dlpack(array) else cupy.asarray(array)
