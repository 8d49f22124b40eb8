"""The two ends of a segmentation net, seen from outside: what its input may be, and a resize that it ends with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deeplab_caffe.layers.convolution import Convolution
from deeplab_caffe.layers.interp import Interp, Padding
from deeplab_caffe.net import Net
from deeplab_caffe.net.build import Step
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.ops.interp_softmax import interp_softmax


@dataclass(frozen=True)
class Ending:
    """Scores before the last resize, and which part of its result is wanted: all that is needed to go without the rest.

    Attributes:
        scores: (N, C, h, w).
        resized: height and width that they are brought to, corners on corners; None: they stay as they are.
        origin: row and column of the result where the part begins.
        size: height and width of the part.
    """

    scores: Tensor
    resized: tuple[int, int] | None
    origin: tuple[int, int]
    size: tuple[int, int]

    def labels(self) -> Tensor:
        """uint8 (N, *size): the best class; of classes with one score the largest, as in the ARGMAX layer."""
        if self.resized is None:
            return argmax_labels(self._part(), ties="last")
        return interp_argmax(self.scores, *self.resized, crop=self.size, origin=self.origin, ties="last")

    def probabilities(self) -> Tensor:
        """float32 (N, C, *size): the softmax of the scores."""
        if self.resized is None:
            return torch.softmax(self._part(), 1)
        return interp_softmax(self.scores, *self.resized, crop=self.size, origin=self.origin)

    def _part(self) -> Tensor:
        (top, left), (height, width) = self.origin, self.size
        return self.scores[:, :, top : top + height, left : left + width]


@dataclass(frozen=True)
class LastInterp:
    """An INTERP layer at the end of a net, and the crop behind it if there is one.

    Attributes:
        step: the layer and its place.
        crop: rows and columns that a PADDING layer takes off at the top and left.
    """

    step: Step
    crop: int = 0

    def ending(self, net: Net, blob: Tensor, size: tuple[int, int]) -> Ending:
        """Runs the net up to the layer.

        Args:
            net: the net.
            blob: its input, (N, C, H, W).
            size: height and width of the first part of the net's output that is wanted.
        """
        layer = self.step.layer
        (scores,) = net(blob, before=layer.name).values()
        _, _, *resized = layer.top_shapes([tuple(scores.shape)])[0]
        begin, end = -layer.options["pad_beg"], -layer.options["pad_end"]
        scores = scores[:, :, begin : scores.shape[2] - end, begin : scores.shape[3] - end]
        return Ending(scores, tuple(resized), (self.crop, self.crop), size)


def last_interp(net: Net, blob: str) -> LastInterp | None:
    """The INTERP layer that makes a blob, if nothing but a crop comes after it. None for a net in float64, whose scores
    are rounded to float32 before anything is made of them.
    """
    makers = [step for step in net.steps if blob in step.tops]
    if not makers or net.dtype == torch.float64:
        return None
    step, crop = makers[-1], 0
    if isinstance(step.layer, Padding):
        param = step.layer.param.padding_param
        before = [one for one in net.steps[: net.steps.index(step)] if step.bottoms[0] in one.tops]
        if param.pad_beg > 0 or param.pad_end > 0 or not before:
            return None
        step, crop = before[-1], -param.pad_beg
    return LastInterp(step, crop) if isinstance(step.layer, Interp) and len(step.tops) == 1 else None


def takes_weights_dtype(net: Net, blob: str) -> torch.dtype:
    """The dtype in which an input goes to its readers: their weights', where all bring it to that, else float32."""
    layers = [step.layer for step in net.steps if blob in step.bottoms]
    dtypes = {layer.weight.dtype if isinstance(layer, Convolution) else torch.float32 for layer in layers}
    fits = len(dtypes) == 1 and dtypes <= {torch.float32, torch.float16, torch.bfloat16}
    return dtypes.pop() if fits else torch.float32
