"""Layers about whole channels: CHANNEL_AGGREGATOR, DOMINANT_CHANNEL, GAIN_CHANNEL."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeplab_caffe.errors import DataError
from deeplab_caffe.layers.base import TRAINS, Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, fill_up, int64
from deeplab_caffe.layers.selection import nth_largest_neighbour
from deeplab_caffe.proto import caffe_pb2


def read_label_map(path: str) -> list[list[int]]:
    """Read a ``label_map_file``: each line lists the old labels that one new label is made of.

    Raises:
        DataError: the file cannot be read or is empty, or a line is not a list of labels.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the label map: {error}", path) from None
    if not lines:
        raise DataError("the label map is empty: expected a line of labels for each top channel", path)
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append([int(word) for word in line.split()])
        except ValueError:
            raise DataError(f"expected labels, got '{line}'", path, number) from None
        if not found[-1]:
            raise DataError("expected at least one label, got none", path, number)
    return found


@register
class ChannelAggregator(Layer):
    """Merges classes: each top channel is the log-sum-exp of the bottom channels that its line of the file names.

    Scores (N, C, H, W) become (N, K, H, W) for ``label_map_file`` with K lines.
    Source: layers/channel_aggregator_layer.cpp.
    """

    TYPE = "ChannelAggregator"
    capturable = per_item = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        path = param.channel_aggregator_param.label_map_file
        if not path:
            raise self.error("channel_aggregator_param needs a label_map_file")
        self.label_map = read_label_map(path)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        n, c, *rest = self.images(bottom_shapes)[0]
        for number, labels in enumerate(self.label_map, 1):
            wrong = [label for label in labels if not 0 <= label < c]
            if wrong:
                path = self.param.channel_aggregator_param.label_map_file
                raise self.error(f"{path}:{number}: label {wrong[0]} is none of the bottom's {c} channels")
        return [(n, len(self.label_map), *rest)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        (x,) = self.as_images(*bottoms)
        return (torch.stack([x[:, labels].logsumexp(dim=1) for labels in self.label_map], dim=1),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        x = fill_up(graph, bottoms[0], len(graph.shapes[self.param.bottom[0]]))
        axis = graph.constant("axis", int64(1))
        merged = []
        for labels in self.label_map:
            channels = graph.node("Gather", [x, graph.constant("labels", int64(*labels))], axis=1)
            merged.append(graph.node("ReduceLogSumExp", [channels, axis]))
        return [graph.node("Concat", merged, tops[0], axis=1)]


@register
class DominantChannel(Layer):
    """The ``top_k`` channels that most often have a pixel's largest score: (N, top_k, 1, 1).

    Ties are broken by how often a channel has the second-largest score, and so on down to rank ``top_k``, and then by
    the smaller channel. No gradient.
    Source: layers/dominant_channel_layer.cpp.
    """

    TYPE = "DominantChannel"
    onnx_advice = TRAINS
    capturable = per_item = False
    differentiable = False

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        n, c = self.images(bottom_shapes)[0][:2]
        top_k = self.param.dominant_channel_param.top_k
        if not 1 <= top_k <= c:
            raise self.error(f"top_k must lie between 1 and the {c} channels, got {top_k}")
        return [(n, top_k, 1, 1)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores = self.as_images(*bottoms)[0].detach()
        (n, c), top_k = scores.shape[:2], self.param.dominant_channel_param.top_k
        order = scores.flatten(2).argsort(dim=1, descending=True, stable=True)[:, :top_k]
        # (item, rank, channel): how many pixels give the channel that rank.
        counts = torch.zeros(n, top_k, c, dtype=torch.int64, device=scores.device)
        counts.scatter_add_(2, order, torch.ones_like(order))
        ranked = [sorted(range(c), key=lambda k: item[k], reverse=True) for item in counts.transpose(1, 2).tolist()]
        return (scores.new_tensor([item[:top_k] for item in ranked]).reshape(n, top_k, 1, 1),)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


class _Gain(torch.autograd.Function):
    """Channels times their gains; the gains' gradient gets the drift and noise that the original adds to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, layer: GainChannel) -> Tensor:
        # A copy, because the next forward pass, which may come before this backward pass, changes the gains.
        ctx.save_for_backward(x, gain.clone())
        ctx.layer = layer
        return x * gain

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, gain = ctx.saved_tensors
        to_x = grad * gain if ctx.needs_input_grad[0] else None
        to_gain = None
        if ctx.needs_input_grad[1]:
            to_gain = ctx.layer.regularize((grad * x).sum(dim=(0, 2, 3), keepdim=True), gain)
        return to_x, to_gain, None


@register
class GainChannel(Layer):
    """Multiplies each channel by a learned gain, and drives the gains of all but a few channels towards ``thresh``.

    Parameter blob: the gains (1, C, 1, 1). Each forward pass first raises gains below ``thresh`` to ``thresh`` and,
    with ``norm_mean``, scales all gains to a mean of 1: the parameter itself changes, in phase TEST too. The gradient
    of the gains gets ``drift`` added for all but the ``num_output_nz`` largest gains, then noise of standard deviation
    ``stdev``; with ``norm_mean`` its mean is then subtracted. Which gains are the largest is decided as in the
    original: see :func:`deeplab_caffe.layers.selection.nth_largest_neighbour`. Source: layers/gain_channel_layer.cpp.
    """

    TYPE = "GainChannel"
    roles = ("gain",)
    capturable = per_item = False
    kind = "weights"

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        gain = param.gain_channel_param
        if not gain.HasField("gain_filler"):
            raise self.error("gain_channel_param needs a gain_filler (usually constant 1)")
        if gain.drift < 0 or gain.stdev < 0 or not gain.thresh > 0:
            raise self.error(
                "drift and stdev must not be negative and thresh must be positive, "
                f"got {gain.drift:g}, {gain.stdev:g} and {gain.thresh:g}"
            )

    def setup(self, bottom_shapes: list[Shape]) -> None:
        channels, count = self.images(bottom_shapes)[0][1], self.param.gain_channel_param.num_output_nz
        if not 1 <= count <= channels:
            raise self.error(f"num_output_nz must lie between 1 and the {channels} channels, got {count}")
        self.gain = self.new_blob((1, channels, 1, 1), self.param.gain_channel_param.gain_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if self.images(bottom_shapes)[0][1] != self.gain.shape[1]:
            raise self.error(f"the gains are for {self.gain.shape[1]} channels, the bottom is {bottom_shapes[0]}")
        return self.images(bottom_shapes)

    @torch.no_grad()
    def _bound(self, gain: Tensor) -> Tensor:
        """Raise the gains in place, and scale them to a mean of 1, as each forward pass does."""
        gain.clamp_(min=self.param.gain_channel_param.thresh)
        return gain.mul_(gain.numel() / gain.sum()) if self.param.gain_channel_param.norm_mean else gain

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        self._bound(self.gain)
        return (_Gain.apply(*self.as_images(*bottoms), self.gain, self),)

    def regularize(self, gradient: Tensor, gain: Tensor) -> Tensor:
        """Return the gains' gradient (1, C, 1, 1) with the drift, noise and mean that the parameters ask for."""
        param = self.param.gain_channel_param
        if param.drift > 0:
            bound = nth_largest_neighbour(gain.flatten().tolist(), param.num_output_nz)
            gradient = gradient + param.drift * (gain < bound)
        if param.stdev > 0:
            generator = torch.Generator()
            if self.context.rng is not None:
                generator.manual_seed(self.context.rng.word())
            noise = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
            gradient = gradient + param.stdev * noise.to(gradient.device)
        return gradient - gradient.mean() if param.norm_mean else gradient

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(bottom_shapes[0])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        x = fill_up(graph, bottoms[0], len(graph.shapes[self.param.bottom[0]]))
        gain = self._bound(self.gain.detach().float().cpu().clone())
        return [graph.node("Mul", [x, graph.constant("gain", gain.numpy())], tops[0])]
