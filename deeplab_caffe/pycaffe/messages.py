"""Conversions between arrays and the messages BlobProto, BlobProtoVector and Datum, as in ``caffe.io``."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from google.protobuf.message import DecodeError

from deeplab_caffe.data.sources.database import decode_datum
from deeplab_caffe.errors import DeepLabCaffeError, NetError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.raw import raw_in_message

_LEGACY = ("num", "channels", "height", "width")


def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> np.ndarray:
    """Return a BlobProto's numbers as float32.

    The shape is (num, channels, height, width) if one of these is set, else ``blob.shape`` (Caffe since 2015), which
    may have any number of axes. If neither is set, the blob is a scalar.

    Args:
        blob: the message.
        return_diff: return the gradients instead of the values.

    Raises:
        NetError: the shape needs another number of values, or raw bytes (NVIDIA's Caffe) are not floats.
    """
    values = (blob.diff or blob.double_diff) if return_diff else (blob.data or blob.double_data)
    try:
        raw = raw_in_message(blob, "diff" if return_diff else "data")
    except ValueError as error:
        raise NetError(f"blobproto_to_array: {error}") from error
    legacy = any(field.name in _LEGACY for field, _ in blob.ListFields())
    shape = tuple(getattr(blob, name) for name in _LEGACY) if legacy else tuple(blob.shape.dim)
    array = np.array(values if raw is None else raw, np.float32)
    if min(shape, default=0) < 0 or array.size != np.prod(shape, dtype=object):
        raise NetError(f"blobproto_to_array: the BlobProto holds {array.size} numbers, its shape is {shape}")
    return array.reshape(shape)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> caffe_pb2.BlobProto:
    """Return an array with any number of axes as a BlobProto.

    ``shape`` is set; for an array (N, C, H, W) also ``num`` to ``width``, which Caffe of 2014 reads.

    Args:
        arr: the values.
        diff: gradients of the same shape.

    Raises:
        NetError: ``diff`` has another shape.
    """
    arr = np.asarray(arr)
    blob = caffe_pb2.BlobProto()
    # A scalar's shape () is a BlobShape that is set but has no dimensions.
    blob.shape.SetInParent()
    blob.shape.dim.extend(arr.shape)
    if arr.ndim == 4:
        for name, size in zip(_LEGACY, arr.shape, strict=True):
            setattr(blob, name, size)
    blob.data.extend(arr.astype(np.float32).ravel().tolist())
    if diff is not None:
        if np.shape(diff) != arr.shape:
            raise NetError(f"array_to_blobproto: the array is {arr.shape}, its diff {np.shape(diff)}")
        blob.diff.extend(np.asarray(diff, np.float32).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Return a serialized BlobProtoVector of arrays."""
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(arr) for arr in arraylist]).SerializeToString()


# The name of Caffe's releases up to 2015.
arraylist_to_blobprotovecor_str = arraylist_to_blobprotovector_str


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """Return the arrays of a serialized BlobProtoVector.

    Raises:
        NetError: the bytes are not a BlobProtoVector.
    """
    try:
        vector = caffe_pb2.BlobProtoVector.FromString(str)
    except DecodeError as error:
        raise NetError("blobprotovector_str_to_arraylist: the bytes are no BlobProtoVector message") from error
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> caffe_pb2.Datum:
    """Return an array (C, H, W) as a Datum: bytes for uint8, otherwise floats; the label is left out if None.

    Raises:
        NetError: the array has another number of axes.
    """
    arr = np.asarray(arr)
    if arr.ndim != 3:
        raise NetError(f"array_to_datum: expected an array of 3 dimensions, got {arr.ndim}")
    datum = caffe_pb2.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2], label=label)
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32).ravel().tolist())
    return datum


def datum_to_array(datum: caffe_pb2.Datum) -> np.ndarray:
    """Return the array (C, H, W) of a Datum: uint8 for bytes or an encoded image (B, G, R), else float32.

    Raises:
        NetError: the size needs another number of values, or the image cannot be decoded.
    """
    try:
        return np.array(decode_datum(datum.SerializeToString(), "the image").planes)
    except DeepLabCaffeError as error:
        raise NetError(f"datum_to_array: {error}") from error
    except ValueError as error:
        raise NetError(f"datum_to_array: the Datum {error}") from error
