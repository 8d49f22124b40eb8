"""torchvision's ``vgg16`` and ``vgg16_bn``, from ImageNet; the names are those of ``torchvision/models/vgg.py``.

DeepLab's networks on VGG-16 have no BatchNorm: that of ``vgg16_bn`` is folded into the convolutions, which is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from deeplab_caffe.convert.sources import vgg16
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.convert.torchvision import PIXELS

# Where the convolutions stand in ``features``, between ReLUs and poolings; and with a BatchNorm behind each.
_PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_PLACES_BN = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
_ROLES = ("weight", "bias")
# torch's BatchNorm, and its eps.
_NORM = ("weight", "bias", "running_mean", "running_var")
_EPS = 1e-5


def _factor(scale: Tensor, variance: Tensor) -> Tensor:
    return scale.double() / (variance.double() + _EPS).sqrt()


def _folded_weight(weight: Tensor, scale: Tensor, _: Tensor, __: Tensor, variance: Tensor) -> Tensor:
    return weight.double() * _factor(scale, variance)[:, None, None, None]


def _folded_bias(bias: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return (bias.double() - mean.double()) * _factor(scale, variance) + shift.double()


_FOLDED = {"weight": _folded_weight, "bias": _folded_bias}


def _source(*, norm: bool) -> Source:
    places = _PLACES_BN if norm else _PLACES
    behind = {place: tuple(f"features.{place + 1}.{one}" for one in _NORM) if norm else () for place in places}
    own = {f"features.{place}.{role}" for place in places for role in _ROLES} | {n for b in behind.values() for n in b}

    def matches(tensors: Mapping[str, Tensor]) -> bool:
        counters = {name for name in tensors if name.endswith(".num_batches_tracked")}
        return own == {name for name in tensors if name.startswith("features.")} - counters

    def parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
        for name, place in zip(vgg16.CONVS, places, strict=True):
            for role in _ROLES:
                arrange = _FOLDED[role] if norm else None
                yield Part(name, role, f"features.{place}.{role}", arrange, behind[place])
        if "classifier.0.weight" in tensors:
            for name, place, reshape in (("fc6", 0, vgg16.fc6), ("fc7", 3, vgg16.fc7)):
                yield Part(name, "weight", f"classifier.{place}.weight", reshape)
                yield Part(name, "bias", f"classifier.{place}.bias")

    return Source(
        title=f"torchvision's VGG-16{' with BatchNorm' if norm else ''}",
        matches=matches,
        parts=parts,
        first=vgg16.FIRST,
        pixels=PIXELS,
        optional=frozenset(vgg16.FULL),
        decimated=frozenset(vgg16.FULL),
        copied=vgg16.copied,
    )


TORCHVISION_VGG16S = tuple(_source(norm=norm) for norm in (False, True))
