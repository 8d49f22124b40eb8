"""Check the pages of an LMDB file before the library reads it, which trusts them and maps the file into memory.

The layout is that of ``mdb.c`` of OpenLDAP's LMDB, data version 1. Overflow pages with large values are not read.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from deeplab_caffe.errors import DataError

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NO_PAGE = 2**64 - 1
# Header of a page: its number, unused, flags, end of the table of nodes, end of the free space.
_HEADER = struct.Struct("<QHHHH")
# Meta page: magic, version, address, size of the map, free and main database, last page, transaction.
_META = struct.Struct("<IIQQ48s48sQQ")
# Database record: page size (in the free database's), flags, depth, branch, leaf and overflow pages, entries, root.
_DATABASE = struct.Struct("<IHHQQQQQ")
_BRANCH, _LEAF = 1, 2
_BIG, _MANY = 1, 4
_SORTED_DUPLICATES = 4
_MOST_DEPTH = 32
_NODE_BYTES = 8


class _Meta(NamedTuple):
    page_size: int
    flags: int
    depth: int
    root: int
    last_page: int
    transaction: int


class LMDBPages:
    """The pages of an LMDB file.

    Args:
        path: the file.

    Raises:
        DataError: the file cannot be read, is not an LMDB, or is truncated.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb", buffering=0) as file:
                self.size = path.stat().st_size
                self.meta = self._newest_meta(file)
                needed = (self.meta.last_page + 1) * self.meta.page_size
                if self.size < needed:
                    raise DataError(f"truncated: {needed:,} bytes needed, got {self.size:,}", path)
                self._check_tree(file)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", path) from error

    def _newest_meta(self, file: BinaryIO) -> _Meta:
        first = self._meta(file, 0)
        if not 512 <= first.page_size <= 65536 or first.page_size & (first.page_size - 1):
            raise DataError(f"cannot be opened as LMDB: its pages have {first.page_size} bytes", self.path)
        return max(first, self._meta(file, first.page_size), key=lambda meta: meta.transaction)

    def _meta(self, file: BinaryIO, at: int) -> _Meta:
        file.seek(at + _HEADER.size)
        content = file.read(_META.size)
        if len(content) < _META.size:
            raise DataError("cannot be opened as LMDB: truncated", self.path)
        magic, version, _, _, free, main, last_page, transaction = _META.unpack(content)
        if (magic, version & 0xFFFF) != (_MAGIC, _VERSION):
            raise DataError("cannot be opened as LMDB: its first pages are of something else", self.path)
        _, flags, depth, *_, root = _DATABASE.unpack(main)
        return _Meta(_DATABASE.unpack(free)[0], flags, depth, root, last_page, transaction)

    def _check_tree(self, file: BinaryIO) -> None:
        if self.meta.root == _NO_PAGE:
            return
        if self.meta.flags & _SORTED_DUPLICATES or self.meta.depth > _MOST_DEPTH:
            raise self._damaged(f"{self.meta.depth} levels, flags {self.meta.flags}")
        level = [self.meta.root]
        for depth in range(self.meta.depth, 0, -1):
            below: list[int] = []
            for number in level:
                below += self._check_page(file, number, is_leaf=depth == 1)
            # Each page belongs to exactly one branch.
            if len(below) > self.meta.last_page:
                raise self._damaged("branches share pages")
            level = below

    def _check_page(self, file: BinaryIO, number: int, *, is_leaf: bool) -> list[int]:
        """Check a page of the tree; return the numbers of the pages below a branch."""
        size = self.meta.page_size
        if not 2 <= number <= self.meta.last_page:
            raise self._damaged(f"page {number} of {self.meta.last_page + 1}")
        file.seek(number * size)
        content = file.read(size)
        if len(content) < size:
            raise self._damaged(f"page {number} ends early")
        own, _, flags, lower, upper = _HEADER.unpack_from(content)
        kind, least = (_LEAF, 1) if is_leaf else (_BRANCH, 2)
        count = (lower - _HEADER.size) // 2
        if own != number or flags & 0x6F != kind or count < least or not lower <= upper <= size:
            raise self._damaged(f"page {number} is no {'leaf' if is_leaf else 'branch'}")
        at = np.frombuffer(content, "<u2", count, _HEADER.size).astype(np.int64)
        if at.min() < upper or at.max() > size - _NODE_BYTES or (at & 1).any():
            raise self._damaged(f"page {number} has nodes outside")
        # A node: 32 bits of the length or page number, flags (branch: 16 more bits of the page), length of the key.
        words = np.frombuffer(content, "<u2")
        low, high, node_flags, key = (words[at // 2 + i].astype(np.int64) for i in range(4))
        value, ends = low | high << 16, at + _NODE_BYTES + key
        if not is_leaf:
            if ends.max() > size:
                raise self._damaged(f"page {number} has keys outside")
            return list((value | node_flags << 32).tolist())
        big = node_flags & _BIG != 0
        if (node_flags & _MANY).any() or (ends + np.where(big, 8, value)).max() > size:
            raise self._damaged(f"page {number} has values outside")
        raw = np.frombuffer(content, np.uint8)
        pages = raw[ends[big][:, None] + np.arange(8)].copy().view("<u8")[:, 0]
        last = self.meta.last_page
        if pages.size and (pages.max() > last or (pages.astype(np.int64) * size + 16 + value[big]).max() > self.size):
            raise self._damaged(f"page {number} has values outside the file")
        return []

    def _damaged(self, what: str) -> DataError:
        return DataError(f"the LMDB file is damaged: {what}", self.path)
