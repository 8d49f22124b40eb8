"""Replays the golden training runs: losses, learning rates, and every number of the files that they leave behind."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from google.protobuf.message import Message
from torch import Tensor

from deeplab_caffe.proto import CaffeModel, ModelBlob, read_solverstate
from deeplab_caffe.proto.schema.tables import dialect_schema
from deeplab_caffe.solver import SnapshotWarning, Solver, TrainingLog
from tests.goldens import relative_error
from tests.replay import inside


class Rates(TrainingLog):
    """Keeps the learning rates of the iterations and writes nothing."""

    def __init__(self) -> None:
        super().__init__(echo=None)
        self.rates: list[float] = []

    def record(self, event: str, iteration: int, **values: object) -> None:
        if event == "train":
            self.rates.append(float(values["lr"]))


def check_solver(case: dict, folder: Path, source: Path, **options: object) -> Iterator[tuple[str, float]]:
    """Trains as the case says and compares.

    Args:
        case: the case's ``case.json``.
        folder: a copy of the case to run in.
        source: the case's own folder.
        **options: keyword arguments of the solver.

    Yields:
        (what, relative error): of each iteration's loss, of the rates, and of each blob of each snapshot. A different
        name, shape, type or number of things is an infinite error.
    """
    first = 0
    if case["resume"] != "-":
        first = int(re.search(r"_iter_(\d+)", case["resume"])[1])
    snapshots = _snapshots(source, first)
    for name in snapshots:
        (folder / name).unlink()
    log = Rates()
    # DeepLab v2's cases are of so many updates, whatever max_iter says.
    updates = len(case["losses"]) if "final_params" in case else None
    with inside(folder), warnings.catch_warnings():
        solver = Solver("solver.prototxt", log=log, **options)
        losses = solver.losses if updates is None else _last_losses(solver)
        if case["resume"] == "-":
            solver.copy_from(case["initial_weights"])
        else:
            # The original's states have no .resume file beside them.
            warnings.simplefilter("ignore", SnapshotWarning)
            solver.restore(case["resume"])
        if updates is None:
            solver.solve()
        else:
            solver.step(updates)
            losses = losses[solver.param.iter_size - 1 :: solver.param.iter_size]
            if any(f"_iter_{solver.iteration}." in name for name in snapshots):
                solver.snapshot()
    yield "number of iterations", _same(len(losses), len(case["losses"]))
    for k, (actual, expected) in enumerate(zip(losses, case["losses"], strict=False), first):
        yield f"loss of iteration {k}", abs(actual - expected) / abs(expected)
    for param in case.get("final_params", []):
        blob = solver.net.by_name[param["layer"]].blobs[param["index"]]
        expected = np.load(source / param["file"])
        yield f"{param['layer']} {param['index']}", relative_error(blob.detach().numpy(), expected)
    yield "learning rates", relative_error(np.array(log.rates), np.array(case["rates"]))
    yield "names of the snapshots", _same(_snapshots(folder, first), snapshots)
    for name in snapshots:
        compare = _models if name.endswith(".caffemodel") else _states
        if name.endswith(".h5"):
            compare = _hdf5_files
        for what, error in compare(folder / name, source / name):
            yield f"{name}: {what}", error


def _last_losses(solver: Solver) -> list[float]:
    """Return a list that the loss of each forward pass is added to."""
    losses: list[float] = []
    forward_backward = solver.engine.forward_backward

    def recorded(**options: bool) -> dict[str, Tensor]:
        found = forward_backward(**options)
        losses.append(float(found["loss"].detach()))
        return found

    solver.engine.forward_backward = recorded
    return losses


def _snapshots(folder: Path, after: int) -> list[str]:
    """Names of Caffe's own files of the snapshots after an iteration."""
    endings = ("caffemodel", "solverstate", "caffemodel.h5", "solverstate.h5")
    found = [path.name for ending in endings for path in folder.glob(f"snap_iter_*.{ending}")]
    return sorted(name for name in found if int(re.search(r"_iter_(\d+)", name)[1]) > after)


def _same(actual: object, expected: object) -> float:
    return 0.0 if actual == expected else np.inf


def _models(actual: Path, expected: Path) -> Iterator[tuple[str, float]]:
    ours, theirs = CaffeModel(actual), CaffeModel(expected)
    outlines = [
        [(layer.name, layer.type, layer.bottoms, layer.tops) for layer in model.layers] for model in (ours, theirs)
    ]
    yield (
        "name, layers and their blobs' names",
        _same((ours.name, ours.inputs, outlines[0]), (theirs.name, theirs.inputs, outlines[1])),
    )
    yield "everything but the blobs", _same(*(_without_blobs(path, theirs.dialect) for path in (actual, expected)))
    for mine, other in zip(ours.layers, theirs.layers, strict=False):
        yield from _blobs(mine.name, mine.blobs, other.blobs)


def _without_blobs(path: Path, dialect: str) -> Message:
    """Return a caffemodel as protobuf reads it, in its own dialect."""
    net = dialect_schema("v2" if dialect == "bvlc" else dialect).new("NetParameter")
    net.ParseFromString(path.read_bytes())
    for layer in [*net.layers, *getattr(net, "layer", ())]:
        layer.ClearField("blobs")
    return net


def _states(actual: Path, expected: Path) -> Iterator[tuple[str, float]]:
    ours, theirs = read_solverstate(actual), read_solverstate(expected)
    for field in ("iteration", "learned_net", "current_step"):
        yield field, _same(getattr(ours, field), getattr(theirs, field))
    yield from _blobs("history", ours.history, theirs.history)


def _hdf5_files(actual: Path, expected: Path) -> Iterator[tuple[str, float]]:
    with h5py.File(actual) as ours, h5py.File(expected) as theirs:
        outlines: list[dict[str, tuple]] = [{}, {}]
        for outline, file in zip(outlines, (ours, theirs), strict=True):
            file.visititems(lambda name, item, found=outline: found.update({name: _outline_of(item)}))
        yield "names, shapes and types of groups and datasets", _same(*outlines)
        for name in outlines[1]:
            if isinstance(theirs[name], h5py.Dataset) and name in ours:
                mine, other = ours[name][()], theirs[name][()]
                yield name, relative_error(mine, other) if other.dtype.kind == "f" else _same(mine, other)


def _outline_of(item: h5py.Group | h5py.Dataset) -> tuple:
    return (item.shape, item.dtype) if isinstance(item, h5py.Dataset) else ()


def _blobs(name: str, ours: list[ModelBlob], theirs: list[ModelBlob]) -> Iterator[tuple[str, float]]:
    yield f"number of blobs of {name}", _same(len(ours), len(theirs))
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        yield f"shape of {name} {i}", _same(mine.shape, other.shape)
        yield f"diff of {name} {i} is there", _same(mine.diff is None, other.diff is None)
        for what in ("data", "diff"):
            actual, expected = getattr(mine, what), getattr(other, what)
            if actual is not None and expected is not None and actual.shape == expected.shape:
                yield f"{what} of {name} {i}", relative_error(actual, expected)
