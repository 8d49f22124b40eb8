"""Softmax and its weighted logistic loss, as DeepLab v1 has them in SOFTMAX_LOSS (layers/softmax_loss_layer.cpp)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._view import check_device, stream, view


def _plain_labels(labels: Tensor) -> Tensor:
    """Labels as the extension reads them: one of its dtypes, contiguous, no graph."""
    labels = labels.detach()
    if labels.dtype in (torch.float16, torch.bfloat16):
        labels = labels.float()
    elif labels.dtype not in (torch.float32, torch.float64, torch.uint8, torch.int16, torch.int32, torch.int64):
        labels = labels.long()
    return labels.contiguous()


def _report(labels: Tensor, totals: Tensor, channels: int, ignore_labels: Sequence[int]) -> None:
    """Raises for an unexpected label, warns where nothing is valid. Waits for the device."""
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
        warnings.warn(
            "softmax_loss: every label is ignored or of weight 0: the loss and its gradient are 0", stacklevel=2
        )


@torch.library.custom_op("deeplab_caffe::softmax_loss", mutates_args=())
def _softmax_loss(
    scores: Tensor, labels: Tensor, class_weights: Tensor | None, ignore_labels: Sequence[int], check_labels: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss (), each pixel's (maximum, sum of exponentials) (N, 2, H, W), and the totals (3) of the extension."""
    check_device("softmax_loss", scores)
    scores, labels = scores.contiguous(), _plain_labels(labels)
    count, channels, height, width = scores.shape
    loss = scores.new_empty(())
    stats = scores.new_empty((count, 2, height, width))
    totals = scores.new_empty(3, dtype=torch.float64)
    chunks = math.ceil(count * height * width / _C.softmax_loss_chunk)
    workspace = scores.new_empty((chunks, 3), dtype=torch.float64)
    weights = None if class_weights is None else class_weights.contiguous()
    _C.softmax_loss_forward(
        view(scores),
        view(labels),
        None if weights is None else view(weights),
        ignore_labels,
        view(workspace),
        view(loss),
        view(stats),
        view(totals),
        stream(scores),
    )
    if check_labels:
        _report(labels, totals, channels, ignore_labels)
    return loss, stats, totals


@_softmax_loss.register_fake
def _(
    scores: Tensor, labels: Tensor, class_weights: Tensor | None, ignore_labels: Sequence[int], check_labels: bool
) -> tuple[Tensor, Tensor, Tensor]:
    count, _, height, width = scores.shape
    stats = scores.new_empty((count, 2, height, width))
    return scores.new_empty(()), stats, scores.new_empty(3, dtype=torch.float64)


@torch.library.custom_op("deeplab_caffe::softmax_loss_backward", mutates_args=())
def _softmax_loss_backward(
    grad_loss: Tensor,
    scores: Tensor,
    labels: Tensor,
    class_weights: Tensor | None,
    stats: Tensor,
    totals: Tensor,
    ignore_labels: Sequence[int],
) -> Tensor:
    scores, labels = scores.contiguous(), _plain_labels(labels)
    weights = None if class_weights is None else class_weights.contiguous()
    grad_scores = torch.empty_like(scores)
    _C.softmax_loss_backward(
        view(scores),
        view(labels),
        None if weights is None else view(weights),
        ignore_labels,
        view(stats),
        view(totals),
        view(grad_loss.contiguous()),
        view(grad_scores),
        stream(scores),
    )
    return grad_scores


@_softmax_loss_backward.register_fake
def _(
    grad_loss: Tensor,
    scores: Tensor,
    labels: Tensor,
    class_weights: Tensor | None,
    stats: Tensor,
    totals: Tensor,
    ignore_labels: Sequence[int],
) -> Tensor:
    return scores.new_empty(scores.shape)


def _save_forward(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: tuple) -> None:
    scores, labels, class_weights, ctx.ignore_labels, _ = inputs
    _, stats, totals = output
    ctx.mark_non_differentiable(stats, totals)
    ctx.save_for_backward(scores, labels, class_weights, stats, totals)


def _forward_gradient(ctx: torch.autograd.function.FunctionCtx, grad_loss: Tensor, *_: Tensor) -> tuple:
    return _softmax_loss_backward(grad_loss, *ctx.saved_tensors, ctx.ignore_labels), None, None, None, None


def _save_backward(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.ignore_labels = inputs
    ctx.save_for_backward(*tensors)


def _backward_gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    """Second derivatives are rare enough to be left to torch's own operations."""
    grad_loss, scores, labels, class_weights, _, totals = ctx.saved_tensors
    labels = _plain_labels(labels).long()
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


_softmax_loss.register_autograd(_forward_gradient, setup_context=_save_forward)
_softmax_loss_backward.register_autograd(_backward_gradient, setup_context=_save_backward)


def _weights_tensor(class_weights: Tensor | Sequence[float] | None, scores: Tensor) -> Tensor | None:
    if class_weights is None:
        return None
    if not isinstance(class_weights, Tensor):
        for index, weight in enumerate(class_weights):
            if not 0 <= weight < math.inf:
                raise ValueError(f"softmax_loss: weights cannot be negative, got {weight} for class {index}")
        class_weights = torch.tensor(list(class_weights), dtype=scores.dtype)
    if class_weights.shape != (scores.shape[1],):
        raise ValueError(
            f"softmax_loss: expected one weight for each of {scores.shape[1]} classes, "
            f"got shape {tuple(class_weights.shape)}"
        )
    return class_weights.detach().to(scores)


def softmax_loss(
    scores: Tensor,
    labels: Tensor,
    ignore_labels: Sequence[int] = (255,),
    class_weights: Tensor | Sequence[float] | None = None,
    *,
    check_labels: bool | None = None,
) -> Tensor:
    """The mean of ``-log(p[label])`` over all valid pixels of the batch, each weighted by its class.

    ``sum(w[y] * -log(max(p[y], FLT_MIN))) / sum(w[y])`` (layers/softmax_loss_layer.cpp:69-91). An ignored pixel counts
    nowhere and its gradient is 0. Where nothing is valid the original computes 0 / 0; here loss and gradient are 0.

    Args:
        scores: (N, C, H, W) float32 or float64, on the CPU or a CUDA device.
        labels: (N, 1, H, W) or (N, H, W), integers or floats (truncated toward zero), on the scores' device.
        ignore_labels: the layer's ``ignore_label`` entries, which may name a class too. At most 256.
        class_weights: C numbers, none negative: the content of the layer's ``weight_source`` file. None: all 1. A
            tensor's values are taken as they are.
        check_labels: True: an unexpected label raises ValueError, nothing valid warns; on CUDA that waits for the
            device. False: the loss and its gradient become NaN at an unexpected label. None: True on the CPU, False
            on CUDA.

    Returns:
        The loss, a scalar of the scores' dtype. Differentiable twice with respect to the scores. Sums run in double and
        in one order, so the bits do not vary.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together, a number of weights other than C, a negative
            weight, or (see ``check_labels``) a label that is neither in [0, C) nor ignored.
    """
    if scores.dim() != 4 or scores.shape[1] < 1:
        raise ValueError(f"softmax_loss: expected scores (N, C, H, W), got shape {tuple(scores.shape)}")
    if scores.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"softmax_loss: expected float32 or float64, got {scores.dtype}")
    count, _, height, width = scores.shape
    if tuple(labels.shape) not in ((count, 1, height, width), (count, height, width)):
        raise ValueError(
            f"softmax_loss: expected labels {(count, 1, height, width)} for scores {tuple(scores.shape)}, "
            f"got shape {tuple(labels.shape)}"
        )
    if labels.device != scores.device:
        raise ValueError(f"softmax_loss: scores are on {scores.device}, but labels on {labels.device}")
    if check_labels is None:
        check_labels = not scores.is_cuda
    weights = _weights_tensor(class_weights, scores)
    labels = labels.detach().reshape(count, height, width)
    return _softmax_loss(scores, labels, weights, list(ignore_labels), check_labels)[0]


def softmax_probability(scores: Tensor) -> Tensor:
    """The layer's optional second top: softmax over channels, without a gradient, as Caffe ignores that top's diff.

    Args:
        scores: (N, C, H, W), floating point.

    Returns:
        (N, C, H, W), each pixel's channels summing to 1.
    """
    return torch.softmax(scores.detach(), 1)
