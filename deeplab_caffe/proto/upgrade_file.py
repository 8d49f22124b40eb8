"""Conversion of files of old layouts to Caffe's present one, as Caffe's ``upgrade_net_proto_text``, ``_binary`` and
``upgrade_solver_proto_text`` do.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from deeplab_caffe.errors import CaffeModelError, PrototxtError
from deeplab_caffe.files.atomic import write_atomically
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.binary.model import CaffeModel
from deeplab_caffe.proto.binary.write import places_of, write_caffemodel
from deeplab_caffe.proto.read import in_newest_layout
from deeplab_caffe.proto.schema.tables import own_schema
from deeplab_caffe.proto.text.outline import Source, outline
from deeplab_caffe.proto.text.parse import parse_text, read_text
from deeplab_caffe.proto.text.templates import fill_template
from deeplab_caffe.proto.text.unknown import message_of
from deeplab_caffe.proto.upgrade.downgrade import TITLES, to_dialect
from deeplab_caffe.proto.upgrade.net import upgrade_net, upgrade_solver

# A caffemodel of an old layout gets the field numbers of the first of these programs that has all its layers.
PROGRAMS = ("bvlc", "v2", "merge")


def upgrade_file(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    dialect: str | None = None,
    variables: Mapping[str, object] | None = None,
) -> str:
    """Convert the file of a net, a caffemodel or a solver to the V2 layout (``layer``, types as strings).

    Comments are lost, as with Caffe's tools; weights stay the same bit for bit.

    Args:
        source: a net's or a solver's prototxt, or a caffemodel, of any layout.
        out: the file to write; it gets its name only when it is complete.
        dialect: the program that will read the net: ``"bvlc"``, ``"v2"`` or ``"merge"``. None: this package; a net of
            DeepLab v1 then gets ``dialect: "v1"``, which no Caffe knows, so that it computes the same as before. A
            caffemodel of an old layout gets the numbers of the first of the three that has all its layers.
        variables: values of the text's ``${VAR}``; ``os.environ`` gives the rest.

    Returns:
        A description of the source: ``"a net of the V1 layout"``.

    Raises:
        PrototxtError: the text cannot be read, or is neither a net nor a solver.
        CaffeModelError: the caffemodel cannot be read, the dialect's program has no such layer or field, or the file
            cannot be written.
    """
    if _is_text(source):
        return _upgrade_text(source, out, dialect, variables)
    return _upgrade_binary(source, out, dialect)


def _is_text(path: str | os.PathLike[str]) -> bool:
    """Return whether a file has none of the bytes that protobuf's binary form begins with, and text has not."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(4096)
    except (OSError, ValueError) as error:
        raise PrototxtError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path) from error
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or not any(byte < 9 or 13 < byte < 32 for byte in head)


def _upgrade_text(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    dialect: str | None,
    variables: Mapping[str, object] | None,
) -> str:
    text = fill_template(read_text(source).removeprefix("\ufeff"), variables, source)
    kind = message_of(outline(text)) or "NetParameter"
    message, found = parse_text(text, kind, source)
    where = Source(source, found)
    new: Any
    if kind == "SolverParameter":
        said, new = "a solver", upgrade_solver(message, where)
    else:
        said, net = f"a net of the {_layout(message)} layout", upgrade_net(message, where)
        new = in_newest_layout(net) if dialect is None else to_dialect(net, dialect, os.fspath(out))
    with write_atomically(out, CaffeModelError) as file:
        file.write(text_format.MessageToString(new).encode())
    return said


def _layout(net: Any) -> str:
    if any(layer.HasField("layer") for layer in net.layers):
        return "V0"
    return "V1" if net.layers else "V2"


def _upgrade_binary(source: str | os.PathLike[str], out: str | os.PathLike[str], dialect: str | None) -> str:
    model = CaffeModel(source)
    message = _read_net(source, model)
    said = f"a caffemodel of the {_layout(message)} layout"
    # Through text, because programs have different numbers for fields of the same name.
    text = text_format.MessageToString(message)
    net = upgrade_net(parse_text(text, "NetParameter", source)[0])
    twice = [name for name, count in Counter(layer.name for layer in model.layers if layer.blobs).items() if count > 1]
    if twice:
        raise CaffeModelError(f"several layers with weights are called '{twice[0]}'", source)
    blobs = {layer.name: [blob.data for blob in layer.blobs] for layer in model.layers if layer.blobs}
    diffs = {
        layer.name: [blob.diff for blob in layer.blobs]
        for layer in model.layers
        if any(blob.diff is not None for blob in layer.blobs)
    }
    places = places_of(layer.name for layer in model.layers)
    owners = {layer.name: place for layer, place in zip(model.layers, places, strict=True) if layer.blobs}
    chosen = dialect or (model.dialect if model.dialect != "v1" else _program(net))
    write_caffemodel(out, net, blobs, diffs, places=owners, dialect=chosen)
    return said


def _read_net(source: str | os.PathLike[str], model: CaffeModel) -> Any:
    """Return the net of a caffemodel in its program's schema, without its weights."""
    # DeepLab v1 gave the number of BVLC's Deconvolution to a layer without weights.
    of_bvlc = model.dialect == "v1" and any(layer.type == "Deconvolution" for layer in model.layers)
    program = "bvlc" if of_bvlc else model.dialect
    message: Any = own_schema(program).new("NetParameter")
    try:
        message.ParseFromString(Path(source).read_bytes())
    except (DecodeError, OSError) as error:
        raise CaffeModelError(f"cannot be read: {getattr(error, 'strerror', None) or error}", source) from error
    for layer in [*message.layers, *getattr(message, "layer", ())]:
        layer.ClearField("blobs")
        if "layer" in layer.DESCRIPTOR.fields_by_name and layer.HasField("layer"):
            layer.layer.ClearField("blobs")
    known = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != known:
        raise CaffeModelError(f"has fields, or layer types, that {TITLES[program]} does not have", source)
    return message


def _program(net: caffe_pb2.NetParameter) -> str:
    for name in PROGRAMS[:-1]:
        try:
            to_dialect(net, name)
        except CaffeModelError:
            continue
        return name
    return PROGRAMS[-1]
