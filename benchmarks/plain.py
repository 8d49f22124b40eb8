"""The released networks as one would write them in plain PyTorch: the peer that every timing stands beside."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_caffe.net import Net

# VGG-16's blocks: channels, convolutions, stride of the pooling behind them, dilation.
_BLOCKS = ((64, 2, 2, 1), (128, 2, 2, 1), (256, 3, 2, 1), (512, 3, 1, 1), (512, 3, 1, 2))
# fc6: channels, kernel, padding, dilation; and whether an average pooling stands before it.
_HEADS = {
    "deeplab_largefov": (1024, 3, 12, 12, True),
    "deeplab": (4096, 4, 6, 4, False),
    "deeplab_7x7": (4096, 7, 12, 4, False),
}


class PlainDeepLab(nn.Module):
    """DeepLab v1 over VGG-16, convolution by convolution, with bilinear upsampling to 8 (n - 1) + 1.

    Args:
        name: ``deeplab_largefov``, ``deeplab`` or ``deeplab_7x7``.
        classes: channels of the scores.
        width: divides all channels but the scores'.
    """

    def __init__(self, name: str, classes: int = 21, width: int = 1) -> None:
        super().__init__()
        if name not in _HEADS:
            raise ValueError(f"expected one of {', '.join(_HEADS)}, got {name!r}")
        layers: list[nn.Module] = []
        channels = 3
        for out, count, stride, dilation in _BLOCKS:
            for _ in range(count):
                layers += [nn.Conv2d(channels, out // width, 3, 1, dilation, dilation), nn.ReLU(inplace=True)]
                channels = out // width
            layers.append(nn.MaxPool2d(3, stride, 1))
        out, kernel, padding, dilation, average = _HEADS[name]
        if average:
            layers.append(nn.AvgPool2d(3, 1, 1))
        out //= width
        layers += [nn.Conv2d(channels, out, kernel, 1, padding, dilation), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        layers += [nn.Conv2d(out, out, 1), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        layers.append(nn.Conv2d(out, classes, 1))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, C, 8 (h - 1) + 1, 8 (w - 1) + 1) in float32."""
        scores = self.features(x).float()
        size = [8 * (side - 1) + 1 for side in scores.shape[2:]]
        return F.interpolate(scores, size, mode="bilinear", align_corners=True)

    @torch.no_grad()
    def copy_weights(self, net: Net) -> None:
        """Takes the weights of the same network built from its prototxt."""
        ours = [layer for layer in net.layers if layer.blobs]
        theirs = [module for module in self.features if isinstance(module, nn.Conv2d)]
        for layer, module in zip(ours, theirs, strict=True):
            module.weight.copy_(layer.weight)
            module.bias.copy_(layer.bias)
