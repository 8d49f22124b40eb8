"""How tensors reach the extension: as a pointer, sizes, strides, dtype and device."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe import _C


def view(tensor: Tensor) -> _C.TensorView:
    """The extension's view of a tensor's memory; the tensor must outlive it."""
    device = tensor.device
    return _C.TensorView(
        tensor.data_ptr(),
        tuple(tensor.shape),
        tensor.stride(),
        str(tensor.dtype).removeprefix("torch."),
        device.index if device.type == "cuda" else -1,
    )


def stream(tensor: Tensor) -> int:
    """The CUDA stream that torch works on for this tensor's device; 0 for a CPU tensor."""
    return torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else 0


def check_device(operation: str, tensor: Tensor) -> None:
    """Raises ValueError for a device the extension has no kernels for."""
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{operation}: expected a tensor on cpu or cuda, got one on {tensor.device}")
