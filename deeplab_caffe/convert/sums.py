"""BatchNorm's statistics as Caffe's layer keeps them: sums, and the sum of their weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deeplab_caffe.net import Net


def with_sums(net: Net, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of a net with sums instead of the means and variances of its BatchNorm layers.

    The weight is 1. If the prototxt gives the layer a ``moving_average_fraction`` f, the weight is 1 / (1 - f), the
    limit of a long training, so that training continues as torch's would.

    Args:
        net: the net.
        tensors: by the net's names, as :func:`deeplab_caffe.net.tensors.tensors_of`: ``bn_conv1.mean``.
    """
    found = dict(tensors)
    for layer in net.layers:
        if (mean := f"{layer.name}.mean") in found:
            options = layer.param.batch_norm_param
            fading = options.moving_average_fraction if options.HasField("moving_average_fraction") else 0.0
            weight = 1 / (1 - fading) if fading < 1 else 1.0
            for name in (mean, f"{layer.name}.variance"):
                found[name] = found[name].float() * weight
            found[f"{layer.name}.factor"] = torch.tensor([weight])
    return found
