"""Layers that multiply or add along some axes of a blob: SCALE, BIAS."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.facts import AffineFact
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.proto import caffe_pb2


class AlongAxes(Layer):
    """What SCALE and BIAS share: numbers that are aligned with the bottom's axes from ``axis`` on.

    With one bottom the numbers are a parameter blob over ``num_axes`` axes (-1: all that follow, 0: a single number).
    With two bottoms they are the second bottom.
    """

    BOTTOMS = (1, 2)
    capturable = per_item = True
    kind = "weights"
    supports_half = True
    fuses_rectifier = True
    # Whether there is one number per channel, or a single one; set in setup.
    per_channel = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.learns = len(param.bottom) == 1
        options = self.options
        if options.num_axes < -1:
            raise self.error(f"num_axes must be at least -1, got {options.num_axes}")
        # A second bottom may have no batch axis to be split along.
        self.per_item = self.learns and options.axis > 0

    @property
    def options(self) -> caffe_pb2.ScaleParameter | caffe_pb2.BiasParameter:
        """Return the parameters of the layer's type."""
        raise NotImplementedError

    def first_axis(self, x: Shape, other: Shape) -> int:
        """Return the axis of the bottom at which the numbers' axes begin; 0 for a single number."""
        return self.axis(self.options.axis, x) if other else 0

    def inner_shape(self, x: Shape) -> Shape:
        """Return the shape of the parameter blob for a bottom.

        Raises:
            NetError: the bottom has too few axes.
        """
        count = self.options.num_axes
        if count == 0:
            return ()
        first = self.axis(self.options.axis, x)
        if count > len(x) - first:
            raise self.error(f"axis {first} and the {count} from there on are not all axes of the bottom {tuple(x)}")
        return tuple(x[first:] if count == -1 else x[first : first + count])

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        x = tuple(bottom_shapes[0])
        other = self.inner_shape(x) if self.learns else tuple(bottom_shapes[1])
        first = self.first_axis(x, other)
        if x[first : first + len(other)] != other:
            raise self.error(f"bottom '{self.param.bottom[1]}' is {other}, expected axes of {x} from axis {first} on")
        for role, blob in self.named_blobs.items():
            if tuple(blob.shape) != other:
                raise self.error(f"the {role} is for {tuple(blob.shape)}, the bottom {x} needs {other}")
        return [x]

    def note_axes(self, x: Shape, numbers: Shape) -> None:
        """Set ``per_channel``: whether numbers of this shape are one per channel, or a single one for all."""
        self.per_channel = not numbers or (len(numbers) == 1 and self.first_axis(x, numbers) == 1)

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Return the factors and the summands of the channels, (C,) or (1,), in float64."""
        blobs = {role: blob.detach().double().reshape(-1) for role, blob in self.named_blobs.items()}
        some = next(iter(blobs.values()))
        return blobs.get("weight", torch.ones_like(some)), blobs.get("bias", torch.zeros_like(some))

    @property
    def fact(self) -> AffineFact | None:
        return AffineFact(self.numbers) if self.learns and self.per_channel else None

    def axes_behind(self, x: Shape, other: Shape) -> int:
        """Return how many of the bottom's axes lie behind those of the numbers."""
        return len(x) - self.first_axis(x, other) - len(other)

    def aligned(self, numbers: Tensor, x: Shape) -> Tensor:
        """Return the numbers with trailing axes of length 1, so that they broadcast to the bottom."""
        return numbers.reshape((*numbers.shape, *(1,) * self.axes_behind(tuple(x), tuple(numbers.shape))))

    def onnx_operand(self, graph: OnnxGraph, blob: Tensor | None, role: str, bottom: str, top: str) -> str:
        """Add the numbers, aligned, to an ONNX graph: a parameter blob, or else the second bottom; return their name.

        Args:
            graph: the graph.
            blob: the parameter blob; None: the numbers are the second bottom.
            role: the blob's role.
            bottom: name of the last bottom in the graph.
            top: name of the top.
        """
        x = graph.shapes[top]
        if blob is not None:
            first = self.first_axis(x, tuple(blob.shape))
            if blob.dim() and first == 0:
                graph.fixed_batch = self.name
            if first + blob.dim() > 2:
                graph.fixed_size = self.name
            return graph.constant(role, np.asarray(self.aligned(blob.detach().float().cpu(), x)))
        other = graph.shapes[self.param.bottom[1]]
        behind = self.axes_behind(x, other)
        if not behind or not other:
            return bottom
        return graph.node("Unsqueeze", [bottom, graph.constant("axes", int64(*range(len(other), len(other) + behind)))])


@register
class Scale(AlongAxes):
    """Multiplies by a factor along some axes, by default one per channel; with ``bias_term`` then adds a bias.

    Parameter blobs: the factor, unless it is the second bottom, and the bias, in the factor's shape. Without a
    ``filler`` the factor starts at 1. Source: layers/scale_layer.cpp.
    """

    TYPE = "Scale"
    roles = ("weight", "bias")
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        if self.learns:
            self.saves = ()

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        # The bottom is only needed for the factor's gradient; a fixed factor has none.
        return width * math.prod(bottom_shapes[0]) if self.weight is not None and self.weight.requires_grad else 0

    @property
    def options(self) -> caffe_pb2.ScaleParameter:
        """Return ``scale_param``."""
        return self.param.scale_param

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.options
        shape = self.inner_shape(bottom_shapes[0]) if self.learns else tuple(bottom_shapes[1])
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)
        self.note_axes(tuple(bottom_shapes[0]), shape)
        if self.learns:
            one = caffe_pb2.FillerParameter(type="constant", value=1)
            self.weight = self.new_blob(shape, param.filler if param.HasField("filler") else one)
        if param.bias_term:
            self.bias = self.new_blob(shape, param.bias_filler)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x = bottoms[0]
        factor = self.aligned(bottoms[1] if self.weight is None else self.weight, x.shape)
        top = x.mul_(factor) if self.overwrites(x) and x.dtype == factor.dtype else x * factor
        return (top if self.bias is None else top.add_(self.aligned(self.bias, x.shape)),)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(top_shapes[0])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        factor = self.onnx_operand(graph, self.named_blobs.get("weight"), "weight", bottoms[-1], tops[0])
        if self.bias is None:
            return [graph.node("Mul", [bottoms[0], factor], tops[0])]
        product = graph.node("Mul", [bottoms[0], factor])
        bias = self.onnx_operand(graph, self.named_blobs["bias"], "bias", bottoms[-1], tops[0])
        return [graph.node("Add", [product, bias], tops[0])]


@register
class Bias(AlongAxes):
    """Adds a bias along some axes, by default one per channel (layers/bias_layer.cpp).

    Parameter blobs: the bias, unless it is the second bottom.
    """

    TYPE = "Bias"
    roles = ("bias",)
    saves = ()
    bias: nn.Parameter | None

    @property
    def options(self) -> caffe_pb2.BiasParameter:
        """Return ``bias_param``."""
        return self.param.bias_param

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self.register_parameter("bias", None)
        if self.learns:
            shape = self.inner_shape(bottom_shapes[0])
            self.note_axes(tuple(bottom_shapes[0]), shape)
            self.bias = self.new_blob(shape, self.options.filler)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0] + self.aligned(bottoms[1] if self.bias is None else self.bias, bottoms[0].shape),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        other = self.onnx_operand(graph, self.named_blobs.get("bias"), "bias", bottoms[-1], tops[0])
        return [graph.node("Add", [bottoms[0], other], tops[0])]
