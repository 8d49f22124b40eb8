"""DeepLab v3 on EfficientNet-Lite0 as one would write it in plain PyTorch: the peer of fps.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_caffe.net import Net

NAME = "deeplab_v3_lite0"
# Of each stage: factor of the widening, channels, blocks, kernel, stride of its first block, dilation.
_STAGES = (
    (1, 16, 1, 3, 1, 1),
    (6, 24, 2, 3, 2, 1),
    (6, 40, 2, 5, 2, 1),
    (6, 80, 3, 3, 2, 1),
    (6, 112, 3, 5, 1, 1),
    (6, 192, 4, 5, 1, 2),
    (6, 320, 1, 3, 1, 2),
)
_RATES = (6, 12, 18)
_WIDTH = 256
_EPS, _MOMENTUM = 1e-3, 0.01


def _convolution(channels: int, out: int, kernel: int = 1, *, act: type[nn.Module] | None, **options: int) -> list:
    pad = options.get("dilation", 1) * (kernel // 2)
    found = [nn.Conv2d(channels, out, kernel, padding=pad, bias=False, **options)]
    found.append(nn.BatchNorm2d(out, _EPS, _MOMENTUM))
    return [*found, act(inplace=True)] if act is not None else found


class _Block(nn.Module):
    """An inverted residual block: widen, depthwise, project, and the sum with its input where they are alike."""

    def __init__(self, channels: int, out: int, factor: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        inner = factor * channels
        layers = _convolution(channels, inner, act=nn.ReLU6) if factor > 1 else []
        layers += _convolution(inner, inner, kernel, act=nn.ReLU6, stride=stride, groups=inner, dilation=dilation)
        self.layers = nn.Sequential(*layers, *_convolution(inner, out, act=None))
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class PlainLite0(nn.Module):
    """The network of prototxt/deeplab_v3_lite0.

    Args:
        classes: channels of the scores.
    """

    def __init__(self, classes: int = 21) -> None:
        super().__init__()
        layers = _convolution(3, 32, 3, act=nn.ReLU6, stride=2)
        channels, before = 32, 1
        for factor, out, count, kernel, stride, dilation in _STAGES:
            for block in range(count):
                # The block that would have had the stride sees the map before it: it is not dilated yet.
                layers.append(_Block(channels, out, factor, kernel, 1 if block else stride, before))
                channels, before = out, dilation
        self.trunk = nn.Sequential(*layers)
        self.point = nn.Sequential(*_convolution(channels, _WIDTH, act=nn.ReLU))
        self.branches = nn.ModuleList(
            nn.Sequential(
                *_convolution(channels, channels, 3, act=nn.ReLU, groups=channels, dilation=rate),
                *_convolution(channels, _WIDTH, act=nn.ReLU),
            )
            for rate in _RATES
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_convolution(channels, _WIDTH, act=nn.ReLU))
        self.project = nn.Sequential(*_convolution((2 + len(_RATES)) * _WIDTH, _WIDTH, act=nn.ReLU), nn.Dropout(0.1))
        self.scores = nn.Conv2d(_WIDTH, classes, 1)

    def features(self, x: Tensor) -> Tensor:
        """Return scores at a sixteenth of the size."""
        x = self.trunk(x)
        pooled = self.pool(x).expand(-1, -1, *x.shape[2:])
        parts = [self.point(x), *(branch(x) for branch in self.branches), pooled]
        return self.scores(self.project(torch.cat(parts, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, C, H, W) in float32."""
        scores = self.features(x)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        size = [16 * (side - 1) + 1 for side in scores.shape[2:]]
        return F.interpolate(scores, size, mode="bilinear", align_corners=True)

    @torch.no_grad()
    def copy_weights(self, net: Net) -> None:
        """Take the weights of the network built from its prototxt, whose layers come in the same order."""
        ours = iter(layer for layer in net.layers if layer.blobs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                layer = next(ours)
                module.weight.copy_(layer.weight)
                if module.bias is not None:
                    module.bias.copy_(layer.bias)
            elif isinstance(module, nn.BatchNorm2d):
                mean, variance = next(ours).statistics()
                scale = next(ours)
                module.running_mean.copy_(mean)
                module.running_var.copy_(variance)
                module.weight.copy_(scale.weight)
                module.bias.copy_(scale.bias)
