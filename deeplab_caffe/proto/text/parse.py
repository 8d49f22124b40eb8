"""Reading and writing prototxt: text in any of Caffe's three layouts to one internal form.

The internal form is DeepLab v1's ``NetParameter`` (the V1 layout: ``layers`` with an enum ``type``); see
:mod:`deeplab_caffe.proto.caffe_pb2`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.names import did_you_mean
from deeplab_caffe.proto.outline import Node, outline
from deeplab_caffe.proto.schema import Schema
from deeplab_caffe.proto.templates import fill_template
from deeplab_caffe.proto.text_schema import text_v1_schema, text_v2_schema
from deeplab_caffe.proto.upgrade import upgrade_net, upgrade_solver

# Hand-written nets are kilobytes; this leaves room for generated ones and keeps a wrong file from filling memory.
MAX_TEXT_BYTES = 64 << 20

_NET_FIELDS_OF_SOLVER = ("net_param", "train_net_param", "test_net_param")
_HINTS = {
    ("LayerParameter", "blobs_lr"): "in the layer { } layout write param { lr_mult: ... }",
    ("LayerParameter", "weight_decay"): "in the layer { } layout write param { decay_mult: ... }",
    ("ConvolutionParameter", "dilation"): "DeepLab v1 calls it 'hole'",
}


def read_net(path: str | os.PathLike[str], variables: Mapping[str, object] | None = None) -> Message:
    """Read a network prototxt in the V0, V1 or V2 layout.

    Args:
        path: the file.
        variables: values of its ``${VAR}``; ``os.environ`` gives the rest.

    Returns:
        A ``caffe_pb2.NetParameter`` in the V1 layout, all phases' layers in it (see ``filter_net``).

    Raises:
        PrototxtError: the file cannot be read or is not such a text; the message has file and line.
    """
    return parse_net(_read_text(path), path, variables)


def parse_net(
    text: str, path: str | os.PathLike[str] = "<string>", variables: Mapping[str, object] | None = None
) -> Message:
    """As :func:`read_net`, from text in memory; ``path`` is for messages."""
    filled = fill_template(text.removeprefix("\ufeff"), variables, path)
    tree = _outline(filled, path)
    layout = _layout(tree, path)
    schema = text_v2_schema() if layout == "layer" else text_v1_schema()
    message = _parse(filled, schema, "NetParameter", path)
    return upgrade_net(message, tree, path)


def read_solver(path: str | os.PathLike[str], variables: Mapping[str, object] | None = None) -> Message:
    """Read a solver prototxt.

    Args:
        path: the file.
        variables: values of its ``${VAR}``; ``os.environ`` gives the rest.

    Returns:
        A ``caffe_pb2.SolverParameter``. File names in it are as written, nets inside it are upgraded.

    Raises:
        PrototxtError: the file cannot be read or is not such a text; the message has file and line.
    """
    return parse_solver(_read_text(path), path, variables)


def parse_solver(
    text: str, path: str | os.PathLike[str] = "<string>", variables: Mapping[str, object] | None = None
) -> Message:
    """As :func:`read_solver`, from text in memory; ``path`` is for messages."""
    filled = fill_template(text.removeprefix("\ufeff"), variables, path)
    tree = _outline(filled, path)
    layouts = {_layout(net, path) for name in _NET_FIELDS_OF_SOLVER for net in tree.all(name)}
    if {"layer", "layers"} <= layouts:
        raise PrototxtError("its nets mix the 'layer' and the 'layers' layout; write all in one", path)
    schema = text_v2_schema() if "layer" in layouts else text_v1_schema()
    message = _parse(filled, schema, "SolverParameter", path)
    return upgrade_solver(message, tree, path)


def format_message(message: Message) -> str:
    """A message as prototxt text, floats in the fewest digits that read back to the same value."""
    return text_format.MessageToString(message)


def _outline(text: str, path: str | os.PathLike[str]) -> Node:
    tree = outline(text)
    if not text.strip():
        raise PrototxtError("is empty", path)
    return tree


def _layout(tree: Node, path: str | os.PathLike[str]) -> str | None:
    """``"layer"``, ``"layers"`` or None for a net without layers."""
    first = {name: nodes[0] for name in ("layer", "layers") if (nodes := tree.all(name))}
    if len(first) == 2:
        raise PrototxtError(
            f"mixes the 'layers' layout (line {first['layers'].line}) and the 'layer' layout (line"
            f" {first['layer'].line}); write all in one",
            path,
            max(node.line for node in first.values()),
        )
    return next(iter(first), None)


def _read_text(path: str | os.PathLike[str]) -> str:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise PrototxtError(f"cannot be read: {error.strerror or error}", path) from error
    except ValueError as error:  # a NUL in the file name
        raise PrototxtError(f"cannot be read: {error}", path) from error
    if re.search(rb"[\x00-\x08\x0e-\x1f]", raw[:4096]):
        raise PrototxtError("is not prototxt text (is it a binary caffemodel?)", path)
    if len(raw) > MAX_TEXT_BYTES:
        raise PrototxtError(f"is longer than {MAX_TEXT_BYTES >> 20} MiB: that is no net or solver", path)
    # Comments in other encodings are common and harmless; what survives of them outside comments is refused below.
    return raw.decode("utf-8-sig", errors="surrogateescape")


def _parse(text: str, schema: Schema, message_name: str, path: str | os.PathLike[str]) -> Message:
    for number, line in enumerate(text.split("\n"), start=1):
        bad = re.search("[\ud800-\udfff\x00]", line)
        if bad:
            raise PrototxtError(f"column {bad.start() + 1}: text outside of comments must be UTF-8", path, number)
    message = schema.new(message_name)
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise PrototxtError(_explain(error, schema), path, error.GetLine()) from error
    except RecursionError as error:
        raise PrototxtError("is nested too deeply", path) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise PrototxtError(f"cannot be parsed: {error}", path) from error
    missing = message.FindInitializationErrors()
    if missing:
        steps: list[str | int] = []
        for name, index in re.findall(r"(\w+)(?:\[(\d+)\])?", missing[0]):
            steps += [name, int(index)] if index else [name]
        raise PrototxtError(f"required field is not set: {missing[0]}", path, outline(text).line_of(steps))
    return message


def _explain(error: text_format.ParseError, schema: Schema) -> str:
    """Protobuf's message without its position, which PrototxtError gives, and with a suggestion."""
    message = re.sub(r"^\d+:\d+ : ", "", str(error))
    # protobuf quotes the whole line; long lines would bury the message.
    message = re.sub(r"^'.*': ", "", message)
    message = message.replace(f'"{caffe_pb2.DESCRIPTOR.package}.', '"')
    field = re.search(r'Message type "(\w+)" has no field named "(\w+)"', message)
    value = re.search(r'Enum type "([\w.]+)" has no value named (["\w]+)', message)
    if field and field.group(1) in schema.messages:
        owner, name = field.groups()
        message = f"{owner} has no field '{name}'"
        if (owner, name) in _HINTS:
            message += f" ({_HINTS[owner, name]})"
        else:
            message += did_you_mean(name, schema.messages[owner].DESCRIPTOR.fields_by_name)
    elif value:
        owner, name = value.groups()
        names = schema.pool.FindEnumTypeByName(f"{caffe_pb2.DESCRIPTOR.package}.{owner}").values_by_name
        if name.startswith('"'):
            near = did_you_mean(name.replace('"', ""), names)
            message = f"{owner} is written without quotes in this layout{near}"
        elif owner == "LayerParameter.LayerType":
            message = f"layer type {name} is not in the DeepLab v1 catalogue{did_you_mean(name, names)}"
        else:
            message = f"{owner} has no value {name}{did_you_mean(name, names)}"
    column = error.GetColumn()
    return f"column {column}: {message}" if column else message
