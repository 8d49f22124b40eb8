"""The layer that repeats a blob: TILE."""

from __future__ import annotations

from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.proto import caffe_pb2


@register
class Tile(Layer):
    """Repeats a blob ``tiles`` times along ``axis`` (layers/tile_layer.cpp)."""

    TYPE = "Tile"
    capturable = True
    per_item = False
    saves = ()
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        if param.tile_param.tiles < 1:
            raise self.error(f"tiles must be positive, got {param.tile_param.tiles}")
        self.per_item = param.tile_param.axis > 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [tuple(n * tiles for n, tiles in zip(bottom_shapes[0], self._repeats(bottom_shapes[0]), strict=True))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0].repeat(self._repeats(bottoms[0].shape)),)

    def _repeats(self, shape: Shape) -> list[int]:
        repeats = [1] * len(shape)
        repeats[self.axis(self.param.tile_param.axis, shape)] = self.param.tile_param.tiles
        return repeats

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        repeats = graph.constant("repeats", int64(*self._repeats(graph.shapes[tops[0]])))
        return [graph.node("Tile", [bottoms[0], repeats], tops[0])]
