"""Losses of items that each have one label: HINGE_LOSS, MULTINOMIAL_LOGISTIC_LOSS."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Loss, Shape, register
from deeplab_caffe.proto import caffe_pb2

# Smaller probabilities are raised to it before the logarithm (the original's kLOG_THRESHOLD).
LOG_THRESHOLD = 1e-20


class ThresholdLog(torch.autograd.Function):
    """log(max(p, LOG_THRESHOLD)); its slope is 1 / max(p, LOG_THRESHOLD), and not 0 below, as in the original."""

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


def rows_of(scores: Tensor) -> Tensor:
    """Return the scores with one item per row: (N, K)."""
    return scores.reshape(len(scores), math.prod(scores.shape[1:]))


class ClassLoss(Loss):
    """A loss of items (N, C, H, W), whose C * H * W numbers are the classes' scores, and of one label per item."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = (tuple(shape) for shape in bottom_shapes[:2])
        if not scores:
            raise self.error("the scores must have items, a first axis; they are a single number")
        expected = (scores[0], 1, 1, 1) if self.context.dialect.four_axes else (scores[0],)
        if labels != expected and (self.context.dialect.four_axes or math.prod(labels) != scores[0]):
            raise self.error(f"labels for {scores} must be {expected}, got {labels}")
        return super().top_shapes(bottom_shapes)

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

    With ``norm: L2``, the sum of their squares. Source: layers/hinge_loss_layer.cpp.
    """

    TYPE = "HingeLoss"

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores = rows_of(bottoms[0])
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
        probabilities = rows_of(bottoms[0])
        own = probabilities.gather(1, self.label_column(bottoms[1], probabilities.shape[1]))
        return ((-ThresholdLog.apply(own).sum() / max(len(probabilities), 1)).reshape(self.scalar_shape),)
