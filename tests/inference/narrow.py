"""The bundled networks with few channels and random weights."""

from __future__ import annotations

import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.zoo.paths import prototxt_path


def narrow(name: str, width: int = 16, **options: object) -> dc.Net:
    """A bundled network with its channels, but the scores', divided by ``width``."""
    param = proto.read_net(prototxt_path(name))
    for layer in param.layer:
        if layer.HasField("convolution_param") and layer.convolution_param.num_output > 21:
            layer.convolution_param.num_output = max(4, layer.convolution_param.num_output // width)
    net = dc.Net(param, **options)
    generator = torch.Generator().manual_seed(2015)
    with torch.no_grad():
        for layer in net.layers:
            if layer.blobs:
                weight, bias = layer.blobs
                weight.copy_(torch.randn(weight.shape, generator=generator) * (2 / weight[0].numel()) ** 0.5)
                bias.copy_(torch.randn(bias.shape, generator=generator) * 0.1)
    return net


def photo_like(*shape: int, seed: int = 0) -> torch.Tensor:
    """An input blob as large as images minus mean are."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 50


def error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative error."""
    got, expected = got.detach(), expected.detach()
    return float((got.double() - expected.double()).norm() / expected.double().norm())
