"""The MAT version 5 container ("MAT-File Format", MathWorks): elements of a tag and bytes, padded to eight bytes.

Only numeric arrays at the top level are supported, which is what blobs need. Every length is checked against the file
before memory is allocated, because the files may come from anywhere.

``scipy.io.loadmat`` is not used, because it is not safe for such files: of the 18,500 hostile files of
``tools/fuzz_mat.py`` (scipy 1.17.1, Python 3.11, with ``whosmat`` called first for the size) 110 crashed the process,
most by SIGSEGV in ``read_var_array``, one of 189 bytes even without a memory limit; ten of the first 500 took up to 2
GiB, one more than two seconds. This reader read 20,000 of them without a crash, a delay or a growth of memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import BinaryIO, Protocol

import numpy as np

# MATLAB's limit for a variable of version 5.
MAX_BYTES = 2**31 - 1

_HEADER_BYTES = 128
_MI_INT8, _MI_INT32, _MI_UINT32, _MI_SINGLE, _MI_MATRIX, _MI_COMPRESSED = 1, 5, 6, 7, 14, 15
# Storage types of numbers, which may differ from the class: MATLAB stores doubles that are small integers as bytes.
_STORAGE = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {
    **{1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8", 9: "uint8"},
    **{10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64", 16: "function", 17: "opaque"},
}
_NUMERIC_CLASSES = range(6, 16)
_MX_SINGLE = 7


class MatFormatError(ValueError):
    """The bytes are not a MAT file of version 5, or it is damaged."""


class _Source(Protocol):
    """The source of an element's bytes: the file, or the unpacked bytes of a compressed element."""

    left: int

    def take(self, count: int, what: str) -> bytes: ...

    def skip(self, count: int, what: str) -> None: ...


@dataclass
class NumericArray:
    """A variable whose header has been read, but not its values.

    Attributes:
        class_name: MATLAB's class, such as "single" or "cell".
        dims: MATLAB's dimensions, the first one contiguous; empty if the class is not numeric.
        is_complex: whether an imaginary part follows.
        is_logical: whether MATLAB shows the numbers as true and false.
    """

    class_name: str
    dims: tuple[int, ...]
    is_complex: bool
    is_logical: bool
    source: _Source
    order: str

    def values(self) -> np.ndarray:
        """Read the real part, 1-D, in the file's order, as its storage type.

        Raises:
            MatFormatError: the values are truncated, or their number does not fit ``dims``.
        """
        kind, count, small = _tag(self.source, self.order, f"values of '{self.class_name}'")
        if kind not in _STORAGE:
            raise MatFormatError(f"damaged: values of unknown storage type {kind}")
        dtype = np.dtype(self.order + _STORAGE[kind])
        if count != prod(self.dims) * dtype.itemsize:
            raise MatFormatError(
                f"damaged: dimensions {self.dims} need {prod(self.dims) * dtype.itemsize:,} bytes, got {count:,}"
            )
        content = small if small is not None else self.source.take(count, "values")
        return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False)


def encode_header(name: str, dims: Sequence[int], byte_count: int) -> bytes:
    """Return all bytes before the values of a file with one single-precision variable.

    Args:
        name: name of the variable, up to four characters.
        dims: MATLAB's dimensions.
        byte_count: number of bytes of the values; the caller pads them to a multiple of eight.
    """
    text = b"MATLAB 5.0 MAT-file, Created by: deeplab-caffe\n"
    flags = struct.pack("<IIII", _MI_UINT32, 8, _MX_SINGLE, 0)
    shape = struct.pack(f"<II{len(dims)}i", _MI_INT32, 4 * len(dims), *dims) + bytes(4 * (len(dims) % 2))
    title = struct.pack("<HH4s", _MI_INT8, len(name), name.encode("ascii"))
    values = struct.pack("<II", _MI_SINGLE, byte_count)
    body = flags + shape + title + values
    matrix = struct.pack("<II", _MI_MATRIX, len(body) + byte_count + -byte_count % 8)
    return text.ljust(124) + b"\x00\x01IM" + matrix + body


def find_variable(stream: BinaryIO, size: int, name: str) -> NumericArray | None:
    """Find the variable ``name``; return None if the file has none of that name.

    Args:
        stream: the file, at its start. It must stay open until the values are read.
        size: length of the file in bytes.
        name: name of the variable.

    Raises:
        MatFormatError: this is not a MAT file of version 5, or it is damaged before or in the variable's header.
    """
    file = _FileSource(stream, size)
    header = file.take(_HEADER_BYTES, "header") if size >= _HEADER_BYTES else b""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None:
        raise MatFormatError("is not a MAT file of version 5 or 7.3")
    version = struct.unpack(order + "H", header[124:126])[0]
    if version >> 8 != 1:
        raise MatFormatError(f"is not a MAT file of version 5: its header says version {version:#06x}")
    while file.left:
        kind, count, _ = _tag(file, order, "an element", allow_small=False)
        if count > file.left:
            raise MatFormatError(f"truncated: an element of {count:,} bytes, {file.left:,} bytes left")
        element = _FileSource(stream, count)
        source: _Source = element
        if kind == _MI_COMPRESSED:
            source = _ZlibSource(element.take(count, "a compressed element"))
            kind, inner, _ = _tag(source, order, "a compressed element", allow_small=False)
            source.limit(inner)
        if kind == _MI_MATRIX and count:
            found, found_name = _array_header(source, order)
            if found_name == name:
                return found
        element.skip(element.left, "an element")
        file.left -= count
    return None


class _FileSource:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.left = size
        self._stream = stream

    def take(self, count: int, what: str) -> bytes:
        content = self._stream.read(count) if count <= self.left else b""
        if len(content) != count:
            raise MatFormatError(f"truncated in {what}: {count:,} bytes expected, {self.left:,} left")
        self.left -= count
        return content

    def skip(self, count: int, what: str) -> None:
        if not 0 <= count <= self.left:
            raise MatFormatError(f"damaged or truncated in {what}: {count:,} bytes to go, {self.left:,} left")
        self._stream.seek(count, 1)
        self.left -= count


class _ZlibSource:
    """Unpacks no more than requested, so that a small file cannot use up all memory."""

    # Deflate compresses at most 1032 to 1 (zlib's technical notes).
    _MAX_RATIO = 1032

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._unpacker = zlib.decompressobj()
        self.left = min(len(packed) * self._MAX_RATIO, MAX_BYTES + 2**16)

    def limit(self, count: int) -> None:
        """Accept the unpacked element's own length, if it is possible."""
        if count > self.left:
            raise MatFormatError(f"damaged: a compressed element of {count:,} bytes in {len(self._packed):,}")
        self.left = count

    def take(self, count: int, what: str) -> bytes:
        if count > self.left:
            raise MatFormatError(f"damaged in {what}: {count:,} bytes expected, {self.left:,} left")
        parts = []
        wanted = count
        try:
            while wanted:
                part = self._unpacker.decompress(self._packed, wanted)
                self._packed = self._unpacker.unconsumed_tail
                if not part:
                    raise MatFormatError(f"truncated in {what}: {wanted:,} of {count:,} unpacked bytes are missing")
                parts.append(part)
                wanted -= len(part)
        except zlib.error as exc:
            raise MatFormatError(f"damaged: {exc}") from exc
        self.left -= count
        return b"".join(parts)

    def skip(self, count: int, what: str) -> None:
        self.take(count, what)


def _tag(source: _Source, order: str, what: str, *, allow_small: bool = True) -> tuple[int, int, bytes | None]:
    """Read type, byte count, and, for a small tag, the bytes that are in the tag itself."""
    raw = source.take(8, what)
    kind, count = struct.unpack(order + "II", raw)
    if kind >> 16 == 0:
        return kind, count, None
    kind, count = kind & 0xFFFF, kind >> 16
    if count > 4 or not allow_small:
        raise MatFormatError(f"damaged: {what} has a small tag of {count} bytes")
    return kind, count, raw[4 : 4 + count]


def _array_header(source: _Source, order: str) -> tuple[NumericArray, str]:
    """Read flags, dimensions and name of a matrix element."""
    flags = _element(source, order, "array flags", _MI_UINT32, limit=8)
    if len(flags) != 8:
        raise MatFormatError(f"damaged: array flags of {len(flags)} bytes")
    word = struct.unpack(order + "I", flags[:4])[0]
    number = word & 0xFF
    if number not in _CLASSES:
        raise MatFormatError(f"damaged: unknown array class {number}")
    numeric = number in _NUMERIC_CLASSES
    dims: tuple[int, ...] = ()
    # Opaque objects have no dimensions; every other class does.
    if number != 17:
        raw = _element(source, order, "dimensions", _MI_INT32, limit=4 * 64)
        if len(raw) % 4 or len(raw) < 8:
            raise MatFormatError(f"damaged: dimensions of {len(raw)} bytes")
        dims = struct.unpack(f"{order}{len(raw) // 4}i", raw)
        if min(dims) < 0:
            raise MatFormatError(f"damaged: negative dimensions {dims}")
    name = _element(source, order, "name", _MI_INT8, limit=4096).decode("latin-1")
    is_complex, is_logical = bool(word & 0x800), bool(word & 0x200)
    return NumericArray(_CLASSES[number], dims if numeric else (), is_complex, is_logical, source, order), name


def _element(source: _Source, order: str, what: str, kind: int, *, limit: int) -> bytes:
    found, count, small = _tag(source, order, what)
    if found != kind or count > limit:
        raise MatFormatError(f"damaged: {what} of storage type {found} and {count:,} bytes")
    if small is not None:
        return small
    content = source.take(count, what)
    source.skip(-count % 8, what)
    return content
