"""The layer that sums over a blob's last axes: REDUCTION."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.proto import caffe_pb2

_ONNX = {"SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}


@register
class Reduction(Layer):
    """``coeff`` times the sum, mean, sum of magnitudes or sum of squares over ``axis`` and all axes behind it.

    The top has the axes before ``axis``, padded with trailing 1s where blobs have four axes. Source:
    layers/reduction_layer.cpp.
    """

    TYPE = "Reduction"
    capturable = True
    per_item = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.operation = caffe_pb2.ReductionParameter.ReductionOp.Name(param.reduction_param.operation)
        self.per_item = param.reduction_param.axis > 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = tuple(bottom_shapes[0])
        return [self.filled_up(shape[: self.axis(self.param.reduction_param.axis, shape)])]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, param = bottoms[0], self.param.reduction_param
        first = self.axis(param.axis, x.shape)
        values = {"ASUM": x.abs, "SUMSQ": x.square}.get(self.operation, lambda: x)()
        axes = tuple(range(first, x.dim()))
        top = values.mean(axes) if self.operation == "MEAN" else values.sum(axes)
        top = top if param.coeff == 1 else top * param.coeff
        return (top.reshape(self.filled_up(tuple(top.shape))),)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        shape, param = graph.shapes[self.param.bottom[0]], self.param.reduction_param
        first = self.axis(param.axis, shape)
        axes = graph.constant("axes", int64(*range(first, len(shape))))
        top = graph.node(_ONNX[self.operation], [bottoms[0], axes], keepdims=int(self.context.dialect.four_axes))
        coeff = graph.constant("coeff", np.float32(param.coeff))
        return [graph.node("Mul", [top, coeff], tops[0])]
