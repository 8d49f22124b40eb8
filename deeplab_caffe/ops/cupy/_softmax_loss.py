"""Softmax and its weighted logistic loss on CuPy arrays, as DeepLab v1 has them in SOFTMAX_LOSS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops.cupy._arrays import library, stream_of, take, take_images, view

if TYPE_CHECKING:
    import cupy

_LABELS = ("float32", "float64", "uint8", "int16", "int32", "int64")


@dataclass(frozen=True)
class SoftmaxLoss:
    """A loss, and what its gradient is computed from.

    Attributes:
        loss: (), of the scores' dtype. NaN where a label is neither a class nor ignored; 0 where nothing is valid.
        scores: (N, C, H, W).
        labels: (N, H, W).
        class_weights: (C,), or None for all 1.
        ignore_labels: labels that count nowhere.
        stats: (N, 2, H, W): each pixel's maximum and sum of exponentials.
        totals: (3,) float64: the sum of the losses, that of the weights, the first unexpected label's pixel or -1.
    """

    loss: cupy.ndarray
    scores: cupy.ndarray
    labels: cupy.ndarray
    class_weights: cupy.ndarray | None
    ignore_labels: tuple[int, ...]
    stats: cupy.ndarray
    totals: cupy.ndarray

    def backward(self, grad_loss: Any = 1.0) -> cupy.ndarray:
        """The gradient of the scores, (N, C, H, W).

        Args:
            grad_loss: the gradient of the loss: a number, or an array of one on the scores' device.
        """
        cp = library()
        with stream_of(self.scores) as stream:
            grad_loss = cp.asarray(grad_loss, dtype=self.scores.dtype).reshape(())
            grad_scores = cp.empty(self.scores.shape, self.scores.dtype)
            _C.softmax_loss_backward(
                view(self.scores),
                view(self.labels),
                None if self.class_weights is None else view(self.class_weights),
                list(self.ignore_labels),
                view(self.stats),
                view(self.totals),
                view(grad_loss),
                view(grad_scores),
                stream,
            )
        return grad_scores


def softmax_loss(
    scores: Any,
    labels: Any,
    ignore_labels: Sequence[int] = (255,),
    class_weights: Any | Sequence[float] | None = None,
) -> SoftmaxLoss:
    """The mean of ``-log(p[label])`` over valid pixels: :func:`deeplab_caffe.ops.softmax_loss.softmax_loss` with CuPy.

    Nothing waits for the device, so labels are not checked: an unexpected one makes the loss and its gradient NaN.

    Args:
        scores: (N, C, H, W) float32 or float64.
        labels: (N, 1, H, W) or (N, H, W), integers or floats (truncated toward zero), on the scores' device.
        ignore_labels: labels that count nowhere. At most 256.
        class_weights: C numbers, none negative; an array's values are taken as they are. None: all 1.

    Returns:
        The loss, with its gradient by :meth:`SoftmaxLoss.backward`. Sums run in double and in one order, so the bits do
        not vary.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together, or a number of weights other than C.
    """
    scores = take_images("softmax_loss", "scores", scores)
    count, _, height, width = scores.shape
    labels = take("softmax_loss", "labels", labels)
    if labels.shape not in ((count, 1, height, width), (count, height, width)):
        raise ValueError(
            f"softmax_loss: expected labels {(count, 1, height, width)} for scores {scores.shape}, "
            f"got shape {labels.shape}"
        )
    cp = library()
    with stream_of(scores) as stream:
        scores = cp.ascontiguousarray(scores)
        if labels.dtype.name not in _LABELS:
            labels = labels.astype("float32" if labels.dtype.kind == "f" else "int64")
        labels = cp.ascontiguousarray(labels).reshape(count, height, width)
        weights = _weights(class_weights, scores)
        loss = cp.empty((), scores.dtype)
        stats = cp.empty((count, 2, height, width), scores.dtype)
        totals = cp.empty(3, "float64")
        chunks = math.ceil(count * height * width / _C.softmax_loss_chunk)
        workspace = cp.empty((chunks, 3), "float64")
        _C.softmax_loss_forward(
            view(scores),
            view(labels),
            None if weights is None else view(weights),
            list(ignore_labels),
            view(workspace),
            view(loss),
            view(stats),
            view(totals),
            stream,
        )
    return SoftmaxLoss(loss, scores, labels, weights, tuple(ignore_labels), stats, totals)


def _weights(class_weights: Any | Sequence[float] | None, scores: cupy.ndarray) -> cupy.ndarray | None:
    if class_weights is None:
        return None
    cp = library()
    if not hasattr(class_weights, "__cuda_array_interface__"):
        for index, weight in enumerate(class_weights):
            if not 0 <= weight < math.inf:
                raise ValueError(f"softmax_loss: weights cannot be negative, got {weight} for class {index}")
    weights = cp.ascontiguousarray(cp.asarray(class_weights, dtype=scores.dtype))
    if weights.shape != (scores.shape[1],):
        raise ValueError(
            f"softmax_loss: expected one weight for each of {scores.shape[1]} classes, got shape {weights.shape}"
        )
    return weights
