"""Message classes of Caffe's dialects, built from the field tables that ship beside this file.

There is no generated code: protoc's output is tied to the protobuf runtime it was made for, and a ``caffe.proto`` in
the global descriptor pool clashes with any other Caffe in the process. Here a ``FileDescriptorProto`` is filled from
``fields_*.csv`` and ``enums_*.csv`` and loaded into a descriptor pool of its own.

The dialects' tables:
    ``v1``: DeepLab v1, the later public version.
    ``merge``: DeepLab v2 merged with BVLC Caffe of January 2017: ``layer { type: "Convolution" }`` and all layers of
    both.
    ``v2``: the authors' release of DeepLab v2, which numbers four parameters otherwise and lacks four of BVLC's.
    ``bvlc``: BVLC Caffe of 2020, without DeepLab's own.
    ``fields_v2.csv`` has the fields of these three, most numbered as in ``merge``; ``dialects.csv`` says what
    differs or lacks.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper
from google.protobuf.message import Message

PACKAGE = "caffe"

_FieldProto = descriptor_pb2.FieldDescriptorProto
_LABELS = {
    "optional": _FieldProto.LABEL_OPTIONAL,
    "required": _FieldProto.LABEL_REQUIRED,
    "repeated": _FieldProto.LABEL_REPEATED,
}
_SCALARS = {
    "int32": _FieldProto.TYPE_INT32,
    "int64": _FieldProto.TYPE_INT64,
    "uint32": _FieldProto.TYPE_UINT32,
    "float": _FieldProto.TYPE_FLOAT,
    "double": _FieldProto.TYPE_DOUBLE,
    "bool": _FieldProto.TYPE_BOOL,
    "string": _FieldProto.TYPE_STRING,
    "bytes": _FieldProto.TYPE_BYTES,
}


@dataclass(frozen=True)
class FieldRow:
    """One field of one message, a row of a table."""

    message: str
    field: str
    number: int
    label: str
    type: str
    default: str
    packed: bool


@dataclass(frozen=True)
class EnumRow:
    """One value of one enum; ``enum`` is dotted (``PoolingParameter.PoolMethod``) where a message owns it."""

    enum: str
    name: str
    value: int


def read_table(file_name: str) -> list[dict[str, str]]:
    """Return the rows of one of this package's CSV tables."""
    text = resources.files(__package__).joinpath(file_name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


# The fields of SSD's DistortionParameter in the order of their numbers, all of them floats.
_DISTORTIONS = [
    *("brightness_prob", "brightness_delta", "contrast_prob", "contrast_lower", "contrast_upper"),
    *("hue_prob", "hue_delta", "saturation_prob", "saturation_lower", "saturation_upper", "random_order_prob"),
]

# Options of this package only, and the fields of BVLC and SSD that a dialect lacks: only here can a net have both Clip
# and Interp. Files that this package writes for itself store them under these numbers, which other programs ignore.
# They do not affect a net's dialect.
OPTIONS = (
    FieldRow("InterpParameter", "align_corners", 4001, "optional", "bool", "true", False),
    FieldRow("PoolingParameter", "round_mode", 13, "optional", "PoolingParameter.RoundMode", "CEIL", False),
    FieldRow("InfogainLossParameter", "axis", 2, "optional", "int32", "1", False),
    FieldRow("SwishParameter", "beta", 1, "optional", "float", "1", False),
    FieldRow("ClipParameter", "min", 1, "required", "float", "", False),
    FieldRow("ClipParameter", "max", 2, "required", "float", "", False),
    FieldRow("LayerParameter", "swish_param", 647, "optional", "SwishParameter", "", False),
    FieldRow("LayerParameter", "clip_param", 648, "optional", "ClipParameter", "", False),
    FieldRow("TransformationParameter", "distort_param", 13, "optional", "DistortionParameter", "", False),
    *(
        FieldRow("DistortionParameter", name, number, "optional", "float", "0", False)
        for number, name in enumerate(_DISTORTIONS, 1)
    ),
)


@cache
def field_table(dialect: str) -> tuple[FieldRow, ...]:
    """Return the fields of a dialect (``"v1"``, ``"v2"``, ``"merge"`` or ``"bvlc"``), in declaration order."""
    rows = [
        FieldRow(
            row["message"],
            row["field"],
            int(row["number"]),
            row["label"],
            row["type"],
            row["default"],
            row["packed"] == "packed",
        )
        for row in read_table("fields_v1.csv" if dialect == "v1" else "fields_v2.csv")
    ]
    differences = {
        (row["message"], row["field"]): row["number"] for row in read_table("dialects.csv") if row["dialect"] == dialect
    }
    found = ((row, differences.get((row.message, row.field), str(row.number))) for row in rows)
    return tuple(replace(row, number=int(number)) for row, number in found if number)


@cache
def enum_table(dialect: str) -> tuple[EnumRow, ...]:
    """Return the enum values of a dialect, in declaration order."""
    rows = read_table("enums_v1.csv" if dialect == "v1" else "enums_v2.csv")
    return tuple(EnumRow(row["enum"], row["name"], int(row["value"])) for row in rows)


class Schema:
    """Message classes and enums of one dialect, in a descriptor pool of their own.

    Args:
        file_name: name of the virtual ``.proto`` file, seen in descriptors.
        fields: the fields.
        enums: the enum values; the first value of an enum is its default, as in proto2.
    """

    def __init__(self, file_name: str, fields: Iterable[FieldRow], enums: Iterable[EnumRow]) -> None:
        file_proto = _file_descriptor(file_name, list(fields), list(enums))
        # The pool is kept: a descriptor dies with its pool.
        self.pool = descriptor_pool.DescriptorPool()
        self.pool.AddSerializedFile(file_proto.SerializeToString())
        self.descriptor = self.pool.FindFileByName(file_name)
        self.messages: dict[str, type[Message]] = {
            name: message_factory.GetMessageClass(message)
            for name, message in self.descriptor.message_types_by_name.items()
        }
        self.enums: dict[str, Any] = {
            name: enum_type_wrapper.EnumTypeWrapper(enum) for name, enum in self.descriptor.enum_types_by_name.items()
        }

    def new(self, message: str) -> Message:
        """Return an empty message of the named type."""
        return self.messages[message]()


def _file_descriptor(
    file_name: str, fields: list[FieldRow], enums: list[EnumRow]
) -> descriptor_pb2.FileDescriptorProto:
    file_proto = descriptor_pb2.FileDescriptorProto(name=file_name, package=PACKAGE, syntax="proto2")
    messages: dict[str, descriptor_pb2.DescriptorProto] = {}
    for row in fields:
        if row.message not in messages:
            messages[row.message] = file_proto.message_type.add(name=row.message)

    enum_protos: dict[str, descriptor_pb2.EnumDescriptorProto] = {}
    for value in enums:
        if value.enum not in enum_protos:
            owner, _, short = value.enum.rpartition(".")
            holder = messages[owner].enum_type if owner else file_proto.enum_type
            enum_protos[value.enum] = holder.add(name=short)
        enum = enum_protos[value.enum]
        if any(known.number == value.value for known in enum.value):
            enum.options.allow_alias = True
        enum.value.add(name=value.name, number=value.value)

    for row in fields:
        field = messages[row.message].field.add(name=row.field, number=row.number, label=_LABELS[row.label])
        if row.type in _SCALARS:
            field.type = _SCALARS[row.type]
        elif row.type in enum_protos:
            field.type = _FieldProto.TYPE_ENUM
            field.type_name = f".{PACKAGE}.{row.type}"
        elif row.type in messages:
            field.type = _FieldProto.TYPE_MESSAGE
            field.type_name = f".{PACKAGE}.{row.type}"
        else:
            raise ValueError(f"{file_name}: {row.message}.{row.field} has unknown type {row.type!r}")
        if row.default:
            field.default_value = row.default
        if row.packed:
            field.options.packed = True
    return file_proto


@cache
def dialect_schema(dialect: str) -> Schema:
    """Return the messages for files of a dialect (``"v1"``, ``"v2"``, ``"merge"`` or ``"bvlc"``)."""
    return Schema(f"deeplab_caffe/caffe_{dialect}.proto", field_table(dialect), enum_table(dialect))


@cache
def own_schema(dialect: str) -> Schema:
    """Return the messages for this package's own files: a dialect's, with :data:`OPTIONS`."""
    fields, enums = field_table(dialect), enum_table(dialect)
    known = {(row.message, row.field) for row in fields}
    options = [row for row in OPTIONS if (row.message, row.field) not in known]
    messages = {row.message for row in (*fields, *options)}
    types = {*_SCALARS, *(row.enum for row in enums), *messages}
    fields += tuple(row for row in options if row.type in types)
    return Schema(f"deeplab_caffe/caffe_{dialect}.proto", fields, enums)
