"""Writing caffemodel and binaryproto files: streamed and atomic.

The bytes are the same as protobuf's for the same message (fields in the order of their numbers, floats packed). But
blobs are written from the arrays without a copy of the whole model, and a model may exceed protobuf's 2 GiB.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import EncodeError, Message

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.files.atomic import write_atomically
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.binary.half import fits_half
from deeplab_caffe.proto.binary.wire import BYTES
from deeplab_caffe.proto.dialect import dialect_of
from deeplab_caffe.proto.dims import MAX_DIM, OLD_AXES
from deeplab_caffe.proto.upgrade.downgrade import to_dialect
from deeplab_caffe.proto.upgrade.fields import put
from deeplab_caffe.proto.upgrade.net import upgrade_net

Chunk = bytes | bytearray | memoryview
_DATA = caffe_pb2.BlobProto.DESCRIPTOR.fields_by_name["data"].number
_DIFF = caffe_pb2.BlobProto.DESCRIPTOR.fields_by_name["diff"].number
_RAW = caffe_pb2.BlobProto.DESCRIPTOR.fields_by_name["raw_data"].number


def write_caffemodel(
    path: str | os.PathLike[str],
    net: caffe_pb2.NetParameter,
    blobs: Mapping[str, Sequence[np.ndarray]] | None = None,
    diffs: Mapping[str, Sequence[np.ndarray | None]] | None = None,
    *,
    places: Mapping[str, int] | None = None,
    dialect: str | None = None,
    dtype: str = "float32",
) -> None:
    """Write a caffemodel that the program of a dialect reads.

    The file gets its name only when it is complete and on the disk.

    Args:
        path: the file; one that exists is replaced.
        net: a ``caffe_pb2.NetParameter`` of any layout.
        blobs: arrays by layer name, which replace the ``blobs`` of ``net`` for these layers. For DeepLab v1 they have
            at most four dimensions and are padded with leading ones.
        diffs: gradients of ``blobs``, of the same shapes.
        places: where several layers have one name, which of them has the blobs, counted from 0; the first by default.
        dialect: ``"v1"``: the V1 layout of DeepLab v1; ``"v2"``, ``"merge"`` or ``"bvlc"``: the V2 layout with the
            numbers of DeepLab v2's release, of its merge with BVLC Caffe, or of BVLC Caffe. None: the net's dialect,
            ``"v1"`` or ``"v2"``, together with the options that only this package has, such as Interp's
            ``align_corners``, which those programs ignore; ``"merge"`` instead of ``"v2"`` if the net has layers that
            the release lacks.
        dtype: ``"float32"``; or ``"float16"``: two bytes per weight, in the form of NVIDIA's Caffe. Only NVIDIA's Caffe
            and this package read such files. ``diffs``, and blobs that fail :func:`fits_half`, stay float32.

    Raises:
        CaffeModelError: the file cannot be written, an array cannot be a blob, or the dialect cannot hold a part of the
            net (the error names layer and field) or float16. No partial file is left.
    """
    if dtype not in ("float32", "float16") or (dtype == "float16" and dialect):
        what = f"dtype {dtype}: only this package and NVIDIA's Caffe read it" if dialect else f"got dtype {dtype!r}"
        raise CaffeModelError(f"{what}: expected float32{' or, without a dialect, float16' * (not dialect)}", path)
    blobs, diffs, places = blobs or {}, diffs or {}, places or {}
    options, dialect = dialect is None, dialect or dialect_of(net).name
    if not (net.layers and dialect == "v1"):
        net, dialect = _in_dialect(upgrade_net(net), dialect, os.fspath(path), options)
    field = net.DESCRIPTOR.fields_by_name["layers" if dialect == "v1" else "layer"]
    layers = getattr(net, field.name)
    unknown = (set(blobs) | set(diffs)) - {layer.name for layer in layers}
    if unknown:
        raise CaffeModelError(f"blobs given for layers that the net does not have: {', '.join(sorted(unknown))}", path)
    if set(diffs) - set(blobs):
        raise CaffeModelError("diffs need blobs of the same layers", path)
    make_blob = _blob_chunks if dialect == "v1" else _shaped_blob_chunks
    half = dtype == "float16"

    def layer_chunks(layer: caffe_pb2.LayerParameter, place: int) -> list[Chunk]:
        if layer.name not in blobs or place != places.get(layer.name, 0):
            return [_serialized(layer, path)]
        try:
            return _layer_chunks(layer, blobs[layer.name], diffs.get(layer.name), make_blob, path, half)
        except CaffeModelError:
            raise
        except (ValueError, TypeError) as error:
            raise CaffeModelError(str(error), path, layer=layer.name) from error

    with write_atomically(path, CaffeModelError, sync=True) as file:
        file.write(_serialized(_only(net, lambda number: number < field.number), path))
        for layer, place in zip(layers, places_of(layer.name for layer in layers), strict=True):
            _write_chunks(file, field.number, layer_chunks(layer, place))
        file.write(_serialized(_only(net, lambda number: number > field.number), path))


def places_of(names: Iterable[str]) -> Iterator[int]:
    """Yield for each layer's name how many layers before it have that name."""
    seen: Counter[str] = Counter()
    for name in names:
        yield seen[name]
        seen[name] += 1


def write_blob(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write one array as a ``.binaryproto`` (a BlobProto, such as Caffe's mean images).

    Raises:
        CaffeModelError: the file cannot be written, or the array has more than four dimensions.
    """
    try:
        chunks = _blob_chunks(array, None)
    except (ValueError, TypeError) as error:
        raise CaffeModelError(str(error), path) from error
    with write_atomically(path, CaffeModelError, sync=True) as file:
        file.writelines(chunks)


def write_solverstate(
    path: str | os.PathLike[str],
    iteration: int,
    learned_net: str | None,
    history: Sequence[np.ndarray],
    current_step: int = 0,
    *,
    dialect: str = "v1",
) -> None:
    """Write a ``.solverstate`` that DeepLab resumes from.

    Args:
        path: the file; one that exists is replaced.
        iteration: the iteration to resume from.
        learned_net: path of the caffemodel of that iteration, or None.
        history: the momentum of every parameter blob, in net order.
        current_step: number of steps of the learning rate so far.
        dialect: ``"v1"`` writes blobs of four dimensions, any other their true shapes.

    Raises:
        CaffeModelError: the file cannot be written, or an array cannot be a blob.
    """
    make_blob = _blob_chunks if dialect == "v1" else _shaped_blob_chunks
    try:
        head = caffe_pb2.SolverState(iter=iteration, learned_net=learned_net)
        tail = caffe_pb2.SolverState(current_step=current_step)
        blobs = [make_blob(array, None) for array in history]
    except (ValueError, TypeError) as error:
        raise CaffeModelError(str(error), path) from error

    with write_atomically(path, CaffeModelError, sync=True) as file:
        file.write(head.SerializeToString())
        for chunks in blobs:
            _write_chunks(file, caffe_pb2.SolverState.HISTORY_FIELD_NUMBER, chunks)
        file.write(tail.SerializeToString())


def _in_dialect(net: caffe_pb2.NetParameter, dialect: str, path: str, options: bool) -> tuple[Any, str]:
    """Return a net converted to a dialect, and the dialect: for this package's files the next one that can hold it.

    DeepLab v1's and v2's releases have no room for some layers and fields that their nets may have here, such as V1's
    DECONVOLUTION.
    """
    try:
        return to_dialect(net, dialect, path, options=options), dialect
    except CaffeModelError:
        if not options:
            raise
        for wider in ("merge", "bvlc"):
            with suppress(CaffeModelError):
                return to_dialect(net, wider, path, options=True), wider
        raise


def _serialized(message: Message, path: str | os.PathLike[str]) -> bytes:
    try:
        return message.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise CaffeModelError(f"cannot be written: {error}", path, reason=str(error)) from error


def _only(message: Message, keep: Callable[[int], bool]) -> Message:
    """Return a copy with the fields whose number ``keep`` admits."""
    part = type(message)()
    for field, value in message.ListFields():
        if keep(field.number):
            put(part, field, value)
    return part


def _layer_chunks(
    layer: caffe_pb2.LayerParameter,
    blobs: Sequence[np.ndarray],
    diffs: Sequence[np.ndarray | None] | None,
    make_blob: Callable[[np.ndarray, np.ndarray | None, bool], list[Chunk]],
    path: str | os.PathLike[str],
    half: bool,
) -> list[Chunk]:
    number = layer.DESCRIPTOR.fields_by_name["blobs"].number
    if diffs is not None and len(diffs) != len(blobs):
        raise ValueError(f"{len(diffs)} diffs for {len(blobs)} blobs")
    chunks: list[Chunk] = [_serialized(_only(layer, lambda other: other < number), path)]
    for i, array in enumerate(blobs):
        is_half = half and fits_half(np.asarray(array), f"{path}: parameter blob {i} of layer '{layer.name}'")
        blob = make_blob(array, None if diffs is None else diffs[i], is_half)
        chunks += [_length_delimited(number, _size(blob)), *blob]
    chunks.append(_serialized(_only(layer, lambda other: other > number), path))
    return chunks


def _blob_chunks(array: np.ndarray, diff: np.ndarray | None, half: bool = False) -> list[Chunk]:
    """Return a BlobProto of the old kind, of four dimensions."""
    array = np.asarray(array)
    if array.ndim > OLD_AXES or any(dim > MAX_DIM for dim in array.shape):
        raise ValueError(f"an array of shape {array.shape} cannot be a blob of four int32 dimensions")
    num, channels, height, width = (1,) * (OLD_AXES - array.ndim) + array.shape
    head = caffe_pb2.BlobProto(num=num, channels=channels, height=height, width=width)
    return [head.SerializeToString(), *_number_chunks(array, diff, half, b"")]


def _shaped_blob_chunks(array: np.ndarray, diff: np.ndarray | None, half: bool = False) -> list[Chunk]:
    """Return a BlobProto with a BlobShape."""
    array = np.asarray(array)
    tail = caffe_pb2.BlobProto()
    tail.shape.SetInParent()
    tail.shape.dim.extend(array.shape)
    return _number_chunks(array, diff, half, tail.SerializeToString())


def _number_chunks(array: np.ndarray, diff: np.ndarray | None, half: bool, shape: bytes) -> list[Chunk]:
    """Return the fields of the numbers, with the shape in its place among them."""
    if diff is not None and np.shape(diff) != array.shape:
        raise ValueError(f"the diff has shape {np.shape(diff)}, its blob {array.shape}")
    chunks: list[Chunk] = []
    for number, numbers in ((_DATA, None if half else array), (_DIFF, diff)):
        if numbers is not None and np.size(numbers):
            chunks += _bytes_of(number, numbers, "<f4")
    chunks.append(shape)
    if half:
        chunks.append(caffe_pb2.BlobProto(raw_data_type=caffe_pb2.FLOAT16).SerializeToString())
        chunks += _bytes_of(_RAW, array, "<f2")
    return chunks


def _bytes_of(number: int, array: np.ndarray, dtype: str) -> list[Chunk]:
    flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    return [_length_delimited(number, flat.nbytes), flat.view(np.uint8).data]


def _size(chunks: Sequence[Chunk]) -> int:
    return sum(len(chunk) for chunk in chunks)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _length_delimited(number: int, length: int) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(length)


def _write_chunks(file: BinaryIO, number: int, chunks: Sequence[Chunk]) -> None:
    file.write(_length_delimited(number, _size(chunks)))
    file.writelines(chunks)
