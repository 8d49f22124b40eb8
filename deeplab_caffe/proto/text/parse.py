"""Parsing of a prototxt's text into a message without upgrades; every error has its file and line."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from deeplab_caffe.errors import MOST_LISTED, PrototxtError, listed, shortened
from deeplab_caffe.files.names import check_path
from deeplab_caffe.proto.schema.inner import inner_schema
from deeplab_caffe.proto.schema.tables import PACKAGE
from deeplab_caffe.proto.text.encoding import utf8
from deeplab_caffe.proto.text.outline import Node, Outline, outline
from deeplab_caffe.proto.text.unknown import message_of, unknown_parts

# The nets that a SolverParameter may hold.
NET_FIELDS = ("net_param", "train_net_param", "test_net_param")

# The message for a text of the other kind.
_OTHER_KIND = {
    "NetParameter": "this is a solver's prototxt: expected a net's, as the one that its `net` names",
    "SolverParameter": "this is a net's prototxt: expected a solver's, which names it (`net: ...`)",
}

# Hand-written nets are kilobytes; this leaves room for generated ones and keeps a wrong file from filling memory.
MAX_TEXT_BYTES = 64 << 20
# A message takes a hundred times its shortest text. The deepest published nets have some thousands.
MOST_MESSAGES = 200_000
# protobuf needs quadratic time in their number.
_MOST_BACKSLASHES = 100
# Characters of a text that came in place of a file name.
_MOST_QUOTED = 40
# A text with more unknown parts than this is not a prototxt of Caffe: it is not searched for all of them.
_MOST_CHECKED = 10_000


def parse_text(text: str, message_name: str, path: str | os.PathLike[str]) -> tuple[Any, Outline]:
    """Return a message of the inner form's schema and the outline of its text, to be made when it is needed.

    Args:
        text: the prototxt, its variables filled in.
        message_name: ``"NetParameter"`` or ``"SolverParameter"``.
        path: the file, for messages.

    Raises:
        PrototxtError: the text is not such a message, or mixes the V1 and V2 layouts.
    """
    if not text.strip():
        raise PrototxtError("is empty", path)
    if text.count("{") + text.count("<") > MOST_MESSAGES:
        raise PrototxtError(f"holds more than {MOST_MESSAGES:,} messages: that is no net or solver", path)
    if "\\" * _MOST_BACKSLASHES in text:
        raise PrototxtError(f"has a string with {_MOST_BACKSLASHES} backslashes in a row", path)
    message, found = _parse(text, message_name, path), Outline(text)
    nets = [message]
    if message_name != "NetParameter":
        nets = [message.net_param, message.train_net_param, *message.test_net_param]
    if any(net.layer and net.layers for net in nets):
        root = found.root
        places = [root] if message_name == "NetParameter" else [net for name in NET_FIELDS for net in root.all(name)]
        for net in places:
            _check_layout(net, path)
    return message, found


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
        PrototxtError: the file cannot be read, or is not text.
        TypeError: what should be its path is none.
    """
    check_path(path, "a prototxt", "or a message of deeplab_caffe.proto.caffe_pb2, as parse_net returns")
    try:
        with Path(path).open("rb") as file:
            raw = utf8(file.read(MAX_TEXT_BYTES + 1))
    except OSError as error:
        if re.search(r"\n|[:{]\s", os.fsdecode(path)):
            begin = shortened(" ".join(os.fsdecode(path).split()), _MOST_QUOTED)
            raise PrototxtError(
                "is no file's name, but text? deeplab_caffe.proto.parse_net(text) makes a net's message of it, "
                "parse_solver(text) a solver's",
                f"'{begin}'",
            ) from error
        raise PrototxtError(f"cannot be read: {error.strerror or error}", path) from error
    except ValueError as error:  # a NUL in the file name, or damaged UTF-16
        raise PrototxtError(f"cannot be read: {error}", path) from error
    if re.search(rb"[\x00-\x08\x0e-\x1f]", raw[:4096]):
        raise PrototxtError("is not prototxt text (is it a binary caffemodel?)", path)
    if len(raw) > MAX_TEXT_BYTES:
        raise PrototxtError(f"is longer than {MAX_TEXT_BYTES >> 20} MiB: that is no net or solver", path)
    # Comments in other encodings are common and harmless; outside of comments such bytes are rejected later.
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
        raise _refusal(error, text, message_name, path) from error
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


def _refusal(
    error: text_format.ParseError, text: str, message_name: str, path: str | os.PathLike[str]
) -> PrototxtError:
    """Return protobuf's error; if it is about an unknown part, an error with all unknown parts."""
    line, column = error.GetLine(), error.GetColumn()
    # Without its position, and without the line that it quotes: a long one would bury the message.
    message = re.sub(r"^'.*': ", "", re.sub(r"^\d+:\d+ : ", "", str(error))).replace(f'"{PACKAGE}.', '"')
    if _is_unknown(error):
        tree = outline(text)
        if message_of(tree) not in (message_name, None):
            return PrototxtError(_OTHER_KIND[message_name], path, line)
        parts = unknown_parts(tree, message_name)
        found = list(islice(parts, MOST_LISTED))
        count = len(found) + sum(1 for _ in islice(parts, _MOST_CHECKED))
        if 1 < count < _MOST_CHECKED and _is_sound_otherwise(text, message_name):
            listing = listed([f"line {part.line}: {part.message}" for part in found], count)
            return PrototxtError(f"{count} things are unknown: {listing}", path, found[0].line)
        message = next((part.message for part in found if part.line == line), message)
    return PrototxtError(f"column {column}: {message}" if column else message, path, line)


def _is_unknown(error: text_format.ParseError) -> bool:
    return re.search(r'type "[\w.]+" has no (?:field|value) named ', str(error)) is not None


def _is_sound_otherwise(text: str, message_name: str) -> bool:
    """Return whether a text is well formed except for unknown parts: after a lost brace all parts would be unknown."""
    try:
        text_format.Parse(text, inner_schema().new(message_name), allow_unknown_field=True)
    except text_format.ParseError as error:
        return _is_unknown(error)
    except (RecursionError, ValueError, TypeError, OverflowError):
        return False
    return True
