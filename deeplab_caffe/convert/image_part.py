"""The part of a train prototxt's net that can be computed from the image only."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import layer_class
from deeplab_caffe.net import Net
from deeplab_caffe.proto import caffe_pb2, filter_net, read_net

# Used if the data layer has no crop; parameters do not depend on it.
_SIZE = 321


def image_part(
    path: str | PathLike[str],
    variables: Mapping[str, str] | None = None,
    *,
    dialect: str | None = None,
    python_layers: bool = False,
) -> Net:
    """Build the layers of a train prototxt, in phase TRAIN, that need only the image.

    An input replaces each data layer's first top. Layers that depend on labels, such as losses, are left out; none of
    these have parameters. A deploy prototxt is built unchanged.

    Args:
        path: the prototxt.
        variables: values for ``${NAME}`` in it; the environment fills the rest.
        dialect: as for :class:`deeplab_caffe.Net`.
        python_layers: as for :class:`deeplab_caffe.Net`.

    Raises:
        PrototxtError: the file cannot be read.
        NetError: the layers do not fit together, or a data layer does more to the image than to subtract a mean.
    """
    net = filter_net(read_net(path, variables), "TRAIN")
    sources = [layer for layer in net.layer if not layer.bottom and layer_class(layer).is_source]
    for layer in sources:
        _put_input(net, layer, path)
    known = set(net.input)
    kept = []
    for layer in net.layer:
        if layer not in sources and known.issuperset(layer.bottom):
            kept.append(layer)
            known.update(layer.top)
    layers = caffe_pb2.NetParameter(layer=kept)
    net.ClearField("layer")
    net.layer.extend(layers.layer)
    return Net(net, None, "TRAIN", dialect=dialect, python_layers=python_layers)


def _put_input(net: caffe_pb2.NetParameter, layer: caffe_pb2.LayerParameter, path: str | PathLike[str]) -> None:
    options = layer.transform_param
    if options.mean_file or options.scale != 1:
        raise NetError(
            f"{path}: its transform_param has {'a mean_file' if options.mean_file else f'scale {options.scale:g}'}: "
            "expected mean_value alone",
            layer.name,
        )
    size = options.crop_size or _SIZE
    net.input.append(layer.top[0])
    net.input_shape.add(dim=[1, 3, size, size])
    means = list(options.mean_value) or [0.0]
    if net.mean_value and list(net.mean_value) != means:
        raise NetError(f"{path}: its data layers subtract different means", layer.name)
    net.ClearField("mean_value")
    net.mean_value.extend(means)
