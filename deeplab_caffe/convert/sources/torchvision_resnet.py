"""torchvision's ``resnet50`` and ``resnet101``, from ImageNet, and the same in its ``deeplabv3_...``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from deeplab_caffe.convert.sources.resnet import DEPTHS, EPS, FIRST, told_strides
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.convert.torchvision import PIXELS, backbone_names, block_names, head_names


def _source(depth: int, before: str) -> Source:
    """Return what a network of that depth is; ``before`` its names stands ``backbone.`` in deeplabv3."""
    last, next_one = len(block_names(depth, 4)) - 1, len(block_names(depth, 4))
    names = [*backbone_names(depth, before), *(head_names(aux=True) if before else ())]
    heads = frozenset(own.rpartition(".")[0] for _, own in head_names(aux=True)) if before else frozenset()

    def matches(tensors: Mapping[str, Tensor]) -> bool:
        # Of a Bottleneck; ResNet-152 has more blocks in layer2 too.
        blocks = f"{before}layer3.{last}.conv3.weight", f"{before}layer3.{next_one}.conv3.weight"
        return blocks[0] in tensors and blocks[1] not in tensors and f"{before}layer2.4.conv3.weight" not in tensors

    def parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
        for name, own in names:
            layer, _, role = own.rpartition(".")
            if layer not in heads or name in tensors:
                yield Part(layer, role, name)

    return Source(
        title=f"torchvision's {'DeepLab v3 on ' if before else ''}ResNet-{depth}",
        matches=matches,
        parts=parts,
        first=FIRST,
        pixels=PIXELS,
        eps=EPS,
        optional=heads,
        remarks=told_strides("branch2b", "torchvision's"),
    )


TORCHVISION_RESNETS = tuple(_source(depth, before) for before in ("", "backbone.") for depth in DEPTHS)
