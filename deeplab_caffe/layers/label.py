"""Layers for weak labels (Papandreou et al. 2015): BIAS_CHANNEL, ADAPTIVE_BIAS_CHANNEL, UNIQUE_LABEL."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.layers.base import TRAINS, Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.proto import caffe_pb2


def _labels_of_item(layer: Layer, row: Tensor, channels: int, ignored: set[int]) -> list[int]:
    """Return the classes named by one item of a (N, L, 1, 1) label blob; -1 fills unused places."""
    labels = []
    for value in row.flatten().tolist():
        label = int(value)
        if label == -1 or label in ignored:
            continue
        if not 0 <= label < channels:
            raise layer.error(f"label {label} is neither one of the {channels} classes nor ignored")
        labels.append(label)
    return labels


@register
class BiasChannel(Layer):
    """Adds ``bg_bias`` to channel 0 and ``fg_bias`` to the other classes that the labels name: the E-step of EM-Fixed.

    Bottoms: scores (N, C, H, W) and labels. With ``label_type`` IMAGE the labels are (N, L, 1, 1), -1 in unused places,
    and each class that they name gets its bias at every pixel. With PIXEL they are (N, 1, H, W); at every pixel that is
    not ignored the background's channel gets ``bg_bias``, and the pixel's class, unless it is the background, gets
    ``fg_bias``. The background is channel 0 in DeepLab v1; in v2 it is ``background_label``, and there is none unless
    that or ``bg_bias`` is set. Source: layers/bias_channel_layer.cpp.
    """

    TYPE = "BiasChannel"
    onnx_advice = TRAINS
    capturable = per_item = False
    BOTTOMS = (2, 2)
    label_bottoms = (1,)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        bias = param.bias_channel_param
        self.ignored = set(bias.ignore_label)
        has_background = (
            context.dialect.background_is_zero or bias.HasField("bg_bias") or bias.HasField("background_label")
        )
        self.background = bias.background_label if has_background else None
        self.per_pixel = bias.label_type == caffe_pb2.BiasChannelParameter.PIXEL

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = self.images(bottom_shapes)
        expected = (scores[0], 1, *scores[2:]) if self.per_pixel else (scores[0], labels[1], 1, 1)
        if tuple(labels) != expected:
            kind = "PIXEL" if self.per_pixel else "IMAGE"
            raise self.error(f"{kind} labels for scores {tuple(scores)} must be {expected}, got {tuple(labels)}")
        if self.background is not None and not 0 <= self.background < scores[1]:
            raise self.error(f"background_label must lie between 0 and {scores[1] - 1}, got {self.background}")
        return [scores]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, labels = self.as_images(*bottoms)
        bias = self._pixel_bias(scores, labels) if self.per_pixel else self._image_bias(scores, labels)
        return (scores + bias,)

    def _image_bias(self, scores: Tensor, labels: Tensor) -> Tensor:
        param = self.param.bias_channel_param
        bias = torch.zeros(scores.shape[:2], dtype=scores.dtype)
        for item, row in enumerate(labels.cpu()):
            for label in _labels_of_item(self, row, scores.shape[1], self.ignored):
                bias[item, label] += param.bg_bias if label == 0 else param.fg_bias
        return bias.to(scores.device)[:, :, None, None]

    def _pixel_bias(self, scores: Tensor, labels: Tensor) -> Tensor:
        param = self.param.bias_channel_param
        index = labels.long()
        used = torch.ones_like(index, dtype=torch.bool)
        for label in self.ignored:
            used &= index != label
        wrong = used & ((index < 0) | (index >= scores.shape[1]))
        if wrong.any():
            label = int(index[wrong][0])
            raise self.error(f"label {label} is neither one of the {scores.shape[1]} classes nor ignored")
        bias = torch.zeros_like(scores)
        foreground = used
        if self.background is not None:
            bias[:, self.background : self.background + 1] = param.bg_bias * used
            foreground = used & (index != self.background)
        return bias.scatter_add_(1, index.clamp(0, scores.shape[1] - 1), param.fg_bias * foreground.to(scores.dtype))


@register
class AdaptiveBiasChannel(Layer):
    """Raises the scores of an image's classes until each could win its share of the pixels: the E-step of EM-Adapt.

    Bottoms: scores (N, C, H, W) and image labels (N, L, 1, 1), -1 in unused places. For each image: with
    ``suppress_others``, where an absent class scores above the lowest present class, its score becomes the lowest
    present score minus ``margin_others``. Then, ``num_iter`` times, each present class, background first, is raised by
    a constant: the ``bg_portion`` (``fg_portion``) quantile, over the pixels, of the best present score minus its own.
    Last, a constant is added to all scores so that the mean of the best present score stays as it was. No gradient.
    Source: layers/adaptive_bias_channel_layer.cpp.
    """

    TYPE = "AdaptiveBiasChannel"
    onnx_advice = TRAINS
    capturable = per_item = False
    BOTTOMS = (2, 2)
    differentiable = False
    label_bottoms = (1,)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        bias = param.adaptive_bias_channel_param
        for name in ("bg_portion", "fg_portion"):
            if not 0 <= getattr(bias, name) <= 1:
                raise self.error(f"{name} must lie between 0 and 1, got {getattr(bias, name)}")
        if bias.num_iter < 1 or bias.margin_others < 0:
            raise self.error(
                "num_iter must be positive and margin_others not negative, "
                f"got {bias.num_iter} and {bias.margin_others}"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = self.images(bottom_shapes)
        expected = (scores[0], labels[1], 1, 1)
        if tuple(labels) != expected:
            raise self.error(f"labels for scores {tuple(scores)} must be {expected}, got {tuple(labels)}")
        return [scores]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, labels = self.as_images(*bottoms)
        top = scores.detach().clone()
        for item, row in enumerate(labels.cpu()):
            present = sorted(_labels_of_item(self, row, scores.shape[1], set()))
            if present and top[item].numel():
                self._adapt(top[item].flatten(1), present)
        return (top,)

    def _adapt(self, scores: Tensor, present: list[int]) -> None:
        """Adapt the scores (C, H * W) of one image in place."""
        param = self.param.adaptive_bias_channel_param
        if param.suppress_others:
            ceiling = scores[present].amin(dim=0)
            absent = [c for c in range(scores.shape[0]) if c not in present]
            others = scores[absent]
            scores[absent] = torch.where(others > ceiling, ceiling - param.margin_others, others)
        best = scores[present].amax(dim=0)
        mean_before = best.double().mean()
        for _ in range(param.num_iter):
            for label in self._shuffled(present):
                portion = param.bg_portion if label == 0 else param.fg_portion
                # A product of two float32, as in the original, which reads one past the end for a portion of 1.
                rank = min(int(np.float32(portion) * np.float32(best.numel())), best.numel() - 1)
                scores[label] += (best - scores[label]).kthvalue(rank + 1).values
                best = torch.maximum(best, scores[label])
        scores += (mean_before - best.double().mean()).to(scores.dtype)

    def _shuffled(self, present: list[int]) -> list[int]:
        """Return the background first, then the others in random order (the original draws it by libc's rand())."""
        background, rest = [c for c in present if c == 0], [c for c in present if c != 0]
        if self.context.rng is not None:
            for i in range(len(rest) - 1, 0, -1):
                j = self.context.rng.rand(i + 1)
                rest[i], rest[j] = rest[j], rest[i]
        return background + rest

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


@register
class UniqueLabel(Layer):
    """The classes that occur in a label map, ascending, -1 in unused places: (N, max_labels, 1, 1).

    ``ignore_label`` values are left out, ``force_label`` values always added. Source: layers/unique_label_layer.cpp.
    """

    TYPE = "UniqueLabel"
    onnx_advice = TRAINS
    capturable = per_item = False
    differentiable = False

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        param = self.param.unique_label_param
        if param.max_labels < 1:
            raise self.error(f"max_labels must be positive, got {param.max_labels}")
        return [(self.images(bottom_shapes)[0][0], param.max_labels, 1, 1)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        param = self.param.unique_label_param
        (x,) = self.as_images(*bottoms)
        top = torch.full((x.shape[0], param.max_labels, 1, 1), -1.0, dtype=x.dtype)
        ignored, forced = set(param.ignore_label), set(param.force_label)
        for item in range(x.shape[0]):
            found = sorted((set(x[item].unique().tolist()) - ignored) | forced)
            if len(found) > param.max_labels:
                raise self.error(f"item {item} has {len(found)} labels, max_labels is {param.max_labels}")
            top[item, : len(found), 0, 0] = torch.tensor(found, dtype=x.dtype)
        return (top.to(x.device),)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None
