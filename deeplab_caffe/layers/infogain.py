"""The loss that weighs each pair of a label and a class: INFOGAIN_LOSS."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import NetContext, Shape, register
from deeplab_caffe.layers.class_loss import LOG_THRESHOLD, ClassLoss, ThresholdLog, rows_of
from deeplab_caffe.layers.normalization import loss_divisor, normalization_of
from deeplab_caffe.proto import caffe_pb2, read_blob


@register
class InfogainLoss(ClassLoss):
    """Minus the label's row of a matrix H times the logarithms of the probabilities, averaged over the items.

    Bottoms: probabilities (N, ...), where each number of an item is a class, one label per item, and H (1, 1, K, K) for
    K classes, unless ``source`` names a binaryproto file with it.

    Since 2017 BVLC's Caffe takes scores instead and computes their softmax itself. This layer does so if it has one of
    the things that came with that change: ``infogain_loss_param.axis``, the axis of the classes (there is a label for
    each place of the other axes), ``loss_param``, or a second top, the softmax. Labels equal to ``ignore_label`` then
    do not count, and ``normalization`` gives the divisor: VALID (the default) the number of labels that count, FULL the
    number of all labels, BATCH_SIZE the number of places before the axis, NONE 1. Source:
    layers/infogain_loss_layer.cpp.
    """

    TYPE = "InfogainLoss"
    BOTTOMS = (2, 3)
    TOPS = (1, 2)
    label_bottoms = (1, 2)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.takes_scores = (
            param.infogain_loss_param.HasField("axis") or param.HasField("loss_param") or len(param.top) > 1
        )
        if param.loss_param.HasField("normalize"):
            raise self.error("loss_param.normalize is not for this layer: write normalization")
        self.normalization = normalization_of(param.loss_param) if self.takes_scores else "BATCH_SIZE"
        matrix = None
        if len(param.bottom) < 3:
            if not param.infogain_loss_param.source:
                raise self.error("the infogain matrix is missing: give a third bottom or infogain_loss_param.source")
            matrix = torch.from_numpy(read_blob(param.infogain_loss_param.source).copy())
        self.matrix: Tensor | None
        self.register_buffer("matrix", matrix, persistent=False)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = (tuple(shape) for shape in bottom_shapes[:2])
        if self.takes_scores:
            axis = self.axis(self.param.infogain_loss_param.axis, scores)
            classes = scores[axis]
            if math.prod(labels) != math.prod(scores[:axis] + scores[axis + 1 :]):
                expected = (*scores[:axis], 1, *scores[axis + 1 :])
                raise self.error(f"labels for scores {scores} must be {expected} or as many, got {labels}")
        else:
            super().top_shapes(bottom_shapes)
            classes = math.prod(scores[1:])
        shape = tuple(bottom_shapes[2] if self.matrix is None else self.matrix.shape)
        fits = shape in ((1, 1, classes, classes), self.blob_shape((classes, classes)))
        if not fits and not (self.takes_scores and math.prod(shape) == classes * classes):
            where = "the third bottom" if self.matrix is None else self.param.infogain_loss_param.source
            raise self.error(f"{where}: expected a matrix {(1, 1, classes, classes)} for the classes, got {shape}")
        return [self.scalar_shape, scores][: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, labels = bottoms[:2]
        if self.takes_scores:
            axis = self.axis(self.param.infogain_loss_param.axis, scores.shape)
            before, classes = math.prod(scores.shape[:axis]), scores.shape[axis]
            logs = F.log_softmax(scores, axis)
            # Clamp the values of small probabilities, but keep their gradients.
            logs = logs + (logs.clamp_min(math.log(LOG_THRESHOLD)) - logs).detach()
            behind = math.prod(scores.shape[axis + 1 :])
            logs = logs.reshape(before, classes, behind).transpose(1, 2).reshape(before * behind, classes)
        else:
            probabilities = rows_of(scores)
            before, classes = probabilities.shape
            logs = ThresholdLog.apply(probabilities)
        matrix = (bottoms[2].detach() if self.matrix is None else self.matrix).to(scores.dtype)
        counted = self._counted(labels)
        index = self.label_column(torch.where(counted, labels.detach().flatten(), 0), classes).flatten()
        weights = matrix.reshape(classes, classes)[index] * counted[:, None]
        divisor = loss_divisor(
            self.normalization,
            full=labels.numel(),
            batch=before,
            valid=counted.sum(),
            world=self.context.shard[1],
        )
        loss = (-(weights * logs).sum() / divisor.to(scores.dtype)).reshape(self.scalar_shape)
        return (loss, F.softmax(scores.detach(), axis)) if len(self.param.top) > 1 else (loss,)

    def _counted(self, labels: Tensor) -> Tensor:
        """Return a mask of the labels that count, flattened."""
        labels = labels.detach().long().flatten()
        if not self.param.loss_param.HasField("ignore_label"):
            return torch.ones_like(labels, dtype=torch.bool)
        return labels != self.param.loss_param.ignore_label

    def normalizer(self, *bottoms: Tensor) -> Tensor | None:
        """Return the number of labels that count; None if the divisor is fixed."""
        return self._counted(bottoms[1]).sum().double() if self.normalization == "VALID" else None
