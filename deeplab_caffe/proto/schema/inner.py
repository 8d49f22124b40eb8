"""The schemas that prototxt *text* is parsed with: the dialects plus what can be turned into the internal form.

A text schema is a superset of its dialect. What it adds has private field numbers, as it is never serialised: the
upgrades move it into fields of the internal form, or refuse it by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from deeplab_caffe.proto.schema import EnumRow, FieldRow, Schema, enum_table, field_table

_PRIVATE_NUMBERS_FROM = 100_000

# In the `layer` layout these are said with `param { }`; the V0 wrapper and the `layers` list have no place there.
_NOT_IN_V2 = {
    ("LayerParameter", "layer"),
    ("LayerParameter", "blobs_lr"),
    ("LayerParameter", "weight_decay"),
    ("LayerParameter", "blob_share_mode"),
    ("NetParameter", "layers"),
}
_OLD_MESSAGES = ("V0LayerParameter", "V1LayerParameter")

# BVLC's `layers` layout has these, DeepLab's has not.
_BVLC_IN_V1 = (
    ("LayerParameter", "loss_param"),
    ("NetParameter", "input_shape"),
    ("NetParameter", "debug_info"),
    ("DummyDataParameter", "shape"),
)
_BVLC_MESSAGES_IN_V1 = ("LossParameter", "BlobShape")


def _merged(base: list[FieldRow], extra: Iterable[FieldRow]) -> list[FieldRow]:
    taken = {(row.message, row.field) for row in base}
    added = [row for row in extra if (row.message, row.field) not in taken]
    return base + [replace(row, number=_PRIVATE_NUMBERS_FROM + i) for i, row in enumerate(added)]


def _enums_of(fields: list[FieldRow], *tables: tuple[EnumRow, ...]) -> list[EnumRow]:
    """The enums that the fields refer to, each from the first table that has it."""
    result: list[EnumRow] = []
    for table in tables:
        known = {row.enum for row in result}
        result += [row for row in table if row.enum not in known and row.enum in {field.type for field in fields}]
    return result


@cache
def text_v1_schema() -> Schema:
    """DeepLab v1 plus what BVLC's V1 files have, and the solver fields of both dialects."""
    extra = [
        row
        for row in field_table("v2")
        if row.message in ("SolverParameter", *_BVLC_MESSAGES_IN_V1) or (row.message, row.field) in _BVLC_IN_V1
    ]
    fields = _merged(list(field_table("v1")), extra)
    enums = _enums_of(fields, enum_table("v1"), enum_table("v2"))
    return Schema("deeplab_caffe/text_v1.proto", fields, enums)


@cache
def text_v2_schema() -> Schema:
    """The ``layer`` layout of DeepLab v2 and BVLC plus the layers and fields that only DeepLab v1 has."""
    base = [
        row
        for row in field_table("v2")
        if row.message not in _OLD_MESSAGES and (row.message, row.field) not in _NOT_IN_V2
    ]
    extra = [
        row
        for row in field_table("v1")
        if row.message not in _OLD_MESSAGES and (row.message, row.field) not in _NOT_IN_V2
    ]
    fields = _merged(base, extra)
    enums = _enums_of(fields, enum_table("v2"), enum_table("v1"))
    return Schema("deeplab_caffe/text_v2.proto", fields, enums)
