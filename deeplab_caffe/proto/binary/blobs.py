"""BlobProto: a blob's shape and its numbers, as views of the mapped file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from deeplab_caffe.proto.binary.wire import (
    BYTES,
    VARINT,
    Field,
    NumberList,
    WireError,
    expect,
    read_field,
    read_varint,
    to_signed,
)
from deeplab_caffe.proto.dims import MAX_AXES
from deeplab_caffe.proto.raw import raw_numbers

_LEGACY = {1: "num", 2: "channels", 3: "height", 4: "width"}
_SHAPE = 7
_NUMBERS = {5: ("data", "<f4"), 6: ("diff", "<f4"), 8: ("double_data", "<f8"), 9: ("double_diff", "<f8")}
# Fields of NVIDIA's Caffe (its caffe.proto): raw bytes, and their type.
_RAW_TYPES = {10: "raw_data", 11: "raw_diff"}
_RAW = {12: "raw_data", 13: "raw_diff"}


@dataclass(frozen=True, eq=False, slots=True)
class ModelBlob:
    """A parameter blob of a model file.

    Attributes:
        shape: as the file gives it: ``(num, channels, height, width)`` in DeepLab v1's and other old files, any
            number of dimensions in newer ones.
        data: array of that shape, float32 (float64 if the file has doubles, float16 if NVIDIA's Caffe or this package
            wrote halves). A read-only view of the mapped file, which may be unaligned; :meth:`copy` returns an aligned
            array.
        diff: the gradient, in the same form; None if the file has none.
        offset: byte offset of the blob in the file.
    """

    shape: tuple[int, ...]
    data: np.ndarray
    diff: np.ndarray | None = None
    offset: int = 0

    @property
    def count(self) -> int:
        """Return the number of elements."""
        return self.data.size

    def copy(self) -> np.ndarray:
        """Return a copy of the data, aligned, contiguous and writable, as ``torch.from_numpy`` needs it.

        float16 becomes float32, which is exact.
        """
        return np.array(self.data, dtype=np.result_type(self.data, np.float32), order="C")


def read_blob_message(buffer: memoryview, start: int, end: int, scalars: bool = False) -> ModelBlob:
    """Read the BlobProto in ``buffer[start:end]``.

    With ``scalars``, numbers without dimensions are a blob of no axes: BVLC's Caffe writes no BlobShape for it, as of a
    PReLU's shared slope. Without, they are malformed: DeepLab v1's blobs have four axes.

    Raises:
        WireError: it is malformed, or its shape does not fit the count of its numbers.
    """
    found = _read_fields(buffer, start, end)
    arrays = found.arrays(buffer)
    # As Blob::FromProto of blob.cpp, BVLC's and NVIDIA's: doubles take precedence over floats, and both over raw bytes.
    data = _first_filled(arrays, "double_data", "data", "raw_data")
    shape = found.shape(scalar=scalars and data is not None)
    diff = _first_filled(arrays, "double_diff", "diff", "raw_diff")
    count = math.prod(shape)
    if data is None:
        if count:
            raise WireError(f"the shape {shape} wants {count} numbers, the file has none", start)
        data = np.empty(0, "<f4")
    for name, array in (("data", data), ("diff", diff)):
        if array is not None and array.size != count:
            raise WireError(f"the shape {shape} wants {count} numbers, {name} has {array.size}", start)
    try:
        return ModelBlob(shape, data.reshape(shape), None if diff is None else diff.reshape(shape), start)
    except (ValueError, OverflowError) as error:  # no numbers, yet dimensions beyond the address space
        raise WireError(f"the shape {shape} cannot be an array's", start) from error


@dataclass
class _BlobFields:
    """The fields of a BlobProto.

    Attributes:
        legacy: the old dimensions that are given, by name.
        dims: the dimensions of ``shape``; None without one.
        numbers: the lists of numbers, by name.
        raw: the fields of raw bytes, by name.
        raw_types: the types of the numbers in them, by the same names.
    """

    legacy: dict[str, int] = field(default_factory=dict)
    dims: list[int] | None = None
    numbers: dict[str, NumberList] = field(default_factory=dict)
    raw: dict[str, Field] = field(default_factory=dict)
    raw_types: dict[str, int] = field(default_factory=dict)

    def shape(self, scalar: bool) -> tuple[int, ...]:
        """Return the shape: the old dimensions are used if any is given, as by Blob::FromProto.

        Without any dimensions it is that of no axes for a ``scalar``, and otherwise four zeros.
        """
        if self.legacy or (self.dims is None and not scalar):
            return tuple(self.legacy.get(name, 0) for name in _LEGACY.values())
        if self.dims is None:
            return ()
        return tuple(self.dims)

    def arrays(self, buffer: memoryview) -> dict[str, np.ndarray]:
        """Return the numbers by the fields' names.

        Raises:
            WireError: raw bytes have no type, or are no whole number of values.
        """
        arrays = {name: numbers.result() for name, numbers in self.numbers.items()}
        for name, one in self.raw.items():
            try:
                arrays[name] = raw_numbers(buffer[one.start : one.end], self.raw_types.get(name), name)
            except ValueError as error:
                raise WireError(str(error), one.offset) from error
        return arrays


def _read_fields(buffer: memoryview, start: int, end: int) -> _BlobFields:
    found = _BlobFields()
    position = start
    while position < end:
        one = read_field(buffer, position, end)
        position = one.end
        if one.number in _NUMBERS:
            name, dtype = _NUMBERS[one.number]
            if name not in found.numbers:
                found.numbers[name] = NumberList(buffer, dtype, name)
            position = found.numbers[name].add(one, end)
        elif one.number in _LEGACY:
            name = _LEGACY[one.number]
            expect(one, VARINT, name)
            size = found.legacy[name] = to_signed(one.value, 32)
            if size < 0:
                raise WireError(f"{name} is {size}: a dimension cannot be negative", one.offset)
        elif one.number == _SHAPE:
            expect(one, BYTES, "shape")
            found.dims = [] if found.dims is None else found.dims
            _read_dims(buffer, one.start, one.end, found.dims)
        elif one.number in _RAW:
            expect(one, BYTES, _RAW[one.number])
            found.raw[_RAW[one.number]] = one
        elif one.number in _RAW_TYPES:
            expect(one, VARINT, f"{_RAW_TYPES[one.number]}_type")
            found.raw_types[_RAW_TYPES[one.number]] = one.value
    return found


def _first_filled(arrays: dict[str, np.ndarray], *names: str) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays and arrays[name].size), None)


def _read_dims(buffer: memoryview, start: int, end: int, dims: list[int]) -> None:
    position = start
    while position < end:
        field = read_field(buffer, position, end)
        position = field.end
        if field.number != 1:
            continue
        if field.wire_type == VARINT:
            _append_dim(dims, field.value, field.offset)
            continue
        expect(field, BYTES, "dim")
        at = field.start
        while at < field.end:
            value, after = read_varint(buffer, at, field.end)
            _append_dim(dims, value, at)
            at = after


def _append_dim(dims: list[int], value: int, offset: int) -> None:
    dim = to_signed(value, 64)
    if dim < 0:
        raise WireError(f"dimension {len(dims)} is {dim}: it cannot be negative", offset)
    if len(dims) == MAX_AXES:
        raise WireError(f"a blob has more than {MAX_AXES} dimensions", offset)
    dims.append(dim)
