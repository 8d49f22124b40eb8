"""Reading and writing prototxt: text in any of Caffe's three layouts to and from the inner form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.dialect import dialect_of_form
from deeplab_caffe.proto.text.outline import Source
from deeplab_caffe.proto.text.parse import parse_text, read_text
from deeplab_caffe.proto.text.templates import fill_template
from deeplab_caffe.proto.upgrade.downgrade import to_dialect
from deeplab_caffe.proto.upgrade.net import upgrade_net, upgrade_solver


def read_net(path: str | os.PathLike[str], variables: Mapping[str, object] | None = None) -> caffe_pb2.NetParameter:
    """Read a network prototxt in the V0, V1 or V2 layout.

    Args:
        path: the file.
        variables: values of its ``${VAR}``; ``os.environ`` gives the rest.

    Returns:
        A ``caffe_pb2.NetParameter`` in the inner form, all phases' layers in it (see ``filter_net``); its ``dialect``
        says whose net it is.

    Raises:
        PrototxtError: the file cannot be read or is not such a text; the message has file and line.
    """
    return parse_net(read_text(path), path, variables)


def parse_net(
    text: str, path: str | os.PathLike[str] = "<string>", variables: Mapping[str, object] | None = None
) -> caffe_pb2.NetParameter:
    """Parse what :func:`read_net` reads, from text in memory; ``path`` is for messages."""
    message, outline = parse_text(_filled(text, path, variables), "NetParameter", path)
    return upgrade_net(message, Source(path, outline))


def read_solver(
    path: str | os.PathLike[str], variables: Mapping[str, object] | None = None
) -> caffe_pb2.SolverParameter:
    """Read a solver prototxt.

    Args:
        path: the file.
        variables: values of its ``${VAR}``; ``os.environ`` gives the rest.

    Returns:
        A ``caffe_pb2.SolverParameter`` with its ``type``. File names in it are as written, nets inside it are upgraded.

    Raises:
        PrototxtError: the file cannot be read or is not such a text; the message has file and line.
    """
    return parse_solver(read_text(path), path, variables)


def parse_solver(
    text: str, path: str | os.PathLike[str] = "<string>", variables: Mapping[str, object] | None = None
) -> caffe_pb2.SolverParameter:
    """Parse what :func:`read_solver` reads, from text in memory; ``path`` is for messages."""
    message, outline = parse_text(_filled(text, path, variables), "SolverParameter", path)
    return upgrade_solver(message, Source(path, outline))


def _filled(text: Any, path: str | os.PathLike[str], variables: Mapping[str, object] | None) -> str:
    if not isinstance(text, str):
        hint = "decode it" if isinstance(text, bytes) else "of a file read_net and read_solver take the path"
        raise TypeError(f"text must be a str, a prototxt's content, got {type(text).__name__}: {hint}")
    content: str = text
    return fill_template(content.removeprefix("\ufeff"), variables, path)


def format_message(message: Message) -> str:
    """Return a message as prototxt text, with the shortest floats that parse to the same value.

    A net of DeepLab v1 is written in the V1 layout, which its program reads, if that layout can hold it. Other nets are
    written in the V2 layout, with a ``dialect`` only if their form does not determine it.
    """
    if isinstance(message, caffe_pb2.NetParameter):
        message = _net_for_text(message)
    return text_format.MessageToString(message)


def _net_for_text(net: caffe_pb2.NetParameter) -> Any:
    if net.dialect == "v1" and not net.mean_value:
        try:
            return to_dialect(net, "v1")
        except CaffeModelError:
            return net
    return in_newest_layout(net)


def in_newest_layout(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Return a net of the inner form in the V2 layout, with a ``dialect`` if its form does not determine it."""
    plain = caffe_pb2.NetParameter()
    plain.CopyFrom(net)
    for own in ("dialect", "input_layer"):
        plain.ClearField(own)
    if dialect_of_form(plain) != net.dialect:
        plain.dialect = net.dialect
    return plain
