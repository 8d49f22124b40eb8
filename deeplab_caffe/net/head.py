"""The segmentation head: from a net's last values to labels, probabilities and the dense CRF.

What a head is, is decided here and nowhere else. The last layer of a net, but for a crop, says what its output is:

* SOFTMAX or SIGMOID: probabilities, which the CRF takes the logarithm of; an INTERP behind resizes them;
* ARGMAX: labels, of what it reads; there is no CRF;
* anything else: scores, whose softmax is what probabilities are; of a single channel, the sigmoid.

A single channel is the foreground: label 1 where its probability is at least 0.5, else 0, and for the CRF two classes.
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

# Images are padded until the net's output covers them; a stride of 32 is the coarsest that VGG has.
_MOST_PADDING = 64


@dataclass(frozen=True)
class Output:
    """What a net says of images, at the size of the images when it is asked for.

    Attributes:
        values: (N, C, h, w): what the head's resizing begins with.
        resized: height and width that they are brought to; None: they stay as they are.
        origin: row and column of the result where the part that is wanted begins.
        size: height and width of that part.
        activation: what makes probabilities of them: ``"softmax"``, ``"sigmoid"``, ``"exp"``, or ``"none"``.
        no_crf: why they are not for the CRF; None: they are.
        resize: the layer that resizes values, uncut, at full size; None: :func:`deeplab_caffe.ops.interp.interp` does.
        bottoms: what ``resize`` takes, the values uncut first.
        align_corners: whether values are brought to full size corners on corners.
        kind: what the caller says that scores are, for the CRF.
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
        """Return whether the one channel is the foreground."""
        return self.values.shape[1] == 1 and self.no_crf is None

    def to(self, device: str | torch.device) -> Output:
        """Return the same on another device, its gradients left behind: it can be pickled then."""
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
        """Return the best class of each pixel, uint8 (N, *size); of equal ones the largest, as in the ARGMAX layer.

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
        """Return the marginals of the dense CRF: float32 (N, C, *size); of a single channel, (N, 2, *size).

        Args:
            images: uint8 RGB (N, *size, 3).
            crf: its parameters.
            scores: :meth:`scores`, if they are there already.

        Raises:
            NetError: the net puts out labels.
            CRFError: the scores or images are not fit.
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
        """Return of which items all values have a finite maximum over the classes: bool (N,).

        A class that scores minus infinity is ruled out. NaN is the maximum where there is one.
        """
        return self.values.amax(1).isfinite().flatten(1).all(1)

    def results(self, wanted: Sequence[str], images: Tensor | np.ndarray, crf: CRFParams | None) -> dict[str, Tensor]:
        """Return what is wanted of images, by name.

        Args:
            wanted: ``"labels"`` (after the CRF if there is one: of equal marginals the first class then, as in the
                densecrf programs), ``"scores"``, ``"probabilities"``, ``"marginals"`` or ``"finite"``, see
                :meth:`finite`.
            images: uint8 RGB (N, *size, 3).
            crf: parameters of the dense CRF; None for none.

        Returns:
            What is wanted; marginals only with a CRF.
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

    The same bits for any number of threads: torch's softmax and sigmoid give others for each.
    """
    if activation == "none":
        return scores
    if activation == "softmax":
        if scores.amin() == -torch.inf:
            # A label ruled out; interp's weighted sum of it is NaN.
            scores = scores.clamp_min(torch.finfo(scores.dtype).min)
        return interp_softmax(scores, *scores.shape[2:])
    if activation == "sigmoid":
        # 1 / (1 + exp(-x)): the second of the classes that score 0 and x.
        return interp_softmax(torch.cat([torch.zeros_like(scores), scores], 1), *scores.shape[2:])[:, 1:]
    return scores.exp()


@dataclass(frozen=True)
class Head:
    """How labels come from a graph's one output.

    Attributes:
        graph: what is run before: the net's graph without the INTERP layer at its end and the ARGMAX and crop behind.
        blob: name under which the graph gives the values.
        resize: the INTERP layer, or None; a second bottom of its is the net's input.
        crop: rows and columns that are taken off behind it, at the top and left and at the bottom and right.
        probability: what makes the values probabilities; None: they are scores.
        no_crf: why there can be no CRF; None: there can.
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
        """Return what makes probabilities of values with this many channels; see :attr:`Output.activation`.

        ``kind`` is what the caller says that they are; None: what the net's last layer says.
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
        """Return what the values say of an image.

        Args:
            values: what the graph gave, (N, C, h, w).
            size: height and width of the first part of the net's output that is wanted.
            target: bring the net's output to this size first; None: it has the right one.
            kind: what the caller says that they are; None: what the net's last layer says.
            image: (H, W) of the net's input, for a resizing to its size.
        """
        activation = self.activation(values.shape[1], kind)
        origin = (self.crop[0],) * 2
        if target is None and self.resize is None:
            return Output(values, None, origin, size, activation, self.no_crf, kind=kind)
        if target is not None or values.dtype == torch.float64:
            # Scores in float64 are rounded to float32 before anything is made of them.
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
        """Return what the layer takes. Of its second bottom only the size counts: it has no channels here."""
        if self.resize is None or len(self.resize.param.bottom) == 1:
            return (values,)
        assert image is not None
        return values, values.new_empty((len(values), 0, *image))


def split_head(graph: Graph) -> Head:
    """Find the head of a graph with one output, made by :func:`deeplab_caffe.net.passes.lower`.

    Raises:
        NetError: it has several outputs, or labels that are resized.
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
    """Return the smallest input side from ``least`` up whose output is as large, and the output's side.

    Where no output is as large as its input the first side that the net takes is given.

    Args:
        least: in pixels.
        output_side: side of the output for a side of the input; NetError where the net does not take it.

    Raises:
        NetError: the net takes none of the sides tried.
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
    """Runs a net of one image input and its head on photographs: from pixels to labels, for `Net` and `OptimizedNet`.

    Args:
        graph: the net's graph with one output, made by :func:`deeplab_caffe.net.passes.lower`.
        channels: channels of the input.
        run: runs a graph on the input blob; its one output.
        dtype: of the input blob.
        channels_last: its memory order.

    Attributes:
        graph: the graph.
        head: its head.
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
        """Return the input side for an image side of ``least`` pixels, and the output's; see :func:`padded_side`.

        Args:
            least: in pixels.
            axis: 0 for the height, 1 for the width: kernels and sizes of layers need not be square.
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
        """Return what is wanted of photographs, by name; see :meth:`Output.results`.

        Args:
            images: uint8 RGB (N, H, W, 3), on the net's device.
            wanted: names.
            crf: parameters of the dense CRF; None for none.
            mean: what to subtract from B, G and R.
            crop_size: pad images to at least this side.
            kind: what the caller says that the net puts out; None: what its last layer says.
        """
        return self.output(images, mean=mean, crop_size=crop_size, kind=kind).results(wanted, images, crf)

    def output(
        self, images: Tensor, *, mean: tuple[float, float, float], crop_size: int = 1, kind: Kind | None = None
    ) -> Output:
        """Return what the net says of photographs, before anything is brought to full size; see :meth:`results`."""
        height, width = images.shape[1:3]
        (in_height, out_height), (in_width, out_width) = (
            self.fit(max(side, crop_size), axis) for axis, side in enumerate((height, width))
        )
        size = (in_height, in_width)
        # A net that ends at its own stride, without INTERP: corners lie on corners.
        target = None if size == (out_height, out_width) else size
        blob = preprocess(images, mean=mean, size=size, dtype=self._dtype, channels_last=self._channels_last)
        return self.head.output(self._run(self.head.graph, blob), (height, width), target, kind, size)


def checked_images(images: Tensor | np.ndarray) -> Tensor:
    """Return photographs as a tensor.

    Raises:
        NetError: they are not uint8 RGB (N, H, W, 3).
    """
    found: Tensor = as_tensor(images)
    if found.dtype != torch.uint8 or found.dim() != 4 or found.shape[3] != 3 or found.numel() == 0:
        raise NetError(f"expected uint8 RGB images (N, H, W, 3), got {found.dtype} {tuple(found.shape)}")
    return found
