"""Progress bars on stderr, for people: nothing is drawn where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deeplab_caffe.errors import printable


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


@contextmanager
def progress(what: str, total: int, *, to_stderr: bool = False, hidden: bool = False) -> Iterator[Advance]:
    """Show a bar for ``total`` items of work.

    Args:
        what: name of the work.
        total: how many items.
        to_stderr: without a bar, lines go to stderr too.
        hidden: draw no bar.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        yield Advance(bar, bar.add_task(what, total=total), to_stderr)
