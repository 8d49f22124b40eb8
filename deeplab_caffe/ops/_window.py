"""Which pixels of a resized blob are wanted: arguments of operations that resize and do something with the result."""

from __future__ import annotations

from collections.abc import Sequence

Size = tuple[int, int]


def window(
    operation: str, shape: Sequence[int], height: int, width: int, crop: Size | None, origin: Size
) -> tuple[int, int, int, int]:
    """First row, first column, height and width of the part that is wanted of scores resized to (height, width).

    Args:
        operation: its name, for messages.
        shape: the scores', which must be (N, C, H, W).
        height: after resizing.
        width: likewise.
        crop: (height, width) of the part; None for all from ``origin`` on.
        origin: row and column where the part begins.

    Raises:
        ValueError: scores that are not (N, C, H, W) or empty but for N, a size below 1, or a part that is not within.
    """
    if len(shape) != 4 or 0 in shape[1:]:
        raise ValueError(f"{operation}: expected scores (N, C, H, W) with C, H, W > 0, got shape {tuple(shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"{operation}: height and width must be positive, got {height} and {width}")
    top, left = origin
    rows, columns = (height - top, width - left) if crop is None else crop
    if min(top, left, rows, columns) < 0 or top + rows > height or left + columns > width:
        raise ValueError(
            f"{operation}: a crop of {rows} x {columns} from row {top}, column {left} on is not within "
            f"{height} x {width}"
        )
    return top, left, rows, columns
