"""Edge-preserving smoothing of scores: DomainTransform and its form without a gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.geometry import check_image
from deeplab_caffe.layers.onnx import END, INT64, OnnxGraph, int64, part
from deeplab_caffe.ops.domain_transform import domain_transform
from deeplab_caffe.proto import caffe_pb2


@register
class DomainTransform(Layer):
    """Smooths scores along rows and columns, less across edges; the net can learn the edges from the gradient.

    Bottoms: scores (N, C, H, W), edge strengths (N, 1, H, W) and optionally data_dim (N, 1, 1, 2), the height and width
    of each item; scores outside of that size are copied. Without data_dim all scores are filtered, for a deploy net
    whose only input is the image. Source: layers/domain_transform_layer.cpp; see
    :func:`deeplab_caffe.ops.domain_transform.domain_transform`.
    """

    TYPE = "DomainTransform"
    BOTTOMS = (2, 3)
    label_bottoms = (2,)
    capturable = per_item = True
    kind = "spatial"
    # Weights are cut to [min_weight, 1].
    clamp: ClassVar[bool] = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        message = param.domain_transform_param
        self.options: dict[str, Any] = {
            "iterations": message.num_iter,
            "spatial_sigma": message.spatial_sigma,
            "range_sigma": message.range_sigma,
            "min_weight": message.min_weight,
        }
        if not 1 <= message.num_iter <= 100:
            raise self.error(f"num_iter must be from 1 to 100, got {message.num_iter}")
        for name in ("spatial_sigma", "range_sigma"):
            if not 0 < self.options[name] < math.inf:
                raise self.error(f"{name} must be positive and finite, got {self.options[name]:g}")
        if not message.min_weight >= 0:
            raise self.error(f"min_weight must not be negative, got {message.min_weight:g}")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, edges, *rest = (tuple(shape) for shape in bottom_shapes)
        check_image(self, scores)
        expected = (scores[0], 1, *scores[2:])
        if edges != expected:
            raise self.error(f"the edges for scores {scores} must be {expected}, got {edges}")
        for sizes in rest:
            if sizes[:1] != scores[:1] or math.prod(sizes) != 2 * scores[0]:
                raise self.error(f"data_dim for scores {scores} must be ({scores[0]}, 1, 1, 2), got {sizes}")
        return [scores]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, edges, *rest = bottoms
        sizes = rest[0].detach() if rest else None
        try:
            top = domain_transform(scores, edges, sizes, clamp=self.clamp, **self.options)
        except ValueError as error:
            raise self.error(str(error)) from None
        return (top,)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        y, edges, *sizes = bottoms
        inside = self._onnx_inside(graph, y, sizes[0]) if sizes else None
        for weights in self._onnx_weights(graph, edges):
            if inside is not None:
                weights = graph.node("Where", [*inside[:1], weights, graph.constant("copied", np.float32(0))])
                weights = graph.node("Where", [*inside[1:], weights, graph.constant("none", np.float32(np.nan))])
            for axis in (3, 2):
                y = self._onnx_pass(graph, y, weights, axis, backwards=False)
                # Of two neighbours, the later one has the weight in this direction too.
                moved = [part(graph, weights, (axis,), (start,), (END,)) for start in (1, -1)]
                later = graph.node("Concat", moved, axis=axis)
                y = self._onnx_pass(graph, y, later, axis, backwards=True)
        return [graph.node("Identity", [y], tops[0])]

    def _onnx_weights(self, graph: OnnxGraph, edges: str) -> Iterator[str]:
        """Add the weights (N, 1, H, W) of each iteration (csrc/domain_transform/domain_transform.h, weighting)."""
        iterations, spatial = self.options["iterations"], self.options["spatial_sigma"]
        ratio = graph.constant("ratio", np.float32(spatial) / np.float32(self.options["range_sigma"]))
        one = graph.constant("one", np.float32(1))
        distance = graph.node("Add", [graph.node("Mul", [edges, ratio]), one])
        bounds = [graph.constant("min_weight", np.float32(self.options["min_weight"])), one] if self.clamp else []
        for k in range(iterations):
            sigma = spatial * math.sqrt(3) * 2.0 ** -(k + 1) / math.sqrt(1 - 4.0**-iterations)
            factor = graph.constant("factor", np.float32(-math.sqrt(2) / sigma))
            weights = graph.node("Exp", [graph.node("Mul", [distance, factor])])
            yield graph.node("Clip", [weights, *bounds]) if bounds else weights

    def _onnx_inside(self, graph: OnnxGraph, scores: str, sizes: str) -> list[str]:
        """Add which pixels are filtered (N, 1, H, W), and which items (N, 1, 1, 1) have a size within the blob's."""
        numbers = graph.node(
            "Cast", [graph.node("Reshape", [sizes, graph.constant("pairs", int64(-1, 2, 1, 1))])], to=INT64
        )
        zero, one = graph.constant("zero", np.int64(0)), graph.constant("step", np.int64(1))
        nothing, scalar = graph.constant("nothing", int64(0)), graph.constant("scalar", int64())
        names: list[list[str]] = []
        for axis in (0, 1):
            size = graph.node("Gather", [numbers, graph.constant("which", int64(axis))], axis=1)
            length = graph.node("Shape", [scores], start=2 + axis, end=3 + axis)
            places = graph.node("Range", [zero, graph.node("Reshape", [length, scalar]), one])
            shaped = graph.node("Reshape", [places, graph.constant("along", int64(*((-1, 1), (1, -1))[axis]))])
            fits = [graph.node("GreaterOrEqual", [size, nothing]), graph.node("LessOrEqual", [size, length])]
            names.append([graph.node("Less", [shaped, size]), graph.node("And", fits)])
        return [graph.node("And", both) for both in zip(*names, strict=True)]

    def _onnx_pass(self, graph: OnnxGraph, y: str, weights: str, axis: int, *, backwards: bool) -> str:
        """Add ``y += weight * (neighbour - y)`` along an axis, with the neighbour's new value."""

        def step(states: list[str], slices: list[str]) -> tuple[list[str], list[str]]:
            here, weight = slices
            change = graph.node("Mul", [weight, graph.node("Sub", [*states, here])])
            found = [graph.node("Add", [here, change])]
            return found, found

        # The first pixel is its own neighbour, so that it stays.
        end = graph.constant("end", np.int64(-1 if backwards else 0))
        first = graph.node("Gather", [y, end], axis=axis)
        return graph.scan([first], [y, weights], step, axis=axis, backwards=backwards)[1][0]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return 4 * self.param.domain_transform_param.num_iter * math.prod(top_shapes[0])

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


@register
class DomainTransformForwardOnly(DomainTransform):
    """DomainTransform without a gradient and without bounds for its weights: ``min_weight`` is ignored.

    Source: layers/domain_transform_forward_only_layer.cpp.
    """

    TYPE = "DomainTransformForwardOnly"
    differentiable = False
    clamp = False

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return super().forward(*(bottom.detach() for bottom in bottoms))
