"""Solver states in HDF5 as BVLC's Caffe writes them: ``.solverstate.h5`` (sgd_solver.cpp, SnapshotSolverStateToHDF5).

Datasets ``iter`` and ``current_step`` (one int32 each), ``learned_net`` (a string of fixed length), ``history/0`` ...
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.net.hdf5 import Tree, read_tree, write_tree
from deeplab_caffe.proto import ModelBlob, SolverSnapshot


def write_hdf5_state(
    path: str | PathLike[str], iteration: int, learned_net: str, history: Sequence[np.ndarray], current_step: int = 0
) -> None:
    """Write a ``.solverstate.h5``; arguments as for :func:`deeplab_caffe.proto.write_solverstate`.

    Raises:
        CaffeModelError: h5py is not installed, or the file cannot be written.
    """
    text = learned_net.encode()
    if not 0 <= iteration < 2**31:
        raise CaffeModelError(f"cannot hold iteration {iteration}", path)
    tree: Tree = {
        "iter": np.array([iteration], np.int32),
        # With a terminating zero byte, because the original does not add one when it reads.
        "learned_net": np.array(text, f"S{len(text) + 1}"),
        "current_step": np.array([current_step], np.int32),
        "history": {str(i): np.asarray(array, np.float32) for i, array in enumerate(history)},
    }
    write_tree(path, tree)


def read_hdf5_state(path: str | PathLike[str]) -> SolverSnapshot:
    """Read a ``.solverstate.h5``.

    Raises:
        CaffeModelError: h5py is not installed, or the file cannot be read or is not a solverstate.
    """
    tree = read_tree(path)
    history = tree.get("history", {})
    if not isinstance(history, dict) or set(history) != {str(i) for i in range(len(history))}:
        raise CaffeModelError("expected datasets 0, 1, ... in its group 'history'", path)
    blobs = [history[str(i)] for i in range(len(history))]
    if not all(isinstance(blob, np.ndarray) and blob.dtype.kind != "S" for blob in blobs):
        raise CaffeModelError("expected numbers in its group 'history'", path)
    arrays = [np.asarray(blob, np.float32) for blob in blobs]
    return SolverSnapshot(
        _integer(tree, "iter", path),
        _text(tree, "learned_net", path),
        _integer(tree, "current_step", path),
        [ModelBlob(array.shape, array) for array in arrays],
    )


def _integer(tree: Tree, name: str, path: str | PathLike[str]) -> int:
    value = tree.get(name)
    if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype.kind not in "iu":
        raise CaffeModelError(f"expected one integer '{name}': is it a solverstate?", path)
    return int(value.item())


def _text(tree: Tree, name: str, path: str | PathLike[str]) -> str:
    value = tree.get(name, np.array(b""))
    if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype.kind != "S":
        raise CaffeModelError(f"expected a string of fixed length '{name}'", path)
    return bytes(value.item()).decode(errors="replace")
