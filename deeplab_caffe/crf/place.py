"""Choose the backend for a device, or for an array's device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_caffe.arrays import arrays_of, arrays_on, is_on_gpu
from deeplab_caffe.arrays.select import device_name
from deeplab_caffe.crf.backend import Backend
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.crf.cuda import CudaBackend
from deeplab_caffe.errors import CRFError

if TYPE_CHECKING:
    import torch


def backend_for(
    array: Any = None, device: str | torch.device | None = None, *, sse_padding: bool = True, half: bool = False
) -> Backend:
    """Return the backend to compute with.

    Args:
        array: an array; without ``device`` its device is used. None: the CPU.
        device: device to use instead: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        half: see :class:`deeplab_caffe.crf.cuda.CudaBackend`; ignored on the CPU.

    Raises:
        CRFError: the device is unknown, or there is no library or no CUDA kernels for it.
    """
    device = None if device is None else device_name(device, CRFError)
    if device is None and is_on_gpu(array):
        return CudaBackend(arrays_of(array, CRFError), sse_padding, half)
    if device in (None, "cpu"):
        return CpuBackend(sse_padding)
    return CudaBackend(arrays_on(device, CRFError), sse_padding, half)
