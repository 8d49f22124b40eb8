"""The ResNet-101 of kazuto1011's deeplab-pytorch, trained on segmented pictures after ImageNet.

Its DeepLab v2 is one, and the COCO start of its training: scores begin anew. It is Caffe's network, of Caffe's pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from deeplab_caffe.convert.deeplab_pytorch import DEPTH, backbone_names, prefix_of
from deeplab_caffe.convert.first_layer import Pixels
from deeplab_caffe.convert.sources.resnet import EPS, FIRST, told_strides
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
    for name, own in backbone_names(prefix_of(tensors) or ""):
        layer, _, role = own.rpartition(".")
        yield Part(layer, role, name)


DEEPLAB_PYTORCH = Source(
    title=f"deeplab-pytorch's ResNet-{DEPTH}",
    matches=lambda tensors: prefix_of(tensors) is not None,
    parts=_parts,
    first=FIRST,
    pixels=Pixels(IMAGENET_MEAN_BGR),
    eps=EPS,
    remarks=told_strides("branch2a", "deeplab-pytorch's"),
)
