"""The messages of the inner form, ``caffe_pb2``: DeepLab v2's and BVLC's, with the additions of DeepLab v1.

Field numbers are those of the merge (BVLC's if BVLC has the field), except for ``_MOVED``. In messages that both have,
a field of DeepLab v1 only has its number plus ``OWN_NUMBERS_FROM``; messages of DeepLab v1 only are unchanged.
``NetParameter.layers`` holds layers of the V1 and V0 layouts as DeepLab v1 has them, number for number:
``V1LayerParameter``, and ``V1ConvolutionParameter`` with its single ``kernel_size`` and its ``hole``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from deeplab_caffe.proto.schema.tables import OPTIONS, EnumRow, FieldRow, Schema, enum_table, field_table

# Fields of the inner form from here on are DeepLab v1's own, or this package's.
OWN_NUMBERS_FROM = 1000

# From here on: names of other programs. They do not affect a net's dialect.
FOREIGN_NUMBERS_FROM = 3000

# The inner form has ``param { }`` and ``layer { }`` instead.
_SAID_OTHERWISE = {"layer", "blobs_lr", "weight_decay", "blob_share_mode"}

# What differs in number, label or type between the dialects, as V1LayerParameter refers to it.
_V1_TYPES = {
    "ConvolutionParameter": "V1ConvolutionParameter",
    "ImageDataParameter": "V1ImageDataParameter",
    "UniqueLabelParameter": "V1UniqueLabelParameter",
    "LayerParameter": "V1LayerParameter",
    "LayerParameter.LayerType": "V1LayerParameter.LayerType",
    "LayerParameter.DimCheckMode": "V1LayerParameter.DimCheckMode",
}

# The dialect of the net; see :mod:`deeplab_caffe.proto.dialect`. It is part of the message.
_DIALECT = FieldRow("NetParameter", "dialect", OWN_NUMBERS_FROM, "optional", "string", "", False)
# The mean subtracted from the image, B, G and R: mean_value of the Input layer's transform_param.
_MEAN_VALUE = FieldRow("NetParameter", "mean_value", OWN_NUMBERS_FROM + 2, "repeated", "float", "", False)
# The name of the Input layer that each of the net's inputs was; "input" is BVLC's where the net had ``input`` fields.
_INPUT_LAYER = FieldRow("NetParameter", "input_layer", OWN_NUMBERS_FROM + 1, "repeated", "string", "", False)
# BVLC's number for it, 42, is DeepLab v1's for seg_accuracy_param.
_LOSS_PARAM = FieldRow("V1LayerParameter", "loss_param", OWN_NUMBERS_FROM + 42, "optional", "LossParameter", "", False)
# BVLC's fields that have other numbers here, so that protobuf reads every dialect's files. The merge has others at 147
# and 148; v2 has mat_write_param at 145, and a prefix is no shape.
_MOVED = {
    ("LayerParameter", "parameter_param"): 645,
    ("LayerParameter", "swish_param"): 647,
    ("LayerParameter", "clip_param"): 648,
}
# The values of raw_data_type.
_TYPES = [EnumRow("Type", name, i) for i, name in enumerate(("DOUBLE", "FLOAT", "FLOAT16", "INT", "UINT", "BOOL"))]
# BVLC's name for DeepLab v1's IMAGE_SEG_DATA.
_DECONVOLUTION = EnumRow("V1LayerParameter.LayerType", "DECONVOLUTION", 39)

_FOREIGN = [
    # NVIDIA's Caffe, under its own numbers: a blob's numbers as bytes, in half precision too.
    FieldRow("BlobProto", "raw_data_type", 10, "optional", "Type", "", False),
    FieldRow("BlobProto", "raw_diff_type", 11, "optional", "Type", "", False),
    FieldRow("BlobProto", "raw_data", 12, "optional", "bytes", "", False),
    FieldRow("BlobProto", "raw_diff", 13, "optional", "bytes", "", False),
    # In files of BVLC's branches of March 2014, always 1; see upgrade_net.
    FieldRow("NetParameter", "version", 3001, "optional", "int32", "1", False),
    # The older name of BVLC's round_mode in many forks; without it they round up too.
    FieldRow("PoolingParameter", "ceil_mode", 3013, "optional", "bool", "true", False),
    # The place of transform_param between two of BVLC's releases (2014).
    *(
        FieldRow(message, "transform_param", 3000, "optional", "TransformationParameter", "", False)
        for message in ("DataParameter", "ImageDataParameter", "V1ImageDataParameter", "WindowDataParameter")
    ),
    # BVLC's name of `hole`, in files of the V1 layout for a later Caffe.
    FieldRow("V1ConvolutionParameter", "dilation", 3018, "repeated", "uint32", "", False),
]


def _fields() -> list[FieldRow]:
    # The merge's fields, then the newer ones of BVLC.
    rows = {(row.message, row.field): row for dialect in ("bvlc", "merge") for row in field_table(dialect)}
    taken = {key for key in rows if key[0] != "V1LayerParameter"}
    base = [replace(rows[key], number=_MOVED.get(key, rows[key].number)) for key in rows if key in taken]
    messages = {row.message for row in base}
    options = [row for row in OPTIONS if (row.message, row.field) not in taken]
    fields = [*base, _DIALECT, _INPUT_LAYER, _MEAN_VALUE, *options]
    for row in field_table("v1"):
        if (row.message, row.field) not in taken and not (
            row.message == "LayerParameter" and row.field in _SAID_OTHERWISE
        ):
            fields.append(replace(row, number=row.number + OWN_NUMBERS_FROM * (row.message in messages)))
        if row.message in _V1_TYPES:
            fields.append(replace(row, message=_V1_TYPES[row.message], type=_V1_TYPES.get(row.type, row.type)))
    return [*fields, _LOSS_PARAM, *_FOREIGN]


def _enums() -> list[EnumRow]:
    base = [row for row in enum_table("merge") if not row.enum.startswith("V1LayerParameter")]
    known = {row.enum for row in base}
    enums = base + [row for row in enum_table("v1") if row.enum not in known]
    enums += [replace(row, enum=_V1_TYPES[row.enum]) for row in enum_table("v1") if row.enum in _V1_TYPES]
    return [*enums, _DECONVOLUTION, *_TYPES]


@cache
def inner_schema() -> Schema:
    """Return the messages of the inner form, in which every text is parsed too."""
    return Schema("deeplab_caffe/caffe.proto", _fields(), _enums())
