"""A benchmark goes on after a case that fails, and says so at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class WrongResult(Exception):  # noqa: N818
    """A contender's result is not what it should be: it is not timed."""


def first_line(error: BaseException) -> str:
    """Return an exception in one line, as JSON rows have it."""
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0][:300]


class Failures:
    """What has failed so far.

    Attributes:
        lines: one for each failure, the case's name first.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, name: str, reason: str) -> None:
        """Note and print a failure."""
        self.lines.append(f"{name}: {reason}")
        print(f"\n{self.lines[-1]}")

    @contextmanager
    def caught(self, name: str) -> Iterator[dict[str, Any]]:
        """Note an exception of the block and go on behind it.

        Yields:
            A dictionary for the block to fill; it gets ``failed``, the reason, where the block fails.
        """
        found: dict[str, Any] = {}
        try:
            yield found
        except Exception as error:  # whatever it is, the other cases are not to be lost by it
            found["failed"] = first_line(error)
            self.add(name, found["failed"])

    def end(self) -> None:
        """Exit with status 1 where anything failed.

        Raises:
            SystemExit: saying what.
        """
        if self.lines:
            raise SystemExit("failed: " + "; ".join(self.lines))
