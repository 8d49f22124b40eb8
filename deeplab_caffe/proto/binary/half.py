"""The test whether half precision can hold a blob."""

from __future__ import annotations

import numpy as np

from deeplab_caffe.errors import warn

_FLOAT16 = np.finfo(np.float16)


class HalfWarning(UserWarning):
    """A blob stays float32 in a file of halves; the message names it."""


def fits_half(array: np.ndarray, name: str) -> bool:
    """Return whether a blob may be stored as float16.

    The rounding error is then at most 2**-11 of the blob's largest number. That number must lie between float16's
    smallest normal number, 6.1e-5, and its largest, 65504; else a :class:`HalfWarning` says that the blob is float32.
    Smaller numbers have larger relative errors, but no larger absolute ones. Infinities and NaN are preserved.

    Blobs with at most one dimension above 1 stay float32: biases, Scale's factors, and BatchNorm's statistics and
    count, whose small numbers matter too. They need little space.

    Args:
        array: the numbers.
        name: name of the blob, for the warning.
    """
    if sum(size > 1 for size in array.shape) < 2:
        return False
    largest = np.max(np.abs(array), initial=0, where=np.isfinite(array))
    fits = bool(largest == 0 or _FLOAT16.smallest_normal <= largest <= _FLOAT16.max)
    if not fits:
        warn(
            f"{name} stays float32: its largest number, {largest:.3g}, is not within float16's 6.1e-05 to 65504",
            HalfWarning,
        )
    return fits
