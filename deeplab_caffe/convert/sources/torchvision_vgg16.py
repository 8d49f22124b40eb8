"""torchvision's ``vgg16``, from ImageNet; the names are those of ``torchvision/models/vgg.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from deeplab_caffe.convert.sources import vgg16
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.convert.torchvision import PIXELS

# Where the convolutions stand in its ``features``, between ReLUs and poolings.
_PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def _matches(tensors: Mapping[str, Tensor]) -> bool:
    own = {f"features.{i}.{role}" for i in _PLACES for role in ("weight", "bias")}
    return own == {name for name in tensors if name.startswith("features.")}


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
    for name, place in zip(vgg16.CONVS, _PLACES, strict=True):
        yield from (Part(name, role, f"features.{place}.{role}") for role in ("weight", "bias"))
    if "classifier.0.weight" in tensors:
        for name, place, arrange in (("fc6", 0, vgg16.fc6), ("fc7", 3, vgg16.fc7)):
            yield Part(name, "weight", f"classifier.{place}.weight", arrange)
            yield Part(name, "bias", f"classifier.{place}.bias")


TORCHVISION_VGG16 = Source(
    title="torchvision's VGG-16",
    matches=_matches,
    parts=_parts,
    first=vgg16.FIRST,
    pixels=PIXELS,
    optional=frozenset(vgg16.FULL),
    decimated=frozenset(vgg16.FULL),
    copied=vgg16.copied,
)
