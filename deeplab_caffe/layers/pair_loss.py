"""Layers that compare two blobs element by element.

EUCLIDEAN_LOSS, RELATIVE_ERROR, CONTRASTIVE_LOSS, SIGMOID_CROSS_ENTROPY_LOSS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import COMPARES, Layer, Loss, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.normalization import loss_divisor, normalization_of
from deeplab_caffe.proto import caffe_pb2


def _check_same_shape(layer: Layer, bottom_shapes: list[Shape]) -> None:
    """Raise NetError unless both bottoms have one shape, or, in v2, the same number of items of the same size."""
    first, second = (tuple(shape) for shape in bottom_shapes[:2])
    same_size = first[:1] == second[:1] and math.prod(first) == math.prod(second)
    if first != second and (layer.context.dialect.four_axes or not same_size):
        raise layer.error(f"both bottoms must have one shape, got {first} and {second}")
    if not first:
        raise layer.error("both bottoms must have items, a first axis; they are single numbers")


class _Root(torch.autograd.Function):
    """Square root with a finite gradient: the gradient is 1 / (2 * divisor(root)) instead of 1 / (2 * root)."""

    @staticmethod
    def forward(ctx: Any, square: Tensor, divisor: Callable[[Tensor], Tensor]) -> Tensor:
        root = square.sqrt()
        ctx.save_for_backward(root)
        ctx.divisor = divisor
        return root

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (root,) = ctx.saved_tensors
        return grad / (2 * ctx.divisor(root)), None


def _euclidean_divisor(root: Tensor) -> Tensor:
    return root.clamp_min(1e-6)


def _contrastive_divisor(root: Tensor) -> Tensor:
    return root + 1e-4


@register
class EuclideanLoss(Loss):
    """Half the sum of the squared differences, divided by the items; in DeepLab v1 half their mean over all numbers.

    In v1, ``type: L2sqrt`` gives the square root of that mean. Bottoms: two blobs of one shape; both get a gradient.
    Source: layers/euclidean_loss_layer.cpp.
    """

    TYPE = "EuclideanLoss"
    label_bottoms = ()

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        _check_same_shape(self, bottom_shapes)
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        squares = (bottoms[0] - bottoms[1].reshape(bottoms[0].shape)).square()
        mean = (
            squares.mean() if self.context.dialect.euclidean_divides_by_count else squares.sum() / max(len(squares), 1)
        )
        root = self.param.euclidean_loss_param.type == caffe_pb2.EuclideanLossParameter.L2sqrt
        return ((_Root.apply(mean, _euclidean_divisor) if root else mean / 2).reshape(self.scalar_shape),)


@register
class RelativeError(Layer):
    """sqrt(mean of the squared differences / mean of the second bottom's squares): (1, 1, 1, 1).

    The divisor is at least 1e-6. No gradient. Source: layers/relative_error_layer.cpp.
    """

    TYPE = "RelativeError"
    onnx_advice = COMPARES
    capturable = per_item = False
    kind = "compare"
    BOTTOMS = (2, 2)
    differentiable = False

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        _check_same_shape(self, bottom_shapes)
        return [self.scalar_shape]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        found, truth = (blob.detach() for blob in bottoms)
        error = (found - truth.reshape(found.shape)).square().mean() / truth.square().mean().clamp_min(1e-6)
        return (error.sqrt().reshape(self.scalar_shape),)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


@register
class ContrastiveLoss(Loss):
    """Pulls similar pairs together and pushes others apart (Hadsell et al. 2006).

    Bottoms: two blobs of vectors (N, C, 1, 1) and their similarity (N, 1, 1, 1), not 0 for similar pairs. With the
    squared distance d: d for similar pairs, max(``margin`` - sqrt(d), 0)^2 for others, summed over the pairs and
    divided by 2 * N. With ``legacy_version``, and in DeepLab v1, max(``margin`` - d, 0).
    Source: layers/contrastive_loss_layer.cpp.
    """

    TYPE = "ContrastiveLoss"
    BOTTOMS = (3, 3)
    label_bottoms = (2,)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        _check_same_shape(self, bottom_shapes)
        vectors, _, similar = (tuple(shape) for shape in bottom_shapes)
        if math.prod(vectors) != math.prod(vectors[:2]):
            raise self.error(f"the vectors must be {(*vectors[:2], 1, 1)}, got {vectors}")
        if similar[:1] != vectors[:1] or math.prod(similar) != vectors[0]:
            raise self.error(f"the similarity for {vectors} must be {(vectors[0], 1, 1, 1)}, got {similar}")
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        first, second, similar = bottoms
        param = self.param.contrastive_loss_param
        pairs = (first - second.reshape(first.shape)).square()
        distance = pairs.sum(dim=tuple(range(1, pairs.dim()))) if pairs.dim() > 1 else pairs
        if self.context.dialect.contrastive_is_legacy or param.legacy_version:
            apart = F.relu(param.margin - distance)
        else:
            apart = F.relu(param.margin - _Root.apply(distance, _contrastive_divisor)).square()
        loss = torch.where(similar.flatten().long() != 0, distance, apart).sum() / (2 * max(len(first), 1))
        return (loss.reshape(self.scalar_shape),)


@register
class SigmoidCrossEntropyLoss(Loss):
    """Cross entropy of the sigmoids of scores (N, ...) and as many target probabilities, summed and divided by N.

    Targets whose integer part is ``loss_param.ignore_label`` do not count. ``loss_param.normalization`` gives another
    divisor than BATCH_SIZE, the number of items: FULL the number of scores, VALID the number of those that count,
    NONE 1. The targets get no gradient. Source: layers/sigmoid_cross_entropy_loss_layer.cpp.
    """

    TYPE = "SigmoidCrossEntropyLoss"

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.normalization = normalization_of(param.loss_param, default="BATCH_SIZE")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, targets = (tuple(shape) for shape in bottom_shapes)
        if not scores or scores[:1] != targets[:1] or math.prod(scores) != math.prod(targets):
            raise self.error(f"scores {scores} need as many targets in as many items, got {targets}")
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, targets = bottoms
        targets = targets.detach().reshape(scores.shape)
        counted = self._counted(targets)
        losses = F.binary_cross_entropy_with_logits(scores, targets, weight=counted, reduction="sum")
        divisor = loss_divisor(
            self.normalization,
            full=scores.numel(),
            batch=len(scores),
            valid=targets.new_tensor(scores.numel()) if counted is None else counted.sum(),
            world=self.context.shard[1],
        )
        return ((losses / divisor.to(losses)).reshape(self.scalar_shape),)

    def _counted(self, targets: Tensor) -> Tensor | None:
        """Return 1 for each target that counts and 0 for the others; None: all count."""
        if not self.param.loss_param.HasField("ignore_label"):
            return None
        return (targets.trunc() != self.param.loss_param.ignore_label).to(targets.dtype)

    def normalizer(self, *bottoms: Tensor) -> Tensor | None:
        """Return the number of targets that count; None if the divisor is fixed."""
        counted = self._counted(bottoms[1].detach())
        return counted.sum().double() if self.normalization == "VALID" and counted is not None else None
