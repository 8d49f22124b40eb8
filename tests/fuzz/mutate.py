"""Damaging files: bytes, lengths, parts and tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence

ODD_NUMBERS = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
ODD_TEXTS = (
    *(b"", b"0", b"-1", b"1e999", b"-0.0", b"nan", b"Infinity", b"9" * 400, b"[" * 3000),
    *(b"\0", b"\x1b[2J", "\u732b".encode(), b"\xff\xfe", b"\xc3"),
)


def mutate(generator: random.Random, seed: bytes, tokens: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    """Return the seed with one to eight changes.

    Args:
        generator: what happens depends on it alone.
        seed: a file.
        tokens: words of its format, put in at random.
        others: other files of the kind, of which parts are taken.
    """
    data = bytearray(seed)
    for _ in range(generator.choice((1, 1, 1, 2, 4, 8))):
        _CHANGES[generator.randrange(len(_CHANGES))](generator, data, tokens, others)
    return bytes(data)


def _place(generator: random.Random, data: bytearray) -> int:
    # Most of what matters stands at the beginning.
    end = len(data) if generator.random() < 0.5 else min(len(data), 256)
    return generator.randrange(end + 1)


def _set_bytes(generator: random.Random, data: bytearray, *_: object) -> None:
    for _ in range(generator.choice((1, 2, 4))):
        place = _place(generator, data)
        data[place : place + 1] = bytes([generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))])


def _flip_bit(generator: random.Random, data: bytearray, *_: object) -> None:
    place = _place(generator, data)
    if place < len(data):
        data[place] ^= 1 << generator.randrange(8)


def _put_number(generator: random.Random, data: bytearray, *_: object) -> None:
    place, width = _place(generator, data), generator.choice((1, 2, 4, 8))
    number = generator.choice(ODD_NUMBERS) % 256**width
    data[place : place + width] = number.to_bytes(width, generator.choice(("little", "big")))


def _cut(generator: random.Random, data: bytearray, *_: object) -> None:
    del data[_place(generator, data) :]


def _remove(generator: random.Random, data: bytearray, *_: object) -> None:
    place = _place(generator, data)
    del data[place : place + generator.choice((1, 2, 8, 64))]


def _repeat(generator: random.Random, data: bytearray, *_: object) -> None:
    place, length = _place(generator, data), generator.choice((1, 4, 16, 64))
    data[place:place] = data[place : place + length] * generator.choice((1, 2, 100))


def _put_token(generator: random.Random, data: bytearray, tokens: Sequence[bytes], _: object) -> None:
    place, token = _place(generator, data), generator.choice((*tokens, *ODD_TEXTS))
    data[place : place + generator.choice((0, len(token)))] = token


def _splice(generator: random.Random, data: bytearray, _: object, others: Sequence[bytes]) -> None:
    other = generator.choice(others)
    start = generator.randrange(len(other) + 1)
    place = _place(generator, data)
    data[place : place + generator.choice((0, 16, 4096))] = other[start : start + generator.choice((4, 16, 64, 1024))]


_CHANGES = (_set_bytes, _set_bytes, _flip_bit, _put_number, _cut, _remove, _repeat, _put_token, _put_token, _splice)
