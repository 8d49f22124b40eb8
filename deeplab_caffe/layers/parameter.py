"""The layer whose top is a parameter: PARAMETER."""

from __future__ import annotations

from torch import Tensor

from deeplab_caffe.layers.base import Layer, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph
from deeplab_caffe.proto import caffe_pb2


@register
class Parameter(Layer):
    """A learned blob of a given ``shape``, initially zeros (include/caffe/layers/parameter_layer.hpp)."""

    TYPE = "Parameter"
    roles = ("weight",)
    BOTTOMS = (0, 0)
    capturable = True
    # It has no batch.
    per_item = False
    kind = "weights"
    saves = ()
    supports_half = True
    may_alias = True

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = tuple(self.param.parameter_param.shape.dim)
        if min(shape, default=1) < 1:
            raise self.error(f"parameter_param: each dim of shape must be positive, got {shape}")
        self.weight = self.new_blob(self.blob_shape(shape), caffe_pb2.FillerParameter())

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [tuple(self.weight.shape)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (self.weight,)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return self.onnx_blobs(graph)
