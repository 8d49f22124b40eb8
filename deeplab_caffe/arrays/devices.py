"""The device of a computation."""

from __future__ import annotations

import torch

from deeplab_caffe.errors import NetError


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return a device by name.

    Args:
        device: None or ``"auto"``: the first GPU if there is one, else the CPU; ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        NetError: an unknown name, or no such GPU.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise NetError(f"device must be auto, cpu or cuda[:index], got {device!r}") from None
    if found.type not in ("cpu", "cuda"):
        raise NetError(f"device must be auto, cpu or cuda[:index], got {device!r}")
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise NetError(f"device {device}: torch {torch.__version__} sees no CUDA device on this machine")
        if (found.index or 0) >= torch.cuda.device_count():
            raise NetError(f"device {device}: there are {torch.cuda.device_count()} GPUs")
    return found
