"""Layers that normalise: LRN, MVN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, fill_up, int64
from deeplab_caffe.proto import caffe_pb2


@register
class LRN(Layer):
    """Local response normalisation (Krizhevsky et al. 2012, section 3.3).

    Each number is divided by (k + alpha * mean of the squares of its neighbours) ** beta. The neighbours are
    ``local_size`` channels, or, with WITHIN_CHANNEL, a square of ``local_size`` times ``local_size`` pixels; k is then
    1, whatever the prototxt says. Neighbours beyond the edges count as zeros. Source: layers/lrn_layer.cpp.
    """

    TYPE = "LRN"
    capturable = per_item = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.size = param.lrn_param.local_size
        if self.size % 2 == 0:
            raise self.error(f"local_size must be odd, got {self.size}")
        self.within = param.lrn_param.norm_region == caffe_pb2.LRNParameter.WITHIN_CHANNEL

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) != 4:
            raise self.error(f"the bottom must be (N, C, H, W), got {tuple(bottom_shapes[0])}")
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, param = bottoms[0], self.param.lrn_param
        if not self.within:
            return (F.local_response_norm(x, self.size, param.alpha, param.beta, param.k),)
        mean = F.avg_pool2d(x * x, self.size, stride=1, padding=self.size // 2)
        return (x * (1 + param.alpha * mean).pow(-param.beta),)

    def receptive_window(self) -> ReceptiveWindow:
        if not self.within:
            return ReceptiveWindow()
        return ReceptiveWindow(kernel=(self.size, self.size), pad=(self.size // 2, self.size // 2))

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        p = self.param.lrn_param
        if not self.within and p.alpha > 0 and p.beta > 0:  # ONNX's operator is for these alone
            return [graph.node("LRN", bottoms, tops[0], alpha=p.alpha, beta=p.beta, bias=p.k, size=p.local_size)]
        mean, half = graph.node("Mul", [*bottoms, *bottoms]), self.size // 2
        if self.within:
            window: dict[str, Any] = {"kernel_shape": [self.size] * 2, "pads": [half] * 4}
            mean = graph.node("AveragePool", [mean], count_include_pad=1, **window)
        else:
            # The channels become the first axis of a volume with one channel.
            volume = graph.node("Unsqueeze", [mean, graph.constant("axis", int64(1))])
            window = {"kernel_shape": [self.size, 1, 1], "pads": [half, 0, 0] * 2}
            volume = graph.node("AveragePool", [volume], count_include_pad=1, **window)
            mean = graph.node("Squeeze", [volume, graph.constant("axis", int64(1))])
        scaled = graph.node("Mul", [mean, graph.constant("alpha", np.float32(p.alpha))])
        base = graph.node("Add", [scaled, graph.constant("k", np.float32(1 if self.within else p.k))])
        factor = graph.node("Pow", [base, graph.constant("beta", np.float32(-p.beta))])
        return [graph.node("Mul", [*bottoms, factor], tops[0])]


class _Normalized(torch.autograd.Function):
    """Rows minus their mean, divided by their standard deviation plus epsilon.

    The backward pass is written out, because the gradient of the square root is infinite for a constant row.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        deviation = centred.square().mean(dim=1, keepdim=True).sqrt() + epsilon
        top = centred / deviation
        ctx.save_for_backward(top, deviation)
        return top

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        top, deviation = ctx.saved_tensors
        parallel = top * (top * grad).mean(dim=1, keepdim=True)
        return (grad - grad.mean(dim=1, keepdim=True) - parallel) / deviation, None


class _MinusMean(torch.autograd.Function):
    """Rows minus their mean; the gradient is copied, as in the original, as if the mean were a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x - x.mean(dim=1, keepdim=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.clone()


@register
class MVN(Layer):
    """Mean 0 and, with ``normalize_variance``, variance 1 in each channel of each item.

    With ``across_channels``, in each item as a whole (DeepLab v1 reads beyond its buffers then). In v1 without
    ``normalize_variance`` the gradient passes unchanged. The top always has at least four axes. Source:
    layers/mvn_layer.cpp.
    """

    TYPE = "MVN"
    capturable = per_item = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = tuple(bottom_shapes[0])
        return [shape + (1,) * (4 - len(shape))]

    @property
    def epsilon(self) -> float:
        """Return what is added to the standard deviation."""
        param = self.param.mvn_param
        return param.eps if param.HasField("eps") else self.context.dialect.mvn_epsilon

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, param = bottoms[0], self.param.mvn_param
        x = x.reshape(self.top_shapes([x.shape])[0])
        kept = 1 if param.across_channels else 2
        rows = x.reshape(math.prod(x.shape[:kept]), math.prod(x.shape[kept:]))
        if param.normalize_variance:
            return (_Normalized.apply(rows, self.epsilon).reshape(x.shape),)
        if self.context.dialect.mvn_copies_mean_gradient:
            return (_MinusMean.apply(rows).reshape(x.shape),)
        return ((rows - rows.mean(dim=1, keepdim=True)).reshape(x.shape),)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        param, x = self.param.mvn_param, fill_up(graph, bottoms[0], len(graph.shapes[self.param.bottom[0]]))
        axes = graph.constant("axes", int64(*range(1 if param.across_channels else 2, len(graph.shapes[tops[0]]))))
        end = None if param.normalize_variance else tops[0]
        centred = graph.node("Sub", [x, graph.node("ReduceMean", [x, axes])], end)
        if not param.normalize_variance:
            return [centred]
        variance = graph.node("ReduceMean", [graph.node("Mul", [centred, centred]), axes])
        epsilon = graph.constant("eps", np.float32(self.epsilon))
        return [graph.node("Div", [centred, graph.node("Add", [graph.node("Sqrt", [variance]), epsilon])], tops[0])]
