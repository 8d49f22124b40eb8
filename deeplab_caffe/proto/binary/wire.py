"""The protobuf wire format, read with bounds checks and without copies.

Functions work on a ``memoryview`` of bytes with absolute offsets, and never read beyond their argument ``end``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

VARINT, FIXED64, BYTES, START_GROUP, END_GROUP, FIXED32 = range(6)
WIRE_TYPE_NAMES = ("varint", "64-bit", "length-delimited", "start of group", "end of group", "32-bit")

# As protobuf's own recursion limit.
MAX_DEPTH = 100
# A hostile file could hold one two-byte layer after another, each of which costs hundreds of bytes once it is a Python
# object. No net has as many layers, blobs and names as this.
MAX_PARTS = 100_000
_MAX_VARINT_BYTES = 10
_MAX_FIELD_NUMBER = (1 << 29) - 1


class WireError(Exception):
    """The bytes are not a protobuf message, or not the expected one.

    Attributes:
        offset: absolute offset of the offending byte or field.
        layer: name of the layer being read, set by the caller.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset
        self.layer: str | None = None


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: the field number.
        wire_type: VARINT, FIXED32, FIXED64, BYTES or START_GROUP.
        value: the number if ``wire_type`` is VARINT (unsigned, below 2**64), else 0.
        start: offset of the payload.
        end: offset after the field.
        offset: offset of the field's tag.
    """

    number: int
    wire_type: int
    value: int
    start: int
    end: int
    offset: int


def read_varint(buffer: memoryview, position: int, end: int) -> tuple[int, int]:
    """Return an unsigned 64-bit varint and the offset after it.

    Raises:
        WireError: it runs past ``end`` or is longer than 10 bytes or 64 bits.
    """
    # Most are one byte: a net of a thousand layers has forty thousand of them.
    if position < end and (value := buffer[position]) < 0x80:
        return value, position + 1
    value = 0
    for i in range(_MAX_VARINT_BYTES):
        if position + i >= end:
            raise WireError("a varint runs past the end of its message", position)
        byte = buffer[position + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + i + 1
    raise WireError("a varint is longer than 64 bits", position)


def read_field(buffer: memoryview, position: int, end: int) -> Field:
    """Read the field at ``position``; a group is skipped as a whole.

    Raises:
        WireError: it is malformed or does not end by ``end``.
    """
    field = _read_flat_field(buffer, position, end)
    if field.wire_type == END_GROUP:
        raise WireError(f"end of a group (field {field.number}) that was not begun", position)
    if field.wire_type != START_GROUP:
        return field
    open_groups = [field.number]
    at = field.end
    while open_groups:
        if at >= end:
            raise WireError(f"group (field {field.number}) is not ended", position)
        inner = _read_flat_field(buffer, at, end)
        at = inner.end
        if inner.wire_type == START_GROUP:
            open_groups.append(inner.number)
            if len(open_groups) > MAX_DEPTH:
                raise WireError(f"groups are nested more than {MAX_DEPTH} deep", inner.offset)
        elif inner.wire_type == END_GROUP and open_groups.pop() != inner.number:
            raise WireError("a group is ended by another field number than it was begun with", inner.offset)
    return field._replace(end=at)


def _read_flat_field(buffer: memoryview, position: int, end: int) -> Field:
    tag, start = read_varint(buffer, position, end)
    number, wire_type = tag >> 3, tag & 7
    if not 1 <= number <= _MAX_FIELD_NUMBER:
        raise WireError(f"field number {number} is not in 1 ... {_MAX_FIELD_NUMBER}", position)
    if wire_type == VARINT:
        value, after = read_varint(buffer, start, end)
        return Field(number, wire_type, value, start, after, position)
    if wire_type == BYTES:
        length, start = read_varint(buffer, start, end)
    elif wire_type in (START_GROUP, END_GROUP):
        length = 0
    elif wire_type in (FIXED32, FIXED64):
        length = 4 if wire_type == FIXED32 else 8
    else:
        raise WireError(f"field {number} has the unknown wire type {wire_type}", position)
    if length > end - start:
        raise WireError(f"field {number} wants {length} bytes where {end - start} remain", position)
    return Field(number, wire_type, 0, start, start + length, position)


def expect(field: Field, wire_type: int, name: str) -> None:
    """Check the wire type of a known field.

    Raises:
        WireError: the field has another wire type.
    """
    if field.wire_type != wire_type:
        raise WireError(
            f"field {field.number} ('{name}') is {WIRE_TYPE_NAMES[field.wire_type]},"
            f" expected {WIRE_TYPE_NAMES[wire_type]}",
            field.offset,
        )


def to_signed(value: int, bits: int) -> int:
    """Return a varint's value as a two's complement number of ``bits`` bits, as protobuf reads int32 and int64."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def read_text(buffer: memoryview, field: Field, name: str) -> str:
    """Return a string field.

    Raises:
        WireError: it is not length-delimited or not UTF-8.
    """
    expect(field, BYTES, name)
    try:
        return bytes(buffer[field.start : field.end]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"field {field.number} ('{name}') is not UTF-8", field.offset) from error


class NumberList:
    """Collect a repeated float or double field, packed or not, in one piece or several.

    A single packed piece stays a view of the buffer; other forms are copied into one array.

    Args:
        buffer: the bytes.
        dtype: ``"<f4"`` or ``"<f8"``.
        name: the field's name, for messages.
    """

    def __init__(self, buffer: memoryview, dtype: str, name: str) -> None:
        self._buffer = buffer
        self._dtype = np.dtype(dtype)
        self._name = name
        self._view: np.ndarray | None = None
        self._gathered: bytearray | None = None

    def add(self, field: Field, end: int) -> int:
        """Add a field and the run of unpacked fields that follows it; return the offset after them.

        Raises:
            WireError: wrong wire type, or a packed length that is not a multiple of the number's size.
        """
        width = self._dtype.itemsize
        if field.wire_type == (FIXED32 if width == 4 else FIXED64):
            count = self._run_length(field, end)
            raw = np.ndarray((count,), self._dtype, self._buffer, field.start, (width + field.start - field.offset,))
            self._append(raw, may_stay=False)
            return field.start + (count - 1) * (width + field.start - field.offset) + width
        expect(field, BYTES, self._name)
        length = field.end - field.start
        if length % width:
            raise WireError(
                f"packed field {field.number} ('{self._name}') has {length} bytes, no multiple of {width}", field.offset
            )
        self._append(np.frombuffer(self._buffer, self._dtype, length // width, field.start), may_stay=True)
        return field.end

    def _run_length(self, field: Field, end: int) -> int:
        """Return the number of fields in a row with the same one-byte tag."""
        stride = field.end - field.offset
        if field.start - field.offset != 1:
            return 1
        tag = self._buffer[field.offset]
        most = (end - field.offset) // stride
        tags = np.ndarray((most,), np.uint8, self._buffer, field.offset, (stride,))
        count, step = 1, 64
        while count < most:
            other = np.flatnonzero(tags[count : count + step] != tag)
            if other.size:
                return count + int(other[0])
            count, step = min(most, count + step), step * 2
        return count

    def _append(self, numbers: np.ndarray, may_stay: bool) -> None:
        if self._gathered is None and self._view is None and may_stay:
            self._view = numbers
        elif numbers.size:
            if self._gathered is None:
                self._gathered = bytearray() if self._view is None else bytearray(self._view.tobytes())
                self._view = None
            self._gathered += numbers.tobytes()

    def result(self) -> np.ndarray:
        """Return the numbers ``(count,)``: if possible a read-only view of the buffer, which may be unaligned."""
        if self._gathered is not None:
            return np.frombuffer(self._gathered, self._dtype)
        return np.empty(0, self._dtype) if self._view is None else self._view
