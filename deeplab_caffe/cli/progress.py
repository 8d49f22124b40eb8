"""Progress bars on stderr, which are only drawn if stderr is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from deeplab_caffe.errors import one_line, printable


class Advance:
    """Advance the bar when called after an item; :meth:`log` prints a line without disturbing the bar."""

    def __init__(self, bar: Progress, task: TaskID, to_stderr: bool) -> None:
        self._bar = bar
        self._to_stderr = to_stderr
        self._task = task

    def __call__(self, items: int = 1) -> None:
        """Count ``items`` more as done."""
        self._bar.advance(self._task, items)

    def log(self, line: str) -> None:
        """Print a line; control characters in names of files have no effect on the terminal."""
        line = printable(line)
        if self._bar.disable:
            click.echo(line, err=self._to_stderr)
        else:
            self._bar.console.print(line, highlight=False, markup=False)


class _Speed(ProgressColumn):
    """The number of items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the text of the column: ``12.3 frames/s``."""
        return Text("" if task.speed is None else f"{task.speed:.1f} {self._unit}/s")


@contextmanager
def progress(
    what: str, total: int | None, *, to_stderr: bool = False, hidden: bool = False, unit: str | None = None
) -> Iterator[Advance]:
    """Show a bar for ``total`` items of work.

    Args:
        what: name of the work.
        total: number of items; None if unknown.
        to_stderr: without a bar, lines go to stderr too.
        hidden: draw no bar.
        unit: name of the items, to show their number per second; None: do not show it.
    """
    console = Console(stderr=True)
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
    columns += [TimeRemainingColumn(), *([_Speed(unit)] if unit else [])]
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        yield Advance(bar, bar.add_task(what, total=total), to_stderr)


def tell_error(source: str, error: object) -> None:
    """Write an error of one of several sources to stderr, with the source's name; processing continues."""
    # The text of an error is printable already, but the name of a file may not be.
    text, name = str(error), printable(source)
    click.echo(one_line(f"error: {text}" if name in text else f"error: {name}: {text}"), err=True)
