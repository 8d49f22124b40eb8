"""The library and device to use: those of an array, or those for a device name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from deeplab_caffe.arrays.cupy_arrays import CupyArrays
from deeplab_caffe.arrays.interface import Arrays
from deeplab_caffe.arrays.libraries import as_cupy, check_cuda_kernels, imported, is_torch, offers_gpu_memory
from deeplab_caffe.arrays.numpy_arrays import NumpyArrays
from deeplab_caffe.arrays.torch_arrays import TorchArrays
from deeplab_caffe.errors import DeepLabCaffeError, NetError, how_to_install

if TYPE_CHECKING:
    import torch

_NUMPY = NumpyArrays()


def arrays_of(array: Any, error: type[Exception] = ValueError) -> Arrays:
    """Return the library and device of an array.

    Args:
        array: a torch tensor: torch; an array on a GPU, by DLPack or CUDA's array interface: CuPy; any other: NumPy.
        error: the class of error to raise.

    Raises:
        error: the array is on a GPU and not torch's, and CuPy is not installed.
    """
    if is_torch(array):
        return TorchArrays(array.device)  # not kept in a dictionary, which torch.compile would have to guard
    if not offers_gpu_memory(array):
        return _NUMPY
    cupy = imported("cupy")
    if cupy is None:
        raise error(
            f"{type(array).__name__} on a GPU: torch tensors and CuPy arrays are known, and CuPy is not installed: "
            f"{how_to_install('cupy')}"
        )
    return CupyArrays(as_cupy(cupy, array).device.id)


def device_name(device: str | torch.device, error: type[DeepLabCaffeError] = NetError) -> str:
    """Return the name of a device; torch's are taken too.

    Raises:
        error: it is neither a name nor torch's.
    """
    if not isinstance(device, str) and not hasattr(device, "type"):
        raise error(f"device must be cpu, cuda or cuda:<index>, got {device!r}")
    return str(device)


def arrays_on(device: str | torch.device, error: type[DeepLabCaffeError] = NetError) -> Arrays:
    """Return the library to use on a device.

    Args:
        device: ``"cpu"``: NumPy. ``"cuda"``, ``"cuda:1"``: torch if it is imported, else CuPy, else torch.
        error: the class of error to raise.

    Raises:
        error: there is no such device or no library for it, or the extension has no CUDA kernels.
    """
    device = device_name(device, error)
    if device == "cpu":
        return _NUMPY
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise error(f"device must be cpu, cuda or cuda:<index>, got {device!r}")
    check_cuda_kernels(error)
    problems = []
    for name in ("torch", "cupy") if "torch" in sys.modules else ("cupy", "torch"):
        library = imported(name)
        if library is None:
            problems.append(f"{name} is not installed ({how_to_install(name)})")
            continue
        try:
            count = library.cuda.device_count() if name == "torch" else library.cuda.runtime.getDeviceCount()
        except RuntimeError as exc:  # CuPy's without a driver
            problems.append(f"{name}: {exc}")
            continue
        if count == 0:
            problems.append(f"{name} sees no CUDA device")
            continue
        if number and int(number) >= count:
            raise error(f"device {device}: there are {count} CUDA devices")
        if name == "torch":
            return TorchArrays(int(number) if number else int(library.cuda.current_device()))
        return CupyArrays(int(number) if number else int(library.cuda.runtime.getDevice()))
    raise error(f"device {device}: {', '.join(problems)}")
