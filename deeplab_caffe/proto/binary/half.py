"""Which blobs half precision can hold."""

from __future__ import annotations

import warnings

import numpy as np

_FLOAT16 = np.finfo(np.float16)


class HalfWarning(UserWarning):
    """A blob stays float32 in a file of halves; the message names it."""


def fits_half(array: np.ndarray, name: str) -> bool:
    """Return whether a blob may be stored as float16.

    Its rounding is then at most 2**-11 of the blob's largest number: that number lies between float16's smallest
    normal one, 6.1e-5, and its largest, 65504; or else a :class:`HalfWarning` says that the blob stays float32. Smaller
    numbers lose more of their own digits, but no more than the rounding of the large ones. Infinities and NaN are what
    they are in float16, too.

    Blobs with no more than one dimension above 1 stay float32: biases, Scale's factors, and BatchNorm's statistics and
    count, of which small numbers matter, too. They take little room.

    Args:
        array: the numbers.
        name: the blob's, for the warning.
    """
    if sum(size > 1 for size in array.shape) < 2:
        return False
    largest = np.max(np.abs(array), initial=0, where=np.isfinite(array))
    fits = bool(largest == 0 or _FLOAT16.smallest_normal <= largest <= _FLOAT16.max)
    if not fits:
        warnings.warn(
            f"{name} stays float32: its largest number, {largest:.3g}, is not within float16's 6.1e-05 to 65504",
            HalfWarning,
            4,
        )
    return fits
