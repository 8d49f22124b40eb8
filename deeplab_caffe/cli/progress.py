"""Progress bars on stderr, for people: nothing is drawn where stderr is no terminal."""

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
    """Call it after each item; :meth:`log` prints a line without tearing the bar."""

    def __init__(self, bar: Progress, task: TaskID, to_stderr: bool) -> None:
        self._bar = bar
        self._to_stderr = to_stderr
        self._task = task

    def __call__(self, items: int = 1) -> None:
        """Count ``items`` more as done."""
        self._bar.advance(self._task, items)

    def log(self, line: str) -> None:
        """Print a line; names from files cannot steer the terminal."""
        line = printable(line)
        if self._bar.disable:
            click.echo(line, err=self._to_stderr)
        else:
            self._bar.console.print(line, highlight=False, markup=False)


class _Speed(ProgressColumn):
    """How many items are done in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return what stands in the column: ``12.3 frames/s``."""
        return Text("" if task.speed is None else f"{task.speed:.1f} {self._unit}/s")


@contextmanager
def progress(
    what: str, total: int | None, *, to_stderr: bool = False, hidden: bool = False, unit: str | None = None
) -> Iterator[Advance]:
    """Show a bar for ``total`` items of work.

    Args:
        what: name of the work.
        total: how many items; None if nobody knows.
        to_stderr: without a bar, lines go to stderr too.
        hidden: draw no bar.
        unit: what the items are called, to show how many are done in a second; None: it is not shown.
    """
    console = Console(stderr=True)
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
    columns += [TimeRemainingColumn(), *([_Speed(unit)] if unit else [])]
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        yield Advance(bar, bar.add_task(what, total=total), to_stderr)


def tell_error(source: str, error: object) -> None:
    """Write to stderr what is wrong with one of several sources, and which it is, while the others go on."""
    # An error's text is printable already, a name of a file need not be.
    text, name = str(error), printable(source)
    click.echo(one_line(f"error: {text}" if name in text else f"error: {name}: {text}"), err=True)
