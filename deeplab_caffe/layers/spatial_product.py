"""The layer that multiplies scores by a map, as attention to scale does: SPATIAL_PRODUCT."""

from __future__ import annotations

import math

from torch import Tensor

from deeplab_caffe.layers.base import Layer, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, int64


@register
class SpatialProduct(Layer):
    """Product of each channel of a blob (N, C, H, W) with a map (N, 1, H, W); there may be fewer or more axes.

    Both get gradients; the map's is summed over the channels. Source: layers/spatial_product_layer.cpp; the original
    keeps the sizes of its first input.
    """

    TYPE = "SpatialProduct"
    BOTTOMS = (2, 2)
    capturable = per_item = True
    supports_half = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, weights = (tuple(shape) for shape in bottom_shapes)
        if len(scores) < 2:
            raise self.error(f"bottom '{self.param.bottom[0]}' must have channels, a second axis, got {scores}")
        expected = (scores[0], 1, *scores[2:])
        if weights + (1,) * (len(scores) - len(weights)) != expected:
            raise self.error(f"the map '{self.param.bottom[1]}' for {scores} must be {expected}, got {weights}")
        return [scores]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, weights = bottoms
        return (scores * weights[(...,) + (None,) * (scores.dim() - weights.dim())],)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(top_shapes[0])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        scores, weights = (len(graph.shapes[blob]) for blob in self.param.bottom)
        if weights < scores:
            axes = graph.constant("axes", int64(*range(weights, scores)))
            bottoms = [bottoms[0], graph.node("Unsqueeze", [bottoms[1], axes])]
        return [graph.node("Mul", bottoms, tops[0])]
