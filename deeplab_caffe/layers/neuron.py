"""Layers that work number by number: RELU, DROPOUT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, register


@register
class ReLU(Layer):
    """max(x, 0) + negative_slope * min(x, 0) (layers/relu_layer.cpp)."""

    TYPE = "RELU"
    HALF = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        slope = self.param.relu_param.negative_slope
        if slope == 0:
            return (F.relu(bottoms[0], inplace=self.overwrites(bottoms[0])),)
        return (F.leaky_relu(bottoms[0], slope, inplace=self.overwrites(bottoms[0])),)


@register
class Dropout(Layer):
    """Zeroes a share of the values and scales the rest by 1 / (1 - ratio); in phase TEST the top is the bottom.

    A net with a seed drops the very values that the original drops with this seed; other nets draw from torch, which is
    faster. Source: layers/dropout_layer.cpp.
    """

    TYPE = "DROPOUT"
    HALF = True
    ALIASES = True

    def __init__(self, param, context) -> None:
        super().__init__(param, context)
        self.ratio = param.dropout_param.dropout_ratio
        if not 0 <= self.ratio < 1:
            raise self.error(f"dropout_ratio must be at least 0 and below 1, got {self.ratio}")

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x = bottoms[0]
        if not self.training:
            return (x,)
        rng = self.context.rng
        if not self.context.seeded or rng is None:
            return (F.dropout(x, self.ratio, training=True, inplace=self.overwrites(x)),)
        kept = torch.from_numpy(rng.bernoulli(x.numel(), 1 - self.ratio)).view(x.shape)
        return (x * kept.to(x.device, x.dtype) * (1 / (1 - self.ratio)),)
