"""Softmax and its weighted logistic loss (layers/softmax_loss_layer.cpp)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def softmax_loss(
    scores: Array, labels: Array, ignore_labels: Sequence[int] = (255,), class_weights: Sequence[float] | None = None
) -> tuple[float, Array]:
    """Return the loss ``sum(w[y] * -log(max(p[y], FLT_MIN))) / sum(w[y])`` and its gradient.

    The sums run over pixels whose label is not ignored (lines 69-91). If nothing is valid the original computes 0 / 0;
    here loss and gradient are 0.

    Args:
        scores: (N, C, H, W).
        labels: (N, 1, H, W) or (N, H, W), truncated toward zero.
        ignore_labels: labels to ignore.
        class_weights: C numbers; None: all 1.

    Returns:
        The loss, and the gradient of the scores (N, C, H, W), float64.
    """
    scores = scores.astype(np.float64)
    labels = labels.reshape(scores.shape[0], *scores.shape[2:])
    grad = np.zeros_like(scores)
    loss = total = 0.0
    for n, y, x in np.ndindex(*labels.shape):
        label = int(labels[n, y, x].item())
        if label in ignore_labels:
            continue
        p = np.exp(scores[n, :, y, x] - scores[n, :, y, x].max())
        p /= p.sum()
        weight = 1.0 if class_weights is None else class_weights[label]
        loss += weight * -math.log(max(p[label], float(np.finfo(np.float32).tiny)))
        total += weight
        grad[n, :, y, x] = weight * p
        grad[n, label, y, x] -= weight
    return (loss / total, grad / total) if total else (0.0, grad)
