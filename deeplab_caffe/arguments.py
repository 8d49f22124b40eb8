"""Checks of a caller's arguments that several rooms need, with one wording."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from reprlib import repr as short_repr
from typing import Any


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number of any type, 2.0 too; True and False are not."""
    if isinstance(value, bool):
        return False
    return isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())


def whole_number(
    name: str,
    value: Any,
    error: Callable[[str], Exception],
    *,
    least: int | None = None,
    most: int | None = None,
    unit: str = "",
) -> int:
    """Validate a whole number of any type, and return it as an int.

    Args:
        name: the argument's name, for the message.
        value: what the caller gave.
        error: the exception to raise, made of a message.
        least: the smallest allowed value; None: there is none.
        most: the largest allowed value; None: there is none.
        unit: what is counted, for the message: ``"pixels"``.

    Raises:
        Exception: the one of ``error``: the value is not a whole number (True is none), or out of its range.
    """
    if not is_whole(value):
        raise error(f"{name} must be a whole number{f' of {unit}' if unit else ''}, got {short_repr(value)}")
    if least is not None and value < least:
        bound = {0: "must not be negative", 1: "must be positive"}.get(least, f"must be at least {least}")
        raise error(f"{name} {bound}, got {short_repr(value)}")
    if most is not None and value > most:
        raise error(f"{name} must be at most {_as_power(most)}, got {short_repr(value)}")
    return int(value)


def truth(name: str, value: Any, error: Callable[[str], Exception]) -> bool:
    """Validate True or False, numpy's or torch's too, or 1 or 0; not ``"no"``, which Python takes for True.

    Raises:
        Exception: the one of ``error``: the value is another one.
    """
    if isinstance(value, Integral) and value in (0, 1):
        return bool(value)
    if str(getattr(value, "dtype", "")).endswith("bool") and getattr(value, "ndim", None) == 0:
        return bool(value)
    raise error(f"{name} must be True or False, got {short_repr(value)}")


def _as_power(number: int) -> str:
    """Return a large number just below a power of two in the form in which readers know it: ``2^31 - 1``."""
    bits = number.bit_length()
    below = 2**bits - number
    return f"2^{bits} - {below}" if bits > 16 and below < 8 else str(number)
