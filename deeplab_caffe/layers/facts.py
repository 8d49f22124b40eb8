"""What a layer computes, told to others in plain numbers: :attr:`deeplab_caffe.layers.Layer.fact`.

Inference lowers a layer by its fact, the segmentation head is found by facts. A layer with no fact is run as it is.
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
    """The maximum over windows of one size, its only top; pairs are (height, width)."""

    kernel: Pair
    stride: Pair
    pad: Pair


@dataclass(frozen=True)
class ResizeFact:
    """Bilinear resizing of a part of the first bottom; a second one has the size that it is brought to.

    Attributes:
        begin: rows and columns that are cut off at the top and left first.
        end: rows and columns that are cut off at the bottom and right first.
        align_corners: as for :func:`deeplab_caffe.ops.interp.interp`.
    """

    begin: int = 0
    end: int = 0
    align_corners: bool = True


@dataclass(frozen=True)
class CropFact:
    """A crop: ``begin`` rows and columns at the top and left, ``end`` at the bottom and right are taken off."""

    begin: int
    end: int


@dataclass(frozen=True)
class ProbabilityFact:
    """Scores become probabilities pixel by pixel.

    Attributes:
        across: whether the channels of a pixel sum to 1 (softmax), or each stands for itself (sigmoid).
    """

    across: bool


@dataclass(frozen=True)
class ArgMaxFact:
    """The first channel of the top is the channel of each pixel's largest value; of equal values, the last."""


@dataclass(frozen=True)
class AffineFact:
    """Each number of its only bottom times its channel's factor, plus its channel's summand; channels are axis 1.

    Attributes:
        numbers: gives factors and summands, (C,) or (1,) each, in float64, from the blobs as they are.
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
        """Rectify numbers in their memory, and return them."""
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
