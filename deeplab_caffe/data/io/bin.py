"""Files .bin of the densecrf programs: probabilities and label maps (densecrf/refine_pascal/dense_inference.cpp).

Three int32 (rows, columns, channels), then the values in MATLAB's order (column by column), little-endian.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DataError

_HEADER = np.dtype("<i4")


def read_probabilities_bin(path: str | PathLike[str]) -> np.ndarray:
    """Read class probabilities, the input of ``prog_refine_pascal``.

    Returns:
        float32 ``(C, H, W)``.

    Raises:
        DataError: if the file cannot be read or its length does not fit its header.
    """
    return _read(path, np.dtype("<f4"))


def write_probabilities_bin(path: str | PathLike[str], probabilities: np.ndarray) -> None:
    """Write class probabilities ``(C, H, W)`` for ``prog_refine_pascal``; missing folders are created.

    Raises:
        DataError: they have another shape or no pixel, or the file cannot be written.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 3 or probabilities.size == 0:
        raise DataError(f"expected probabilities (C, H, W), got shape {probabilities.shape}", path)
    _write(path, probabilities, np.dtype("<f4"))


def read_labels_bin(path: str | PathLike[str]) -> np.ndarray:
    """Read a label map, the output of the densecrf programs.

    Returns:
        int16 ``(H, W)``.

    Raises:
        DataError: if the file cannot be read, its length does not fit its header, or it has several channels.
    """
    labels = _read(path, np.dtype("<i2"))
    if len(labels) != 1:
        raise DataError(f"expected a label map of 1 channel, got {len(labels)}", path)
    return np.asarray(labels[0])


def write_labels_bin(path: str | PathLike[str], labels: np.ndarray) -> None:
    """Write a label map as the densecrf programs do; missing folders are created.

    Args:
        path: the file.
        labels: whole numbers ``(H, W)`` from -32768 to 32767.

    Raises:
        DataError: the labels are not such a map, or the file cannot be written.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.size == 0:
        raise DataError(f"expected labels (H, W), got shape {labels.shape}", path)
    if not np.array_equal(labels, labels.astype(np.int16)):
        raise DataError(
            f"labels must be whole numbers that fit into 16 bits, got {labels.min()} to {labels.max()}", path
        )
    _write(path, labels[None], np.dtype("<i2"))


def _read(path: str | PathLike[str], dtype: np.dtype) -> np.ndarray:
    try:
        with Path(path).open("rb") as stream:
            header = np.fromfile(stream, _HEADER, 3)
            if len(header) < 3:
                raise DataError("truncated: the file is shorter than its header of 12 bytes", path)
            rows, columns, channels = (int(value) for value in header)
            if min(rows, columns, channels) < 1:
                raise DataError(f"the header says {rows} rows, {columns} columns, {channels} channels", path)
            # Compare with the file's size before allocating memory: a damaged header may claim terabytes.
            expected, length = 12 + rows * columns * channels * dtype.itemsize, Path(path).stat().st_size
            if length != expected:
                raise DataError(
                    f"{'truncated' if length < expected else 'too long'}: {rows} rows, {columns} columns, "
                    f"{channels} channels of {dtype.itemsize} bytes need {expected} bytes, got {length}",
                    path,
                )
            values = np.fromfile(stream, dtype, rows * columns * channels)
    except (OSError, ValueError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}", path) from exc
    if len(values) != rows * columns * channels:
        raise DataError("truncated: the file shrank while it was read", path)
    by_columns = values.reshape(channels, columns, rows)
    return np.ascontiguousarray(by_columns.transpose(0, 2, 1)).astype(dtype.newbyteorder("="), copy=False)


def _write(path: str | PathLike[str], values: np.ndarray, dtype: np.dtype) -> None:
    channels, rows, columns = values.shape
    with atomic_write(path, make_folders=True) as stream:
        stream.write(np.array([rows, columns, channels], _HEADER).tobytes())
        stream.write(np.ascontiguousarray(values.transpose(0, 2, 1), dtype).data)
