"""ResNet-50 and -101 as caffemodels: the authors' ``ResNet-101-model.caffemodel``, with the names of its prototxt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from deeplab_caffe.convert.first_layer import Pixels
from deeplab_caffe.convert.sources.resnet import DEPTHS, EPS, FIRST, told_strides
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.convert.torchvision import backbone_names, block_names

# ResNet_mean.binaryproto's, over all its pixels; others' converters subtract it as one value a channel too.
_MEAN = (103.063, 115.903, 123.152)
_NUMBERS = {"weight": 0, "bias": 1, "mean": 0, "variance": 1}


def _source(depth: int) -> Source:
    names = [own for _, own in backbone_names(depth, "")]
    last = f"res{block_names(depth, 4)[-1]}_branch2c/0"

    def parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
        for own in names:
            layer, _, role = own.rpartition(".")
            yield Part(layer, role, f"{layer}/{_NUMBERS[role]}")
            if role == "variance":
                yield Part(layer, "factor", f"{layer}/2")
        # ResNet-50's first convolution has one, before a BatchNorm.
        if f"{FIRST}/1" in tensors:
            yield Part(FIRST, "bias", f"{FIRST}/1")

    return Source(
        title=f"ResNet-{depth} in Caffe",
        matches=lambda tensors: "conv1/0" in tensors and last in tensors,
        parts=parts,
        first=FIRST,
        pixels=Pixels(_MEAN),
        eps=EPS,
        remarks=told_strides("branch2a", "The authors'"),
    )


CAFFE_RESNETS = tuple(_source(depth) for depth in DEPTHS)
