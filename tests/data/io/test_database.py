"""LMDBs that were copied by half or are damaged; tests/data/sources/test_database.py reads sound ones."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from deeplab_caffe.data.io.database import LMDB
from deeplab_caffe.errors import DataError

lmdb = pytest.importorskip("lmdb")
PAGE = 4096


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """200 records of 300 bytes and one of 9,000, which lies on pages of its own."""
    with lmdb.open(os.fspath(tmp_path / "whole"), map_size=1 << 22) as environment:
        with environment.begin(write=True) as transaction:
            for i in range(200):
                transaction.put(b"%08d" % i, bytes([i]) * (9000 if i == 70 else 300))
        assert environment.stat()["psize"] == PAGE
    return (tmp_path / "whole" / "data.mdb").read_bytes()


def read_all(path: Path, content: bytes) -> int:
    path.write_bytes(content)
    database = LMDB(path)
    return sum(len(database.get(key)) for key in list(database.keys()))


def test_whole(tmp_path: Path, whole: bytes) -> None:
    assert read_all(tmp_path / "data.mdb", whole) == 199 * 300 + 9000


@pytest.mark.parametrize("left", [-1, -PAGE, -2 * PAGE, 5 * PAGE, 2 * PAGE])
def test_a_part_of_an_lmdb(tmp_path: Path, whole: bytes, left: int) -> None:
    with pytest.raises(DataError, match=rf"data\.mdb: truncated: {len(whole):,} bytes needed, got"):
        read_all(tmp_path / "data.mdb", whole[:left])


def test_pages_that_never_came(tmp_path: Path, whole: bytes) -> None:
    # Some programs make the file of its full size first, and fill it as they copy.
    refused = 0
    for first in range(2 * PAGE, len(whole), PAGE):
        path = tmp_path / f"{first}.mdb"
        path.write_bytes(whole[:first] + bytes(PAGE) + whole[first + PAGE :])
        try:
            database = LMDB(path)
        except DataError as error:
            refused += bool(re.search(rf"{path}: the LMDB file is damaged: page \d+ is no (leaf|branch)", str(error)))
        else:
            # The page is free, or one of the long value.
            assert sum(len(database.get(key)) for key in list(database.keys())) == 199 * 300 + 9000
    with lmdb.open(os.fspath(tmp_path / "whole"), readonly=True) as environment:
        assert refused == environment.stat()["leaf_pages"] + environment.stat()["branch_pages"] > 10


# A leaf's node: the value's length, flags (1: on pages of its own), the key's length, the key, the page.
LONG = struct.pack("<IHH8s", 9000, 1, 8, b"00000070")
SHORT = struct.pack("<IHH8s", 300, 0, 8, b"00000071")


@pytest.mark.parametrize(
    ("node", "claimed"),
    [
        (LONG, struct.pack("<IHH8s", 90_000, 1, 8, b"00000070")),
        (LONG, struct.pack("<IHH8s", 9000, 0, 8, b"00000070")),
        (SHORT, struct.pack("<IHH8s", 30_000, 0, 8, b"00000071")),
        (SHORT, struct.pack("<IHH8s", 300, 1, 8, b"00000071")),
        (SHORT, struct.pack("<IHH8s", 300, 4, 8, b"00000071")),
        (SHORT, struct.pack("<IHH8s", 300, 0, 60_000, b"00000071")),
    ],
)
def test_values_outside_the_file_or_page(tmp_path: Path, whole: bytes, node: bytes, claimed: bytes) -> None:
    assert node in whole
    with pytest.raises(DataError, match=r"data\.mdb: the LMDB file is damaged: page \d+ has values outside"):
        read_all(tmp_path / "data.mdb", whole.replace(node, claimed))


def test_a_branch_that_leads_round_in_circles(tmp_path: Path, whole: bytes) -> None:
    with lmdb.open(os.fspath(tmp_path / "whole"), readonly=True) as environment:
        assert environment.stat()["depth"] == 2
    branches = [i for i in range(2 * PAGE, len(whole), PAGE) if whole[i + 10 : i + 12] == b"\x01\0"]
    content = bytearray(whole)
    for branch in branches:
        (node,) = struct.unpack_from("<H", content, branch + 16)
        struct.pack_into("<IH", content, branch + node, branch // PAGE, 0)
    with pytest.raises(DataError, match="is no leaf"):
        read_all(tmp_path / "data.mdb", bytes(content))


BRANCH, LEAF = 1, 2


@pytest.mark.parametrize(
    ("kind", "place", "change", "message"),
    [
        # The page's number; its flags; the ends of its nodes' table, from byte 16 on, and of its free space.
        (LEAF, 0, lambda number: number + 1, "is no leaf"),
        (LEAF, 10, lambda flags: BRANCH, "is no branch|is no leaf"),
        (LEAF, 12, lambda lower: 16, "is no leaf"),
        (BRANCH, 12, lambda lower: 18, "is no branch"),
        (LEAF, 14, lambda upper: 16, "is no leaf"),
        (LEAF, 14, lambda upper: PAGE + 2, "is no leaf"),
        # Its first node.
        (LEAF, 16, lambda node: 16, "has nodes outside"),
        (LEAF, 16, lambda node: node + 1, "has nodes outside"),
        (LEAF, 16, lambda node: PAGE - 6, "has nodes outside"),
    ],
)
def test_damaged_heads_of_pages(
    tmp_path: Path, whole: bytes, kind: int, place: int, change: Callable[[int], int], message: str
) -> None:
    content = bytearray(whole)
    for page in range(2 * PAGE, len(whole), PAGE):
        (flags,) = struct.unpack_from("<H", whole, page + 10)
        if flags == kind:
            struct.pack_into("<H", content, page + place, change(*struct.unpack_from("<H", whole, page + place)))
    with pytest.raises(DataError, match=rf"data\.mdb: the LMDB file is damaged: page \d+ ({message})"):
        read_all(tmp_path / "data.mdb", bytes(content))


@pytest.mark.parametrize("content", [b"", b"no LMDB", bytes(3 * PAGE)])
def test_no_lmdb(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"data\.mdb: cannot be opened as LMDB"):
        read_all(tmp_path / "data.mdb", content)


def test_an_empty_lmdb(tmp_path: Path) -> None:
    lmdb.open(os.fspath(tmp_path / "empty")).close()
    assert list(LMDB(tmp_path / "empty").keys()) == []
