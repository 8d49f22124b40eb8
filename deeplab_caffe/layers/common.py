"""Layers that rearrange or combine blobs.

INNER_PRODUCT, SOFTMAX, ARGMAX, CONCAT, SLICE, SPLIT, FLATTEN, ELTWISE, SILENCE.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, ResultKind, Shape, is_channels_last, register
from deeplab_caffe.layers.facts import ArgMaxFact, ProbabilityFact, SumFact
from deeplab_caffe.layers.onnx import END, FLOAT, OnnxGraph, int64, part
from deeplab_caffe.ops.argmax import argmax
from deeplab_caffe.proto import caffe_pb2


@register
class InnerProduct(Layer):
    """Fully connected layer over all axes from ``axis`` on: (N, K), or (N, K, 1, 1) where blobs have four axes.

    Parameter blobs: weight (K, C * H * W), or with ``transpose`` (C * H * W, K), and, with ``bias_term``, bias (K,).
    Source: layers/inner_product_layer.cpp.
    """

    TYPE = "InnerProduct"
    roles = ("weight", "bias")
    capturable = per_item = True
    kind = "weights"
    supports_half = True

    def setup(self, bottom_shapes: list[Shape]) -> None:
        inner = self.param.inner_product_param
        if inner.num_output < 1:
            raise self.error(f"num_output must be positive, got {inner.num_output}")
        axis = self.axis(inner.axis, bottom_shapes[0])
        self.per_item = axis > 0
        inputs = math.prod(bottom_shapes[0][axis:])
        shape = (inputs, inner.num_output) if inner.transpose else (inner.num_output, inputs)
        self.weight = self.new_blob(shape, inner.weight_filler)
        if inner.bias_term:
            self.bias = self.new_blob((inner.num_output,), inner.bias_filler)
        else:
            self.register_parameter("bias", None)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, inner = tuple(bottom_shapes[0]), self.param.inner_product_param
        axis = self.axis(inner.axis, shape)
        inputs = self.weight.shape[0 if inner.transpose else 1]
        if math.prod(shape[axis:]) != inputs:
            raise self.error(f"the weights are for {inputs} inputs, the bottom is {shape}")
        return [self.filled_up((*shape[:axis], inner.num_output))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, inner = bottoms[0], self.param.inner_product_param
        weight = self.weight.t() if inner.transpose else self.weight
        top = F.linear(x.flatten(self.axis(inner.axis, x.shape)), weight, self.bias)
        return (top[(...,) + (None,) * (4 - top.dim())] if self.context.dialect.four_axes else top,)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(top_shapes[0]) * self.weight.numel() // self.param.inner_product_param.num_output

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        inner, top = self.param.inner_product_param, graph.shapes[tops[0]]
        axis = self.axis(inner.axis, graph.shapes[self.param.bottom[0]])
        graph.fixed_size = self.name
        if axis == 0:
            graph.fixed_batch = self.name
        inputs = [graph.node("Flatten", bottoms, axis=axis), *self.onnx_blobs(graph)]
        transposed = int(not inner.transpose)
        if axis == 1 and len(top) == 2:
            return [graph.node("Gemm", inputs, tops[0], transB=transposed)]
        product = graph.node("Gemm", inputs, transB=transposed)
        return [graph.node("Reshape", [product, graph.constant("shape", int64(-1, *top[1:]))], tops[0])]

    def receptive_window(self) -> None:
        return None


@register
class Softmax(Layer):
    """Softmax along ``axis``: of each pixel's channels (layers/softmax_layer.cpp)."""

    TYPE = "Softmax"
    capturable = per_item = gradient_from_tops = True
    saves = ("tops",)
    # Whether it compares the channels, axis 1; set in setup.
    across = False

    def setup(self, bottom_shapes: list[Shape]) -> None:
        axis = self.axis(self.param.softmax_param.axis, bottom_shapes[0])
        self.per_item, self.across = axis > 0, axis == 1

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.axis(self.param.softmax_param.axis, bottom_shapes[0])
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (F.softmax(bottoms[0], dim=self.param.softmax_param.axis),)

    @property
    def fact(self) -> ProbabilityFact | None:
        return ProbabilityFact(across=True) if self.across else None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Softmax", bottoms, tops[0], axis=self.param.softmax_param.axis)]


@register
class ArgMax(Layer):
    """Indices of the ``top_k`` largest values; among equal values the largest index comes first.

    DeepLab v1 compares the channels of each pixel: (N, top_k, H, W); with ``out_max_val`` the values follow the
    indices: (N, 2 * top_k, H, W). v2 compares along ``axis``, whose length becomes ``top_k``; with ``out_max_val`` the
    top has the values instead. Without ``axis``, v2 compares all numbers of an item: (N, 1, top_k), or (N, 2, top_k)
    with the values. Source: layers/argmax_layer.cpp.
    """

    TYPE = "ArgMax"
    capturable = per_item = True
    differentiable = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.appends_values = context.dialect.argmax_over_channels
        self.along = param.argmax_param.axis if param.argmax_param.HasField("axis") else None
        if self.appends_values:
            if self.along not in (None, 1, -3):
                raise self.error(f"axis: {self.along}: DeepLab v1 compares the channels of each pixel, axis 1")
            self.along = 1

    @classmethod
    def result_kind(cls, bottom: ResultKind) -> ResultKind:
        return "crf" if bottom == "crf" else "labels"

    def setup(self, bottom_shapes: list[Shape]) -> None:
        if self.along is not None:
            self.along = self.axis(self.along, bottom_shapes[0])
        self.per_item = self.along != 0

    @property
    def gives_labels(self) -> bool:
        """Return whether the top is the channel of each pixel's largest value."""
        param = self.param.argmax_param
        return self.along == 1 and param.top_k == 1 and not param.out_max_val

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, param = tuple(bottom_shapes[0]), self.param.argmax_param
        if not shape:
            raise self.error(f"bottom '{self.param.bottom[0]}' is a single number, expected axes, of items first")
        axis = None if self.along is None else self.axis(self.along, shape)
        count = math.prod(shape[1:]) if axis is None else shape[axis]
        if not 1 <= param.top_k <= count:
            what = "channels" if axis == 1 else "numbers"
            raise self.error(f"top_k must lie between 1 and the {count} {what}, got {param.top_k}")
        if axis is None:
            return [(shape[0], 1 + param.out_max_val, param.top_k) + (1,) * (len(shape) - 3)]
        size = param.top_k * (1 + (param.out_max_val and self.appends_values))
        return [(*shape[:axis], size, *shape[axis + 1 :])]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, param = bottoms[0], self.param.argmax_param
        (shape,) = self.top_shapes([tuple(x.shape)])
        axis = None if self.along is None else self.axis(self.along, x.shape)
        if axis == 1 and x.dim() == 4 and (self.appends_values or not param.out_max_val):
            return (argmax(x, top_k=param.top_k, out_max_val=param.out_max_val),)
        # As (items, numbers to compare, positions, 1).
        outer = x.shape[0] if axis is None else math.prod(x.shape[:axis])
        count = math.prod(x.shape[1:]) if axis is None else x.shape[axis]
        places = 1 if axis is None else math.prod(x.shape[axis + 1 :])
        top = argmax(x.reshape(outer, count, places, 1), top_k=param.top_k, out_max_val=param.out_max_val)
        if param.out_max_val and axis is not None:
            top = top[:, param.top_k :]
        return (top.reshape(shape),)

    @property
    def fact(self) -> ArgMaxFact | None:
        # With out_max_val, v2's top has the values alone.
        values_alone = self.param.argmax_param.out_max_val and not self.appends_values
        return ArgMaxFact() if self.along == 1 and not values_alone else None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        if self.gives_labels:
            index = graph.node("ArgMax", bottoms, axis=1, keepdims=1, select_last_index=1)
            return [graph.node("Cast", [index], tops[0], to=FLOAT)]
        param, top = self.param.argmax_param, graph.shapes[tops[0]]
        axis = 1 if self.along is None else self.axis(self.along, graph.shapes[self.param.bottom[0]])
        if axis == 0:
            graph.fixed_batch = self.name
        x = graph.node("Flatten", bottoms, axis=1) if self.along is None else bottoms[0]
        # Among equal values TopK takes the first, so it gets the values in reverse order.
        reverse = part(graph, x, (axis,), (-1,), (-END,), steps=(-1,))
        values, places = (graph.top(f"{tops[0]}/{name}") for name in ("values", "places"))
        graph.nodes("TopK", [reverse, graph.constant("top_k", int64(param.top_k))], [values, places], axis=axis)
        last = graph.node("Sub", [graph.node("Shape", [x], start=axis, end=axis + 1), graph.constant("one", int64(1))])
        found = [graph.node("Cast", [graph.node("Sub", [last, places])], to=FLOAT)]
        if param.out_max_val:
            found = [values] if self.along is not None and not self.appends_values else [*found, values]
        if self.along is not None:
            return [graph.node("Concat", found, tops[0], axis=axis)]
        both = graph.node("Concat", found, axis=1)
        return [graph.node("Reshape", [both, graph.constant("shape", int64(0, *top[1:]))], tops[0])]


@register
class Concat(Layer):
    """Concatenates blobs along ``axis``, by default the channels (layers/concat_layer.cpp)."""

    TYPE = "Concat"
    capturable = per_item = True
    saves = ()
    BOTTOMS = (1, math.inf)
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.per_item = param.concat_param.axis > 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        first = tuple(bottom_shapes[0])
        dim = self.axis(self.param.concat_param.axis, first)
        if self.context.dialect.two_concat_axes and dim > 1:
            raise self.error(f"concat_dim must be 0 or 1, got {dim}")
        for blob, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if len(shape) != len(first) or any(
                a != b for axis, (a, b) in enumerate(zip(first, shape, strict=True)) if axis != dim
            ):
                raise self.error(f"bottom '{blob}' is {tuple(shape)} and does not fit {tuple(first)} along axis {dim}")
        total = sum(shape[dim] for shape in bottom_shapes)
        return [tuple(total if axis == dim else size for axis, size in enumerate(first))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if any(map(is_channels_last, bottoms)):  # torch's cat keeps channels-last only if all bottoms have it
            bottoms = tuple(bottom.contiguous(memory_format=torch.channels_last) for bottom in bottoms)
        return (torch.cat(bottoms, dim=self.param.concat_param.axis),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Concat", bottoms, tops[0], axis=self.param.concat_param.axis)]


@register
class Slice(Layer):
    """Cuts a blob along ``axis`` (channels by default) at ``slice_point`` or evenly (layers/slice_layer.cpp)."""

    TYPE = "Slice"
    capturable = per_item = True
    saves = ()
    TOPS = (1, math.inf)
    supports_half = True
    may_alias = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.per_item = param.slice_param.axis > 0

    def _sizes(self, shape: Shape) -> list[int]:
        param, count = self.param.slice_param, len(self.param.top)
        axis = self.axis(param.axis, shape)
        if self.context.dialect.two_concat_axes and axis > 1:
            raise self.error(f"slice_dim must be 0 or 1, got {axis}")
        length = shape[axis]
        if not param.slice_point:
            if length % count:
                raise self.error(f"{length} along axis {axis} cannot be cut into {count} equal tops")
            return [length // count] * count
        points = [0, *param.slice_point, length]
        sizes = [b - a for a, b in itertools.pairwise(points)]
        if len(param.slice_point) != count - 1 or min(sizes) < 1:
            raise self.error(
                f"{count} tops need {count - 1} rising slice points below {length}, got {list(param.slice_point)}"
            )
        return sizes

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        dim = self.axis(self.param.slice_param.axis, shape)
        return [tuple(n if axis == dim else s for axis, s in enumerate(shape)) for n in self._sizes(shape)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        tops: tuple[Tensor, ...] = bottoms[0].split(self._sizes(bottoms[0].shape), dim=self.param.slice_param.axis)
        return tops

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        axis = self.axis(self.param.slice_param.axis, graph.shapes[tops[0]])
        if axis == 0:
            graph.fixed_batch = self.name
        points = self.param.slice_param.slice_point
        if axis > 1 and points:  # a later image may have more rows or columns: the last top takes the rest
            bounds = itertools.pairwise([0, *points, END])
            return [
                part(graph, bottoms[0], (axis,), (begin,), (end,), top=top)
                for (begin, end), top in zip(bounds, tops, strict=True)
            ]
        names = [graph.top(top) for top in tops]
        if axis > 1:
            graph.nodes("Split", bottoms, names, axis=axis, num_outputs=len(tops))
        else:
            sizes = graph.constant("sizes", int64(*(graph.shapes[top][axis] for top in tops)))
            graph.nodes("Split", [bottoms[0], sizes], names, axis=axis)
        return names


@register
class Split(Layer):
    """Hands one blob to several layers; gradients add up (layers/split_layer.cpp). Tops share the bottom's memory."""

    TYPE = "Split"
    capturable = per_item = True
    saves = ()
    TOPS = (1, math.inf)
    supports_half = True
    may_alias = True

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return bottoms * len(self.param.top)

    @property
    def is_identity(self) -> bool:
        return True

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return bottoms * len(tops)


@register
class Flatten(Layer):
    """Joins axes ``axis`` to ``end_axis`` into one: (N, C * H * W), or (N, C * H * W, 1, 1) where blobs have four axes.

    With ``end_axis`` just before ``axis`` there is nothing to join: the top has an axis of 1 more, before ``axis``.
    Source: layers/flatten_layer.cpp.
    """

    TYPE = "Flatten"
    capturable = per_item = True
    saves = ()
    supports_half = True
    may_alias = True

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self.per_item = self._axes(bottom_shapes[0])[0] > 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = tuple(bottom_shapes[0])
        first, last = self._axes(shape)
        top = (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
        return [self.filled_up(top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        (top,) = self.top_shapes([tuple(bottoms[0].shape)])
        return (bottoms[0].reshape(top),)

    def _axes(self, shape: Shape) -> tuple[int, int]:
        param = self.param.flatten_param
        first, last = self.axis(param.axis, shape), self.axis(param.end_axis, shape, "end_axis")
        if last < first - 1:
            raise self.error(f"end_axis {param.end_axis} lies before axis {param.axis} for {tuple(shape)}")
        return first, last

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        top = graph.shapes[tops[0]]
        first, _ = self._axes(graph.shapes[self.param.bottom[0]])
        graph.fixed_size = self.name
        # ONNX copies the axes before, so that the batch may have any size.
        shape = int64(*(0,) * first, -1, *top[first + 1 :])
        return [graph.node("Reshape", [bottoms[0], graph.constant("shape", shape)], tops[0])]

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


class _Product(torch.autograd.Function):
    """Product of blobs with Caffe's two ways to a gradient: the product of the other factors, or top / factor."""

    @staticmethod
    def forward(ctx: Any, stable: bool, *factors: Tensor) -> Tensor:
        product = math.prod(factors[1:], start=factors[0])
        ctx.stable = stable
        ctx.save_for_backward(product, *factors)
        return product

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        product, *factors = ctx.saved_tensors
        grads: list[Tensor | None] = [None]
        for i, factor in enumerate(factors):
            if ctx.stable:
                others = factors[:i] + factors[i + 1 :]
                grads.append(grad * math.prod(others[1:], start=others[0]))
            else:
                grads.append(grad * (product / factor))
        return tuple(grads)


@register
class Eltwise(Layer):
    """Sum (with coefficients), product or maximum of blobs, number by number (layers/eltwise_layer.cpp).

    Where values are equal, the gradient of the maximum goes to the second bottom, then the first, then later ones.
    """

    TYPE = "Eltwise"
    capturable = per_item = True
    BOTTOMS = (2, math.inf)
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.operation = caffe_pb2.EltwiseParameter.EltwiseOp.Name(param.eltwise_param.operation)
        self.coeff = list(param.eltwise_param.coeff)
        if self.coeff and len(self.coeff) != len(param.bottom):
            raise self.error(f"{len(param.bottom)} bottoms need as many coefficients, got {len(self.coeff)}")
        if self.coeff and self.operation == "PROD":
            raise self.error(f"coefficients are for SUM, the operation is {self.operation}")
        if self.operation == "MAX":
            # The original accepts them here, and does not use them.
            self.coeff = []
        self.saves = ("bottoms",) if self.operation == "PROD" else ()

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        # Each comparison keeps its result, one byte per number.
        return (len(bottom_shapes) - 1) * math.prod(top_shapes[0]) if self.operation == "MAX" else 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for blob, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if tuple(shape) != tuple(bottom_shapes[0]):
                raise self.error(f"bottom '{blob}' is {tuple(shape)}, the first bottom is {tuple(bottom_shapes[0])}")
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if self.operation == "PROD":
            return (_Product.apply(self.param.eltwise_param.stable_prod_grad, *bottoms),)
        if self.operation == "SUM":
            terms = [x if c == 1 else c * x for c, x in zip(self.coeff or [1.0] * len(bottoms), bottoms, strict=True)]
            return (sum(terms[1:], start=terms[0]),)
        # Not maximum(), which would split the gradient between both bottoms where they are equal.
        top = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
        for x in bottoms[2:]:
            top = torch.where(x > top, x, top)
        return (top,)

    @property
    def fact(self) -> SumFact | None:
        adds = self.operation == "SUM" and len(self.param.bottom) == 2 and all(c == 1 for c in self.coeff)
        return SumFact() if adds else None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        if self.operation == "PROD":
            product = bottoms[0]
            for x in bottoms[1:-1]:
                product = graph.node("Mul", [product, x])
            return [graph.node("Mul", [product, bottoms[-1]], tops[0])]
        terms = [
            x if coeff == 1 else graph.node("Mul", [x, graph.constant("coeff", np.float32(coeff))])
            for x, coeff in zip(bottoms, self.coeff or [1.0] * len(bottoms), strict=True)
        ]
        return [graph.node({"SUM": "Sum", "MAX": "Max"}[self.operation], terms, tops[0])]


@register
class Silence(Layer):
    """Takes blobs that no other layer uses, so that they are not printed as outputs (layers/silence_layer.cpp)."""

    TYPE = "Silence"
    capturable = per_item = True
    saves = ()
    BOTTOMS = (1, math.inf)
    TOPS = (0, 0)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return []

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return ()

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return []

    def receptive_window(self) -> ReceptiveWindow | None:
        return None
