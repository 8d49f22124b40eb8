"""The description of a source of initial models: the names in its file, and the layers that they become in Caffe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from deeplab_caffe.convert.first_layer import Pixels
from deeplab_caffe.net import Net


class Part(NamedTuple):
    """One tensor of a source, and the blob that it becomes in Caffe.

    Attributes:
        layer: the layer's name, in a network with one tower.
        role: the blob's: weight and bias; mean, variance and factor of a BatchNorm.
        name: its name in the file.
        arrange: function of the tensor and of those in ``folded`` that returns Caffe's layout; None: no change.
        folded: names of more tensors that are folded into this one, such as a BatchNorm's into its convolution.
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
        title: its name in messages.
        matches: function that returns whether a file with these tensors is this network.
        parts: its tensors; a file that lacks one is rejected, other tensors are ignored.
        first: the layer that reads the image.
        pixels: the input of that layer.
        eps: eps of its BatchNorm; None without a BatchNorm.
        optional: layers that a net may lack.
        decimated: layers of which a net may have fewer filters, and smaller ones.
        copied: maps the net's name of a layer to the source's, if they differ.
        remarks: function that yields notes for the user about this source in a net.
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
