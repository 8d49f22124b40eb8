"""Grids of the dense CRF's parameters, as in the paper's cross-validation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from deeplab_caffe.errors import CRFError

_MOST_VALUES = 10_000
# Decimals of a value: steps like 0.1 add up to 5.1, not to 5.1000000000000005.
_DECIMALS = 9


class Point(NamedTuple):
    """One setting of the appearance kernel.

    Attributes:
        bi_w: weight; w1 in the paper's equation 3.
        bi_xy_std: standard deviation of position, in pixels; the paper's sigma_alpha.
        bi_rgb_std: standard deviation of colour, in grey levels; the paper's sigma_beta.
    """

    bi_w: float
    bi_xy_std: float
    bi_rgb_std: float


@dataclass(frozen=True)
class Grid:
    """Values to try, increasing along each axis.

    The defaults are the paper's first round (ICLR 2015, section 4.1): bi_w in [5, 10], bi_xy_std in [50 : 10 : 100],
    bi_rgb_std in [3 : 1 : 10].
    """

    bi_w: tuple[float, ...] = tuple(float(value) for value in range(5, 11))
    bi_xy_std: tuple[float, ...] = tuple(float(value) for value in range(50, 101, 10))
    bi_rgb_std: tuple[float, ...] = tuple(float(value) for value in range(3, 11))

    def __post_init__(self) -> None:
        for field in fields(self):
            values = tuple(float(value) for value in getattr(self, field.name))
            object.__setattr__(self, field.name, values)
            if not values:
                raise CRFError(f"{field.name} has no value to try")
            if not all(math.isfinite(value) for value in values) or list(values) != sorted(set(values)):
                raise CRFError(f"{field.name} must be increasing, finite numbers, got {values}")
            if values[0] < 0 or (field.name != "bi_w" and values[0] == 0):
                least = "not be negative" if field.name == "bi_w" else "be positive"
                raise CRFError(f"{field.name} must {least}, got {values[0]:g}")

    def __len__(self) -> int:
        return len(self.bi_w) * len(self.bi_xy_std) * len(self.bi_rgb_std)

    def __iter__(self) -> Iterator[Point]:
        return itertools.starmap(Point, itertools.product(self.bi_w, self.bi_xy_std, self.bi_rgb_std))

    def refined(self, best: Point, factor: int = 2) -> Grid:
        """Return a grid ``factor`` times finer, from the neighbour before the best value to the neighbour after it.

        If the best value is the last of its axis, the new axis goes one step beyond it. If it is the first, the new
        axis goes one step below it, but at most down to half of it. An axis with a single value does not change.

        Args:
            best: a point of this grid.
            factor: number of parts that each step is divided into.
        """
        axes = {field.name: getattr(self, field.name) for field in fields(self)}
        return Grid(**{name: _refined(values, getattr(best, name), factor) for name, values in axes.items()})

    def edges(self, best: Point) -> list[str]:
        """Return the axes on whose first or last value ``best`` lies: a wider range may have a better value."""
        names = [field.name for field in fields(self) if len(getattr(self, field.name)) > 1]
        return [name for name in names if getattr(best, name) in (getattr(self, name)[0], getattr(self, name)[-1])]


def parse_range(text: str, name: str) -> tuple[float, ...]:
    """Return the values of one axis.

    Args:
        text: ``"start:step:stop"`` as in the paper and in MATLAB (the stop is included if the steps reach it exactly),
            ``"start:stop"`` with steps of 1, one number, or several: ``"49,50,67"``.
        name: the axis's name in messages.

    Raises:
        CRFError: the text has another form, the step is not positive, the stop is before the start, or there are too
            many values.
    """
    parts = text.split(":") if ":" in text else text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) for number in numbers) or (":" in text and len(numbers) > 3):
        raise CRFError(f"{name}: expected start:step:stop, start:stop, or numbers with commas, got '{text}'")
    if ":" not in text:
        return tuple(sorted(set(numbers)))
    start, step, stop = numbers if len(numbers) == 3 else (numbers[0], 1.0, numbers[1])
    if step <= 0:
        raise CRFError(f"{name}: the step must be positive, got '{text}'")
    if stop < start:
        raise CRFError(f"{name}: the range is empty, {stop:g} comes before {start:g}: got '{text}'")
    # A little more than the quotient, which may be 4.999999999 where five steps reach the stop.
    steps = (stop - start) / step + 1e-9
    if steps >= _MOST_VALUES:
        raise CRFError(f"{name}: at most {_MOST_VALUES:,} values, got '{text}'")
    return tuple(round(start + index * step, _DECIMALS) for index in range(int(steps) + 1))


def _refined(values: tuple[float, ...], best: float, factor: int) -> tuple[float, ...]:
    if len(values) == 1:
        return values
    index = values.index(best)
    below = values[index] - values[index - 1] if index > 0 else min(values[1] - values[0], best / 2)
    above = values[index + 1] - values[index] if index + 1 < len(values) else values[-1] - values[-2]
    finer = {best}
    for part in range(1, factor + 1):
        finer.add(round(best - below * part / factor, _DECIMALS))
        finer.add(round(best + above * part / factor, _DECIMALS))
    return tuple(sorted(finer))
