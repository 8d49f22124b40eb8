"""Keeping what is written apart from what is read: no result takes the place of the file that it comes from."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from os import PathLike
from pathlib import PurePath

from deeplab_caffe.errors import DataError

# What a file is ("--jsonl", "the photograph"), and its path.
Named = tuple[str, str | PathLike[str]]
# A flag that is not given has no path.
MaybeNamed = tuple[str, str | PathLike[str] | None]


def validate_outputs(outputs: Iterable[MaybeNamed], inputs: Iterable[MaybeNamed]) -> None:
    """Validate that no file that will be written is one that will be read, nor another one that will be written.

    Links count as the files that they lead to. What is no plain file, ``/dev/null`` or a pipe say, is written over by
    nobody. Inputs are looked at only where an output is there already.

    Args:
        outputs: what each is, and its path; None: there is none.
        inputs: likewise.

    Raises:
        DataError: one is; it names both.
    """
    written: list[Named] = [(what, path) for what, path in outputs if path is not None]
    by_name: dict[str, list[Named]] = defaultdict(list)
    for named in written:
        by_name[PurePath(named[1]).name].append(named)
    for several in by_name.values():
        if len(several) > 1:
            _validate_distinct(several)
    there = {which: named for named in written if (which := _identity(named[1])) is not None}
    if not there:
        return
    for what, path in inputs:
        if path is None:
            continue
        which = _identity(path)
        if which is not None and which in there:
            raise _collision(*there[which], what, path)


def _validate_distinct(outputs: Iterable[Named]) -> None:
    known: dict[str, Named] = {}
    # An id that a list names twice has one result.
    for what, path in dict.fromkeys(outputs):
        real = os.path.realpath(path)
        if real in known and not (os.path.exists(real) and _identity(real) is None):  # noqa: PTH110
            raise _collision(what, path, *known[real])
        known[real] = (what, path)


def _collision(what: str, path: str | PathLike[str], other: str, other_path: str | PathLike[str]) -> DataError:
    place = os.fspath(other_path)
    named = f"{other} '{place}'" if place != os.fspath(path) else other
    return DataError(f"{what} would be written over {named}: give it another name or folder", path)


def _identity(path: str | PathLike[str]) -> tuple[int, int] | None:
    """Return what tells a plain file from all others; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
