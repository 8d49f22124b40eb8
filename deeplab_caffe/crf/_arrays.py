"""Arrays of other libraries: in as numpy's, out as the kind that came."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from deeplab_caffe.errors import CRFError


def is_torch(array: Any) -> bool:
    """Whether it is a torch tensor, of either device."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def to_numpy(array: Any, name: str) -> np.ndarray:
    """A numpy array of the same memory where that can be, from anything on the CPU that numpy or torch understands.

    Raises:
        CRFError: the array is on a GPU.
    """
    if is_torch(array):
        if array.device.type != "cpu":
            raise CRFError(f"{name} are on {array.device}, where this does not compute: take array.cpu()")
        array = array.detach().resolve_conj().resolve_neg()
        # bfloat16, which numpy does not know
        return array.float().numpy() if array.dtype.is_floating_point and array.itemsize < 4 else array.numpy()
    if hasattr(array, "__cuda_array_interface__"):
        raise CRFError(f"{name} are a {type(array).__name__} on a GPU, where this does not compute: take array.get()")
    return np.asarray(array)


def as_kind_of(array: Any, result: np.ndarray) -> Any:
    """The result as a torch tensor if the array is one."""
    return sys.modules["torch"].from_numpy(result) if is_torch(array) else result
