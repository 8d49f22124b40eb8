"""torchvision's segmentation networks: from the names of their state_dict to those of our prototxts.

The rules are those of ``torchvision/models/segmentation/deeplabv3.py`` and ``torchvision/models/resnet.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike

from torch import Tensor

from deeplab_caffe.convert.first_layer import Pixels, of_net
from deeplab_caffe.convert.renamed import renamed
from deeplab_caffe.convert.sums import with_sums
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.net import Net

# What torchvision's networks read: R, G, B, after a division by 255 minus their means, over their deviations.
PIXELS = Pixels(mean=(255 * 0.406, 255 * 0.456, 255 * 0.485), std=(255 * 0.225, 255 * 0.224, 255 * 0.229), rgb=True)
# Blocks of the stages 2 to 5: torchvision's layer1 to layer4.
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# BatchNorm's buffers and parameters.
_STATISTICS = ("running_mean", "running_var")
_AFFINE = ("weight", "bias")
_HEAD = {
    "classifier.0.convs.0.0": "aspp_1",
    "classifier.0.convs.1.0": "aspp_12",
    "classifier.0.convs.2.0": "aspp_24",
    "classifier.0.convs.3.0": "aspp_36",
    "classifier.0.convs.4.1": "aspp_pool",
    "classifier.0.project.0": "aspp_project",
    "classifier.1": "head",
}
_AUX = {"aux_classifier.0": "aux"}


def is_torchvisions(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors are named as those of torchvision's DeepLab v3 on a ResNet."""
    return "backbone.conv1.weight" in tensors and any(name.startswith("classifier.0.convs.") for name in tensors)


def to_caffe(tensors: Mapping[str, Tensor], net: Net, path: str | PathLike[str]) -> dict[str, Tensor]:
    """Return the weights of torchvision's ``deeplabv3_resnet50`` or ``deeplabv3_resnet101`` under a net's names.

    The first convolution reads B, G and R, and takes along torchvision's division by 255 and by the standard
    deviations: its input is BGR minus ``mean_value``, 255 times torchvision's means. A BatchNorm's sums are
    torchvision's means and variances with weight 1; where the prototxt gives the layer a ``moving_average_fraction`` f,
    with weight 1 / (1 - f), where the sums of a long training end, so that training goes on as torch's would.

    Args:
        tensors: torchvision's state_dict.
        net: the net of ``prototxt/deeplab_v3_resnet50`` or ``deeplab_v3_resnet101``; without its aux head the file's is
            left out.
        path: the file, for messages.

    Raises:
        ConversionError: names are missing or unknown, numbers are longer than float32 or none, or the net has no layer
            ``fc1_...``.
    """
    expected = dict(_layers(tensors, net, path))
    has_aux = any(layer.name == "aux" for layer in net.layers)
    dropped = [] if has_aux else [name for name in tensors if name.startswith("aux_classifier.")]
    found = renamed(tensors, expected, path, title="torchvision's DeepLab v3", dropped=dropped)
    found["conv1.weight"] = _of_bgr(found["conv1.weight"])
    return with_sums(net, found)


def _of_bgr(weight: Tensor) -> Tensor:
    return of_net(weight, PIXELS).float() if weight.shape[1:2] == (3,) else weight


def _layers(tensors: Mapping[str, Tensor], net: Net, path: str | PathLike[str]) -> Iterator[tuple[str, str]]:
    """Yield torchvision's name and ours of every tensor that the net needs."""
    has_aux = any(layer.name == "aux" for layer in net.layers)
    depth = 101 if any(name.startswith("backbone.layer3.6.") for name in tensors) else 50
    yield from backbone_names(depth, "backbone.")
    yield from head_names(aux=has_aux)
    for torchs, own in {"classifier.4": "fc1_", "aux_classifier.4": "fc1_aux_"}.items():
        if has_aux or own == "fc1_":
            scores = _scores(net, own, path)
            yield from ((f"{torchs}.{role}", f"{scores}.{role}") for role in _AFFINE)


def backbone_names(depth: int, before: str) -> Iterator[tuple[str, str]]:
    """Yield torchvision's name and ours of the tensors of a ResNet without its last layer.

    Args:
        depth: 50 or 101.
        before: what stands before torchvision's names.
    """
    yield from conv_bn(f"{before}conv1", f"{before}bn1", "conv1", "_conv1")
    for stage in (2, 3, 4, 5):
        for index, own in enumerate(block_names(depth, stage)):
            torchs = f"{before}layer{stage - 1}.{index}"
            parts = [("downsample.0", "downsample.1", "branch1")] if index == 0 else []
            parts += [(f"conv{i}", f"bn{i}", f"branch2{letter}") for i, letter in enumerate("abc", 1)]
            for conv, bn, branch in parts:
                yield from conv_bn(f"{torchs}.{conv}", f"{torchs}.{bn}", f"res{own}_{branch}", f"{own}_{branch}")


def head_names(*, aux: bool) -> Iterator[tuple[str, str]]:
    """Yield torchvision's name and ours of the tensors of DeepLab v3's head but the scores; with ``aux`` of both."""
    for torchs, own in (_HEAD | _AUX if aux else _HEAD).items():
        stem, _, last = torchs.rpartition(".")
        yield from conv_bn(torchs, f"{stem}.{int(last) + 1}", own, f"_{own}")


def conv_bn(conv: str, bn: str, own: str, norm: str) -> Iterator[tuple[str, str]]:
    """Yield torch's name and ours of the tensors of a convolution and of the BatchNorm behind it.

    Args:
        conv: torch's name of the convolution.
        bn: torch's name of the BatchNorm.
        own: the convolution's name in a prototxt.
        norm: what follows ``bn`` and ``scale`` in the names of the layers that the BatchNorm is in a prototxt.
    """
    yield f"{conv}.weight", f"{own}.weight"
    yield from zip((f"{bn}.{each}" for each in _STATISTICS), (f"bn{norm}.mean", f"bn{norm}.variance"), strict=True)
    yield from ((f"{bn}.{each}", f"scale{norm}.{each}") for each in _AFFINE)


def block_names(depth: int, stage: int) -> list[str]:
    """Return the names of a stage's blocks in a prototxt: 2a, 2b, ...; in ResNet-101's long stages 3a, 3b1, ...

    Args:
        depth: 50 or 101.
        stage: 2 to 5.
    """
    count = _BLOCKS[depth][stage - 2]
    numbered = depth == 101 and stage in (3, 4)
    return [f"{stage}a", *(f"{stage}b{i}" if numbered else f"{stage}{'abcdef'[i]}" for i in range(1, count))]


def _scores(net: Net, stem: str, path: str | PathLike[str]) -> str:
    names = [layer.name for layer in net.layers if layer.blobs and layer.name.startswith(stem)]
    names = [name for name in names if stem != "fc1_" or not name.startswith("fc1_aux_")]
    if len(names) != 1:
        raise ConversionError(
            f"{path}: holds torchvision's DeepLab v3, but net '{net.name}' has no layer {stem}...: give the prototxt "
            "of deeplab_v3_resnet50 or deeplab_v3_resnet101"
        )
    return names[0]
