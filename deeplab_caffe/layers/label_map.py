"""Layers that work on label maps: CENSOR_LABEL, IGNORE_OVERLAY, HISTOGRAM, ONEHOT."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe.layers.base import TRAINS, Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.proto import caffe_pb2


@register
class CensorLabel(Layer):
    """Sets pixels to ``ignore_label`` if the image's list of labels does not have their label.

    Bottoms: label map (N, 1, H, W), image labels (N, L, 1, 1) with -1 in unused places. No gradient.
    Source: layers/censor_label_layer.cpp.
    """

    TYPE = "CensorLabel"
    onnx_advice = TRAINS
    capturable = per_item = False
    BOTTOMS = (2, 2)
    differentiable = False
    label_bottoms = (0, 1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        pixels, names = self.images(bottom_shapes)
        if pixels[1] != 1:
            raise self.error(f"the label map must have one channel, got {tuple(pixels)}")
        if tuple(names) != (pixels[0], names[1], 1, 1):
            expected = (pixels[0], names[1], 1, 1)
            raise self.error(f"image labels for a label map {tuple(pixels)} must be {expected}, got {tuple(names)}")
        return [pixels]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        pixels, names = (blob.detach() for blob in self.as_images(*bottoms))
        named = ((pixels == names) & (names != -1)).any(dim=1, keepdim=True)
        return (torch.where(named, pixels, self.param.censor_label_param.ignore_label),)


@register
class IgnoreOverlay(Layer):
    """The second label map, with ``ignore_label`` wherever the first has it: both (N, C, H, W).

    No gradient. Source: layers/ignore_overlay_layer.cpp.
    """

    TYPE = "IgnoreOverlay"
    onnx_advice = TRAINS
    capturable = per_item = False
    BOTTOMS = (2, 2)
    differentiable = False
    label_bottoms = (0, 1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        first, second = (tuple(shape) for shape in bottom_shapes)
        if first != second:
            raise self.error(f"both label maps must have one shape, got {first} and {second}")
        return [second]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        ignored = self.param.ignore_overlay_param.ignore_label
        return (torch.where(bottoms[0].detach().trunc() == ignored, ignored, bottoms[1].detach()),)


@register
class Histogram(Layer):
    """How many pixels of the batch have each label: (N, ``num_labels``, 1, 1), all counts in item 0.

    Bottom: a label map (N, 1, H, W); ``ignore_label`` values are not counted. The other items are 0, as in the
    original. No gradient. Source: layers/histogram_layer.cpp.
    """

    TYPE = "Histogram"
    onnx_advice = TRAINS
    capturable = per_item = False
    differentiable = False
    label_bottoms = (0,)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        if param.histogram_param.num_labels < 1:
            raise self.error(f"num_labels must be positive, got {param.histogram_param.num_labels}")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        (shape,) = self.images(bottom_shapes)
        if shape[1] != 1:
            raise self.error(f"the label map must have one channel, got {tuple(shape)}")
        return [(shape[0], self.param.histogram_param.num_labels, 1, 1)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        pixels, param = self.as_images(*bottoms)[0], self.param.histogram_param
        top = pixels.new_zeros(len(pixels), param.num_labels, 1, 1)
        for ignored in param.ignore_label:
            pixels = pixels[pixels != ignored]
        pixels = pixels.flatten()
        wrong = pixels[(pixels != pixels.trunc()) | (pixels < 0) | (pixels >= param.num_labels)]
        if wrong.numel():
            expected = f"neither one of the {param.num_labels} labels nor ignored"
            raise self.error(f"label {wrong[0].item():g} is {expected}")
        top[:1, :, 0, 0] = torch.bincount(pixels.long(), minlength=param.num_labels).to(top.dtype)
        return (top,)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


@register
class OneHot(Layer):
    """1 in the channels of those labels that a pixel has, else 0: (N, ``num_labels``, H, W).

    Bottom: (N, L, H, W), a label in each channel, -1 in unused places (where the original may write out of bounds). No
    gradient. Source: layers/onehot_layer.cpp.
    """

    TYPE = "OneHot"
    onnx_advice = TRAINS
    capturable = per_item = False
    differentiable = False
    label_bottoms = (0,)

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        if param.onehot_param.num_labels < 1:
            raise self.error(f"num_labels must be positive, got {param.onehot_param.num_labels}")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        n, _, *rest = self.images(bottom_shapes)[0]
        return [(n, self.param.onehot_param.num_labels, *rest)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        labels, count = self.as_images(*bottoms)[0].long(), self.param.onehot_param.num_labels
        wrong = labels[(labels < -1) | (labels >= count)]
        if wrong.numel():
            raise self.error(f"label {int(wrong[0])} is neither one of the {count} labels nor -1")
        n, _, *rest = labels.shape
        # Unused places write to an extra channel 0, which is then dropped.
        top = bottoms[0].new_zeros(n, count + 1, *rest).scatter_(1, labels + 1, 1)
        return (top[:, 1:].contiguous(),)
