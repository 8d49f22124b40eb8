"""Snapshots: ``<prefix>_iter_<n>.caffemodel`` and ``.solverstate`` as the original writes them, and a ``.resume`` file.

With ``snapshot_format: HDF5`` the first two end in ``.h5``. The ``.solverstate`` appears last: if it exists, the other
two files exist, are complete and belong to the same iteration.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from deeplab_caffe.data.io.lock import folder_lock
from deeplab_caffe.errors import CaffeModelError, DataError, SolverError
from deeplab_caffe.files.names import exists, is_folder
from deeplab_caffe.net.hdf5 import is_hdf5
from deeplab_caffe.proto import SolverSnapshot, read_solverstate, write_solverstate
from deeplab_caffe.solver.hdf5_state import read_hdf5_state, write_hdf5_state
from deeplab_caffe.solver.statefile import read_state, write_state

_FORMAT = "deeplab_caffe resume 2"


class SnapshotWarning(UserWarning):
    """A part of the state cannot be restored, so a resumed run differs from an uninterrupted one."""


class SnapshotFiles(NamedTuple):
    """The files of one snapshot, in the order in which they appear."""

    model: Path
    resume: Path
    state: Path

    @classmethod
    def of(cls, prefix: str, iteration: int, *, hdf5: bool = False) -> SnapshotFiles:
        """Return the files of an iteration, with Caffe's names."""
        stem, end = f"{prefix}_iter_{iteration}", ".h5" if hdf5 else ""
        return cls(Path(f"{stem}.caffemodel{end}"), Path(f"{stem}.resume"), Path(f"{stem}.solverstate{end}"))

    @property
    def hdf5(self) -> bool:
        """Return whether they are HDF5 files."""
        return self.state.suffix == ".h5"


def write_snapshot(
    files: SnapshotFiles, state: dict[str, Any], save_model: Callable[[Path], None], dialect: str
) -> None:
    """Write all three files or none: all are complete and on the disk before the first one gets its name.

    Args:
        files: paths of the files.
        state: result of :meth:`deeplab_caffe.solver.Solver.state_dict`.
        save_model: function that writes the caffemodel to a given path.
        dialect: dialect of the solverstate, see :func:`deeplab_caffe.proto.write_solverstate`.

    Raises:
        SolverError: a file cannot be written; earlier files of these names are kept.
    """
    iteration = state["iteration"]
    folder = files.model.parent
    working: Path | None = None
    held = contextlib.ExitStack()
    try:
        held.enter_context(folder_lock(folder))
        working = Path(tempfile.mkdtemp(prefix=f".{files.resume.stem}.", suffix=".tmp", dir=folder))
        parts = SnapshotFiles(*(working / file.name for file in files))
        save_model(parts.model)
        history, step = state["history"], state["current_step"]
        if files.hdf5:
            write_hdf5_state(parts.state, iteration, str(files.model), history, step)
        else:
            write_solverstate(parts.state, iteration, str(files.model), history, step, dialect=dialect)
        identity = {"format": _FORMAT, "solverstate": _checksum(parts.state), "iteration": iteration}
        write_state(parts.resume, {**identity, **state["run"]})
        # An older solverstate must not be seen beside a newer caffemodel.
        files.state.unlink(missing_ok=True)
        _sync_folder(folder)
        for part, file in zip(parts, files, strict=True):
            part.replace(file)
        _sync_folder(folder)
    except (CaffeModelError, DataError, OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
        raise SolverError(f"the snapshot of iteration {iteration} cannot be written: {reason}", files.model) from error
    finally:
        if working is not None:
            shutil.rmtree(working, ignore_errors=True)
        held.close()


def remove_leftovers(prefix: str) -> None:
    """Remove unfinished files of runs with this prefix that were killed while they wrote a snapshot.

    If another run is writing a snapshot into the folder, nothing is removed.
    """
    folder, name = Path(prefix).parent, Path(f"{prefix}_iter_").name
    pattern = re.compile(rf"\.{re.escape(name)}\d+\.\w+\.tmp")
    with contextlib.suppress(OSError), folder_lock(folder, wait=False):
        for path in folder.iterdir():
            if pattern.fullmatch(path.name) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def check_prefix(prefix: str) -> None:
    """Create the folder of the snapshots, and check that files can be written there.

    Raises:
        SolverError: no files can be written there.
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
    """Return the ``.solverstate`` or ``.solverstate.h5`` of this prefix with the largest iteration, or None.

    If an iteration has both, return the newer one.
    """
    name = Path(f"{prefix}_iter_").name
    pattern = re.compile(rf"{re.escape(name)}(\d+)\.solverstate(?:\.h5)?")
    folder = Path(prefix).parent
    if not is_folder(folder):
        return None
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    return max(found, key=lambda one: (one[0], one[1].stat().st_mtime_ns))[1] if found else None


def read_snapshot(path: str | PathLike[str]) -> tuple[dict[str, Any], Path | None]:
    """Read a ``.solverstate``, of this package or of the original, also in HDF5, and the ``.resume`` file beside it.

    Returns:
        The state for :meth:`deeplab_caffe.solver.Solver.load_state_dict`, whose ``run`` is None without a ``.resume``
        file; and the path of the caffemodel, None if the ``.solverstate`` names none.

    Raises:
        CaffeModelError: the solverstate cannot be read.
        SolverError: the solverstate has invalid values, its caffemodel is missing, or the ``.resume`` file is damaged.
    """
    path = Path(path)
    found = read_hdf5_state(path) if is_hdf5(path) else read_solverstate(path)
    for name, value in (("iteration", found.iteration), ("current_step", found.current_step)):
        if not 0 <= value < 2**31:
            raise SolverError(f"its {name} is {value}", path)
    model = _model_of(found, path)
    state = {
        "iteration": found.iteration,
        "current_step": found.current_step,
        "history": [blob.data.reshape(blob.shape) for blob in found.history],
        "run": _resume_of(found, path),
    }
    return state, model


def _model_of(state: SolverSnapshot, path: Path) -> Path | None:
    """Return the caffemodel: the path in the solverstate, or the file of this name beside it if both were moved."""
    if not state.learned_net:
        return None
    try:
        named = Path(state.learned_net)
        beside = path.with_name(named.name)
        if named.exists():
            return named
        if beside.exists():
            return beside
    except (OSError, ValueError) as error:  # the text cannot be a file's name
        reason = getattr(error, "strerror", None) or "it names no file"
        raise SolverError(f"its caffemodel {state.learned_net[:200]!r}: {reason}", path) from error
    raise SolverError(f"its caffemodel {named} is not there, nor is {beside}", path)


def _resume_of(state: SolverSnapshot, path: Path) -> dict[str, Any] | None:
    file = path.with_name(path.name.removesuffix(".h5")).with_suffix(".resume")
    if not exists(file):
        return None
    resume = read_state(file)
    if resume.get("format") != _FORMAT:
        raise SolverError(f"expected format {_FORMAT!r}, got {resume.get('format')!r}", file)
    # Another program may have overwritten our solverstate.
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
    """Write the folder's entries to the disk, on systems that support it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
