"""VGG-16 as a caffemodel: the authors' ``VGG_ILSVRC_16_layers.caffemodel``, and its decimated copies.

The names are those of its authors' deploy prototxt: conv1_1 to conv5_3, fc6, fc7, fc8. fc6 and fc7 may be InnerProduct
or convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from deeplab_caffe.convert.sources import vgg16
from deeplab_caffe.convert.sources.source import Part, Source


def _matches(tensors: Mapping[str, Tensor]) -> bool:
    return all(f"{conv}/0" in tensors for conv in vgg16.CONVS)


def _fc6(weight: Tensor) -> Tensor:
    return vgg16.fc6(weight) if weight.shape[-1:] == (math.prod(vgg16.LAST_POOLING),) else weight


def _fc7(weight: Tensor) -> Tensor:
    is_inner = weight.dim() == 2 or weight.shape[:2] == (1, 1)
    return vgg16.fc7(weight) if is_inner else weight


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
    for conv in vgg16.CONVS:
        yield Part(conv, "weight", f"{conv}/0")
        yield Part(conv, "bias", f"{conv}/1", torch.flatten)
    for name, arrange in (("fc6", _fc6), ("fc7", _fc7)):
        if f"{name}/0" in tensors:
            yield Part(name, "weight", f"{name}/0", arrange)
            yield Part(name, "bias", f"{name}/1", torch.flatten)


CAFFE_VGG16 = Source(
    title="VGG-16 in Caffe",
    matches=_matches,
    parts=_parts,
    first=vgg16.FIRST,
    pixels=vgg16.PIXELS,
    optional=frozenset(vgg16.FULL),
    decimated=frozenset(vgg16.FULL),
    copied=vgg16.copied,
)
