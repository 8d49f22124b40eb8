"""Reading HDF5. Its library crashes on some damaged files, so it runs in a child process (child.py).

A contiguous dataset, as most are, is then read here without the library. Other datasets are read by the child.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeplab_caffe.errors import DataError
from deeplab_caffe.files.child import ask, is_running
from deeplab_caffe.files.reader import stamp

# The signature at offset 0, 512, 1024, ... of a file.
SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Dataset(NamedTuple):
    """The place and type of a dataset.

    Attributes:
        path: absolute path of its file.
        stamp: identity of the file: device, inode, size, time of the last change.
        name: its name in the file.
        shape: its dimensions, the slowest first.
        dtype: type of its values; a kind other than f, i and u means that they are not numbers.
        offset: offset of its first byte; None if it is not contiguous.
        attributes: names of its attributes.
    """

    path: str
    stamp: tuple[int, ...]
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None
    attributes: tuple[str, ...]


def has_h5py() -> bool:
    """Return whether h5py is installed, without importing it."""
    return find_spec("h5py") is not None


def find_datasets(path: str | PathLike[str], names: Sequence[str]) -> tuple[dict[str, Dataset], Sequence[str]]:
    """Find datasets of an HDF5 file by name; no value is read.

    Args:
        path: the file.
        names: names of datasets; missing ones are left out of the result.

    Returns:
        The datasets by name; and, if one is missing, names of some that the file has.

    Raises:
        DataError: the file is missing or damaged, or a dataset is stored in other files or is larger than the file can
            hold.
        NetError: h5py is not installed.
    """
    found = _describe(path, list(names))
    return _datasets(path, found), found["held"]


def find_all(path: str | PathLike[str]) -> tuple[list[str], dict[str, Dataset]]:
    """Find all groups and datasets of an HDF5 file by path (``data/conv1/0``). Errors as :func:`find_datasets`.

    Raises:
        DataError: the file has links, or too deeply nested groups.
    """
    found = _describe(path, None)
    return found["groups"], _datasets(path, found)


def _describe(path: str | PathLike[str], names: list[str] | None) -> dict[str, Any]:
    try:
        # A plain open first, because HDF5's message for a missing file has several lines.
        with Path(path).open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as HDF5: {getattr(error, 'strerror', None) or error}", path) from error
    return ask(path, "HDF5", "describe", names=names)


def _datasets(path: str | PathLike[str], found: dict[str, Any]) -> dict[str, Dataset]:
    when, size = tuple(found["stamp"]), found["stamp"][2]
    datasets = {}
    for name, facts in zip(found["names"], found["facts"], strict=True):
        if facts is None:
            continue
        shape, dtype, offset = tuple(facts["shape"]), np.dtype(facts["dtype"]), facts["offset"]
        if offset is not None and offset + math.prod(shape) * dtype.itemsize > size:
            raise DataError(f"truncated: dataset '{name}' ends behind the end of the file", path)
        datasets[name] = Dataset(
            os.fspath(Path(path).absolute()), when, name, shape, dtype, offset, tuple(facts["attributes"])
        )
    return datasets


def read_dataset(dataset: Dataset) -> np.ndarray:
    """Read a whole dataset, in its own type.

    Raises:
        DataError: the file is damaged, or has changed since it was found.
    """
    values = np.empty(dataset.shape, dataset.dtype)
    _fill(dataset, None, values)
    return values


def read_rows(dataset: Dataset, start: int, out: np.ndarray) -> None:
    """Read rows of a dataset of one dimension or more. Errors as :func:`read_dataset`.

    Args:
        dataset: the dataset.
        start: the first row.
        out: the result; its length is the number of rows, and values are converted to its type.
    """
    fits = out.dtype == dataset.dtype and out.flags.c_contiguous
    values = out if fits else np.empty(out.shape, dataset.dtype)
    _fill(dataset, start, values)
    if not fits:
        out[...] = values


def close(path: str | PathLike[str]) -> None:
    """Make the child, if there is one, close its open file."""
    if is_running():
        ask(path, "HDF5", "close")


def _fill(dataset: Dataset, start: int | None, values: np.ndarray) -> None:
    """Read rows from ``start`` on (None: the whole dataset) into ``values`` of the dataset's type."""
    content = values.reshape(-1).view(np.uint8).data
    if dataset.offset is not None:
        row_bytes = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
        _read_at(dataset, dataset.offset + (start or 0) * row_bytes, content)
        return
    where = {"stamp_then": list(dataset.stamp), "name": dataset.name, "start": start}
    found = ask(dataset.path, "HDF5", "read", content, stop=None if start is None else start + len(values), **where)
    if tuple(found["shape"]) != values.shape or np.dtype(found["dtype"]) != dataset.dtype:
        raise DataError(
            f"the HDF5 file is damaged: dataset '{dataset.name}' has other rows than its size says", dataset.path
        )


def _read_at(dataset: Dataset, offset: int, content: memoryview) -> None:
    try:
        with Path(dataset.path).open("rb", buffering=0) as file:
            if tuple(stamp(file.fileno())) != dataset.stamp:
                raise DataError("has changed since it was opened", dataset.path)
            file.seek(offset)
            while content and (count := file.readinto(content)):
                content = content[count:]
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", dataset.path) from error
    if content:
        raise DataError(f"truncated: dataset '{dataset.name}' ends behind the end of the file", dataset.path)
