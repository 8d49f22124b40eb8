"""Softmax and its weighted logistic loss, as in DeepLab v1's SOFTMAX_LOSS (layers/softmax_loss_layer.cpp)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, arrays_of, is_on_gpu, is_torch
from deeplab_caffe.errors import warn
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import check_blob

_LABELS = ("float32", "float64", "uint8", "int16", "int32", "int64")


def _readable_labels(xp: Arrays, labels: Any) -> Any:
    """Return labels that the extension can read: contiguous, and in one of its dtypes."""
    dtype = xp.dtype(labels)
    if dtype not in _LABELS:
        labels = xp.cast(labels, "float32" if "float" in dtype else "int64")
    return xp.contiguous(labels)


def _report(xp: Arrays, labels: Any, totals: Any, channels: int, ignore_labels: Sequence[int]) -> None:
    """Raise for an unexpected label, and warn if no pixel is valid; this waits for the device."""
    _, weight, first_bad = totals.tolist()
    if first_bad >= 0:
        count, height, width = labels.shape
        item, pixel = divmod(int(first_bad), height * width)
        value = labels.reshape(-1)[int(first_bad)].item()
        ignored = ", ".join(map(str, ignore_labels)) or "none"
        raise ValueError(
            f"softmax_loss: label {value:g} at item {item} of {count}, row {pixel // width}, column {pixel % width} "
            f"is neither a class (0 to {channels - 1}) nor ignored ({ignored})"
        )
    if weight == 0:
        warn("softmax_loss: every label is ignored or of weight 0: the loss and its gradient are 0")


def _view_or_none(xp: Arrays, weights: Any) -> Any:
    return None if weights is None else xp.view(xp.contiguous(weights))


def _loss(xp: Arrays, scores: Any, *_: Any) -> tuple[Any, Any, Any]:
    count, _, height, width = scores.shape
    stats = xp.empty((count, 2, height, width), scores.dtype)
    return xp.empty((), scores.dtype), stats, xp.empty((3,), "float64")


@operator(
    "softmax_loss(Tensor scores, Tensor labels, Tensor? class_weights, SymInt[] ignore_labels, bool check_labels)"
    " -> (Tensor, Tensor, Tensor)",
    result=_loss,
)
def _softmax_loss(
    xp: Arrays,
    result: tuple[Any, Any, Any],
    scores: Any,
    labels: Any,
    class_weights: Any,
    ignore_labels: Sequence[int],
    check_labels: bool,
) -> None:
    """Compute the loss (), each pixel's maximum and sum of exponentials (N, 2, H, W), and the totals (3,)."""
    loss, stats, totals = result
    labels = _readable_labels(xp, labels)
    count, channels, height, width = scores.shape
    chunks = math.ceil(count * height * width / _C.softmax_loss_chunk)
    _C.softmax_loss_forward(
        xp.view(xp.contiguous(scores)),
        xp.view(labels),
        _view_or_none(xp, class_weights),
        list(ignore_labels),
        xp.view(xp.empty((chunks, 3), "float64")),
        xp.view(loss),
        xp.view(stats),
        xp.view(totals),
        xp.stream,
    )
    if check_labels:
        _report(xp, labels, totals, channels, ignore_labels)


def _scores_like(xp: Arrays, grad_loss: Any, scores: Any, *_: Any) -> Any:
    return xp.empty(scores.shape, scores.dtype)


@operator(
    "softmax_loss_backward(Tensor grad_loss, Tensor scores, Tensor labels, Tensor? class_weights, Tensor stats,"
    " Tensor totals, SymInt[] ignore_labels) -> Tensor",
    result=_scores_like,
)
def _softmax_loss_backward(
    xp: Arrays,
    grad_scores: Any,
    grad_loss: Any,
    scores: Any,
    labels: Any,
    class_weights: Any,
    stats: Any,
    totals: Any,
    ignore_labels: Sequence[int],
) -> None:
    _C.softmax_loss_backward(
        xp.view(xp.contiguous(scores)),
        xp.view(_readable_labels(xp, labels)),
        _view_or_none(xp, class_weights),
        list(ignore_labels),
        xp.view(stats),
        xp.view(totals),
        xp.view(xp.contiguous(grad_loss)),
        xp.view(grad_scores),
        xp.stream,
    )


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    scores, labels, class_weights, ctx.ignore_labels, _ = inputs
    _, stats, totals = output
    ctx.mark_non_differentiable(stats, totals)
    ctx.save_for_backward(scores, labels, class_weights, stats, totals)


def _forward_gradient(ctx: Any, grad_loss: Any, *_: Any) -> tuple[Any, ...]:
    return _softmax_loss_backward(grad_loss, *ctx.saved_tensors, ctx.ignore_labels), None, None, None, None


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.ignore_labels = inputs
    ctx.save_for_backward(*tensors)


def _backward_gradient(ctx: Any, grad: Any) -> tuple[Any, ...]:
    """Compute second derivatives, which are rarely needed, by torch's own operations."""
    import torch

    grad_loss, scores, labels, class_weights, _, totals = ctx.saved_tensors
    labels = _readable_labels(arrays_of(labels), labels).long()
    valid = (labels >= 0) & (labels < scores.shape[1])
    for ignored in ctx.ignore_labels:
        valid &= labels != ignored
    labels = torch.where(valid, labels, 0)
    factors = valid.to(scores.dtype) if class_weights is None else valid * class_weights[labels]
    factors = (factors / totals[1].clamp(min=torch.finfo(torch.float64).tiny).to(scores.dtype)).unsqueeze(1)
    p = torch.softmax(scores, 1)
    one_hot = torch.zeros_like(p).scatter_(1, labels.unsqueeze(1), 1.0)
    through_loss = (grad * factors * (p - one_hot)).sum()
    through_scores = grad_loss * factors * p * (grad - (grad * p).sum(1, keepdim=True))
    return through_loss, through_scores, *(None,) * 5


_softmax_loss.differentiate(_save_forward, _forward_gradient)
_softmax_loss_backward.differentiate(_save_backward, _backward_gradient)


@dataclass(frozen=True)
class SoftmaxLoss:
    """A loss computed without torch, with everything that its gradient needs.

    Attributes:
        loss: (), of the scores' dtype. NaN if a label is neither a class nor ignored; 0 if nothing is valid.
        scores: (N, C, H, W).
        labels: (N, H, W).
        class_weights: (C,), or None for all 1.
        ignore_labels: labels that are ignored.
        stats: (N, 2, H, W): each pixel's maximum and sum of exponentials.
        totals: (3,) float64: the sum of the losses, the sum of the weights, and the pixel of the first unexpected label
            or -1.
    """

    loss: Any
    scores: Any
    labels: Any
    class_weights: Any | None
    ignore_labels: tuple[int, ...]
    stats: Any
    totals: Any

    def backward(self, grad_loss: Any = 1.0) -> Any:
        """Return the gradient of the scores, (N, C, H, W).

        Args:
            grad_loss: the gradient of the loss: a number, or an array of one on the scores' device.
        """
        xp = arrays_of(self.scores)
        grad = xp.cast(xp.take(grad_loss), self.scores.dtype).reshape(())
        saved = self.scores, self.labels, self.class_weights, self.stats, self.totals
        return _softmax_loss_backward(grad, *saved, list(self.ignore_labels))


def _class_weights(xp: Arrays, class_weights: Any, scores: Any) -> Any:
    if class_weights is None:
        return None
    if not is_torch(class_weights) and not is_on_gpu(class_weights):
        for index, weight in enumerate(class_weights):
            if not 0 <= weight < math.inf:
                raise ValueError(f"softmax_loss: weights cannot be negative, got {weight} for class {index}")
        class_weights = np.asarray(class_weights, np.float64)
    weights = xp.cast(xp.take(class_weights), scores.dtype)
    if tuple(weights.shape) != (scores.shape[1],):
        raise ValueError(
            f"softmax_loss: expected one weight for each of {scores.shape[1]} classes, got shape {tuple(weights.shape)}"
        )
    return weights


def softmax_loss(
    scores: Any,
    labels: Any,
    ignore_labels: Sequence[int] = (255,),
    class_weights: Any | Sequence[float] | None = None,
    *,
    check_labels: bool | None = None,
) -> Any:
    """Return the mean of ``-log(p[label])`` over all valid pixels of the batch, each weighted by its class.

    The loss is ``sum(w[y] * -log(max(p[y], FLT_MIN))) / sum(w[y])`` (layers/softmax_loss_layer.cpp:69-91). Ignored
    pixels are in neither sum, and their gradient is 0. If no pixel is valid the original computes 0 / 0; here loss and
    gradient are 0.

    Args:
        scores: (N, C, H, W) float32 or float64: torch's, CuPy's or NumPy's.
        labels: (N, 1, H, W) or (N, H, W), integers or floats (truncated toward zero), on the scores' device.
        ignore_labels: the layer's ``ignore_label`` entries, at most 256; they may be classes too.
        class_weights: C numbers, none negative: the content of the layer's ``weight_source`` file. None: all 1. The
            values of torch and CuPy arrays are not checked.
        check_labels: True: an unexpected label raises ValueError, and a warning says if no pixel is valid; on CUDA the
            check waits for the device. False: an unexpected label makes the loss and its gradient NaN. None: True on
            the CPU, False on CUDA.

    Returns:
        For tensors the loss, a scalar of the scores' dtype, which can be differentiated twice with respect to the
        scores; for CuPy and NumPy arrays a :class:`SoftmaxLoss`. Sums are in double and in a fixed order, so the bits
        do not vary.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, there are not C weights, a weight is negative, or
            (see ``check_labels``) a label is neither in [0, C) nor ignored.
    """
    xp = arrays_of(scores)
    check_blob(xp, "softmax_loss", "scores", scores)
    count, channels, height, width = scores.shape
    if channels < 1:
        raise ValueError(f"softmax_loss: expected scores (N, C, H, W) with C > 0, got shape {tuple(scores.shape)}")
    if tuple(labels.shape) not in ((count, 1, height, width), (count, height, width)):
        raise ValueError(
            f"softmax_loss: expected labels {(count, 1, height, width)} for scores {tuple(scores.shape)}, "
            f"got shape {tuple(labels.shape)}"
        )
    device = arrays_of(labels).device
    if device != xp.device:
        raise ValueError(f"softmax_loss: scores are on {xp.device}, but labels on {device}")
    if check_labels is None:
        check_labels = xp.device == "cpu"
    weights = _class_weights(xp, class_weights, scores)
    if xp.library == "torch":
        labels = labels.detach().reshape(count, height, width)
        return _softmax_loss(scores, labels, weights, list(ignore_labels), check_labels)[0]
    scores, labels = xp.contiguous(scores), _readable_labels(xp, labels).reshape(count, height, width)
    found = _softmax_loss(scores, labels, weights, list(ignore_labels), check_labels)
    return SoftmaxLoss(found[0], scores, labels, weights, tuple(ignore_labels), *found[1:])


def softmax_probability(scores: Any) -> Any:
    """Return the layer's optional second top: the softmax over channels, without a gradient, like in Caffe.

    Args:
        scores: (N, C, H, W), a floating point tensor.

    Returns:
        (N, C, H, W), each pixel's channels summing to 1.
    """
    import torch

    return torch.softmax(scores.detach(), 1)
