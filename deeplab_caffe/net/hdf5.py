"""Weights in HDF5 files as BVLC's Caffe has them (net.cpp, ToHDF5): ``/data/<layer>/<number of the blob>``.

Every layer has a group, a shared blob only one dataset, at the first layer that has it; ``/diff`` has the gradients of
all. :mod:`deeplab_caffe.solver.hdf5_state` keeps a solver's state in such files too.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import CaffeModelError, DataError
from deeplab_caffe.layers import Layer

Tree = dict[str, "Tree | np.ndarray"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_DEPTH = 32
_MAX_OBJECTS = 100_000
# What a file's numbers may take in memory: compressed weights are not much smaller than plain ones.
_FREE_BYTES, _MOST_TIMES_THE_FILE = 64 << 20, 8


def is_hdf5(path: str | PathLike[str]) -> bool:
    """Return whether a file that can be read begins as HDF5 files do."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except (OSError, ValueError):
        return False


def read_tree(path: str | PathLike[str]) -> Tree:
    """Read all groups and datasets of an HDF5 file: numbers and fixed-length strings.

    Links to other files are not followed.

    Raises:
        CaffeModelError: h5py is not installed, or the file is missing, damaged, or holds something else, or more than
            64 MiB + 8 times its size.
    """
    h5py = _h5py(path)
    try:
        # A plain open first: HDF5's own words for a missing file run over several lines.
        with Path(path).open("rb"):
            pass
        with h5py.File(path, "r") as file:
            return _TreeReader(h5py, _FREE_BYTES + _MOST_TIMES_THE_FILE * Path(path).stat().st_size).read(file)
    except Exception as error:  # damage shows as whatever the HDF5 library makes of it
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise CaffeModelError(f"cannot be read as HDF5: {reason[:200]}", path) from error


class _TreeReader:
    def __init__(self, h5py: Any, most_bytes: int) -> None:
        self._h5py = h5py
        self._most_bytes = most_bytes
        self._bytes = 0
        self._objects = 0

    def read(self, group: Any, depth: int = 0) -> Tree:
        if depth > _MAX_DEPTH:
            raise ValueError(f"its groups are nested more than {_MAX_DEPTH} deep")
        found: Tree = {}
        for name in group:
            self._objects += 1
            if self._objects > _MAX_OBJECTS:
                raise ValueError(f"it has more than {_MAX_OBJECTS} groups and datasets")
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise ValueError(f"'{name[:80]}' is a link")
            item = group[name]
            is_group = isinstance(item, self._h5py.Group)
            found[name] = self.read(item, depth + 1) if is_group else self._values(item, name)
        return found

    def _values(self, dataset: Any, name: str) -> np.ndarray:
        if not isinstance(dataset, self._h5py.Dataset) or dataset.dtype.kind not in "fiuS" or dataset.shape is None:
            raise ValueError(f"'{name[:80]}': expected numbers, got {getattr(dataset, 'dtype', 'no dataset')}")
        if dataset.is_virtual or dataset.external:
            raise ValueError(f"dataset '{name[:80]}' lies in other files")
        # A part is unpacked whole, however little of it is asked for.
        chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
        self._bytes += dataset.nbytes
        if max(self._bytes, chunk) > self._most_bytes:
            raise ValueError(f"its datasets claim more than {self._most_bytes:,} bytes")
        return np.asarray(dataset[()])


def write_tree(path: str | PathLike[str], tree: Tree, *, sync: bool = False) -> None:
    """Write groups and datasets; the file appears under its name only when it is complete.

    Args:
        path: the file.
        tree: groups as dicts; a ``/`` in a name makes groups in groups.
        sync: see :func:`deeplab_caffe.data.io.atomic.atomic_write`.

    Raises:
        CaffeModelError: h5py is not installed, or the file cannot be written.
    """
    h5py = _h5py(path)
    try:
        with atomic_write(path, sync=sync) as stream:
            # Not into the file itself: where the disk is full, the HDF5 library keeps a file that it cannot close.
            with h5py.File(stream.name, "w", driver="core", backing_store=False, block_size=1 << 20) as file:
                _fill(file, tree)
                file.flush()
                image = file.id.get_file_image()
            stream.write(image)
    except DataError as error:
        raise CaffeModelError(f"cannot be written: {error.reason}", path, reason=error.reason) from error
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CaffeModelError(f"cannot be written as HDF5: {reason}", path, reason=reason) from error


def _fill(group: Any, tree: Mapping[str, Any]) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _fill(group.require_group(name), value)
        else:
            group.create_dataset(name, data=value)


def _h5py(path: str | PathLike[str]) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise CaffeModelError("HDF5 files need h5py: pip install 'deeplab-caffe[hdf5]'", path) from error
    return h5py


def read_model(path: str | PathLike[str]) -> dict[str, dict[int, np.ndarray]]:
    """Read the blobs of a ``.caffemodel.h5``: by layer and number.

    Raises:
        CaffeModelError: as :func:`read_tree`, or there is no group ``data``.
    """
    data = read_tree(path).get("data")
    if not isinstance(data, dict):
        raise CaffeModelError("has no group 'data': is it a caffemodel?", path)
    found: dict[str, dict[int, np.ndarray]] = {}
    _collect(data, "", found)
    return found


def _collect(tree: Tree, layer: str, found: dict[str, dict[int, np.ndarray]]) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _collect(value, f"{layer}/{name}" if layer else name, found)
        elif name.isascii() and name.isdigit() and value.dtype.kind != "S":
            found.setdefault(layer, {})[int(name)] = value.astype(np.float32, copy=False)


def write_model(
    path: str | PathLike[str],
    layers: Sequence[Layer],
    diffs: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> None:
    """Write a ``.caffemodel.h5``.

    Args:
        path: the file; it appears under its name only when it is complete.
        layers: a net's layers.
        diffs: gradients by layer name, of the blobs' shapes.

    Raises:
        CaffeModelError: as :func:`write_tree`.
    """
    data: Tree = {}
    owned: set[Hashable] = set()
    for layer in layers:
        group: Tree = {}
        for i, (role, blob) in enumerate(layer.named_blobs.items()):
            key = blob_key(layer, role, blob)
            if key not in owned:
                owned.add(key)
                group[str(i)] = blob.detach().float().cpu().numpy().reshape(layer.blob_shape(blob.shape))
        data[layer.name] = group
    tree: Tree = {"data": data}
    if diffs is not None:
        tree["diff"] = {
            layer.name: {str(i): diff for i, diff in enumerate(diffs.get(layer.name, ()))} for layer in layers
        }
    write_tree(path, tree)


def blob_key(layer: Layer, role: str, blob: Tensor) -> Hashable:
    """Return what tells a parameter from all others of the net; layers may share one, or its memory."""
    if not isinstance(blob, nn.Parameter):
        return layer.name, role
    return blob.data_ptr() if blob.numel() else id(blob)
