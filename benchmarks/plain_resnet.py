"""DeepLab v2's ResNet-101 with ASPP as one would write it in plain PyTorch: the peer of fps.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_caffe.layers import Layer
from deeplab_caffe.net import Net
from deeplab_caffe.proto import caffe_pb2

# Of each stage: inner channels, blocks, stride of its first 1x1 convolutions, dilation of its 3x3 ones.
_STAGES = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 23, 1, 2), (512, 3, 1, 4))
_WIDENING = 4
_HEADS = (6, 12, 18, 24)
_SCALED = ("_res05", "_res075")
# Towers by the network's name; the second is the first tower alone, which no release has.
TOWERS = {"deeplab_aspp_resnet101": 3, "deeplab_aspp_resnet101, one tower": 1}


def one_tower(param: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Return the released network without the towers for the smaller images and the maximum over the three."""
    alone = caffe_pb2.NetParameter()
    alone.CopyFrom(param)
    (fusion,) = (layer for layer in param.layer if layer.name == "fc_fusion")
    scaled = [layer for layer in param.layer if any(word in layer.name for word in _SCALED)]
    del alone.layer[:]
    alone.layer.extend(layer for layer in param.layer if layer not in scaled and layer.name != fusion.name)
    for layer in alone.layer:
        if layer.bottom[0] == fusion.top[0]:
            layer.bottom[0] = fusion.bottom[0]
    return alone


def _convolution(channels: int, out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    pad = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(channels, out, kernel, stride, pad, dilation, bias=False), nn.BatchNorm2d(out))


class _Block(nn.Module):
    """Three convolutions beside a shortcut, which in a stage's first block is a convolution."""

    def __init__(self, channels: int, inner: int, stride: int, dilation: int) -> None:
        super().__init__()
        out = _WIDENING * inner
        first = channels != out or stride > 1
        self.shortcut = _convolution(channels, out, 1, stride) if first else nn.Identity()
        self.reduce = _convolution(channels, inner, 1, stride)
        self.middle = _convolution(inner, inner, 3, dilation=dilation)
        self.widen = _convolution(inner, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.reduce(x), inplace=True)
        y = F.relu(self.middle(y), inplace=True)
        return F.relu(self.shortcut(x) + self.widen(y), inplace=True)


def _resized(x: Tensor, zoom: int, shrink: int = 1) -> Tensor:
    sides = ((side - 1) // shrink * zoom + 1 for side in x.shape[2:])
    return F.interpolate(x, list(sides), mode="bilinear", align_corners=True)


class PlainResNet(nn.Module):
    """DeepLab v2 over ResNet-101: scores of the image, alone or with those at 1/2 and 3/4, of which the largest counts.

    Args:
        name: one of :data:`TOWERS`.
        classes: channels of the scores.
    """

    def __init__(self, name: str, classes: int = 21) -> None:
        super().__init__()
        self.towers = TOWERS[name]
        stem = _convolution(3, 64, 7, stride=2)
        stem[0].padding = (3, 3)
        layers = [stem, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1, ceil_mode=True)]
        channels = 64
        for inner, count, stride, dilation in _STAGES:
            for block in range(count):
                layers.append(_Block(channels, inner, 1 if block else stride, dilation))
                channels = _WIDENING * inner
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Conv2d(channels, classes, 3, 1, rate, rate) for rate in _HEADS)

    def tower(self, x: Tensor) -> Tensor:
        """Return scores at an eighth of the size."""
        features = self.trunk(x)
        first, *others = (head(features) for head in self.heads)
        for scores in others:
            first = first + scores
        return first

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, C, H, W) in float32."""
        scores = self.tower(x)
        if self.towers > 1:
            half, most = self.tower(_resized(x, 1, 2)), self.tower(_resized(x, 3, 4))
            scores = torch.maximum(scores, torch.maximum(_resized(most, 4, 3), _resized(half, 2)))
        return _resized(scores if scores.dtype == torch.float64 else scores.float(), 8)

    @torch.no_grad()
    def copy_weights(self, net: Net) -> None:
        """Take the weights of the network built from its prototxt: those of its first tower, which all share."""
        theirs = iter(module for module in self.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d))
        ours = iter(layer for layer in net.layers if layer.blobs and not any(word in layer.name for word in _SCALED))
        for module in theirs:
            layer = next(ours)
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(layer.weight)
                if module.bias is not None:
                    module.bias.copy_(layer.bias)
            else:
                _copy_normalisation(module, layer, next(ours))


def _copy_normalisation(module: nn.BatchNorm2d, norm: Layer, scale: Layer) -> None:
    mean, variance = norm.statistics()
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
    module.weight.copy_(scale.weight)
    module.bias.copy_(scale.bias)
