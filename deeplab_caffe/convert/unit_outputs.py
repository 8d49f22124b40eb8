"""Scaling of layers whose outputs are too large for new layers after them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F

from deeplab_caffe.convert.fitting import owners_of
from deeplab_caffe.data import load_image
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer
from deeplab_caffe.net import Net


def unit_outputs(net: Net, names: Sequence[str], images: Sequence[str | PathLike[str]]) -> list[str]:
    """Divide layers by the root mean squares of their outputs on some images, so that these become 1.

    Only ReLU and pooling may lie between them, because these preserve factors. Each layer's weights are divided by the
    ratio of its own root mean square to that of the layer before, and its bias by its own; the outputs then change only
    by a factor. Layers after the last one get smaller inputs, so they should be new layers.

    Args:
        net: the net, which is changed: convolutions with biases.
        names: consecutive layers of the net.
        images: files of photographs; they are scaled to the size of the net's input.

    Returns:
        A description of the changes, a line for each layer.

    Raises:
        NetError: the layers do not qualify, there are no images, or outputs are all 0.
        DataError: an image cannot be read.
    """
    layers = _layers(net, names)
    if not images:
        raise NetError("outputs are measured on images: expected some, got none")
    tops = [next(step.tops[0] for step in net.steps if step.layer is layer) for layer in layers]
    lines, before = [], 1.0
    for layer, size in zip(layers, _sizes(net, tops, images), strict=True):
        if not size > 0:
            raise NetError("its outputs are all 0 on these images, so they cannot be made 1", layer.name)
        blobs = layer.named_blobs
        layer.load_blob("weight", blobs["weight"].detach() * (before / size))
        layer.load_blob("bias", blobs["bias"].detach() / size)
        lines.append(f"{layer.name}: outputs of {size:.3g} rms on {len(images)} images made 1")
        before = size
    return lines


def _layers(net: Net, names: Sequence[str]) -> list[Layer]:
    owners = owners_of(net)
    places = [next((i for i, layer in enumerate(owners) if layer.name == name), -1) for name in names]
    for name, place in zip(names, places, strict=True):
        if place < 0 or set(owners[place].named_blobs) != {"weight", "bias"}:
            raise NetError(f"is no layer of net '{net.name}' with weights and a bias", name)
    if not places or places != list(range(places[0], places[0] + len(places))):
        raise NetError(f"expected layers one behind the other, got {', '.join(names) or 'none'}")
    return [owners[place] for place in places]


@torch.no_grad()
def _sizes(net: Net, tops: Sequence[str], images: Sequence[str | PathLike[str]]) -> list[float]:
    """Return the root mean squares of blobs over all images."""
    squares, counts = np.zeros(len(tops)), np.zeros(len(tops))
    for path in images:
        blob = torch.from_numpy(load_image(path)[..., ::-1].copy()).permute(2, 0, 1)[None].float()
        blob = F.interpolate(blob, net.blob_shapes[net.inputs[0]][2:], mode="bilinear")
        found = net(blob - torch.tensor(net.mean_value).view(1, 3, 1, 1), blobs=tops)
        assert isinstance(found, dict)
        for i, top in enumerate(tops):
            squares[i] += float(found[top].double().square().sum())
            counts[i] += found[top].numel()
    return [float(size) for size in np.sqrt(squares / counts)]
