from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab_caffe.proto.binary.wire import (
    BYTES,
    FIXED32,
    START_GROUP,
    VARINT,
    Field,
    NumberList,
    WireError,
    expect,
    read_field,
    read_text,
    read_varint,
    to_signed,
)
from tests.proto.encode import chunk, doubles, floats, number, tag, varint


def read(raw: bytes, at: int = 0) -> Field:
    return read_field(memoryview(raw), at, len(raw))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\x00", 0),
        (b"\x7f", 127),
        (b"\x80\x01", 128),
        (b"\xac\x02", 300),
        (b"\x81\x80\x00", 1),  # longer than need be, as protobuf allows
        (b"\xff" * 9 + b"\x01", 2**64 - 1),
    ],
)
def test_varints(raw, value):
    assert read_varint(memoryview(raw), 0, len(raw)) == (value, len(raw))


@pytest.mark.parametrize("raw", [b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x00", b"\xff" * 11])
def test_varints_that_are_too_long(raw):
    with pytest.raises(WireError, match=r"longer than 64 bits"):
        read_varint(memoryview(raw), 0, len(raw))


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff" * 9])
def test_varints_that_are_cut_off(raw):
    with pytest.raises(WireError, match=r"runs past the end"):
        read_varint(memoryview(raw), 0, len(raw))


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(value):
    raw = varint(value)
    assert read_varint(memoryview(raw), 0, len(raw)) == (value, len(raw))


def test_fields_by_hand():
    assert read(b"\x08\x96\x01") == Field(1, VARINT, 150, 1, 3, 0)
    assert read(b"\x12\x02hi!") == Field(2, BYTES, 0, 2, 4, 0)
    assert read(b"??\x2d\x00\x00\x80\x3f", 2) == Field(5, FIXED32, 0, 3, 7, 2)
    assert read(b"\x41" + b"\0" * 8).end == 9


def test_groups_are_skipped_whole():
    raw = b"\x0b" + b"\x08\x01" + b"\x13\x14" + b"\x0c" + b"\x08\x05"
    group = read(raw)
    assert (group.number, group.wire_type, group.end) == (1, START_GROUP, 6)
    assert read(raw, group.end).value == 5


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x0b", "is not ended"),
        (b"\x0b\x14", "another field number"),
        (b"\x0c", "was not begun"),
        (b"\x0b" * 101 + b"\x0c" * 101, "nested more than 100 deep"),
        (b"\x0b" * 100_000, "nested more than 100 deep"),
        (b"\x00\x01", "field number 0"),
        (tag(2**29, 0) + b"\x00", "field number 536870912"),
        (b"\x0e\x00", "unknown wire type 6"),
        (b"\x0f\x00", "unknown wire type 7"),
        (b"\x12\x05hi", "wants 5 bytes where 2 remain"),
        (b"\x12" + varint(2**64 - 1), "wants 18446744073709551615 bytes where 0 remain"),
        (b"\x2d\x00\x00", "wants 4 bytes where 2 remain"),
        (b"\x29\x00\x00", "wants 8 bytes where 2 remain"),
    ],
)
def test_malformed_fields(raw, message):
    with pytest.raises(WireError, match=message):
        read(raw)


def test_depth_up_to_the_limit():
    assert read(b"\x0b" * 100 + b"\x0c" * 100).end == 200


def test_nothing_is_read_beyond_the_end_given():
    raw = memoryview(b"\x12\x02hi")
    with pytest.raises(WireError, match=r"where 1 remain"):
        read_field(raw, 0, 3)


def test_signed():
    assert to_signed(5, 32) == 5
    assert to_signed(2**64 - 1, 32) == -1
    assert to_signed(2**31, 32) == -(2**31)
    assert to_signed(2**32 + 7, 32) == 7  # protobuf cuts an int32 to 32 bits
    assert to_signed(2**63, 64) == -(2**63)


def test_text_and_expect():
    raw = chunk(1, "é")
    assert read_text(memoryview(raw), read(raw), "name") == "é"
    bad = chunk(1, b"\xff")
    with pytest.raises(WireError, match=r"'name'. is not UTF-8"):
        read_text(memoryview(bad), read(bad), "name")
    with pytest.raises(WireError, match=r"field 1 .'x'. is varint, expected length-delimited"):
        expect(read(number(1, 1)), BYTES, "x")


def collect(raw: bytes, dtype: str = "<f4") -> tuple[np.ndarray, int]:
    """All of field 5 in ``raw``, and how many steps it took."""
    numbers, at, steps = NumberList(memoryview(raw), dtype, "data"), 0, 0
    while at < len(raw):
        at = numbers.add(read(raw, at), len(raw))
        steps += 1
    return numbers.result(), steps


def one(value: float) -> bytes:
    return tag(5, 5) + floats(value)


def test_one_packed_piece_is_a_view():
    raw = chunk(5, floats(1, 2, 3))
    result, _ = collect(raw)
    assert result.tolist() == [1, 2, 3]
    assert not result.flags.owndata
    assert not result.flags.writeable
    assert np.shares_memory(result, np.frombuffer(raw, np.uint8))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", []),
        (chunk(5, b""), []),
        (one(1), [1]),
        (one(1) + one(2) + one(3), [1, 2, 3]),
        (chunk(5, floats(1)) + chunk(5, floats(2, 3)), [1, 2, 3]),
        (one(1) + chunk(5, floats(2, 3)) + one(4) + chunk(5, b"") + one(5), [1, 2, 3, 4, 5]),
        (chunk(5, b"") + one(1), [1]),
        # a tag that is longer than need be
        (b"\xad\x00" + floats(7) + b"\xad\x00" + floats(8) + one(9), [7, 8, 9]),
    ],
)
def test_other_ways_to_write_the_numbers(raw, expected):
    assert collect(raw)[0].tolist() == expected


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 66, 129, 1000])
def test_runs_of_single_numbers_are_taken_at_once(count):
    values = np.arange(count, dtype="<f4")
    raw = b"".join(one(value) for value in values)
    result, steps = collect(raw)
    assert result.tolist() == values.tolist()
    assert steps == 1
    # The run ends where the tag does not fit any more, whatever the payload looks like.
    result, steps = collect(raw + chunk(5, floats(0.5)))
    assert result.tolist() == [*values.tolist(), 0.5]
    assert steps == 2


def test_doubles():
    raw = chunk(5, doubles(1.1, 2.2)) + tag(5, 1) + doubles(3.3)
    assert collect(raw, "<f8")[0].tolist() == [1.1, 2.2, 3.3]


@pytest.mark.parametrize(
    ("raw", "dtype", "message"),
    [
        (chunk(5, b"\0" * 7), "<f4", "has 7 bytes, no multiple of 4"),
        (chunk(5, b"\0" * 4), "<f8", "has 4 bytes, no multiple of 8"),
        (number(5, 1), "<f4", "is varint, expected length-delimited"),
        (tag(5, 1) + b"\0" * 8, "<f4", "is 64-bit, expected"),
        (one(1), "<f8", "is 32-bit, expected"),
    ],
)
def test_malformed_numbers(raw, dtype, message):
    with pytest.raises(WireError, match=message):
        collect(raw, dtype)
