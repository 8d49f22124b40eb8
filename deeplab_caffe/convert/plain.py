"""What tensors are plain numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor holds numbers that float32 can hold, each of them."""
    short = tensor.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return short and tensor.layout == torch.strided and not tensor.is_meta
