"""Weights in HDF5 files as BVLC's Caffe writes them (net.cpp, ToHDF5): ``/data/<layer>/<number of the blob>``.

Every layer has a group. A shared blob has one dataset, under the first layer that uses it. ``/diff`` has the gradients
of all layers. :mod:`deeplab_caffe.solver.hdf5_state` keeps a solver's state in such files too.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import CaffeModelError, DataError, how_to_install
from deeplab_caffe.files.hdf5 import SIGNATURE, find_all, has_h5py, read_dataset
from deeplab_caffe.layers import Layer
from deeplab_caffe.net.tensors import blob_key

Tree = dict[str, "Tree | np.ndarray"]

_NO_H5PY = f"HDF5 files need h5py: {how_to_install('h5py')}"
# Limit of the memory that a file's numbers may take, against small files that claim huge datasets: weights do not
# compress well, so real files stay far below it.
_FREE_BYTES, _MOST_TIMES_THE_FILE = 64 << 20, 8


def is_hdf5(path: str | PathLike[str]) -> bool:
    """Return whether a file begins with the HDF5 signature; False if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except (OSError, ValueError):
        return False


def read_tree(path: str | PathLike[str]) -> Tree:
    """Read all groups and datasets of an HDF5 file: numbers and fixed-length strings.

    Links to other files are not followed.

    Raises:
        CaffeModelError: h5py is not installed, or the file is missing, damaged, or holds something else, or more than
            64 MiB + 8 times its size.
    """
    if not has_h5py():
        raise CaffeModelError(_NO_H5PY, path)
    try:
        groups, datasets = find_all(path)
        most = _FREE_BYTES + _MOST_TIMES_THE_FILE * Path(path).stat().st_size
        if sum(math.prod(one.shape) * one.dtype.itemsize for one in datasets.values()) > most:
            raise CaffeModelError(f"its datasets claim more than {most:,} bytes", path)
        tree: Tree = {}
        for group in groups:
            _put(tree, group, {})
        for name, dataset in datasets.items():
            if dataset.dtype.kind not in "fiuS":
                raise CaffeModelError(f"'{name}': expected numbers, got {dataset.dtype}", path)
            _put(tree, name, read_dataset(dataset))
    except (DataError, OSError) as error:
        reason = error.reason if isinstance(error, DataError) else str(error.strerror)
        raise CaffeModelError(reason, path) from error
    return tree


def _put(tree: Tree, name: str, value: Tree | np.ndarray) -> None:
    *groups, last = name.split("/")
    for group in groups:
        inner = tree[group]
        assert isinstance(inner, dict)
        tree = inner
    tree[last] = value


def write_tree(path: str | PathLike[str], tree: Tree) -> None:
    """Write groups and datasets; the file appears under its name only when it is complete and on the disk.

    Args:
        path: the file.
        tree: groups as dicts; a ``/`` in a name makes groups in groups.

    Raises:
        CaffeModelError: h5py is not installed, or the file cannot be written.
    """
    h5py = import_h5py(path)
    try:
        with atomic_write(path, sync=True) as stream:
            # Build the file in memory: on a full disk the HDF5 library would keep a file open that it cannot close.
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


def import_h5py(path: str | PathLike[str]) -> Any:
    """Return the package, needed for ``path``.

    Raises:
        CaffeModelError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise CaffeModelError(_NO_H5PY, path) from error
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
            key = blob_key(layer, role)
            if key not in owned:
                owned.add(key)
                group[str(i)] = blob.detach().float().cpu().numpy().reshape(layer.blob_shape(blob.shape))
        # A layer without blobs may have the name of one with blobs.
        data[layer.name] = group or data.get(layer.name, group)
    tree: Tree = {"data": data}
    if diffs is not None:
        tree["diff"] = {
            layer.name: {str(i): diff for i, diff in enumerate(diffs.get(layer.name, ()))} for layer in layers
        }
    write_tree(path, tree)
