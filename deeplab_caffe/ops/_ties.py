"""Which of a pixel's highest channels wins where several are equal: an argument of operations that give labels."""

from __future__ import annotations


def last_wins(operation: str, ties: str) -> bool:
    """Whether ``ties`` is "last" and not "first".

    Args:
        operation: its name, for messages.
        ties: the caller's word.

    Raises:
        ValueError: another word.
    """
    if ties not in ("first", "last"):
        raise ValueError(f'{operation}: ties must be "first" or "last", got {ties!r}')
    return ties == "last"
