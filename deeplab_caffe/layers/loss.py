"""Layers that compare scores with labels: SOFTMAX_LOSS, ACCURACY, SEG_ACCURACY."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.data.confusion import ConfusionMatrix
from deeplab_caffe.errors import DataError, EvaluationError
from deeplab_caffe.layers.base import COMPARES, Layer, Loss, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.lock import ForkSafeLock
from deeplab_caffe.layers.normalization import loss_divisor, normalization_of
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.softmax_loss import softmax_loss
from deeplab_caffe.proto import caffe_pb2


def read_class_weights(path: str) -> list[float]:
    """Read the ``weight_source`` file: one number per class, in the order of the classes.

    Raises:
        DataError: the file cannot be read, or has anything but finite, non-negative numbers.
    """
    try:
        words = Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read class weights: {error}", path) from None
    try:
        weights = [float(word) for word in words]
    except ValueError as error:
        raise DataError(f"expected one number per class: {error}", path) from None
    if any(not weight >= 0 or math.isinf(weight) for weight in weights):
        raise DataError(f"class weights must be finite and not negative, got {weights}", path)
    return weights


def check_label_map(layer: Layer, scores: Shape, labels: Shape) -> None:
    """Raise NetError unless ``labels`` is (N, 1, H, W) for scores (N, C, H, W)."""
    if not scores[1]:
        raise layer.error(f"scores {tuple(scores)} have no channels")
    expected = (scores[0], 1, *scores[2:])
    if tuple(labels) != expected:
        raise layer.error(f"labels for scores {tuple(scores)} must be {expected}, got {tuple(labels)}")


@register
class SoftmaxLoss(Loss):
    """Weighted cross entropy of the softmax, averaged over the pixels that are not ignored.

    Bottoms: scores (N, C, H, W) and labels (N, 1, H, W); with ``softmax_param.axis``, scores of any shape and a label
    for each place of the other axes. Tops: the loss and, optionally, the softmax. ``loss_param.normalization`` gives
    another divisor: FULL the number of labels, BATCH_SIZE the number of places before the axis, NONE 1. Source:
    layers/softmax_loss_layer.cpp; see :func:`deeplab_caffe.ops.softmax_loss.softmax_loss`.
    """

    TYPE = "SoftmaxWithLoss"
    TOPS = (1, 2)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        source = param.softmaxloss_param.weight_source
        weights = torch.tensor(read_class_weights(source)) if source else None
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)
        ignored = list(param.softmaxloss_param.ignore_label)
        if param.loss_param.HasField("ignore_label") and param.loss_param.ignore_label not in ignored:
            ignored.append(param.loss_param.ignore_label)
        self.ignored = tuple(ignored)
        self.normalization = normalization_of(param.loss_param)
        self.kept_diff: Tensor | None = None

    @property
    def keeps_diff(self) -> bool:
        """Return whether ignored pixels keep their gradient of the last pass, rescaled, as in the original."""
        return self.context.keep_ignored_diff and self.context.dialect.softmax_keeps_ignored_diff

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = (tuple(shape) for shape in bottom_shapes)
        axis = self.axis(self.param.softmax_param.axis, scores)
        if self.context.dialect.four_axes and axis == 1:
            check_label_map(self, scores, labels)
        elif math.prod(labels) != math.prod(scores[:axis] + scores[axis + 1 :]):
            expected = (*scores[:axis], 1, *scores[axis + 1 :])
            raise self.error(f"labels for scores {scores} must be {expected} or as many, got {labels}")
        if self.class_weights is not None and len(self.class_weights) != scores[axis]:
            source = self.param.softmaxloss_param.weight_source
            raise self.error(
                f"{source} has {len(self.class_weights)} class weights, the scores {scores[axis]} channels"
            )
        return [self.scalar_shape, scores][: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, labels = bottoms
        axis = self.axis(self.param.softmax_param.axis, scores.shape)
        softmax = F.softmax(scores.detach(), dim=axis) if len(self.param.top) > 1 else None
        before, classes = math.prod(scores.shape[:axis]), scores.shape[axis]
        if axis != 1 or scores.dim() != 4 or labels.dim() != 4:
            # As (places before the axis, classes, places behind it, 1).
            behind = math.prod(scores.shape[axis + 1 :])
            scores = scores.reshape(before, classes, behind, 1)
            labels = labels.reshape(before, 1, behind, 1)
        keeps = self.keeps_diff and scores.requires_grad and torch.is_grad_enabled()
        scores = scores.view_as(scores) if keeps else scores
        try:
            loss = softmax_loss(scores, labels, ignore_labels=self.ignored, class_weights=self.class_weights)
        except ValueError as error:
            raise self.error(str(error)) from None
        if keeps:
            self._keep_ignored_diff(scores, labels, loss)
        if self.normalization != "VALID":
            weight, world = self._weight(labels), self.context.shard[1]
            divisor = loss_divisor(self.normalization, full=labels.numel(), batch=before, valid=weight, world=world)
            loss = loss * (weight / divisor).to(loss)
        loss = loss.reshape(self.scalar_shape)
        return (loss,) if softmax is None else (loss, softmax)

    def _keep_ignored_diff(self, scores: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Make the backward pass keep the diff of ignored pixels, as the original's does.

        The original leaves their diff as it was, and then scales the whole blob by the top's diff divided by the sum of
        the weights (softmax_loss_layer.cpp:107-140).
        """
        divisor = self._weight(labels)
        ignored = ~self._counted(labels)
        scale: list[Tensor] = []
        loss.register_hook(lambda diff: scale.append(torch.where(divisor > 0, diff / divisor, 0.0)))

        def replace(diff: Tensor) -> Tensor:
            if self.kept_diff is not None and self.kept_diff.shape == diff.shape:
                diff = torch.where(ignored, self.kept_diff.to(diff) * scale[-1].to(diff), diff)
            self.kept_diff = diff.clone()
            return diff

        scores.register_hook(replace)

    @property
    def batch_state(self) -> Tensor | None:
        return self.kept_diff if self.keeps_diff else None

    def load_batch_state(self, state: Tensor | None) -> None:
        self.kept_diff = state if self.keeps_diff else None

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        # Two float32 numbers of the softmax per pixel.
        return 2 * 4 * math.prod(bottom_shapes[1])

    def _counted(self, labels: Tensor) -> Tensor:
        labels = labels.detach().long()
        counted = torch.ones_like(labels, dtype=torch.bool)
        for ignored in self.ignored:
            counted &= labels != ignored
        return counted

    def normalizer(self, *bottoms: Tensor) -> Tensor | None:
        """Return the sum of the class weights over the pixels that are not ignored; None if the divisor is fixed."""
        return self._weight(bottoms[1]) if self.normalization == "VALID" else None

    def _weight(self, labels: Tensor) -> Tensor:
        counted = self._counted(labels)
        if self.class_weights is None:
            return counted.sum().double()
        weights = self.class_weights.double()[labels.detach().long().clamp(0, len(self.class_weights) - 1)]
        return torch.where(counted, weights, 0.0).sum()


@register
class Accuracy(Layer):
    """Share of the labels that are among the ``top_k`` best classes (layers/accuracy_layer.cpp).

    In DeepLab v1 all numbers of an item are classes. In v2 the classes lie along ``axis``, labels equal to
    ``ignore_label`` do not count, and an optional second top has the share for each class (0 if no label has it). Among
    equal scores the larger class is the better one.
    """

    TYPE = "Accuracy"
    onnx_advice = COMPARES
    capturable = per_item = False
    takes_answer = True
    kind = "compare"
    BOTTOMS = (2, 2)
    TOPS = (1, 2)
    differentiable = False
    label_bottoms = (1,)

    def _axis(self, scores: Shape) -> int:
        return 1 if self.context.dialect.accuracy_per_item else self.axis(self.param.accuracy_param.axis, scores)

    def _places(self, scores: Shape) -> int:
        axis = self._axis(scores)
        return math.prod(scores[:axis] + scores[axis + 1 :])

    def _classes(self, scores: Shape) -> int:
        return math.prod(scores[1:]) if self.context.dialect.accuracy_per_item else scores[self._axis(scores)]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = (tuple(shape) for shape in bottom_shapes)
        classes, top_k = self._classes(scores), self.param.accuracy_param.top_k
        if not 1 <= top_k <= classes:
            raise self.error(f"top_k must lie between 1 and the {classes} classes, got {top_k}")
        expected = (scores[0], 1, 1, 1) if self.context.dialect.four_axes else None
        fits = labels == expected if expected else math.prod(labels) == self._places(scores)
        if not fits:
            raise self.error(f"labels for scores {scores} must be {expected or 'one for each place'}, got {labels}")
        return [self.scalar_shape, (classes,)][: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, count = bottoms[0].detach(), self._classes(bottoms[0].shape)
        before = math.prod(scores.shape[: self._axis(scores.shape)])
        # As (labels, classes).
        after = scores.numel() // max(before * count, 1)
        scores = scores.reshape(before, count, after).transpose(1, 2).reshape(before * after, count)
        labels = bottoms[1].long().flatten()
        classes = torch.arange(count, device=scores.device)
        known = ((labels >= 0) & (labels < count))[:, None]
        own = scores.gather(1, labels.clamp(0, count - 1)[:, None])
        better = (scores > own) | ((scores == own) & (classes > labels[:, None]))
        param = self.param.accuracy_param
        hits = known[:, 0] & (better.sum(dim=1) < param.top_k)
        if param.HasField("ignore_label"):
            counted = labels != param.ignore_label
            hits, labels = hits[counted], labels[counted]
        accuracy = hits.to(scores.dtype).mean() if len(hits) else scores.new_zeros(())
        if len(self.param.top) == 1:
            return (accuracy.reshape(self.scalar_shape),)
        found = [hits[labels == k].to(scores.dtype) for k in range(count)]
        shares = torch.stack([share.mean() if len(share) else share.new_zeros(()) for share in found])
        return accuracy.reshape(self.scalar_shape), shares

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


@register
class SegAccuracy(Layer):
    """Pixel accuracy, mean recall and mean IoU of a segmentation: (1, 1, 1, 3) (layers/seg_accuracy_layer.cpp).

    Recall is averaged over the classes that occur in the labels. IoU is averaged over all classes; a class that occurs
    neither in the labels nor in the predictions has an IoU of 1. Among equal scores the larger class is the prediction.
    Without any pixel that counts, accuracy and recall are 0. With ``reset: false`` the counts add up over the forward
    passes.
    """

    TYPE = "SegAccuracy"
    onnx_advice = COMPARES
    capturable = per_item = False
    takes_answer = True
    kind = "compare"
    BOTTOMS = (2, 2)
    differentiable = False
    label_bottoms = (1,)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.ignored = tuple(param.seg_accuracy_param.ignore_label)
        self.accumulates = not param.seg_accuracy_param.reset
        self.confusion: ConfusionMatrix | None = None
        self._lock = ForkSafeLock()

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        check_label_map(self, *self.images(bottom_shapes))
        return [(1, 1, 1, 3)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, labels = self.as_images(*bottoms)
        dtype = torch.uint8 if scores.shape[1] <= 256 else torch.int64
        predicted = argmax_labels(scores.detach(), ties="last", dtype=dtype)
        with self._lock:
            found = self._count(scores.shape[1], labels.detach().squeeze(1).cpu().numpy(), predicted.cpu().numpy())
        return (torch.tensor(found, dtype=scores.dtype, device=scores.device).reshape(1, 1, 1, 3),)

    def _count(self, classes: int, labels: np.ndarray, predicted: np.ndarray) -> list[float]:
        """Add a batch to the counts, and return pixel accuracy, mean recall and mean IoU."""
        if self.confusion is None or self.confusion.num_classes != classes:
            self.confusion = ConfusionMatrix(classes, self.ignored)
        elif not self.accumulates:
            self.confusion.reset()
        try:
            self.confusion.accumulate(labels, predicted)
        except EvaluationError as error:
            raise self.error(str(error)) from None
        if not self.confusion.matrix.any():
            # The original's divisions by nothing give 0, and a class that is absent an IoU of 1.
            return [0.0, 0.0, 1.0]
        return [
            self.confusion.pixel_accuracy(),
            self.confusion.mean_recall(),
            self.confusion.mean_iou(absent="one"),
        ]

    def training_state(self) -> dict[str, Any]:
        if not self.accumulates or self.confusion is None:
            return {}
        return {"confusion": self.confusion.matrix.copy()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        if "confusion" in state:
            matrix = np.asarray(state["confusion"], np.int64)
            self.confusion = ConfusionMatrix(len(matrix), self.ignored)
            self.confusion.matrix[...] = matrix

    def receptive_window(self) -> ReceptiveWindow | None:
        return None
