"""What the initial model's sources have in common: names of a file, and the layers that they are in Caffe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from deeplab_caffe.convert.first_layer import Pixels
from deeplab_caffe.net import Net


class Part(NamedTuple):
    """One tensor of a source, and what it is in Caffe.

    Attributes:
        layer: the layer's name, in a network with one tower.
        role: the blob's: weight and bias; mean, variance and factor of a BatchNorm.
        name: its name in the file.
        arrange: what gives it Caffe's layout, of the tensor and of those in ``folded``; None: it has that.
        folded: names of more tensors of the file that go into this one, as a BatchNorm's into its convolution.
    """

    layer: str
    role: str
    name: str
    arrange: Callable[..., Tensor] | None = None
    folded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A network that others trained.

    Attributes:
        title: what messages call it.
        matches: whether a file with these names is one.
        parts: its tensors; a file that lacks one is refused, one that has more is not.
        first: the layer that reads the image.
        pixels: what that reads.
        eps: BatchNorm's; None without a BatchNorm.
        optional: layers that a net may do without.
        decimated: layers of which a net may have fewer filters, and smaller ones.
        copied: net's names of a layer -> the source's, where they differ.
        remarks: what to tell the user about this source in this net.
    """

    title: str
    matches: Callable[[Mapping[str, Tensor]], bool]
    parts: Callable[[Mapping[str, Tensor]], Iterable[Part]]
    first: str
    pixels: Pixels
    eps: float | None = None
    optional: frozenset[str] = frozenset()
    decimated: frozenset[str] = frozenset()
    copied: Callable[[str], str] = str
    remarks: Callable[[Net], Iterable[str]] = lambda _: ()
