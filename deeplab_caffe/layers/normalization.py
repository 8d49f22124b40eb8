"""The divisor of a loss: ``loss_param { normalization: ... }``."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe.proto import caffe_pb2


def normalization_of(loss: caffe_pb2.LossParameter, default: str = "VALID") -> str:
    """Return ``"FULL"``, ``"VALID"``, ``"BATCH_SIZE"`` or ``"NONE"``.

    Args:
        loss: a layer's ``loss_param``; the old ``normalize`` is used if ``normalization`` is not given.
        default: the result if neither is given.
    """
    if loss.HasField("normalization"):
        return caffe_pb2.LossParameter.NormalizationMode.Name(loss.normalization)
    if loss.HasField("normalize"):
        return "VALID" if loss.normalize else "BATCH_SIZE"
    return default


def loss_divisor(normalization: str, *, full: int, batch: int, valid: Tensor, world: int) -> Tensor:
    """Return the divisor of a sum of losses, a float64 scalar; at least 1, as in the original, except for NONE.

    Args:
        normalization: see :func:`normalization_of`.
        full: for FULL: the number of labels.
        batch: for BATCH_SIZE: the number of places before the classes' axis.
        valid: for VALID: the number, or the summed weight, of the labels that count.
        world: the number of processes that share the batch. The processes average their losses, so for NONE, a plain
            sum, the divisor is 1 / world.
    """
    if normalization == "NONE":
        return torch.tensor(1 / world, dtype=torch.float64, device=valid.device)
    if normalization == "VALID":
        return valid.double().clamp_min(1)
    count = {"FULL": full, "BATCH_SIZE": batch}[normalization]
    return torch.tensor(max(count, 1), dtype=torch.float64, device=valid.device)
