"""kazuto1011's deeplab-pytorch: DeepLab v2 on ResNet-101, from the names of its state_dict to those of our prototxts.

The facts are those of its ``libs/models/deeplabv2.py``, ``resnet.py`` and ``msc.py``. Its network is Caffe's: it
strides in the first 1 x 1 convolution, pools with ``ceil_mode``, and reads B, G, R minus the mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from os import PathLike

from torch import Tensor

from deeplab_caffe.convert.renamed import renamed
from deeplab_caffe.convert.sums import with_sums
from deeplab_caffe.convert.torchvision import block_names, conv_bn
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.net import Net

# The whole network reads the image at three sizes, and is called base there.
PREFIXES = ("base.", "")
DEPTH = 101
_BRANCHES = {"shortcut": "branch1", "reduce": "branch2a", "conv3x3": "branch2b", "increase": "branch2c"}
# Of ASPP: dilation 6, 12, 18 and 24.
_HEADS = ("c0", "c1", "c2", "c3")


def prefix_of(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the prefix of the names of its ResNet-101; None for another network."""
    for before in PREFIXES:
        if {f"{before}layer1.conv1.conv.weight", f"{before}layer4.block23.reduce.conv.weight"} <= tensors.keys():
            return before
    return None


def is_deeplab_pytorchs(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of its DeepLab v2."""
    before = prefix_of(tensors)
    return before is not None and f"{before}aspp.c0.weight" in tensors


def backbone_names(before: str) -> Iterator[tuple[str, str]]:
    """Yield its name and ours of the tensors of its ResNet-101; ``before`` its names stands :func:`prefix_of`."""
    yield from conv_bn(f"{before}layer1.conv1.conv", f"{before}layer1.conv1.bn", "conv1", "_conv1")
    for stage in (2, 3, 4, 5):
        for number, own in enumerate(block_names(DEPTH, stage), 1):
            for part, branch in _BRANCHES.items():
                if number == 1 or part != "shortcut":
                    stem = f"{before}layer{stage}.block{number}.{part}"
                    yield from conv_bn(f"{stem}.conv", f"{stem}.bn", f"res{own}_{branch}", f"{own}_{branch}")


def to_caffe(tensors: Mapping[str, Tensor], net: Net, path: str | PathLike[str]) -> dict[str, Tensor]:
    """Return the weights of its DeepLab v2 under a net's names, for the first of three towers, which share them.

    Numbers stay the same bit for bit; a BatchNorm's sums are the means and variances with weight 1.

    Args:
        tensors: its state_dict.
        net: the net of ``prototxt/deeplab_aspp_resnet101``, with as many classes.
        path: the file, for messages.

    Raises:
        ConversionError: names are missing or unknown, numbers are longer than float32 or none, or the net has no layers
            ``fc1_..._c0`` to ``fc1_..._c3``.
    """
    before = prefix_of(tensors) or ""
    names = dict(backbone_names(before))
    scores: dict[str, str] = {}
    for layer in net.layers:
        if layer.blobs and (match := re.match(r"fc1_.+_(c\d)$", layer.name)):
            scores.setdefault(match[1], layer.name)
    if tuple(scores) != _HEADS:
        raise ConversionError(
            f"{path}: holds deeplab-pytorch's DeepLab v2, but net '{net.name}' has no layers fc1_..._c0 to fc1_..._c3: "
            "give the prototxt of deeplab_aspp_resnet101"
        )
    for head, own in scores.items():
        names |= {f"{before}aspp.{head}.{role}": f"{own}.{role}" for role in ("weight", "bias")}
    return with_sums(net, renamed(tensors, names, path, title="deeplab-pytorch's DeepLab v2"))
