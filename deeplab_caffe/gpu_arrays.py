"""Arrays on a GPU of whichever library: how they say so, and how they become CuPy's. Imports neither torch nor CuPy."""

from __future__ import annotations

from typing import Any

_DLPACK_CUDA = 2


def _by_dlpack(array: Any) -> bool:
    return hasattr(array, "__dlpack__") and array.__dlpack_device__()[0] == _DLPACK_CUDA


def offers_gpu_memory(array: Any) -> bool:
    """Whether an array says, by DLPack or by CUDA's array interface, that its memory is a CUDA device's."""
    return hasattr(array, "__cuda_array_interface__") or _by_dlpack(array)


def as_cupy(cupy: Any, array: Any) -> Any:
    """The array as CuPy's, without a copy.

    By DLPack where it offers that: CuPy's stream then waits for what its library has queued.

    Args:
        cupy: the library.
        array: CuPy's own, or one for which :func:`offers_gpu_memory` holds.
    """
    if isinstance(array, cupy.ndarray):
        return array
    return cupy.from_dlpack(array) if _by_dlpack(array) else cupy.asarray(array)
