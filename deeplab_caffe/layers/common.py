"""Layers that rearrange or combine blobs.

INNER_PRODUCT, SOFTMAX, ARGMAX, CONCAT, SLICE, SPLIT, FLATTEN, ELTWISE, SILENCE.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.facts import ArgMaxFact, ProbabilityFact
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.ops.argmax import argmax
from deeplab_caffe.proto import caffe_pb2


@register
class InnerProduct(Layer):
    """Fully connected layer over all of C, H, W: (N, K, 1, 1) (layers/inner_product_layer.cpp).

    Parameter blobs: weight (K, C * H * W) and, with ``bias_term``, bias (K,).
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
        inputs = math.prod(bottom_shapes[0][1:])
        self.weight = self.new_blob((inner.num_output, inputs), inner.weight_filler, inner.num_output * inputs)
        if inner.bias_term:
            self.bias = self.new_blob((inner.num_output,), inner.bias_filler, inner.num_output)
        else:
            self.register_parameter("bias", None)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if math.prod(shape[1:]) != self.weight.shape[1]:
            raise self.error(f"the weights are for {self.weight.shape[1]} inputs, the bottom is {tuple(shape)}")
        return [(shape[0], self.weight.shape[0], 1, 1)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (F.linear(bottoms[0].flatten(1), self.weight, self.bias)[:, :, None, None],)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return bottom_shapes[0][0] * self.weight.numel()

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        graph.fixed_size = self.name
        product = graph.node("Gemm", [graph.node("Flatten", bottoms, axis=1), *self.onnx_blobs(graph)], transB=1)
        return [graph.node("Unsqueeze", [product, graph.constant("axes", int64(2, 3))], tops[0])]

    def receptive_window(self) -> None:
        return None


@register
class Softmax(Layer):
    """Softmax over the channels of each pixel (layers/softmax_layer.cpp)."""

    TYPE = "Softmax"
    capturable = per_item = True
    saves = ("tops",)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (F.softmax(bottoms[0], dim=1),)

    @property
    def fact(self) -> ProbabilityFact:
        return ProbabilityFact(across=True)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Softmax", bottoms, tops[0], axis=1)]


@register
class ArgMax(Layer):
    """Channels of the ``top_k`` largest values per pixel, then with ``out_max_val`` the values themselves.

    Among equal values the largest channel comes first. Source: layers/argmax_layer.cpp.
    """

    TYPE = "ArgMax"
    capturable = per_item = True
    differentiable = False

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        n, c, *rest = bottom_shapes[0]
        top_k = self.param.argmax_param.top_k
        if not 1 <= top_k <= c:
            raise self.error(f"top_k must lie between 1 and the {c} channels, got {top_k}")
        return [(n, top_k * (2 if self.param.argmax_param.out_max_val else 1), *rest)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        param = self.param.argmax_param
        return (argmax(bottoms[0], top_k=param.top_k, out_max_val=param.out_max_val),)

    @property
    def fact(self) -> ArgMaxFact:
        return ArgMaxFact()

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        param = self.param.argmax_param
        if param.top_k != 1 or param.out_max_val:
            raise graph.unsupported("ARGMAX with top_k over 1, or with out_max_val,")
        index = graph.node("ArgMax", bottoms, axis=1, keepdims=1, select_last_index=1)
        return [graph.node("Cast", [index], tops[0], to=1)]


@register
class Concat(Layer):
    """Blobs one after the other along channels (or items: ``concat_dim`` 0) (layers/concat_layer.cpp)."""

    TYPE = "Concat"
    capturable = per_item = True
    saves = ()
    BOTTOMS = (1, math.inf)
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.per_item = param.concat_param.concat_dim != 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        dim = self.param.concat_param.concat_dim
        if dim > 1:
            raise self.error(f"concat_dim must be 0 or 1, got {dim}")
        first = bottom_shapes[0]
        for blob, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if any(a != b for axis, (a, b) in enumerate(zip(first, shape, strict=True)) if axis != dim):
                raise self.error(f"bottom '{blob}' is {tuple(shape)} and does not fit {tuple(first)} along axis {dim}")
        total = sum(shape[dim] for shape in bottom_shapes)
        return [tuple(total if axis == dim else size for axis, size in enumerate(first))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (torch.cat(bottoms, dim=self.param.concat_param.concat_dim),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        return [graph.node("Concat", bottoms, tops[0], axis=self.param.concat_param.concat_dim)]


@register
class Slice(Layer):
    """Cuts a blob along channels (or items: ``slice_dim`` 0) at ``slice_point`` or evenly (layers/slice_layer.cpp)."""

    TYPE = "Slice"
    capturable = per_item = True
    saves = ()
    TOPS = (1, math.inf)
    supports_half = True
    may_alias = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.per_item = param.slice_param.slice_dim != 0

    def _sizes(self, shape: Shape) -> list[int]:
        param, count = self.param.slice_param, len(self.param.top)
        if param.slice_dim > 1:
            raise self.error(f"slice_dim must be 0 or 1, got {param.slice_dim}")
        length = shape[param.slice_dim]
        if not param.slice_point:
            if length % count:
                raise self.error(f"{length} along axis {param.slice_dim} cannot be cut into {count} equal tops")
            return [length // count] * count
        points = [0, *param.slice_point, length]
        sizes = [b - a for a, b in itertools.pairwise(points)]
        if len(param.slice_point) != count - 1 or min(sizes) < 1:
            raise self.error(
                f"{count} tops need {count - 1} rising slice points below {length}, got {list(param.slice_point)}"
            )
        return sizes

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, dim = bottom_shapes[0], self.param.slice_param.slice_dim
        return [tuple(n if axis == dim else s for axis, s in enumerate(shape)) for n in self._sizes(shape)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return bottoms[0].split(self._sizes(bottoms[0].shape), dim=self.param.slice_param.slice_dim)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        axis = self.param.slice_param.slice_dim
        if axis == 0:
            raise graph.unsupported("SLICE of the batch, whose size is to vary,")
        sizes = graph.constant("sizes", int64(*(graph.shapes[top][axis] for top in tops)))
        names = [graph.top(top) for top in tops]
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
    """Each item's numbers as channels: (N, C * H * W, 1, 1) (layers/flatten_layer.cpp)."""

    TYPE = "Flatten"
    capturable = per_item = True
    saves = ()
    supports_half = True
    may_alias = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [(bottom_shapes[0][0], math.prod(bottom_shapes[0][1:]), 1, 1)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0].flatten(1)[:, :, None, None],)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        graph.fixed_size = self.name
        flat = graph.node("Flatten", bottoms, axis=1)
        return [graph.node("Unsqueeze", [flat, graph.constant("axes", int64(2, 3))], tops[0])]

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


class _Product(torch.autograd.Function):
    """Product of blobs with Caffe's two gradients: of the other factors, or the top divided by the factor."""

    @staticmethod
    def forward(ctx, stable: bool, *factors: Tensor) -> Tensor:
        product = math.prod(factors[1:], start=factors[0])
        ctx.stable = stable
        ctx.save_for_backward(product, *factors)
        return product

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
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

    Of equal values the second bottom's counts as the maximum, before the first's and any later one's.
    """

    TYPE = "Eltwise"
    capturable = per_item = True
    BOTTOMS = (2, math.inf)
    supports_half = True

    def __init__(self, param, context) -> None:
        super().__init__(param, context)
        self.operation = caffe_pb2.EltwiseParameter.EltwiseOp.Name(param.eltwise_param.operation)
        self.coeff = list(param.eltwise_param.coeff)
        if self.coeff and len(self.coeff) != len(param.bottom):
            raise self.error(f"{len(param.bottom)} bottoms need as many coefficients, got {len(self.coeff)}")
        if self.coeff and self.operation != "SUM":
            raise self.error(f"coefficients are for SUM, the operation is {self.operation}")

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
        # where(), not maximum(): that would halve the gradient where both are equal.
        top = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
        for x in bottoms[2:]:
            top = torch.where(x > top, x, top)
        return (top,)

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
    """Swallows blobs that nobody uses, so that they are not printed as outputs (layers/silence_layer.cpp)."""

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
