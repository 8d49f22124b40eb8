"""Compiling and launching by CuPy. Its cache on disk (``CUPY_CACHE_DIR``) keeps compiled kernels for later runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays.libraries import import_cupy
from deeplab_caffe.arrays.nvrtc.sources import program
from deeplab_caffe.errors import KernelError

# No contraction into FMA, as for nvcc's kernels: a product is rounded before it is added, as on the CPU.
# The CRF's wide keys are of 128 bits.
OPTIONS = ("--std=c++17", "--fmad=false", "--device-int128")

# By device, source and name. A function holds its module.
_FUNCTIONS: dict[tuple[int, str, str], Any] = {}


def enabled() -> bool:
    """Return whether CUDA kernels are compiled at run time; always true if the extension was built without CUDA."""
    return bool(_C.use_run_time_kernels())


def enable(wanted: bool = True) -> None:
    """Use CUDA kernels compiled at run time from now on, or with False those of the extension.

    Raises:
        ValueError: False, but the extension was built without CUDA.
    """
    _C.set_run_time_kernels(wanted)


def launch(
    device: int, source: str, name: str, grid: Sequence[int], block: Sequence[int], stream: int, parameters: int
) -> None:
    """Launch a kernel, and compile it before its first launch on a device. The extension calls this.

    While a CUDA graph is captured, kernels must have been launched on that device before: loading one is not allowed.

    Args:
        device: the CUDA device's index.
        source: the file within csrc that defines the kernel.
        name: with its template arguments: ``"deeplab::interp::forward_kernel<float>"``.
        grid: blocks along x, y, z.
        block: threads along x, y, z.
        stream: a ``cudaStream_t`` of that device.
        parameters: the address of an array with the address of each argument.

    Raises:
        KernelError: CuPy or NVRTC is missing, or the kernel cannot be compiled or launched.
    """
    cupy = import_cupy(kernels=True)
    try:
        with cupy.cuda.Device(device):
            # In a new thread the driver has no current context, and Device only replaces a current one.
            cupy.cuda.runtime.setDevice(device)
            function = _FUNCTIONS.get((device, source, name))
            if function is None:
                # If two threads compile it, the first result is kept; the other module is unloaded unused.
                function = _FUNCTIONS.setdefault((device, source, name), _compiled(cupy, source, name))
            cupy.cuda.driver.launchKernel(function.ptr, *grid, *block, 0, stream, parameters, 0)
    except RuntimeError as exc:  # CuPy's errors of the driver and the runtime
        if isinstance(exc, KernelError):
            raise
        raise KernelError(f"{name} on cuda:{device}: {exc}") from exc


def _compiled(cupy: Any, source: str, name: str) -> Any:
    module = cupy.RawModule(code=program(source), options=OPTIONS, name_expressions=(name,))
    try:
        # CuPy compiles for the architecture of the current device.
        return module.get_function(name).kernel
    except Exception as exc:  # CuPy's errors have several bases; libnvrtc may also be missing
        raise KernelError(f"NVRTC cannot compile {name} of {source}: {exc}") from exc
