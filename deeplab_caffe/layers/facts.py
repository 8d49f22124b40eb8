"""Facts: what a layer computes, described by plain numbers for other code; see :attr:`deeplab_caffe.layers.Layer.fact`.

Inference lowers layers, and finds the segmentation head, by their facts. A layer without a fact is run as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvolutionFact:
    """A convolution of each bottom with the blobs ``weight`` (O, C / groups, kh, kw) and ``bias`` (O,).

    Attributes:
        stride: (height, width), as are pad and dilation.
        groups: number of groups.
        engine: ``"CAFFE"`` or ``"CUDNN"``.
    """

    stride: Pair
    pad: Pair
    dilation: Pair
    groups: int
    engine: str


@dataclass(frozen=True)
class MaxPoolingFact:
    """A single top with the maximum over windows of one size; pairs are (height, width)."""

    kernel: Pair
    stride: Pair
    pad: Pair


@dataclass(frozen=True)
class ResizeFact:
    """Bilinear resizing of a crop of the first bottom; a second bottom, if there is one, has the size of the top.

    Attributes:
        begin: rows and columns that are cropped at the top and left before the resizing.
        end: rows and columns that are cropped at the bottom and right before the resizing.
        align_corners: as for :func:`deeplab_caffe.ops.interp.interp`.
    """

    begin: int = 0
    end: int = 0
    align_corners: bool = True


@dataclass(frozen=True)
class CropFact:
    """A crop by ``begin`` rows and columns at the top and left, and by ``end`` at the bottom and right."""

    begin: int
    end: int


@dataclass(frozen=True)
class ProbabilityFact:
    """Scores become probabilities pixel by pixel.

    Attributes:
        across: True: the channels of a pixel sum to 1 (softmax); False: each channel is independent (sigmoid).
    """

    across: bool


@dataclass(frozen=True)
class ArgMaxFact:
    """The first channel of the top is the channel of each pixel's largest value; the last one if several are equal."""


@dataclass(frozen=True)
class AffineFact:
    """Each number of its only bottom times its channel's factor, plus its channel's summand; channels are axis 1.

    Attributes:
        numbers: returns factors and summands, (C,) or (1,) each, in float64, from the blobs' present values.
    """

    numbers: Callable[[], tuple[Tensor, Tensor]] = field(compare=False)


@dataclass(frozen=True)
class SumFact:
    """The sum of its two bottoms, which have one shape."""


@dataclass(frozen=True)
class RectifierFact:
    """Each number of its only bottom, but at least 0 and at most ``ceiling``."""

    ceiling: float = math.inf

    def apply_(self, x: Tensor) -> Tensor:
        """Rectify numbers in place, and return them."""
        return x.relu_() if self.ceiling == math.inf else x.clamp_(0, self.ceiling)


Fact = (
    ConvolutionFact
    | MaxPoolingFact
    | ResizeFact
    | CropFact
    | ProbabilityFact
    | ArgMaxFact
    | AffineFact
    | SumFact
    | RectifierFact
)
