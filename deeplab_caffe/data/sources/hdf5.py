"""HDF5_DATA's rows and HDF5_OUTPUT's files (layers/hdf5_data_layer.cpp, hdf5_output_layer.cpp), through h5py."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.lists import read_words
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.errors import DataError, NetError, how_to_install
from deeplab_caffe.files.hdf5 import Dataset, close, find_datasets, has_h5py, read_rows
from deeplab_caffe.proto.dims import MAX_AXES

Shape4 = tuple[int, int, int, int]

_NO_H5PY = f"HDF5 layers need h5py: {how_to_install('h5py')}"


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as exc:
        raise NetError(_NO_H5PY) from exc
    return h5py


# Cached, because every batch needs the order of the files, and a few layers' orders of rows.
@lru_cache(maxsize=8)
def _order(count: int, *seeds: int) -> np.ndarray:
    """Return the random order of ``count`` files, or of the rows of a file, for an epoch."""
    return np.random.default_rng(seeds).permutation(count)


class HDF5Source:
    """The source of HDF5_DATA's batches: rows of datasets, file after file in the order of the list, repeated forever.

    Damaged files are safe to read: see :mod:`deeplab_caffe.files.hdf5`.

    Each top is the dataset with its name, of float or integer numbers, with 1 to 4 dimensions, rows first. The original
    keeps whole files in memory; this class reads each batch's rows from the file.

    Args:
        source: the list file; its words are the names of the HDF5 files.
        names: the datasets.
        batch_size: rows per batch.
        shard: this process's part of each batch.
        four_axes: blobs have four axes, as in DeepLab v1; False: they have the datasets' axes.
        shuffle: seed of the random order of the files in each epoch, and of the rows of each file; None: no shuffling.
            (BVLC's hdf5_data_layer.cpp uses the C++ library's random numbers, which Caffe does not seed.)

    Raises:
        NetError: h5py is not installed, or ``batch_size`` is 0.
        DataError: the list or its first file cannot be read, or lacks a dataset.
    """

    def __init__(
        self,
        source: str | PathLike[str],
        names: Sequence[str],
        batch_size: int,
        shard: Shard | None = None,
        *,
        four_axes: bool = True,
        shuffle: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise NetError(f"batch_size must be positive, got {batch_size}")
        if not has_h5py():
            raise NetError(_NO_H5PY)
        self.source = source
        self.names = tuple(names)
        self.batch_size = batch_size
        self.four_axes = four_axes
        self.shard = shard or Shard()
        self.files = read_words(source)
        if not self.files:
            raise DataError("the list names no HDF5 file", source)
        self._shuffle = shuffle
        # Position of the next row: the epoch, the file's position in the epoch's order, the row's in the file's order.
        self._round = self._file = self._row = 0
        self._opened: tuple[int, dict[str, Dataset]] | None = None
        self._rows: dict[int, int] = {}
        self._row_shapes = [shape[1:] for shape in self._describe(0)]

    @classmethod
    def from_param(
        cls, layer_param: Any, shard: Shard | None = None, *, four_axes: bool = True, seed: int = 0
    ) -> HDF5Source:
        """Build it from a LayerParameter message with ``hdf5_data_param``; ``seed`` is used if ``shuffle`` is set."""
        param, names = layer_param.hdf5_data_param, list(layer_param.top)
        shuffle = seed if param.shuffle else None
        return cls(param.source, names, param.batch_size, shard, four_axes=four_axes, shuffle=shuffle)

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the blobs, ``(batch_size, C, H, W)``, or the datasets' own without ``four_axes``."""
        return [(self.batch_size, *(_four(shape) if self.four_axes else shape)) for shape in self._row_shapes]

    def next_batch(self) -> list[np.ndarray]:
        """Read the next rows.

        Returns:
            One float32 blob ``(batch_size, C, H, W)`` for each dataset.

        Raises:
            DataError: a file cannot be read, or its datasets do not fit the first file's. The batch then remains the
                next one.
        """
        blobs = [np.empty((self.batch_size, *shape), np.float32) for shape in self._row_shapes]
        place = self._round, self._file, self._row
        try:
            self._skip(self.shard.before(self.batch_size))
            done = 0
            while done < self.batch_size:
                count = min(self.batch_size - done, self._rows_left())
                for name, blob in zip(self.names, blobs, strict=True):
                    self._read(name, blob[done : done + count])
                done += count
                self._advance(count)
            self._skip(self.shard.after(self.batch_size))
        except BaseException:
            self._round, self._file, self._row = place
            raise
        return [blob.reshape(shape) for blob, shape in zip(blobs, self.shapes(), strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the next batch."""
        place = {"file": self._file, "row": self._row}
        return place if self._shuffle is None else place | {"round": self._round, "shuffle": self._shuffle}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`.

        Raises:
            DataError: the list has no such file, or the file no such row.
        """
        file, row = int(state["file"]), int(state["row"])
        if not 0 <= file < len(self.files):
            raise DataError(f"the saved position is in file {file} of a list of {len(self.files)}", self.source)
        if self._shuffle is not None:
            self._round, self._shuffle = int(state.get("round", 0)), int(state.get("shuffle", self._shuffle))
        number = self._number(file)
        if not 0 <= row < self._count(number):
            raise DataError(f"the saved position is row {row} of {self._count(number)}", self.files[number])
        self._file, self._row = file, row

    def close(self) -> None:
        """Close the open file; the next batch opens it again."""
        if self._opened is not None:
            self._opened = None
            close(self.source)

    def _skip(self, rows: int) -> None:
        while rows > 0:
            count = min(rows, self._rows_left())
            self._advance(count)
            rows -= count

    def _rows_left(self) -> int:
        return self._count(self._number(self._file)) - self._row

    def _advance(self, rows: int) -> None:
        if rows < self._rows_left():
            self._row += rows
            return
        self._row = 0
        self._file += 1
        if self._file == len(self.files):
            self._file = 0
            self._round += 1

    def _number(self, file: int) -> int:
        """Return the index in the list of the epoch's ``file``-th file."""
        return file if self._shuffle is None else int(_order(len(self.files), self._shuffle, self._round)[file])

    def _count(self, file: int) -> int:
        if file not in self._rows:
            shapes = self._describe(file)
            for name, shape, expected in zip(self.names, shapes, self._row_shapes, strict=True):
                if shape[1:] != expected:
                    raise DataError(
                        f"rows of dataset '{name}' are {shape[1:]}, those of '{self.files[0]}' are {expected}",
                        self.files[file],
                    )
        return self._rows[file]

    def _open(self, file: int) -> dict[str, Dataset]:
        """Return the datasets of a file by name."""
        if self._opened is None or self._opened[0] != file:
            path = self.files[file]
            found, held = find_datasets(path, self.names)
            for name in self.names:
                if name not in found:
                    said = ", ".join(held) or "none"
                    raise DataError(f"has no dataset '{name}', as the layer's top is called; it has {said}", path)
            self._check(found, path)
            self._opened = file, found
        return self._opened[1]

    def _describe(self, file: int) -> list[tuple[int, ...]]:
        """Return the shapes of the datasets, and store their number of rows."""
        datasets = self._open(file)
        shapes = [datasets[name].shape for name in self.names]
        self._rows[file] = shapes[0][0]
        return shapes

    def _check(self, datasets: dict[str, Dataset], path: str) -> None:
        most = 4 if self.four_axes else MAX_AXES
        for name, dataset in datasets.items():
            if dataset.dtype.kind not in "fiu":
                raise DataError(f"dataset '{name}': expected numbers, got {dataset.dtype}", path)
            if not 1 <= len(dataset.shape) <= most or 0 in dataset.shape:
                raise DataError(
                    f"dataset '{name}': expected 1 to {most} dimensions and rows, got {dataset.shape}", path
                )
        counts = {name: datasets[name].shape[0] for name in self.names}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"'{name}' has {count}" for name, count in counts.items())
            raise DataError(f"the datasets differ in their number of rows: {said}", path)

    def _read(self, name: str, out: np.ndarray) -> None:
        number = self._number(self._file)
        dataset = self._open(number)[name]
        if self._row + len(out) > dataset.shape[0] or dataset.shape[1:] != out.shape[1:]:
            raise DataError("has changed since it was read first", dataset.path)
        with np.errstate(over="ignore"):  # as in the original, numbers beyond float32 become infinite
            if self._shuffle is None:
                read_rows(dataset, self._row, out)
                return
            order = _order(self._count(number), self._shuffle, self._round, self._file)
            for i, row in enumerate(order[self._row : self._row + len(out)].tolist()):
                read_rows(dataset, row, out[i : i + 1])


class HDF5Writer:
    """The writer of HDF5_OUTPUT: writes the two bottoms as float datasets ``data`` and ``label``.

    The original cannot write a second batch; this class appends its rows.

    Args:
        path: the file; the first batch replaces an existing one.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        if not os.fspath(path):
            raise NetError("hdf5_output_param needs a file_name")
        _h5py()
        self.path = path
        self.rows = 0

    def write(self, data: np.ndarray, label: np.ndarray) -> None:
        """Write the first batch, or append a further one.

        Args:
            data: ``(N, C, H, W)``.
            label: ``(N, C, H, W)``, as many items.

        Raises:
            DataError: the counts differ, the shapes are not the first batch's, or the file cannot be written.
        """
        if len(data) != len(label):
            raise DataError(f"{len(data)} items of data and {len(label)} of label", self.path)
        blobs = {"data": np.asarray(data, np.float32), "label": np.asarray(label, np.float32)}
        try:
            if self.rows == 0:
                self._create(blobs)
            else:
                self._append(blobs)
        except (OSError, RuntimeError, ValueError) as exc:
            if isinstance(exc, DataError):
                raise
            reason = getattr(exc, "strerror", None) or str(exc).partition("\n")[0]
            raise DataError(f"cannot be written: {reason}", self.path) from exc
        self.rows += len(data)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of rows written."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`: the next batch replaces the rows written since."""
        self.rows = int(state["rows"])

    def _create(self, blobs: dict[str, np.ndarray]) -> None:
        # Build it in memory: on a full disk, the HDF5 library ends the process when it cannot close its file.
        with atomic_write(self.path) as stream:
            with _h5py().File(stream.name, "w", driver="core", backing_store=False) as file:
                for name, blob in blobs.items():
                    file.create_dataset(name, data=blob, maxshape=(None, *blob.shape[1:]), chunks=True)
                file.flush()
                image = file.id.get_file_image()
            stream.write(image)

    def _append(self, blobs: dict[str, np.ndarray]) -> None:
        self._reserve(2 * sum(blob.nbytes for blob in blobs.values()) + (4 << 20))
        with _h5py().File(self.path, "r+") as file:
            for name, blob in blobs.items():
                if name not in file or len(file[name]) < self.rows:
                    held = len(file[name]) if name in file else "no"
                    raise DataError(f"'{name}' has {held} rows, {self.rows} were written: another file?", self.path)
                if file[name].shape[1:] != blob.shape[1:]:
                    raise DataError(f"'{name}' had items of {file[name].shape[1:]}, now {blob.shape[1:]}", self.path)
            for name, blob in blobs.items():
                file[name].resize(self.rows + len(blob), axis=0)
                file[name][self.rows :] = blob

    def _reserve(self, count: int) -> None:
        """Check that the file can grow: see :meth:`_create`.

        Raises:
            OSError: the disk is full.
        """
        with Path(self.path).open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                os.posix_fallocate(file.fileno(), size, count)
            except OSError as exc:
                if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise
            finally:
                os.ftruncate(file.fileno(), size)


def _four(row: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = (*row, 1, 1, 1)[:3]
    return channels, height, width
