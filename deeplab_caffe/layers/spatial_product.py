"""The layer that weighs scores with a map, as attention to scale does: SPATIAL_PRODUCT."""

from __future__ import annotations

import math

from torch import Tensor

from deeplab_caffe.layers.base import Layer, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph


@register
class SpatialProduct(Layer):
    """Product of each channel of a blob (N, C, H, W) with a map (N, 1, H, W).

    Both get gradients, the map the sum over the channels. Source: layers/spatial_product_layer.cpp; the original
    keeps the sizes of its first input.
    """

    TYPE = "SpatialProduct"
    BOTTOMS = (2, 2)
    capturable = per_item = True
    supports_half = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, weights = (tuple(shape) for shape in bottom_shapes)
        if len(scores) != 4:
            raise self.error(f"bottom '{self.param.bottom[0]}' must be (N, C, H, W), got {scores}")
        expected = (scores[0], 1, *scores[2:])
        if weights != expected:
            raise self.error(f"the map '{self.param.bottom[1]}' for {scores} must be {expected}, got {weights}")
        return [scores]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0] * bottoms[1],)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(top_shapes[0])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Mul", bottoms, tops[0])]
