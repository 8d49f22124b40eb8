"""Checks that no output file overwrites an input file."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from os import PathLike
from pathlib import PurePath

from deeplab_caffe.errors import DataError

# A file's description ("--jsonl", "the photograph"), and its path.
Named = tuple[str, str | PathLike[str]]
# A flag that is not given has no path.
MaybeNamed = tuple[str, str | PathLike[str] | None]


def validate_outputs(outputs: Iterable[MaybeNamed], inputs: Iterable[MaybeNamed]) -> None:
    """Check that no output is also an input or another output.

    Links count as their targets. Special files, such as ``/dev/null`` or a pipe, cannot be overwritten and are ignored.
    Inputs are examined only if an output exists already.

    Args:
        outputs: descriptions and paths; a path may be None.
        inputs: the same.

    Raises:
        DataError: an output is also an input or another output; the message names both.
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
    """Return a key that identifies a plain file; None if there is no plain file."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
