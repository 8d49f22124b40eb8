"""What a loss is divided by: ``loss_param { normalization: ... }``."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe.proto import caffe_pb2


def normalization_of(loss: caffe_pb2.LossParameter, default: str = "VALID") -> str:
    """Return ``"FULL"``, ``"VALID"``, ``"BATCH_SIZE"`` or ``"NONE"``.

    Args:
        loss: a layer's ``loss_param``; its old ``normalize`` counts where ``normalization`` is not given.
        default: what it is where neither is given.
    """
    if loss.HasField("normalization"):
        return caffe_pb2.LossParameter.NormalizationMode.Name(loss.normalization)
    if loss.HasField("normalize"):
        return "VALID" if loss.normalize else "BATCH_SIZE"
    return default


def loss_divisor(normalization: str, *, full: int, batch: int, valid: Tensor, world: int) -> Tensor:
    """Return what a sum of losses is divided by, a scalar of float64; at least 1, as in the original.

    Args:
        normalization: see :func:`normalization_of`.
        full: the number of labels, FULL.
        batch: the number of places before the classes' axis, BATCH_SIZE.
        valid: the number, or weight, of the labels that count, VALID.
        world: the number of processes that share the batch. They take the mean of their losses, so that of sums, NONE,
            each gives as many times its own.
    """
    if normalization == "NONE":
        return torch.tensor(1 / world, dtype=torch.float64, device=valid.device)
    if normalization == "VALID":
        return valid.double().clamp_min(1)
    count = {"FULL": full, "BATCH_SIZE": batch}[normalization]
    return torch.tensor(max(count, 1), dtype=torch.float64, device=valid.device)
