"""protobuf itself as the oracle for our reader of binary files."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from deeplab_caffe.proto import CaffeModel, ModelBlob
from deeplab_caffe.proto.schema.names import name_of_number
from deeplab_caffe.proto.schema.tables import Schema, enum_table, field_table


@lru_cache
def bvlc_schema(packed: bool = True) -> Schema:
    """BVLC's own messages, V1 and V2 layers; optionally with the floats one by one, as the oldest Caffe wrote them."""
    fields = [replace(row, packed=row.packed and packed) for row in field_table("merge")]
    return Schema(f"test/bvlc_{packed}.proto", fields, enum_table("merge"))


@lru_cache
def deeplab_schema(packed: bool = True) -> Schema:
    fields = [replace(row, packed=row.packed and packed) for row in field_table("v1")]
    return Schema(f"test/deeplab_{packed}.proto", fields, enum_table("v1"))


def bits(numbers: np.ndarray) -> bytes:
    """All bits, but for those of a NaN: on the way through a Python float protobuf makes signalling ones quiet."""
    return np.where(np.isnan(numbers), numbers.dtype.type("nan"), numbers).tobytes()


def blob_of(message) -> tuple[tuple[int, ...], bytes, bytes | None]:
    """Shape, data and diff of a BlobProto as BVLC's Blob::FromProto takes them."""
    legacy = any(message.HasField(name) for name in ("num", "channels", "height", "width"))
    has_shape = "shape" in message.DESCRIPTOR.fields_by_name and message.HasField("shape")
    shape = (message.num, message.channels, message.height, message.width)
    if has_shape and not legacy:
        shape = tuple(message.shape.dim)
    data, diff = numbers_of(message, "data"), numbers_of(message, "diff")
    return shape, bits(data), bits(diff) if diff.size else None


def numbers_of(message, name: str) -> np.ndarray:
    """Doubles, else floats, else the raw bytes of NVIDIA's Caffe."""
    doubles, floats = getattr(message, f"double_{name}", ()), getattr(message, name)
    if len(doubles) or len(floats) or not getattr(message, f"raw_{name}", b""):
        return np.array(doubles, "<f8") if len(doubles) else np.array(floats, "<f4")
    return np.frombuffer(getattr(message, f"raw_{name}"), ("<f8", "<f4", "<f2")[getattr(message, f"raw_{name}_type")])


def ours(blob: ModelBlob) -> tuple[tuple[int, ...], bytes, bytes | None]:
    assert blob.data.shape == blob.shape
    return blob.shape, bits(blob.data), None if blob.diff is None else bits(blob.diff)


def expected_type(layer) -> str:
    if isinstance(layer.type, str):
        return "SoftmaxWithLoss" if layer.type == "SoftmaxLoss" else layer.type
    return name_of_number(layer.type, deconvolution=bool(layer.blobs)) if layer.type else ""


def assert_same(model: CaffeModel, net) -> None:
    """The model that was read is the message that protobuf has."""
    layers = net.layers if len(net.layers) else net.layer
    assert model.name == net.name
    assert model.inputs == list(net.input)
    assert len(model.layers) == len(layers)
    for mine, theirs in zip(model.layers, layers, strict=True):
        assert (mine.name, mine.bottoms, mine.tops) == (theirs.name, list(theirs.bottom), list(theirs.top))
        assert mine.type == expected_type(theirs)
        assert [ours(blob) for blob in mine.blobs] == [blob_of(blob) for blob in theirs.blobs]
