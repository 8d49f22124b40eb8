"""From a prototxt's text to a message, as it is written: every error has its file and line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto.schema.inner import inner_schema
from deeplab_caffe.proto.schema.names import did_you_mean
from deeplab_caffe.proto.schema.tables import PACKAGE
from deeplab_caffe.proto.text.encoding import utf8
from deeplab_caffe.proto.text.outline import Node, outline

# The nets that a SolverParameter may hold.
NET_FIELDS = ("net_param", "train_net_param", "test_net_param")

# Hand-written nets are kilobytes; this leaves room for generated ones and keeps a wrong file from filling memory.
MAX_TEXT_BYTES = 64 << 20

_HINTS = {
    ("LayerParameter", "blobs_lr"): "in the layer { } layout write param { lr_mult: ... }",
    ("LayerParameter", "weight_decay"): "in the layer { } layout write param { decay_mult: ... }",
    ("V1ConvolutionParameter", "dilation"): "DeepLab v1 calls it 'hole'",
}


def parse_text(text: str, message_name: str, path: str | os.PathLike[str]) -> tuple[Any, Node]:
    """Return a message of the inner form's schema and the outline of its text.

    Args:
        text: the prototxt, its variables filled in.
        message_name: ``"NetParameter"`` or ``"SolverParameter"``.
        path: the file, for messages.

    Raises:
        PrototxtError: the text is not such a message, or mixes the V1 and V2 layouts.
    """
    tree = outline(text)
    if not text.strip():
        raise PrototxtError("is empty", path)
    nets = [tree] if message_name == "NetParameter" else [net for field in NET_FIELDS for net in tree.all(field)]
    for net in nets:
        _check_layout(net, path)
    return _parse(text, message_name, path), tree


def _check_layout(net: Node, path: str | os.PathLike[str]) -> None:
    first = {name: nodes[0] for name in ("layer", "layers") if (nodes := net.all(name))}
    if len(first) == 2:
        raise PrototxtError(
            f"mixes the 'layers' layout (line {first['layers'].line}) and the 'layer' layout (line"
            f" {first['layer'].line}); write all in one",
            path,
            max(node.line for node in first.values()),
        )


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the content of a prototxt file.

    Raises:
        PrototxtError: it cannot be read, or is no text.
    """
    try:
        with Path(path).open("rb") as file:
            raw = utf8(file.read(MAX_TEXT_BYTES + 1))
    except OSError as error:
        raise PrototxtError(f"cannot be read: {error.strerror or error}", path) from error
    except ValueError as error:  # a NUL in the file name, or damaged UTF-16
        raise PrototxtError(f"cannot be read: {error}", path) from error
    if re.search(rb"[\x00-\x08\x0e-\x1f]", raw[:4096]):
        raise PrototxtError("is not prototxt text (is it a binary caffemodel?)", path)
    if len(raw) > MAX_TEXT_BYTES:
        raise PrototxtError(f"is longer than {MAX_TEXT_BYTES >> 20} MiB: that is no net or solver", path)
    # Comments in other encodings are common and harmless; what survives of them outside comments is refused below.
    return raw.decode("utf-8", errors="surrogateescape")


def _parse(text: str, message_name: str, path: str | os.PathLike[str]) -> Any:
    for number, line in enumerate(text.split("\n"), start=1):
        bad = re.search("[\ud800-\udfff\x00]", line)
        if bad:
            raise PrototxtError(f"column {bad.start() + 1}: text outside of comments must be UTF-8", path, number)
    message: Any = inner_schema().new(message_name)
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise PrototxtError(_explain(error), path, error.GetLine()) from error
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


def _explain(error: text_format.ParseError) -> str:
    """Return protobuf's message without its position, which PrototxtError gives, and with a suggestion."""
    schema = inner_schema()
    message = re.sub(r"^\d+:\d+ : ", "", str(error))
    # protobuf quotes the whole line; long lines would bury the message.
    message = re.sub(r"^'.*': ", "", message)
    message = message.replace(f'"{PACKAGE}.', '"')
    field = re.search(r'Message type "(\w+)" has no field named "(\w+)"', message)
    value = re.search(r'Enum type "([\w.]+)" has no value named (["\w]+)', message)
    if field and field.group(1) in schema.messages:
        owner, name = field.groups()
        shown = owner.removeprefix("V1")
        message = f"{shown} has no field '{name}'"
        if (owner, name) in _HINTS:
            message += f" ({_HINTS[owner, name]})"
        else:
            message += did_you_mean(name, schema.messages[owner].DESCRIPTOR.fields_by_name)
    elif value:
        owner, name = value.groups()
        names = schema.pool.FindEnumTypeByName(f"{PACKAGE}.{owner}").values_by_name
        if name.startswith('"'):
            near = did_you_mean(name.replace('"', ""), names)
            message = f"{owner.removeprefix('V1')} is written without quotes in this layout{near}"
        elif owner == "V1LayerParameter.LayerType":
            message = f"layer type {name} is not in the V1 layout's catalogue{did_you_mean(name, names)}"
        else:
            message = f"{owner} has no value {name}{did_you_mean(name, names)}"
    column = error.GetColumn()
    return f"column {column}: {message}" if column else message
