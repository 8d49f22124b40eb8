"""Tables on stdout that lose nothing when they are piped into a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from rich.console import Console, JustifyMethod
from rich.table import Table

_WIDEST = 10_000


def plain_table(title: str, columns: Iterable[tuple[str, str]]) -> Table:
    """Make a table without a frame; ``columns`` are pairs of heading and ``"left"`` or ``"right"``."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading, justify in columns:
        table.add_column(heading, justify=cast("JustifyMethod", justify), no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """Print a table as wide as it is: a terminal may wrap its lines, but no cell is cut short."""
    console = Console(width=_WIDEST)
    width = console.measure(table).maximum
    Console(width=max(width, 1), highlight=False).print(table)
