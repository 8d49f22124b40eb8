"""Activations that came after DeepLab v1: PRELU, ELU, CLIP, SWISH.

Computed in place, they give the same gradients as otherwise. So do the original's PReLU, ELU and Swish. The original's
Clip passes the whole gradient when it works in place, because it tests the values that it has already clipped.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.facts import RectifierFact
from deeplab_caffe.layers.onnx import OnnxGraph
from deeplab_caffe.proto import caffe_pb2


@register
class PReLU(Layer):
    """max(x, 0) + slope * min(x, 0), with a slope for each channel (He et al. 2015).

    Parameter blobs: the slopes (C,), or a single slope () with ``channel_shared``. Without a ``filler`` they start at
    0.25. The channels are the bottom's second axis. Source: layers/prelu_layer.cpp.
    """

    TYPE = "PReLU"
    roles = ("weight",)
    capturable = per_item = True
    supports_half = True
    kind = "weights"

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param, shape = self.param.prelu_param, self._slopes(bottom_shapes[0])
        default = caffe_pb2.FillerParameter(type="constant", value=0.25)
        self.weight = self.new_blob(shape, param.filler if param.HasField("filler") else default)

    def _slopes(self, bottom: Shape) -> Shape:
        if len(bottom) < 2:
            raise self.error(f"the bottom must have channels, a second axis, got {tuple(bottom)}")
        return () if self.param.prelu_param.channel_shared else (bottom[1],)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        expected = self._slopes(bottom_shapes[0])
        if tuple(self.weight.shape) != expected:
            came = f"the bottom {tuple(bottom_shapes[0])} needs {expected}"
            raise self.error(f"the weight is for {tuple(self.weight.shape)}, {came}")
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (F.prelu(bottoms[0], self.weight.reshape(-1)),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        slopes = self.named_blobs["weight"].detach().float().cpu().numpy()
        behind = len(graph.shapes[tops[0]]) - 2
        slopes = np.reshape(slopes, (*slopes.shape, *(1,) * behind)) if slopes.ndim else slopes.reshape(1)
        return [graph.node("PRelu", [bottoms[0], graph.constant("weight", slopes)], tops[0])]


@register
class ELU(Layer):
    """x above 0, else ``alpha`` * (exp(x) - 1) (Clevert et al. 2015; layers/elu_layer.cpp)."""

    TYPE = "ELU"
    capturable = per_item = True
    supports_half = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (F.elu(bottoms[0], self.param.elu_param.alpha, inplace=self.overwrites(bottoms[0])),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Elu", bottoms, tops[0], alpha=self.param.elu_param.alpha)]


class _Clipped(torch.autograd.Function):
    """Clamp with a backward of one pass over memory; torch's takes four. At the bounds the slope is 1, as in torch."""

    # A separate setup_context would make each call four times as slow, because torch then binds the arguments by name.
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.outside = _outside(low, high, x.dtype)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        to_x: Tensor = torch.ops.aten.hardtanh_backward(grad, *ctx.saved_tensors, *ctx.outside)
        return to_x, None, None


@cache
def _outside(low: float, high: float, dtype: torch.dtype) -> tuple[float, float]:
    """Return the nearest numbers outside of two bounds, because hardtanh's slope at its own bounds is 0."""
    numbers = np.float32 if dtype == torch.float32 else np.float64
    with np.errstate(over="ignore"):  # the number after the largest one is infinity
        return float(np.nextafter(numbers(low), numbers(-np.inf))), float(np.nextafter(numbers(high), numbers(np.inf)))


@register
class Clip(Layer):
    """x, but at least ``min`` and at most ``max`` (layers/clip_layer.cpp)."""

    TYPE = "Clip"
    capturable = per_item = True
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        if not param.HasField("clip_param"):
            raise self.error("clip_param must give min and max")
        low, high = param.clip_param.min, param.clip_param.max
        if not low <= high:
            raise self.error(f"min must not be above max, got {low:g} and {high:g}")

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, param = bottoms[0], self.param.clip_param
        learns = x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        # torch.func's transforms need torch's own clamp.
        plain = learns and not torch._C._are_functorch_transforms_active()
        if plain and x.dtype in (torch.float32, torch.float64):
            clipped: Tensor = _Clipped.apply(x, param.min, param.max)
            return (clipped,)
        return ((x.clamp_ if self.overwrites(x) else x.clamp)(param.min, param.max),)

    @property
    def fact(self) -> RectifierFact | None:
        param = self.param.clip_param
        return RectifierFact(param.max) if param.min == 0 else None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        bounds = [(name, np.float32(getattr(self.param.clip_param, name))) for name in ("min", "max")]
        return [graph.node("Clip", [*bottoms, *(graph.constant(*bound) for bound in bounds)], tops[0])]


@register
class Swish(Layer):
    """x / (1 + exp(-``beta`` * x)) (Ramachandran et al. 2017; layers/swish_layer.cpp)."""

    TYPE = "Swish"
    capturable = per_item = True
    supports_half = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, beta = bottoms[0], self.param.swish_param.beta
        if beta == 1:
            return (F.silu(x, inplace=self.overwrites(x)),)
        return (x * torch.sigmoid(beta * x),)

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        # Autograd keeps the sigmoid. For a beta of 1, torch's silu computes it again instead.
        return 0 if self.param.swish_param.beta == 1 else width * math.prod(top_shapes[0])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        beta, x = self.param.swish_param.beta, bottoms[0]
        scaled = x if beta == 1 else graph.node("Mul", [x, graph.constant("beta", np.float32(beta))])
        return [graph.node("Mul", [x, graph.node("Sigmoid", [scaled])], tops[0])]
