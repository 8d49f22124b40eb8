"""Initial values of parameters, as Caffe's fillers give them (include/caffe/filler.hpp)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_caffe.proto import caffe_pb2


def fill(
    tensor: Tensor,
    filler: caffe_pb2.FillerParameter,
    shape: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Fill a parameter in place.

    Args:
        tensor: the parameter's memory, any shape.
        filler: what to fill with; an unset filler means constant 0.
        shape: the blob's shape in Caffe, from which the fan-in is computed; None: the tensor's own shape. With DeepLab
            v1's four axes, the fan-in of InnerProduct's weights (1, 1, K, C * H * W) is their whole count.
        generator: source of the random numbers; torch's own by default.

    Raises:
        ValueError: an unknown filler type, or one that cannot fill this shape.
    """
    shape = tuple(tensor.shape if shape is None else shape)
    count = math.prod(shape)
    if not count:
        return
    fan_in, fan_out = (count // max(shape[axis], 1) if axis < len(shape) else count for axis in (0, 1))
    norm = filler.variance_norm
    spread = {filler.FAN_IN: fan_in, filler.FAN_OUT: fan_out, filler.AVERAGE: (fan_in + fan_out) / 2}[norm]
    kind = filler.type
    if filler.sparse >= 0 and kind != "gaussian":
        raise ValueError(f"filler '{kind}' cannot be sparse: only gaussian can")
    if kind == "constant":
        tensor.fill_(filler.value)
    elif kind == "uniform":
        tensor.uniform_(filler.min, filler.max, generator=generator)
    elif kind == "gaussian":
        tensor.normal_(filler.mean, filler.std, generator=generator)
        if filler.sparse >= 0:
            # `sparse` is the expected number of non-zero inputs of an output unit.
            keep = filler.sparse / max(tensor.shape[0], 1)
            tensor.mul_(torch.empty_like(tensor).bernoulli_(min(keep, 1.0), generator=generator))
    elif kind == "positive_unitball":
        tensor.uniform_(0, 1, generator=generator)
        rows = tensor.view(-1, fan_in)
        rows.div_(rows.sum(dim=1, keepdim=True))
    elif kind == "xavier":
        bound = math.sqrt(3 / spread)
        tensor.uniform_(-bound, bound, generator=generator)
    elif kind == "msra":
        tensor.normal_(0, math.sqrt(2 / spread), generator=generator)
    elif kind == "bilinear":
        tensor.copy_(_bilinear(shape))
    else:
        known = "constant, uniform, gaussian, positive_unitball, xavier, msra or bilinear"
        raise ValueError(f"unknown filler type '{kind}': expected {known}")


def _bilinear(shape: tuple[int, ...]) -> Tensor:
    """Return the (K, K) weights with which a deconvolution of stride ceil(K / 2) interpolates: a tent along each axis.

    Raises:
        ValueError: the shape is not (O, C, K, K).
    """
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"filler 'bilinear' is for weights with four axes and a square kernel, got {shape}")
    factor = math.ceil(shape[3] / 2)
    centre = (shape[3] - 1) / (2 * factor)
    # In float32, as the original has it.
    tent = 1 - (torch.arange(shape[3], dtype=torch.float32, device="cpu") / factor - centre).abs()
    return tent * tent[:, None]
