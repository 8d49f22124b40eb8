"""The test whether a tensor holds plain numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def is_plain(tensor: Tensor) -> bool:
    """Return whether float32 can represent every number of a tensor."""
    short = tensor.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return short and tensor.layout == torch.strided and not tensor.is_meta
