"""What of a prototxt no catalogue has: all of it at once, with lines.

protobuf's parser stops at the first. Here the outline of the text is laid beside the messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deeplab_caffe.proto.schema.inner import inner_schema
from deeplab_caffe.proto.schema.names import all_names, did_you_mean
from deeplab_caffe.proto.schema.tables import PACKAGE
from deeplab_caffe.proto.text.outline import Node

_HINTS = {
    ("LayerParameter", "blobs_lr"): "in the layer { } layout write param { lr_mult: ... }",
    ("LayerParameter", "weight_decay"): "in the layer { } layout write param { decay_mult: ... }",
    ("DataParameter", "transform_param"): "it stands beside data_param, in the layer",
    ("ImageDataParameter", "transform_param"): "it stands beside image_data_param, in the layer",
    ("V0LayerParameter", "context_pad"): "the released Caffe calls it 'det_context_pad'",
    ("NetParameter", "version"): "no released Caffe has it; take it out",
}


@dataclass(frozen=True)
class Unknown:
    """A field, an enum's value or a layer type that neither a Caffe nor a DeepLab has.

    Attributes:
        line: its line in the text.
        what: what it is, without where and why: ``"field LayerParameter.bn_param"``.
        message: the same for users.
    """

    line: int
    what: str
    message: str


def unknown_parts(tree: Node, message_name: str) -> list[Unknown]:
    """Return what is unknown in a text, in its order.

    Args:
        tree: the text's outline.
        message_name: ``"NetParameter"`` or ``"SolverParameter"``.
    """
    return list(_unknown(tree, inner_schema().messages[message_name].DESCRIPTOR))


def _unknown(tree: Node, message: Any) -> Iterator[Unknown]:
    shown = message.name.removeprefix("V1")
    for node in tree.children:
        field = message.fields_by_name.get(node.name)
        if field is None:
            hint = _HINTS.get((message.name, node.name))
            hint = f" ({hint})" if hint else did_you_mean(node.name, message.fields_by_name)
            yield Unknown(node.line, f"field {shown}.{node.name}", f"{shown} has no field '{node.name}'{hint}")
        elif field.message_type is not None:
            yield from _unknown(node, field.message_type)
        elif field.enum_type is not None and node.value is not None:
            yield from _unknown_value(node, field.enum_type)
        elif (message.name, node.name) == ("LayerParameter", "type") and node.value is not None:
            name = node.value.strip("\"'")
            if name not in all_names():
                near = did_you_mean(name, all_names())
                message_ = f"layer type {name} is neither Caffe's nor DeepLab's{near}"
                yield Unknown(node.line, f"layer type {name}", message_)


def _unknown_value(node: Node, enum: Any) -> Iterator[Unknown]:
    name, values = node.value or "", enum.values_by_name
    owner = enum.full_name.removeprefix(f"{PACKAGE}.").removeprefix("V1")
    if name[:1] in "\"'":
        near = did_you_mean(name.strip("\"'"), values)
        message = f"{owner} is written without quotes in this layout{near}"
        yield Unknown(node.line, f"quotes around {owner}", message)
    elif name not in values and not name.lstrip("-")[:1].isdigit():
        near = did_you_mean(name, values)
        if owner == "LayerParameter.LayerType":
            message = f"layer type {name} is not in the V1 layout's catalogue{near}"
            yield Unknown(node.line, f"layer type {name}", message)
        else:
            yield Unknown(node.line, f"value {owner} {name}", f"{owner} has no value {name}{near}")
