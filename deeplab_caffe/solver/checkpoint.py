"""A solver's state into a snapshot and back."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deeplab_caffe.errors import SolverError
from deeplab_caffe.solver.diagnosis import non_finite_parameter
from deeplab_caffe.solver.resume import (
    kept_diffs,
    load_kept_diffs,
    load_net_state,
    load_torch_state,
    net_state,
    torch_state,
)
from deeplab_caffe.solver.snapshot import SnapshotFiles, SnapshotWarning, read_snapshot, write_snapshot

if TYPE_CHECKING:
    from deeplab_caffe.solver.solver import Solver


def data_state(solver: Solver) -> dict[str, Any]:
    """Where the nets stand in their data, and their generators."""
    return {"train": net_state(solver.net), "test": [net_state(net) for net in solver.test_nets]}


def load_data_state(solver: Solver, state: dict[str, Any]) -> None:
    """Goes back to what :func:`data_state` gave.

    Raises:
        SolverError: it is of other nets.
        DataError: a position does not fit a data layer's list or files.
    """
    load_net_state(solver.net, state["train"])
    for net, saved in zip(solver.test_nets, state["test"], strict=False):
        load_net_state(net, saved)


def save_checkpoint(solver: Solver) -> SnapshotFiles:
    """Writes the snapshot of the next iteration; all processes must call it, the first one writes.

    Raises:
        SolverError: it cannot be written, or a parameter is not finite.
    """
    files = SnapshotFiles.of(solver.param.snapshot_prefix, solver.iteration)
    resume = {
        "iteration": solver.iteration,
        "smoothed_loss": solver.smoothed.state_dict(),
        "kept_diffs": kept_diffs(solver.net, solver.world),
        "torch": solver.world.gather(torch_state(solver.device)),
        **data_state(solver),
    }
    solver.world.run_on_first(lambda: _write(solver, files, resume))
    return files


def _write(solver: Solver, files: SnapshotFiles, resume: dict[str, Any]) -> None:
    solver.engine.before_snapshot()
    bad = None if solver.allow_nan else non_finite_parameter(solver.blobs)
    if bad is not None:
        raise SolverError(f"the snapshot of iteration {solver.iteration} is not written: {bad} is not finite")
    solver.log.line(f"Snapshotting to {files.model}")
    solver.log.line(f"Snapshotting solver state to {files.state}")
    write_snapshot(
        files,
        solver.net,
        iteration=solver.iteration,
        current_step=solver.rate.current_step,
        history=solver.rule.history,
        diffs=_last_updates(solver) if solver.param.snapshot_diff else None,
        resume=resume,
    )
    solver.log.record("snapshot", solver.iteration, path=str(files.state))


def _last_updates(solver: Solver) -> dict[str, list[np.ndarray]]:
    """What the last update took off each layer's blobs: Caffe leaves it in their diffs."""
    found: dict[str, list[np.ndarray]] = {}
    for i, blob in enumerate(solver.blobs):
        value = torch.zeros_like(blob.parameter) if solver.rule.values is None else solver.rule.values[i]
        found.setdefault(blob.layer.name, []).append(value.detach().float().cpu().numpy().reshape(blob.shape))
    return found


def restore_checkpoint(solver: Solver, path: str | PathLike[str]) -> None:
    """See :meth:`deeplab_caffe.solver.Solver.restore`."""
    found = read_snapshot(path, solver.blobs)
    solver.engine.before_snapshot()
    if found.model is None:
        warnings.warn(f"{path}: names no caffemodel: the weights stay as they are", SnapshotWarning, 3)
    else:
        solver.net.copy_from(found.model)
    with torch.no_grad():
        for history, array in zip(solver.rule.history, found.history, strict=True):
            history.copy_(torch.from_numpy(np.array(array, np.float32)).view(history.shape))
    solver.rule.regroup()
    solver.rule.values = None
    solver.start_from(found.iteration)
    solver.rate.current_step = found.current_step
    if found.resume is None:
        warnings.warn(
            f"{path}: no .resume file of this state beside it: the order of the data and random numbers begin anew",
            SnapshotWarning,
            3,
        )
        return
    try:
        load_data_state(solver, found.resume)
        solver.smoothed.load_state_dict(found.resume["smoothed_loss"])
        load_kept_diffs(solver.net, found.resume["kept_diffs"], solver.device, solver.world)
        complete = load_torch_state(solver.device, found.resume["torch"], solver.world)
    except (KeyError, TypeError) as error:
        raise SolverError(f"its .resume file lacks {error}", path) from error
    if not complete:
        warnings.warn(
            f"{path}: written by other processes or on another device: torch's random numbers begin anew",
            SnapshotWarning,
            3,
        )
