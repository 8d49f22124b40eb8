"""Edge-preserving smoothing of scores: DomainTransform and its form without a gradient."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.geometry import check_image
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
