"""Elementwise layers: RELU, DROPOUT, ABSVAL, BNLL, EXP, LOG, POWER, SIGMOID, TANH, THRESHOLD."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.facts import AffineFact, ProbabilityFact, RectifierFact
from deeplab_caffe.layers.onnx import FLOAT, OnnxGraph
from deeplab_caffe.proto import caffe_pb2


@register
class ReLU(Layer):
    """max(x, 0) + negative_slope * min(x, 0) (layers/relu_layer.cpp)."""

    TYPE = "ReLU"
    capturable = per_item = True
    saves = ("tops",)
    supports_half = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        slope = self.param.relu_param.negative_slope
        if slope == 0:
            return (F.relu(bottoms[0], inplace=self.overwrites(bottoms[0])),)
        return (F.leaky_relu(bottoms[0], slope, inplace=self.overwrites(bottoms[0])),)

    @property
    def fact(self) -> RectifierFact | None:
        return RectifierFact() if self.param.relu_param.negative_slope == 0 else None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        slope = self.param.relu_param.negative_slope
        if slope == 0:
            return [graph.node("Relu", bottoms, tops[0])]
        return [graph.node("LeakyRelu", bottoms, tops[0], alpha=slope)]


_BYTES = 256  # values of a byte


@register
class Dropout(Layer):
    """Zeroes a share of the values and scales the rest by 1 / (1 - ratio); in phase TEST the top is the bottom.

    A net with a seed drops the same values as the original with this seed; other nets draw from torch, which is faster.
    Source: layers/dropout_layer.cpp.
    """

    TYPE = "Dropout"
    capturable = per_item = True
    saves = ()
    supports_half = True
    may_alias = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.ratio = param.dropout_param.dropout_ratio
        self._check_ratio(self.in_training)

    def _check_ratio(self, training: bool) -> None:
        # The original accepts a ratio of 1 in phase TEST, where it only copies.
        if not 0 <= self.ratio <= 1 or (training and self.ratio == 1):
            raise self.error(f"dropout_ratio must be at least 0 and below 1 (1 in phase TEST alone), got {self.ratio}")

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x = bottoms[0]
        if not self.training:
            return (x,)
        self._check_ratio(training=True)
        rng = self.context.rng
        if not self.context.seeded or rng is None:
            if x.device.type == "cpu" and (self.ratio * _BYTES).is_integer():
                return (x * _kept(x, self.ratio),)
            return (F.dropout(x, self.ratio, training=True, inplace=self.overwrites(x)),)
        rank, world = self.context.shard
        drawn = rng.bernoulli(world * x.numel(), 1 - self.ratio)[rank * x.numel() : (rank + 1) * x.numel()]
        kept = torch.from_numpy(drawn).view(x.shape)
        # Copy bytes to the GPU first: .to(device, dtype) would widen them before the copy.
        return (x * kept.to(x.device).to(x.dtype) * (1 / (1 - self.ratio)),)

    @property
    def is_identity(self) -> bool:
        return not self.training

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        # The mask: as wide as the numbers on the CPU, one byte on a GPU. Count the wider one.
        return width * math.prod(top_shapes[0])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        if self.in_training:
            raise graph.unsupported("DROPOUT in phase TRAIN", "build the net in phase TEST")
        return bottoms


def _kept(x: Tensor, ratio: float) -> Tensor:
    """Return dropout's factors, in the shape of x. torch draws a double per value; a byte is enough for n / 256."""
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    factors = torch.empty_like(x, requires_grad=False)
    # Fill in memory order, whatever the layout: the draws are independent.
    flat = factors.as_strided((x.numel(),), (1,))
    flat.copy_(words.view(torch.uint8)[: x.numel()] >= int(ratio * _BYTES)).mul_(1 / (1 - ratio))
    return factors


@register
class AbsVal(Layer):
    """abs(x); its slope at 0 is 0 (layers/absval_layer.cpp)."""

    TYPE = "AbsVal"
    capturable = per_item = True
    supports_half = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0].abs(),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Abs", bottoms, tops[0])]


@register
class BNLL(Layer):
    """log(1 + exp(x)) (layers/bnll_layer.cpp)."""

    TYPE = "BNLL"
    capturable = per_item = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (torch.logaddexp(bottoms[0], torch.zeros_like(bottoms[0])),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Softplus", bottoms, tops[0])]


def _log_base(layer: Layer, base: float) -> float:
    """Return the natural logarithm of a ``base``; -1 stands for e.

    Raises:
        NetError: the base is neither positive nor -1.
    """
    if base != -1 and not 0 < base < math.inf:
        raise layer.error(f"base must be positive, or -1 for e, got {base:g}")
    return 1.0 if base == -1 else math.log(base)


@register
class Exp(Layer):
    """base ** (scale * x + shift); ``base: -1``, the default, is e (layers/exp_layer.cpp)."""

    TYPE = "Exp"
    capturable = per_item = True
    saves = ("tops",)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.log_base = _log_base(self, param.exp_param.base)
        self.gradient_from_tops = param.exp_param.shift == 0

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        param = self.param.exp_param
        top = (bottoms[0] * (self.log_base * param.scale)).exp()
        return (top if param.shift == 0 else top * math.exp(self.log_base * param.shift),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        param = self.param.exp_param
        factors = [graph.constant("scale", np.float32(self.log_base * value)) for value in (param.scale, param.shift)]
        shifted = graph.node("Add", [graph.node("Mul", [*bottoms, factors[0]]), factors[1]])
        return [graph.node("Exp", [shifted], tops[0])]


@register
class Log(Layer):
    """Logarithm of scale * x + shift to ``base``; ``base: -1``, the default, is e (layers/log_layer.cpp).

    Computed in place, it gives the same gradient as otherwise; the original then mistakes its tops for its bottoms.
    """

    TYPE = "Log"
    capturable = per_item = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.log_base = _log_base(self, param.log_param.base)
        if self.log_base == 0:
            raise self.error("base must not be 1: no number has a logarithm to it")

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, param = bottoms[0], self.param.log_param
        x = x if param.scale == 1 else x * param.scale
        top = (x if param.shift == 0 else x + param.shift).log()
        return (top if self.log_base == 1 else top / self.log_base,)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        param, x = self.param.log_param, bottoms[0]
        for op, value, neutral in (("Mul", param.scale, 1), ("Add", param.shift, 0)):
            if value != neutral:
                x = graph.node(op, [x, graph.constant(op, np.float32(value))])
        top = graph.node("Log", [x])
        return [graph.node("Div", [top, graph.constant("base", np.float32(self.log_base))], tops[0])]


@register
class Power(Layer):
    """(shift + scale * x) ** power (layers/power_layer.cpp).

    Where x and ``shift`` are 0, the gradient is the true one; the original divides 0 by 0 there.
    """

    TYPE = "Power"
    capturable = per_item = True
    may_alias = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, param = bottoms[0], self.param.power_param
        if param.power * param.scale == 0:
            # A constant even where x is infinite; its gradient is 0 and not missing.
            constant = torch.full_like(x, param.shift).pow(param.power)
            return (torch.where(torch.ones_like(x, dtype=torch.bool), constant, x),)
        top = x if param.scale == 1 else x * param.scale
        top = top if param.shift == 0 else top + param.shift
        return (top if param.power == 1 else top.pow(param.power),)

    @property
    def fact(self) -> AffineFact | None:
        param = self.param.power_param
        if param.power != 1 or param.scale == 0:
            return None
        return AffineFact(lambda: (torch.tensor([param.scale]).double(), torch.tensor([param.shift]).double()))

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        param, x = self.param.power_param, bottoms[0]
        for op, value, neutral in (("Mul", param.scale, 1), ("Add", param.shift, 0), ("Pow", param.power, 1)):
            if value != neutral:
                x = graph.node(op, [x, graph.constant(op, np.float32(value))])
        return [x]


@register
class Sigmoid(Layer):
    """1 / (1 + exp(-x)) (layers/sigmoid_layer.cpp)."""

    TYPE = "Sigmoid"
    capturable = per_item = gradient_from_tops = True
    saves = ("tops",)
    supports_half = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0].sigmoid(),)

    @property
    def fact(self) -> ProbabilityFact:
        return ProbabilityFact(across=False)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Sigmoid", bottoms, tops[0])]


@register
class TanH(Layer):
    """tanh(x) (layers/tanh_layer.cpp); 1 for large x, where the original's exp(2 * x) overflows into NaN."""

    TYPE = "TanH"
    capturable = per_item = gradient_from_tops = True
    saves = ("tops",)
    supports_half = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0].tanh(),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Tanh", bottoms, tops[0])]


@register
class Threshold(Layer):
    """1 where x is above ``threshold``, else 0; no gradient (layers/threshold_layer.cpp)."""

    TYPE = "Threshold"
    capturable = per_item = True
    differentiable = False

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return ((bottoms[0] > self.param.threshold_param.threshold).to(bottoms[0].dtype),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        threshold = graph.constant("threshold", np.float32(self.param.threshold_param.threshold))
        return [graph.node("Cast", [graph.node("Greater", [*bottoms, threshold])], tops[0], to=FLOAT)]
