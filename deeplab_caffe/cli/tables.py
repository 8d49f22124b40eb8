"""Tables on stdout that lose nothing when they are piped into a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from deeplab_caffe.errors import printable, shortened

_WIDEST = 10_000
_WIDEST_CELL = 1_000


class PlainTable(Table):
    """A table whose cells are shown literally, without markup and escapes, because they may come from a file."""

    def add_row(self, *cells: str) -> None:  # type: ignore[override]  # ours are all strings
        """Add a row of strings."""
        super().add_row(*map(_plain, cells))


def _plain(text: str, style: str = "") -> Text:
    return Text(printable(shortened(text, _WIDEST_CELL)), style)


def plain_table(title: str, columns: Iterable[tuple[str, str]]) -> PlainTable:
    """Make a table without a frame; ``columns`` are pairs of heading and ``"left"`` or ``"right"``."""
    table = PlainTable(title=_plain(title, "table.title"), title_justify="left", box=None, pad_edge=False)
    for heading, justify in columns:
        table.add_column(heading, justify=cast("JustifyMethod", justify), no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """Print a table at its full width: a terminal may wrap its lines, but no cell is cut."""
    console = Console(width=_WIDEST)
    width = console.measure(table).maximum
    Console(width=max(width, 1), highlight=False).print(table)
