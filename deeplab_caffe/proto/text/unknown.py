"""All unknown fields, values and layer types of a prototxt, with their lines.

protobuf's parser stops at the first one. Here the outline of the text is compared with the messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from deeplab_caffe.proto.schema.inner import inner_schema
from deeplab_caffe.proto.schema.names import all_names, did_you_mean, type_elsewhere
from deeplab_caffe.proto.schema.tables import PACKAGE
from deeplab_caffe.proto.text.outline import Node

_TYPES = frozenset(all_names())
# As a layers { } file would write them.
_BY_ENUM = {name.lower(): name for name in _TYPES}
_ADVICE = {
    ("LayerParameter", "blobs_lr"): "in the layer { } layout write param { lr_mult: ... }",
    ("LayerParameter", "weight_decay"): "in the layer { } layout write param { decay_mult: ... }",
    ("V0LayerParameter", "context_pad"): "the released Caffe calls it 'det_context_pad'",
}


@dataclass(frozen=True)
class Unknown:
    """A field, an enum value or a layer type that neither Caffe nor DeepLab has.

    Attributes:
        line: its line in the text.
        what: the unknown part, without line and advice: ``"field LayerParameter.bn_param"``.
        text: the same for users, without advice.
        word: the word that is unknown.
        known: known words, of which it may be a typo.
        advice: what to do; None: name the most similar known word.
    """

    line: int
    what: str
    text: str
    word: str
    known: Collection[str]
    advice: str | None = None

    @property
    def message(self) -> str:
        """Return the message for users, built on demand, because finding a similar word takes time."""
        return f"{self.text} ({self.advice})" if self.advice else self.text + did_you_mean(self.word, self.known)


def unknown_parts(tree: Node, message_name: str) -> Iterator[Unknown]:
    """Yield the unknown parts of a text, in order.

    Args:
        tree: the text's outline.
        message_name: ``"NetParameter"`` or ``"SolverParameter"``.
    """
    return _unknown(tree, inner_schema().messages[message_name].DESCRIPTOR)


def message_of(tree: Node) -> str | None:
    """Return the message whose fields a text has, ``"NetParameter"`` or ``"SolverParameter"``, or None."""
    count = {}
    for name in ("SolverParameter", "NetParameter"):
        # A set: protobuf's mappings fail on a name that is not UTF-8.
        fields = set(inner_schema().messages[name].DESCRIPTOR.fields_by_name)
        count[name] = sum(node.name in fields for node in tree.children)
    most = max(count, key=count.__getitem__)
    return most if count[most] else None


def _unknown(tree: Node, message: Any) -> Iterator[Unknown]:
    shown, fields = message.name.removeprefix("V1"), message.fields_by_name
    for node in tree.children:
        name, field = node.name, fields.get(node.name)
        if field is None:
            text, advice = f"{shown} has no field '{name}'", _ADVICE.get((message.name, name))
            yield Unknown(node.line, f"field {shown}.{name}", text, name, fields, advice)
        elif field.message_type is not None:
            yield from _unknown(node, field.message_type)
        elif field.enum_type is not None and node.value is not None:
            yield from _unknown_value(node, node.value, field.enum_type)
        elif (message.name, name) == ("LayerParameter", "type") and node.value is not None:
            name = node.value.strip("\"'")
            if name not in _TYPES:
                text = f"layer type {name} is neither Caffe's nor DeepLab's"
                yield Unknown(node.line, f"layer type {name}", text, name, _TYPES, type_elsewhere(name))


def _unknown_value(node: Node, name: str, enum: Any) -> Iterator[Unknown]:
    values = enum.values_by_name
    owner = enum.full_name.removeprefix(f"{PACKAGE}.").removeprefix("V1")
    if name[0] in "\"'":
        text = f"{owner} is written without quotes in this layout"
        yield Unknown(node.line, f"quotes around {owner}", text, name.strip("\"'"), values)
    elif name not in values and not name.lstrip("-")[:1].isdigit():
        if owner == "LayerParameter.LayerType":
            text = f"layer type {name} is not in the V1 layout's catalogue"
            newer = _BY_ENUM.get(name.replace("_", "").lower())
            advice = None if newer is None else f'{newer} needs the layer {{ }} layout: type: "{newer}"'
            yield Unknown(node.line, f"layer type {name}", text, name, values, advice)
        else:
            yield Unknown(node.line, f"value {owner} {name}", f"{owner} has no value {name}", name, values)
