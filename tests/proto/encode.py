"""The wire format by hand, for files that protobuf itself would not write."""

from __future__ import annotations

import struct
from pathlib import Path

from deeplab_caffe.proto import CaffeModel


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def number(field: int, value: int) -> bytes:
    return tag(field, 0) + varint(value)


def chunk(field: int, payload: bytes | str) -> bytes:
    payload = payload.encode() if isinstance(payload, str) else payload
    return tag(field, 2) + varint(len(payload)) + payload


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def doubles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def blob_4d(*dims: int) -> bytes:
    return b"".join(number(i + 1, dim) for i, dim in enumerate(dims))


def v1_layer(name: str, *blobs: bytes, type_number: int = 4) -> bytes:
    body = chunk(2, "in") + chunk(3, "out") + chunk(4, name) + number(5, type_number)
    return chunk(2, body + b"".join(chunk(6, blob) for blob in blobs))


def v2_layer(name: str, *blobs: bytes, type_name: str = "Convolution") -> bytes:
    body = chunk(1, name) + chunk(2, type_name) + chunk(3, "in") + chunk(4, "out")
    return chunk(100, body + b"".join(chunk(7, blob) for blob in blobs))


def open_model(folder: Path, *parts: bytes) -> CaffeModel:
    path = folder / "m.caffemodel"
    path.write_bytes(b"".join(parts))
    return CaffeModel(path)
