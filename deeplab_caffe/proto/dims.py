"""The number of axes of blobs in files, and their largest size."""

from __future__ import annotations

from collections.abc import Sequence

# The axes of DeepLab v1's blobs, and of all files of its time: num, channels, height, width.
OLD_AXES = 4
# Caffe's kMaxBlobAxes.
MAX_AXES = 32
# Each dimension is an int32.
MAX_DIM = 2**31 - 1


def without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape without its leading ones, which files of old Caffes add up to :data:`OLD_AXES` axes."""
    shape = tuple(shape)
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape
