"""The functions of csrc/common/device_runtime.h, by CuPy, for an extension that was built without CUDA.

Only the extension calls them; pointers and streams are addresses.
"""

from __future__ import annotations

from typing import Any

from deeplab_caffe.arrays.libraries import import_cupy

# The first CuPy whose objects do not destroy foreign streams; the older class for these is deprecated.
_BORROWS_STREAMS = (14, 2)
_MULTIPROCESSORS = 16  # cudaDevAttrMultiProcessorCount
_DEVICE_TO_HOST = 2  # cudaMemcpyDeviceToHost


class _Pointer:
    """A stream that implements CUDA's stream protocol for Python."""

    def __init__(self, stream: int) -> None:
        self._stream = stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._stream


def _borrowed(cupy: Any, stream: int) -> Any:
    """Return a CuPy stream for a stream of the current device that another library owns."""
    version = tuple(int(part) for part in cupy.__version__.split(".")[:2])
    if version >= _BORROWS_STREAMS:
        return cupy.cuda.Stream.from_external(_Pointer(stream))
    return cupy.cuda.ExternalStream(stream)


def set_bytes(device: int, data: int, value: int, count: int, stream: int) -> None:
    """Fill memory, asynchronously."""
    cupy = import_cupy(kernels=True)
    with cupy.cuda.Device(device):
        cupy.cuda.runtime.memsetAsync(data, value, count, stream)


def read_back(device: int, host: int, data: int, count: int, stream: int) -> None:
    """Copy to the host, and wait for the stream."""
    cupy = import_cupy(kernels=True)
    with cupy.cuda.Device(device):
        cupy.cuda.runtime.memcpyAsync(host, data, count, _DEVICE_TO_HOST, stream)
        cupy.cuda.runtime.streamSynchronize(stream)


def processors(device: int) -> int:
    """Return the number of multiprocessors of a device."""
    return int(import_cupy(kernels=True).cuda.runtime.deviceGetAttribute(_MULTIPROCESSORS, device))


def is_capturing(device: int, stream: int) -> bool:
    """Return whether a CUDA graph is being captured from the stream."""
    cupy = import_cupy(kernels=True)
    with cupy.cuda.Device(device):
        return bool(cupy.cuda.runtime.streamIsCapturing(stream))


def sort_pairs(
    device: int, words: int, numbers: int, sorted_words: int, sorted_numbers: int, count: int, stream: int
) -> None:
    """Sort uint64 words stably, each together with a uint32 number."""
    cupy = import_cupy(kernels=True)

    def at(pointer: int, dtype: str) -> Any:
        size = count * cupy.dtype(dtype).itemsize
        memory = cupy.cuda.UnownedMemory(pointer, size, None, device)
        return cupy.ndarray((count,), dtype, cupy.cuda.MemoryPointer(memory, 0))

    with cupy.cuda.Device(device), _borrowed(cupy, stream):
        taken = at(words, "uint64")
        order = cupy.argsort(taken)  # by Thrust's stable sort
        at(sorted_words, "uint64")[...] = taken[order]
        at(sorted_numbers, "uint32")[...] = at(numbers, "uint32")[order]
