"""The released networks as one would write them in plain PyTorch, for comparison in each timing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_caffe.net import Net

# VGG-16's blocks: channels, convolutions, stride of the pooling behind them, dilation.
_BLOCKS = ((64, 2, 2, 1), (128, 2, 2, 1), (256, 3, 2, 1), (512, 3, 1, 1), (512, 3, 1, 2))
# Multi-scale scores: how much finer than the image they are after the image itself and each of four poolings.
_SCALES = (1, 2, 4, 8, 8)


@dataclass(frozen=True)
class Head:
    """What differs from network to network.

    Attributes:
        channels: of fc6 and fc7.
        kernel: of fc6, as are padding and dilation.
        average: an average pooling stands before fc6.
        pool: side of the windows of the first four poolings.
        crop: rows and columns cut off the scores, at the top and left and at the bottom and right.
        scales: scores come from the image and the first four poolings too.
    """

    channels: int
    kernel: int
    padding: int
    dilation: int
    average: bool = False
    pool: int = 3
    crop: tuple[int, int] = (0, 0)
    scales: bool = False


HEADS = {
    "deeplab_largefov": Head(1024, 3, 12, 12, average=True),
    "deeplab": Head(4096, 4, 6, 4, pool=2, crop=(7, 8)),
    "deeplab_pool3": Head(4096, 4, 6, 4),
    "deeplab_4x4": Head(4096, 4, 12, 8),
    "deeplab_7x7": Head(4096, 7, 12, 4),
    "deeplab_msc": Head(4096, 4, 6, 4, scales=True),
    "deeplab_msc_largefov": Head(1024, 3, 12, 12, average=True, scales=True),
}


def _upsample(scores: Tensor, zoom: int) -> Tensor:
    size = [zoom * (side - 1) + 1 for side in scores.shape[2:]]
    return F.interpolate(scores.float(), size, mode="bilinear", align_corners=True)


class PlainDeepLab(nn.Module):
    """DeepLab v1 over VGG-16, convolution by convolution, with bilinear upsampling to 8 (n - 1) + 1.

    Args:
        name: one of :data:`HEADS`.
        classes: channels of the scores.
        width: divides all channels but the scores'.
    """

    def __init__(self, name: str, classes: int = 21, width: int = 1) -> None:
        super().__init__()
        if name not in HEADS:
            raise ValueError(f"expected one of {', '.join(HEADS)}, got {name!r}")
        self.head = head = HEADS[name]
        blocks: list[nn.Module] = []
        sides: list[nn.Module] = [_branch(3, classes, width)] if head.scales else []
        channels = 3
        for number, (out, count, stride, dilation) in enumerate(_BLOCKS):
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [nn.Conv2d(channels, out // width, 3, 1, dilation, dilation), nn.ReLU(inplace=True)]
                channels = out // width
            # Caffe rounds the number of windows up.
            layers.append(nn.MaxPool2d(head.pool if number < 4 else 3, stride, 1, ceil_mode=True))
            blocks.append(nn.Sequential(*layers))
            if head.scales and number < 4:
                sides.append(_branch(channels, classes, width))
        out = head.channels // width
        layers = [nn.AvgPool2d(3, 1, 1)] if head.average else []
        layers += [nn.Conv2d(channels, out, head.kernel, 1, head.padding, head.dilation)]
        layers += [nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Conv2d(out, out, 1), nn.ReLU(inplace=True)]
        layers += [nn.Dropout(0.5), nn.Conv2d(out, classes, 1)]
        self.blocks, self.sides, self.top = nn.ModuleList(blocks), nn.ModuleList(sides), nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, C, H, W) in float32."""
        sides = []
        for number, block in enumerate(self.blocks):
            if number < len(self.sides):
                sides.append(self.sides[number](x))
            x = block(x)
        scores = _upsample(self.top(x), 8)
        for side, zoom in zip(sides, _SCALES, strict=False):
            scores = scores + (side.float() if zoom == 1 else _upsample(side, zoom))
        begin, end = self.head.crop
        return scores[:, :, begin : scores.shape[2] - end, begin : scores.shape[3] - end]

    @property
    def features(self) -> nn.Sequential:
        """Go from the image to the scores at their own resolution, for networks without multi-scale scores."""
        if self.head.scales:
            raise ValueError("the scores of a multi-scale network are sums of several resolutions")
        return nn.Sequential(*self.blocks, self.top)

    @torch.no_grad()
    def copy_weights(self, net: Net) -> None:
        """Take the weights of the same network built from its prototxt."""
        # Both nets' side branches stand before the block that reads the same blob.
        modules: list[nn.Module] = []
        for number, block in enumerate(self.blocks):
            modules += [self.sides[number], block] if number < len(self.sides) else [block]
        theirs = [m for part in (*modules, self.top) for m in part.modules() if isinstance(m, nn.Conv2d)]
        ours = [layer for layer in net.layers if layer.blobs]
        for layer, module in zip(ours, theirs, strict=True):
            module.weight.copy_(layer.weight)
            module.bias.copy_(layer.bias)


def _branch(channels: int, classes: int, width: int) -> nn.Sequential:
    out = 128 // width
    layers = [nn.Conv2d(channels, out, 3, 1, 1), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Conv2d(out, out, 1)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Conv2d(out, classes, 1))
