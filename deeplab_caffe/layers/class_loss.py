"""Losses of items that each have one label: HINGE_LOSS, MULTINOMIAL_LOGISTIC_LOSS, INFOGAIN_LOSS."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Loss, NetContext, Shape, register
from deeplab_caffe.layers.loss import normalization_of
from deeplab_caffe.proto import caffe_pb2, read_blob

# Probabilities below it count as it (the original's kLOG_THRESHOLD).
LOG_THRESHOLD = 1e-20


class _Log(torch.autograd.Function):
    """Logarithm of max(p, LOG_THRESHOLD), with the slope 1 / max(p, LOG_THRESHOLD): not 0 below, as in the original."""

    @staticmethod
    def forward(ctx: Any, p: Tensor) -> Tensor:
        p = p.clamp_min(LOG_THRESHOLD)
        ctx.save_for_backward(p)
        return p.log()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (p,) = ctx.saved_tensors
        to_p: Tensor = grad / p
        return to_p


class ClassLoss(Loss):
    """A loss of items (N, C, H, W), all of C * H * W being classes, and their labels, one an item."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = (tuple(shape) for shape in bottom_shapes[:2])
        expected = (scores[0], 1, 1, 1) if self.context.dialect.four_axes else (scores[0],)
        if labels != expected and (self.context.dialect.four_axes or math.prod(labels) != scores[0]):
            raise self.error(f"labels for {scores} must be {expected}, got {labels}")
        return super().top_shapes(bottom_shapes)

    def by_item(self, scores: Tensor) -> Tensor:
        """Return scores as (N, classes)."""
        return scores.reshape(scores.shape[0], math.prod(scores.shape[1:]))

    def label_column(self, labels: Tensor, classes: int) -> Tensor:
        """Return the labels as indices (N, 1).

        Raises:
            NetError: a label is not one of the classes.
        """
        column = labels.detach().long().reshape(-1, 1)
        wrong = ((column < 0) | (column >= classes)).flatten().nonzero()
        if wrong.numel():
            item = int(wrong[0])
            raise self.error(f"label {int(column[item])} of item {item}: expected 0 to {classes - 1}")
        return column


@register
class HingeLoss(ClassLoss):
    """Sum of max(0, 1 - score) for the label's class and of max(0, 1 + score) for all others, per item.

    With ``norm: L2`` of their squares. Source: layers/hinge_loss_layer.cpp.
    """

    TYPE = "HingeLoss"

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores = self.by_item(bottoms[0])
        own = self.label_column(bottoms[1], scores.shape[1])
        sign = torch.ones_like(scores).scatter_(1, own, -1)
        hinge = F.relu(1 + sign * scores)
        if self.param.hinge_loss_param.norm == caffe_pb2.HingeLossParameter.L2:
            hinge = hinge.square()
        return ((hinge.sum() / max(len(scores), 1)).reshape(self.scalar_shape),)


@register
class MultinomialLogisticLoss(ClassLoss):
    """Minus the logarithm of the probability of each item's label, averaged over the items.

    Bottoms: probabilities and labels. Source: layers/multinomial_logistic_loss_layer.cpp.
    """

    TYPE = "MultinomialLogisticLoss"

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        probabilities = self.by_item(bottoms[0])
        own = probabilities.gather(1, self.label_column(bottoms[1], probabilities.shape[1]))
        return ((-_Log.apply(own).sum() / max(len(probabilities), 1)).reshape(self.scalar_shape),)


@register
class InfogainLoss(ClassLoss):
    """Minus the label's row of a matrix H times the logarithms of the probabilities, averaged over the items.

    Bottoms: probabilities, labels, and H (1, 1, K, K) for K classes, unless ``source`` names a binaryproto that has it.
    Where ``axis`` is set it is BVLC's later layer: the first bottom has scores, whose softmax along the axis it takes
    (a second top has it), each place has a label, and ``loss_param`` counts. Source: layers/infogain_loss_layer.cpp.
    """

    TYPE = "InfogainLoss"
    BOTTOMS = (2, 3)
    TOPS = (1, 2)
    label_bottoms = (1, 2)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        # The field came with the softmax.
        self.takes_scores = param.infogain_loss_param.HasField("axis")
        self.normalization = normalization_of(param.loss_param, "VALID")
        if len(param.top) > 1 and not self.takes_scores:
            raise self.error("a second top, the softmax, needs infogain_loss_param.axis")
        matrix = None
        if len(param.bottom) < 3:
            if not param.infogain_loss_param.source:
                raise self.error("the infogain matrix is missing: give a third bottom or infogain_loss_param.source")
            matrix = torch.from_numpy(read_blob(param.infogain_loss_param.source).copy())
        self.matrix: Tensor | None
        self.register_buffer("matrix", matrix, persistent=False)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = (tuple(shape) for shape in bottom_shapes[:2])
        axis = self.axis(self.param.infogain_loss_param.axis, scores) if self.takes_scores else 0
        classes = scores[axis] if self.takes_scores else math.prod(scores[1:])
        shape = tuple(bottom_shapes[2] if self.matrix is None else self.matrix.shape)
        if shape not in ((1, 1, classes, classes), self.blob_shape((classes, classes))):
            where = "the third bottom" if self.matrix is None else self.param.infogain_loss_param.source
            raise self.error(f"{where}: expected a matrix {(1, 1, classes, classes)} for the classes, got {shape}")
        if not self.takes_scores:
            return super().top_shapes(bottom_shapes)
        if math.prod(labels) * classes != math.prod(scores):
            raise self.error(f"labels for scores {scores} along axis {axis} must be one for each place, got {labels}")
        return [self.scalar_shape, scores][: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if self.takes_scores:
            return self._of_scores(*bottoms)
        probabilities = self.by_item(bottoms[0])
        matrix = (bottoms[2].detach() if self.matrix is None else self.matrix).to(probabilities.dtype)
        classes = probabilities.shape[1]
        rows = matrix.reshape(classes, classes)[self.label_column(bottoms[1], classes).flatten()]
        return ((-(rows * _Log.apply(probabilities)).sum() / max(len(probabilities), 1)).reshape(self.scalar_shape),)

    def _of_scores(self, scores: Tensor, labels: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        axis = self.axis(self.param.infogain_loss_param.axis, scores.shape)
        before, classes = math.prod(scores.shape[:axis]), scores.shape[axis]
        # As (labels, classes), without what is ignored.
        logs = F.log_softmax(scores, dim=axis).movedim(axis, -1).reshape(-1, classes)
        counted = self._counted(labels)
        own = self.label_column(labels.flatten()[counted], classes).flatten()
        matrix = (given[0].detach() if self.matrix is None else self.matrix).to(scores.dtype)
        # The threshold is the value's alone: the original's gradient knows none.
        logs = logs + (logs.clamp_min(math.log(LOG_THRESHOLD)) - logs).detach()
        loss = -(matrix.reshape(classes, classes)[own] * logs[counted]).sum()
        # Processes that share a batch take the mean of their losses: of sums each gives as many times its own.
        none = 1 / self.context.shard[1]
        divisors = {"VALID": len(own), "FULL": labels.numel(), "BATCH_SIZE": before, "NONE": none}
        loss = (loss / (divisors[self.normalization] or 1)).reshape(self.scalar_shape)
        return (loss,) if len(self.param.top) == 1 else (loss, F.softmax(scores.detach(), dim=axis))

    def _counted(self, labels: Tensor) -> Tensor:
        labels, loss = labels.detach().long().flatten(), self.param.loss_param
        return (
            labels != loss.ignore_label if loss.HasField("ignore_label") else torch.ones_like(labels, dtype=torch.bool)
        )

    def normalizer(self, *bottoms: Tensor) -> Tensor | None:
        ignores = self.takes_scores and self.param.loss_param.HasField("ignore_label")
        return self._counted(bottoms[1]).sum() if ignores and self.normalization == "VALID" else None
