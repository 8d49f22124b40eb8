"""A blob's numbers as raw bytes: the form of NVIDIA's Caffe (its caffe.proto and blob.cpp)."""

from __future__ import annotations

import numpy as np
from google.protobuf.message import Message

from deeplab_caffe.proto import caffe_pb2

_DTYPE_OF_RAW = {caffe_pb2.DOUBLE: "<f8", caffe_pb2.FLOAT: "<f4", caffe_pb2.FLOAT16: "<f2"}
_NAME_OF_RAW = {value: name for name, value in caffe_pb2.Type.items()}


def raw_numbers(raw: bytes | memoryview, raw_type: int | None, name: str) -> np.ndarray:
    """Return a view of the numbers ``(count,)`` in a blob's ``raw_data`` or ``raw_diff``, written by NVIDIA's Caffe.

    Args:
        raw: the bytes.
        raw_type: type of the numbers, a value of ``caffe_pb2.Type``; None if the message has none.
        name: the field's name, for messages.

    Raises:
        ValueError: the type is not float16, float32 or float64, or the bytes are not a whole number of values.
    """
    if raw_type is None:
        raise ValueError(f"{name} without {name}_type: nothing says what its bytes are")
    if raw_type not in _DTYPE_OF_RAW:
        found = _NAME_OF_RAW.get(raw_type, "which no Caffe has")
        raise ValueError(f"{name}_type is {raw_type} ({found}), expected DOUBLE, FLOAT or FLOAT16")
    dtype = np.dtype(_DTYPE_OF_RAW[raw_type])
    if len(raw) % dtype.itemsize:
        raise ValueError(f"{name} has {len(raw)} bytes, no multiple of {dtype.itemsize} ({_NAME_OF_RAW[raw_type]})")
    return np.frombuffer(raw, dtype)


def raw_in_message(blob: Message, name: str) -> np.ndarray | None:
    """Return the numbers of a BlobProto's raw bytes; None without raw bytes, or if lists of numbers take precedence.

    Args:
        blob: a ``caffe_pb2.BlobProto``.
        name: ``"data"`` or ``"diff"``.

    Raises:
        ValueError: as :func:`raw_numbers`.
    """
    raw = f"raw_{name}"
    if not blob.HasField(raw) or getattr(blob, name) or getattr(blob, f"double_{name}"):
        return None
    return raw_numbers(getattr(blob, raw), getattr(blob, f"{raw}_type") if blob.HasField(f"{raw}_type") else None, raw)
