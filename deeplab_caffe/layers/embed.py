"""The layer that looks up a row of numbers for each index: EMBED."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.onnx import INT64, OnnxGraph, int64
from deeplab_caffe.proto import caffe_pb2


@register
class Embed(Layer):
    """Looks up row ``index`` of a matrix for each index of the bottom, (...) to (..., K) for a ``num_output`` of K.

    Parameter blobs: weight (``input_dim``, K) and, with ``bias_term``, bias (K,). Where blobs have four axes, the
    bottom is (A, B, C, 1) and the top (A, B, C, K). Indices get no gradient. Source: layers/embed_layer.cpp.
    """

    TYPE = "Embed"
    roles = ("weight", "bias")
    # It checks that each index has a row, which waits for the device.
    capturable = False
    per_item = True
    kind = "weights"
    label_bottoms = (0,)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        for name in ("num_output", "input_dim"):
            if getattr(param.embed_param, name) < 1:
                raise self.error(f"{name} must be positive, got {getattr(param.embed_param, name)}")

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.embed_param
        self.weight = self.new_blob((param.input_dim, param.num_output), param.weight_filler)
        if param.bias_term:
            self.bias = self.new_blob((param.num_output,), param.bias_filler)
        else:
            self.register_parameter("bias", None)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = tuple(bottom_shapes[0])
        if self.context.dialect.four_axes:
            if shape[3] != 1:
                raise self.error(f"the bottom must be (A, B, C, 1), so that the top has four axes, got {shape}")
            shape = shape[:3]
        return [(*shape, self.param.embed_param.num_output)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        index, count = bottoms[0].detach().long(), self.param.embed_param.input_dim
        wrong = ((index < 0) | (index >= count)).flatten().nonzero()
        if wrong.numel():
            place = int(wrong[0])
            raise self.error(f"index {int(index.flatten()[place])} at place {place}: expected 0 to {count - 1}")
        index = index.squeeze(3) if self.context.dialect.four_axes else index
        top = F.embedding(index, self.weight)
        return (top if self.bias is None else top + self.bias,)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        index = graph.node("Cast", bottoms, to=INT64)
        if self.context.dialect.four_axes:
            index = graph.node("Squeeze", [index, graph.constant("axis", int64(3))])
        weight, *bias = self.onnx_blobs(graph)
        top = graph.node("Gather", [weight, index], None if bias else tops[0])
        return [graph.node("Add", [top, *bias], tops[0]) if bias else top]
