"""Conversion of the V0 layout (``layers { layer { type: "conv" } bottom: ... }``) to V1.

The rules are those of Caffe's upgrade_proto.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.names import did_you_mean, enum_of_name, name_of_v0, v0_names
from deeplab_caffe.proto.schema.tables import read_table
from deeplab_caffe.proto.text.outline import Source
from deeplab_caffe.proto.upgrade.fields import put

# For each V0 type, and each of its V0 fields: the parameter message and the field that it becomes. Without a message it
# becomes a field of the layer itself.
_MOVES: dict[str, dict[str, tuple[str, str]]] = {}
for _row in read_table("v0_fields.csv"):
    _MOVES.setdefault(_row["v0_type"], {})[_row["v0_field"]] = (_row["param"], _row["field"])

_ON_THE_LAYER = ("name", "blobs", "blobs_lr", "weight_decay")


def upgrade_v0_layers(net: caffe_pb2.NetParameter, where: Source) -> Iterator[tuple[int, caffe_pb2.V1LayerParameter]]:
    """Yield the layers of a V0 net in the V1 layout, each with its number in the text.

    Padding layers are folded into the convolution or pooling that follows.

    Raises:
        PrototxtError: a V1 layer among V0 layers, an unknown type, a field that the type does not have, or a padding
            layer that cannot be folded.
    """
    for i, layer in enumerate(net.layers):
        if not layer.HasField("layer"):
            raise where.at_layer("layers", i, layer.name).error("is not in the V0 layout as the others are")
    refused: list[DeepLabCaffeError] = []
    for i, layer in _fold_padding(net, where):
        new = caffe_pb2.V1LayerParameter()
        refused += _upgrade_layer(layer, new, where.at_layer("layers", i, layer.layer.name))
        yield i, new
    if refused:
        raise where.errors(refused)


def _fold_padding(net: caffe_pb2.NetParameter, where: Source) -> Iterator[tuple[int, caffe_pb2.V1LayerParameter]]:
    """Yield the layers except padding layers, each with its index in the text."""
    writer: dict[str, int | None] = dict.fromkeys(net.input)
    for i, layer in enumerate(net.layers):
        place = where.at_layer("layers", i, layer.layer.name)
        folded = caffe_pb2.V1LayerParameter()
        folded.CopyFrom(layer)
        for j, blob in enumerate(layer.bottom):
            if blob not in writer:
                raise place.error(f"unknown bottom blob '{blob}'{did_you_mean(blob, writer)}", "bottom", j)
            at = writer[blob]
            if at is None or net.layers[at].layer.type != "padding":
                continue
            padding = net.layers[at]
            if layer.layer.type not in ("conv", "pool") or len(layer.bottom) != 1:
                raise place.error("a padding layer must feed a conv or pool layer that has one bottom", "bottom", j)
            if len(padding.bottom) != 1 or len(padding.top) != 1:
                raise where.at_layer("layers", at, padding.layer.name).error("must have one bottom and one top")
            if layer.layer.pad:
                raise place.error("has a pad of its own and follows a padding layer", "layer", 0, "pad")
            folded.layer.pad = padding.layer.pad
            folded.bottom[j] = padding.bottom[0]
        for blob in layer.top:
            writer[blob] = i
        if layer.layer.type != "padding":
            yield i, folded


def _upgrade_layer(
    old: caffe_pb2.V1LayerParameter, new: caffe_pb2.V1LayerParameter, where: Source
) -> list[DeepLabCaffeError]:
    """Convert a layer; return its errors."""
    v0 = old.layer
    try:
        new.type = caffe_pb2.V1LayerParameter.LayerType.Value(enum_of_name(name_of_v0(v0.type)))
    except KeyError:
        near = did_you_mean(v0.type, v0_names())
        return [where.error(f"unknown V0 layer type '{v0.type}'{near}", "layer", 0, "type")]
    for field, value in old.ListFields():
        if field.name not in ("layer", "type"):
            put(new, field, value)
    moves = _MOVES.get(v0.type, {})
    refused = []
    for field, value in v0.ListFields():
        if field.name in _ON_THE_LAYER:
            put(new, field, value)
        elif field.name in moves:
            param, name = moves[field.name]
            put(getattr(new, param) if param else new, field, value, name)
        elif field.name != "type":
            refused.append(
                where.error(f"V0 layer type '{v0.type}' has no field '{field.name}'", "layer", 0, field.name)
            )
    return refused
