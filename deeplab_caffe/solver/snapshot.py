"""Snapshots: ``<prefix>_iter_<n>.caffemodel`` and ``.solverstate`` as the original writes them, and ``.resume`` beside.

The ``.solverstate`` appears last: where it is, the other two are, complete and of the same moment.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from deeplab_caffe.errors import CaffeModelError, DataError, SolverError
from deeplab_caffe.net import Net
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.proto import SolverSnapshot, read_solverstate, write_solverstate
from deeplab_caffe.solver.parameters import ParameterBlob
from deeplab_caffe.solver.statefile import read_state, write_state

_FORMAT = "deeplab_caffe resume 1"


class SnapshotWarning(UserWarning):
    """Something that a resumed run cannot go on with as it was."""


class SnapshotFiles(NamedTuple):
    """The files of one snapshot, in the order in which they appear."""

    model: Path
    resume: Path
    state: Path

    @classmethod
    def of(cls, prefix: str, iteration: int) -> SnapshotFiles:
        """The files of an iteration, as Caffe names them."""
        stem = f"{prefix}_iter_{iteration}"
        return cls(Path(f"{stem}.caffemodel"), Path(f"{stem}.resume"), Path(f"{stem}.solverstate"))


@dataclass
class Snapshot:
    """What training goes on from.

    Attributes:
        iteration: the next iteration.
        current_step: steps that the learning rate has taken.
        model: the caffemodel; None where the solverstate names none.
        history: the update rule's history, one array per blob.
        resume: what the ``.resume`` file holds, or None.
    """

    iteration: int
    current_step: int
    model: Path | None
    history: list[np.ndarray]
    resume: dict[str, Any] | None


def write_snapshot(
    files: SnapshotFiles,
    net: Net,
    *,
    iteration: int,
    current_step: int,
    history: Sequence[Tensor],
    diffs: dict[str, list[np.ndarray]] | None,
    resume: dict[str, Any],
) -> None:
    """Writes the three files, or none: they are complete and on the disk before the first one gets its name.

    Args:
        files: where.
        net: its weights.
        iteration: the next iteration.
        current_step: steps that the learning rate has taken.
        history: one tensor per parameter blob.
        diffs: what ``snapshot_diff`` asks for: the last update by layer name, or None.
        resume: what Caffe's files cannot hold.

    Raises:
        SolverError: a file cannot be written; what was there before is still there.
    """
    folder = files.model.parent
    working: Path | None = None
    try:
        working = Path(tempfile.mkdtemp(prefix=f".{files.model.stem}.", suffix=".tmp", dir=folder))
        parts = SnapshotFiles(*(working / file.name for file in files))
        save_weights(net, parts.model, diffs)
        arrays = [tensor.detach().float().cpu().numpy() for tensor in history]
        write_solverstate(parts.state, iteration, str(files.model), arrays, current_step)
        write_state(parts.resume, {"format": _FORMAT, "solverstate": _checksum(parts.state), **resume})
        # An older solverstate must not be seen beside a newer caffemodel.
        files.state.unlink(missing_ok=True)
        _sync_folder(folder)
        for part, file in zip(parts, files, strict=True):
            part.replace(file)
        _sync_folder(folder)
    except (CaffeModelError, DataError, OSError) as error:
        reason = str(error).rpartition("cannot be written: ")[2]
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        raise SolverError(f"the snapshot of iteration {iteration} cannot be written: {reason}", files.model) from error
    finally:
        if working is not None:
            shutil.rmtree(working, ignore_errors=True)


def remove_leftovers(prefix: str) -> None:
    """Removes the unfinished files of runs with this prefix that were killed while they wrote."""
    folder, name = Path(prefix).parent, Path(f"{prefix}_iter_").name
    pattern = re.compile(rf"\.{re.escape(name)}\d+\.\w+\.tmp")
    with suppress(OSError):
        for path in folder.iterdir():
            if pattern.fullmatch(path.name) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def check_prefix(prefix: str) -> None:
    """Makes the folder that snapshots go to, and finds out whether files can be written there.

    Raises:
        SolverError: they cannot.
    """
    folder = Path(prefix).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable.", suffix=".tmp"):
            pass
    except OSError as error:
        raise SolverError(
            f"snapshot_prefix: no files can be written there: {error.strerror or error}", prefix
        ) from None


def latest_snapshot(prefix: str) -> Path | None:
    """The ``.solverstate`` of this prefix with the largest iteration, or None where there is none."""
    name = Path(f"{prefix}_iter_").name
    pattern = re.compile(rf"{re.escape(name)}(\d+)\.solverstate")
    folder = Path(prefix).parent
    if not folder.is_dir():
        return None
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    return max(found)[1] if found else None


def read_snapshot(path: str | PathLike[str], blobs: Sequence[ParameterBlob]) -> Snapshot:
    """Reads a ``.solverstate``, the original's too, and the ``.resume`` file beside it.

    Args:
        path: the ``.solverstate``.
        blobs: the parameter blobs that its history must fit.

    Raises:
        CaffeModelError: it cannot be read.
        SolverError: it is of another net, or its files are damaged or missing.
    """
    path = Path(path)
    state = read_solverstate(path)
    if state.iteration < 0:
        raise SolverError(f"its iteration is {state.iteration}", path)
    if len(state.history) != len(blobs):
        raise SolverError(f"its history has {len(state.history)} blobs, the net has {len(blobs)}", path)
    for i, (found, blob) in enumerate(zip(state.history, blobs, strict=True)):
        if _padded(found.shape) != blob.shape:
            raise SolverError(f"history {i} has shape {found.shape}, {blob} has {blob.shape}", path)
    history = [blob.data for blob in state.history]
    return Snapshot(state.iteration, state.current_step, _model_of(state, path), history, _resume_of(state, path))


def _padded(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (4 - len(shape)) + tuple(shape)


def _model_of(state: SolverSnapshot, path: Path) -> Path | None:
    """The caffemodel: where the solverstate says, or beside it, should both have been moved."""
    if not state.learned_net:
        return None
    named = Path(state.learned_net)
    beside = path.with_name(named.name)
    if not named.exists() and not beside.exists():
        raise SolverError(f"its caffemodel {named} is not there, nor is {beside}", path)
    return named if named.exists() else beside


def _resume_of(state: SolverSnapshot, path: Path) -> dict[str, Any] | None:
    file = path.with_suffix(".resume")
    if not file.exists():
        return None
    resume = read_state(file)
    if resume.get("format") != _FORMAT:
        raise SolverError(f"expected format {_FORMAT!r}, got {resume.get('format')!r}", file)
    # Another program may have written a solverstate over ours since.
    if resume.get("solverstate") != _checksum(path) or resume.get("iteration") != state.iteration:
        return None
    return resume


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc


def _sync_folder(folder: Path) -> None:
    """Has the folder's names on the disk too, on systems that can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
