"""The segmentation head: from a net's last values to labels, probabilities and the dense CRF.

Only this module decides what a head is. The last layer of a net, apart from a crop, decides what its output is:

* SOFTMAX or SIGMOID: probabilities, whose logarithm the CRF takes; an INTERP behind it resizes them;
* ARGMAX: labels, computed from its bottom; there is no CRF;
* anything else: scores; their softmax, or the sigmoid of a single channel, gives probabilities.

A single channel is the foreground: label 1 where its probability is at least 0.5, else 0; the CRF gets two classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import ArgMaxFact, CropFact, Layer, Pair, ProbabilityFact, ResizeFact
from deeplab_caffe.net.graph import Graph, Step
from deeplab_caffe.net.passes import keep_wanted
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.ops.interp_softmax import interp_softmax
from deeplab_caffe.ops.preprocess import as_tensor, preprocess

# Images are padded by at most so many pixels until the net's output covers them; VGG's coarsest stride is 32.
_MOST_PADDING = 64


@dataclass(frozen=True)
class Output:
    """A net's output for images, which its methods resize to the images' size on request.

    Attributes:
        values: (N, C, h, w): the values before the head's resizing.
        resized: (height, width) that the values are resized to; None: they are not resized.
        origin: (row, column) in the resized values where the requested part begins.
        size: (height, width) of the requested part.
        activation: function from values to probabilities: ``"softmax"``, ``"sigmoid"``, ``"exp"``, or ``"none"``.
        no_crf: why the CRF cannot use the values; None: it can.
        resize: the layer that resizes the uncropped values; None: :func:`deeplab_caffe.ops.interp.interp` resizes.
        bottoms: the bottoms of ``resize``, the uncropped values first.
        align_corners: whether the resizing aligns the corner pixels.
        kind: what the caller says that the scores are, for the CRF.
    """

    values: Tensor
    resized: Pair | None
    origin: Pair
    size: Pair
    activation: str
    no_crf: str | None = None
    resize: Layer | None = None
    bottoms: tuple[Tensor, ...] = ()
    align_corners: bool = True
    kind: Kind | None = None

    @property
    def is_foreground(self) -> bool:
        """Return whether there is a single channel, the foreground's."""
        return self.values.shape[1] == 1 and self.no_crf is None

    def to(self, device: str | torch.device) -> Output:
        """Return the output on another device, detached from autograd, so that it can be pickled."""
        return replace(
            self,
            values=self.values.detach().to(device),
            resize=None if self.resize is None else copy.deepcopy(self.resize).to(device),
            bottoms=tuple(bottom.detach().to(device) for bottom in self.bottoms),
        )

    def scores(self) -> Tensor:
        """Return the values at full size: float32 (N, C, *size), contiguous."""
        if self.resize is not None:
            (full,) = self.resize(*(bottom.float() for bottom in self.bottoms))
        elif self.resized is not None:
            height, width = self.resized
            full = interp(self.values.float(), height=height, width=width, align_corners=self.align_corners)
        else:
            full = self.values.float()
        return self._part(full).contiguous()

    def labels(self, scores: Tensor | None = None) -> Tensor:
        """Return the best class of each pixel, uint8 (N, *size); on ties the largest class, as in the ARGMAX layer.

        Args:
            scores: :meth:`scores`, if they are there already.
        """
        if self.is_foreground:
            scores = self.scores() if scores is None else scores
            return (activated(scores, self.activation)[:, 0] >= 0.5).to(torch.uint8)
        if scores is not None:
            return argmax_labels(scores, ties="last")
        if self.resized is None:
            return argmax_labels(self._part(self.values.float()), ties="last")
        part: dict[str, Any] = {"crop": self.size, "origin": self.origin, "align_corners": self.align_corners}
        return interp_argmax(self.values, *self.resized, ties="last", **part)

    def probabilities(self) -> Tensor:
        """Return the probabilities: float32 (N, C, *size)."""
        if self.activation == "softmax" and self.resized is not None:
            part: dict[str, Any] = {"crop": self.size, "origin": self.origin, "align_corners": self.align_corners}
            return interp_softmax(self.values, *self.resized, **part)
        return activated(self._part(self.values.float()) if self.resized is None else self.scores(), self.activation)

    def marginals(self, images: Tensor | np.ndarray, crf: CRFParams, scores: Tensor | None = None) -> Tensor:
        """Return the marginals of the dense CRF: float32 (N, C, *size), or (N, 2, *size) for a single channel.

        Args:
            images: uint8 RGB (N, *size, 3).
            crf: the CRF's parameters.
            scores: the result of :meth:`scores`, if it was computed before.

        Raises:
            NetError: the net's output is labels.
            CRFError: the CRF refuses the scores or images.
        """
        if self.no_crf is not None:
            raise NetError(self.no_crf)
        scores = self.scores() if scores is None else scores
        as_probabilities = self.activation in ("sigmoid", "none") or self.is_foreground
        if as_probabilities:
            scores = activated(scores, self.activation)
        if self.is_foreground:
            scores = torch.cat([1 - scores, scores], 1)
        kind = "probabilities" if as_probabilities else self.kind
        if len(scores) == 1:
            one: Tensor = dense_crf(scores[0], images[0], crf, kind=kind)
            return one[None]
        several: Tensor = dense_crf(scores, images, crf, kind=kind)
        return several

    def finite(self) -> Tensor:
        """Return for each item whether every pixel's maximum over the classes is finite: bool (N,).

        A score of minus infinity, which rules a class out, is allowed. A NaN is not: it is its pixel's maximum.
        """
        return self.values.amax(1).isfinite().flatten(1).all(1)

    def results(self, wanted: Sequence[str], images: Tensor | np.ndarray, crf: CRFParams | None) -> dict[str, Tensor]:
        """Return the requested results for images, by name.

        Args:
            wanted: names of the results: ``"labels"`` (after the CRF if there is one; on ties of marginals the first
                class, as in the densecrf programs), ``"scores"``, ``"probabilities"``, ``"marginals"`` or ``"finite"``,
                see :meth:`finite`.
            images: uint8 RGB (N, *size, 3).
            crf: parameters of the dense CRF; None for none.

        Returns:
            The requested results; ``"marginals"`` only with a CRF.
        """
        found: dict[str, Tensor] = {}
        if "finite" in wanted:
            found["finite"] = self.finite()
        if "scores" in wanted:
            found["scores"] = self.scores()
        if "probabilities" in wanted:
            found["probabilities"] = self.probabilities()
        if crf is not None and ("marginals" in wanted or "labels" in wanted):
            found["marginals"] = self.marginals(images, crf, found.get("scores"))
            found["labels"] = argmax_labels(found["marginals"], ties="first")
        elif "labels" in wanted:
            found["labels"] = self.labels(found.get("scores"))
        return {name: found[name] for name in wanted if name in found}

    def _part(self, full: Tensor) -> Tensor:
        (top, left), (height, width) = self.origin, self.size
        return full[:, :, top : top + height, left : left + width]


def activated(scores: Tensor, activation: str) -> Tensor:
    """Return the probabilities (N, C, H, W) of scores; see :attr:`Output.activation`.

    The result has the same bits for any number of threads; that of torch's softmax and sigmoid depends on it.
    """
    if activation == "none":
        return scores
    if activation == "softmax":
        if scores.amin() == -torch.inf:
            # Minus infinity rules a class out, but interp's weighted sums would turn it into NaN.
            scores = scores.clamp_min(torch.finfo(scores.dtype).min)
        return interp_softmax(scores, *scores.shape[2:])
    if activation == "sigmoid":
        # 1 / (1 + exp(-x)) is the softmax of the scores 0 and x for the second class.
        return interp_softmax(torch.cat([torch.zeros_like(scores), scores], 1), *scores.shape[2:])[:, 1:]
    return scores.exp()


@dataclass(frozen=True)
class Head:
    """How labels are computed from a graph's single output.

    Attributes:
        graph: the net's graph without the last INTERP layer and the ARGMAX and crop behind it.
        blob: name of the graph's output, the values.
        resize: the INTERP layer, or None; its second bottom, if it has one, is the net's input.
        crop: rows and columns cropped after the resizing: (at the top and left, at the bottom and right).
        probability: the fact of the layer that makes probabilities; None: the values are scores.
        no_crf: why the CRF cannot be used; None: it can.
    """

    graph: Graph
    blob: str
    resize: Layer | None = None
    crop: Pair = (0, 0)
    probability: ProbabilityFact | None = None
    no_crf: str | None = None

    def size(self, values: Tensor, image: Pair | None = None) -> Pair:
        """Return (H, W) of the net's output for these values; ``image`` as for :meth:`output`."""
        height, width = self._resized(values, image)
        return height - sum(self.crop), width - sum(self.crop)

    def activation(self, channels: int, kind: Kind | None = None) -> str:
        """Return the function from values to probabilities for a number of channels; see :attr:`Output.activation`.

        ``kind`` is what the caller says that the values are; None: decided by the net's last layer.
        """
        if kind == "probabilities" or (kind is None and self.probability):
            return "none"
        return "softmax" if channels > 1 else "sigmoid"

    def output(
        self,
        values: Tensor,
        size: Pair,
        target: Pair | None = None,
        kind: Kind | None = None,
        image: Pair | None = None,
    ) -> Output:
        """Return the net's output for an image.

        Args:
            values: the graph's output, (N, C, h, w).
            size: (height, width) of the requested part of the net's output, from its top left corner.
            target: resize the net's output to this size first; None: do not resize it.
            kind: what the caller says that the values are; None: decided by the net's last layer.
            image: (H, W) of the net's input, for a head that resizes to its size.
        """
        activation = self.activation(values.shape[1], kind)
        origin = (self.crop[0],) * 2
        if target is None and self.resize is None:
            return Output(values, None, origin, size, activation, self.no_crf, kind=kind)
        if target is not None or values.dtype == torch.float64:
            # Resize float64 scores here: they are rounded to float32 before labels or probabilities are computed.
            whole = Output(values, None, origin, self.size(values, image), activation, None)
            if self.resize is not None:
                values = values if values.dtype == torch.float64 else values.float()
                (full,) = self.resize(*self._bottoms(values, image))
                whole = replace(whole, values=full)
            return Output(whole.scores(), target, (0, 0), size, activation, self.no_crf, kind=kind)
        assert self.resize is not None
        fact = self.resize.fact
        assert isinstance(fact, ResizeFact)
        cut = values[:, :, fact.begin : values.shape[2] - fact.end, fact.begin : values.shape[3] - fact.end]
        output = Output(cut, self._resized(values, image), origin, size, activation, self.no_crf, kind=kind)
        bottoms = self._bottoms(values, image)
        return replace(output, resize=self.resize, bottoms=bottoms, align_corners=fact.align_corners)

    def _resized(self, values: Tensor, image: Pair | None) -> Pair:
        shape = tuple(values.shape)
        if self.resize is not None:
            (shape,) = self.resize.top_shapes([tuple(bottom.shape) for bottom in self._bottoms(values, image)])
        return shape[2], shape[3]

    def _bottoms(self, values: Tensor, image: Pair | None) -> tuple[Tensor, ...]:
        """Return the INTERP layer's bottoms. Only the size of the second one matters, so it has no channels here."""
        if self.resize is None or len(self.resize.param.bottom) == 1:
            return (values,)
        assert image is not None
        return values, values.new_empty((len(values), 0, *image))


def split_head(graph: Graph) -> Head:
    """Find the head of a graph with one output, made by :func:`deeplab_caffe.net.passes.lower`.

    Raises:
        NetError: the graph has several outputs, or resizes labels.
    """
    if len(graph.outputs) != 1:
        raise NetError(f"labels come from one blob, the net was optimized for {', '.join(graph.outputs)}")
    ((blob, value),) = graph.outputs.items()
    makers = {step.makes[0]: step for step in graph.steps if len(step.makes) == 1 and step.activation is None}
    resize: Step | None = None
    argmax: Step | None = None
    begin = end = 0
    while value in makers and resize is None:
        step = makers[value]
        match step.layer.fact:
            case CropFact(top, bottom):
                begin, end = begin + top, end + bottom
            case ResizeFact() if set(step.reads[1:]) <= set(graph.inputs.values()):
                resize = step
            case ArgMaxFact() if argmax is None:
                argmax = step
            case _:
                break
        value = step.reads[0]
    below = value
    while below in makers and isinstance(makers[below].layer.fact, CropFact):
        below = makers[below].reads[0]
    last = makers[below].layer if below in makers else None
    fact = None if last is None else last.fact
    if last is not None and isinstance(fact, ArgMaxFact):
        what = "resizes" if argmax is None else "compares"
        by = resize or argmax
        raise NetError(
            f"layer '{by.layer.name if by else ''}' {what} the labels that ARGMAX layer '{last.name}' makes: "
            f"name the blob that holds the scores, '{_name(graph, makers[below].reads[0], makers[below])}'"
        )
    no_crf = None
    if argmax is not None:
        no_crf = (
            f"the net ends in the ARGMAX layer '{argmax.layer.name}': labels cannot be refined by the dense CRF: "
            f"name the blob that holds the scores, blob='{_name(graph, argmax.reads[0], argmax)}'"
        )
    return Head(
        keep_wanted(graph, {blob: value}),
        blob,
        None if resize is None else resize.layer,
        (begin, end),
        fact if isinstance(fact, ProbabilityFact) else None,
        no_crf,
    )


def _name(graph: Graph, value: int, reader: Step) -> str:
    return next((name for name, number in graph.blobs.items() if number == value), reader.bottoms[0])


def padded_side(least: int, output_side: Callable[[int], int]) -> Pair:
    """Return (side, output's side) of the smallest input side from ``least`` up whose output is as large.

    If no output is as large as its input, the first side that the net accepts is returned.

    Args:
        least: smallest side in pixels.
        output_side: returns the output's side for an input's side, or raises NetError if the net does not accept it.

    Raises:
        NetError: the net accepts none of the sides tried.
    """
    outputs: dict[int, int] = {}
    for side in range(least, least + _MOST_PADDING):
        try:
            outputs[side] = output_side(side)
        except NetError:
            continue
        if outputs[side] == side:
            return side, side
    if not outputs:
        raise NetError(f"an image side of {least} pixels is too small for the net")
    side = min(outputs)
    return side, outputs[side]


class HeadRunner:
    """Runs a net with one image input and its head, from pixels to labels, for `Net` and `OptimizedNet`.

    Args:
        graph: the net's graph with one output, made by :func:`deeplab_caffe.net.passes.lower`.
        channels: number of channels of the input blob.
        run: runs a graph on the input blob and returns its output.
        dtype: dtype of the input blob.
        channels_last: whether the input blob is in channels-last order.

    Attributes:
        graph: the graph.
        head: the graph's head.
    """

    def __init__(
        self,
        graph: Graph,
        channels: int,
        run: Callable[[Graph, Tensor], Tensor],
        dtype: torch.dtype,
        *,
        channels_last: bool,
    ) -> None:
        self.graph = graph
        self.head = split_head(graph)
        self._channels = channels
        self._run = run
        self._dtype = dtype
        self._channels_last = channels_last
        self._sides: tuple[dict[int, Pair], dict[int, Pair]] = {}, {}  # of heights, of widths

    def fit(self, least: int, axis: int = 0) -> Pair:
        """Return (input side, output side) for an image side of ``least`` pixels; see :func:`padded_side`.

        Args:
            least: the image's side in pixels.
            axis: 0 for the height, 1 for the width, because kernels and sizes of layers need not be square.
        """
        sides = self._sides[axis]
        for known, (side, output) in list(sides.items()):
            if known <= least <= side == output:
                return side, output
        if least not in sides:
            (number,) = self.graph.outputs.values()

            def output_side(side: int) -> int:
                return self.graph.shapes([(1, self._channels, side, side)])[number][2 + axis]

            sides[least] = padded_side(least, output_side)
        return sides[least]

    def results(
        self,
        images: Tensor,
        *,
        wanted: Sequence[str] = ("labels",),
        crf: CRFParams | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN_BGR,
        crop_size: int = 1,
        kind: Kind | None = None,
    ) -> dict[str, Tensor]:
        """Return the requested results for photographs, by name; see :meth:`Output.results`.

        Args:
            images: uint8 RGB (N, H, W, 3), on the net's device.
            wanted: names of the results.
            crf: parameters of the dense CRF; None for none.
            mean: values to subtract from B, G and R.
            crop_size: pad images to at least this side, in pixels.
            kind: what the caller says that the net's output is; None: decided by its last layer.
        """
        return self.output(images, mean=mean, crop_size=crop_size, kind=kind).results(wanted, images, crf)

    def output(
        self, images: Tensor, *, mean: tuple[float, float, float], crop_size: int = 1, kind: Kind | None = None
    ) -> Output:
        """Return the net's output for photographs, not yet resized to full size; see :meth:`results`."""
        height, width = images.shape[1:3]
        (in_height, out_height), (in_width, out_width) = (
            self.fit(max(side, crop_size), axis) for axis, side in enumerate((height, width))
        )
        size = (in_height, in_width)
        # A net that ends at its own stride, without INTERP: resize its output to the input with aligned corners.
        target = None if size == (out_height, out_width) else size
        blob = preprocess(images, mean=mean, size=size, dtype=self._dtype, channels_last=self._channels_last)
        return self.head.output(self._run(self.head.graph, blob), (height, width), target, kind, size)


def checked_images(images: Tensor | np.ndarray) -> Tensor:
    """Return photographs as a tensor.

    Raises:
        NetError: the images are not uint8 RGB (N, H, W, 3).
    """
    found: Tensor = as_tensor(images)
    if found.dtype != torch.uint8 or found.dim() != 4 or found.shape[3] != 3 or found.numel() == 0:
        raise NetError(f"expected uint8 RGB images (N, H, W, 3), got {found.dtype} {tuple(found.shape)}")
    return found
