from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import read_solverstate
from deeplab_caffe.solver import Solver, TrainingLog
from tests.goldens import TRAINING_TOLERANCE, case_dir, load_case
from tests.replay import inside
from tests.solver.toy import write_problem


def silent() -> dict:
    return {"log": TrainingLog(None)}


@pytest.mark.parametrize("name", ["solver_step", "solver_nesterov", "solver_adagrad"])
def test_step_by_step_as_the_original(tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    shutil.copytree(case_dir(name), work, ignore=shutil.ignore_patterns("snap_*"))
    case = load_case(name)
    losses = []
    with inside(work):
        solver = caffe.get_solver("solver.prototxt", **silent())
        solver.net.copy_from("init.caffemodel")
        for _ in case["losses"]:
            solver.step(1)
            losses.append(float(solver.net.blobs["loss"].data.squeeze()))
    np.testing.assert_allclose(losses, case["losses"], rtol=TRAINING_TOLERANCE)
    assert solver.iter == len(losses)


def test_get_solver_gives_the_class_that_solver_type_names(tmp_path: Path) -> None:
    for kind, cls in (("SGD", caffe.SGDSolver), ("NESTEROV", caffe.NesterovSolver), ("ADAGRAD", caffe.AdaGradSolver)):
        path = write_problem(tmp_path, f"solver_type: {kind}")
        path.write_text(path.read_text().replace("momentum: 0.9", "momentum: 0"))
        assert type(caffe.get_solver(path, **silent())) is cls


def test_the_same_as_the_solver_itself(tmp_path: Path) -> None:
    path = write_problem(tmp_path, "iter_size: 2")
    ours, core = caffe.SGDSolver(path, **silent()), Solver(path, **silent())
    ours.step(3)
    core.step(3)
    for blob in core.blobs:
        mine = ours.net.params[blob.layer.name][blob.index].data
        np.testing.assert_allclose(mine.ravel(), blob.parameter.detach().numpy().ravel(), rtol=1e-5, atol=1e-7)


def test_blobs_between_the_steps(tmp_path: Path) -> None:
    solver = caffe.SGDSolver(write_problem(tmp_path), **silent())
    solver.step(1)
    net = solver.net
    assert net.blobs["data"].data.shape == (4, 3, 9, 9)
    before = net.params["c1"][0].data.copy()
    solver.step(1)
    # As in Caffe: the parameters' diffs hold what the update took off.
    np.testing.assert_allclose(before - net.params["c1"][0].data, net.params["c1"][0].diff, rtol=1e-3, atol=1e-7)
    assert np.abs(net.blobs["c2"].diff).sum() > 0


def test_a_script_may_change_parameters(tmp_path: Path) -> None:
    solver = caffe.SGDSolver(write_problem(tmp_path, dropout=False), **silent())
    solver.net.params["c2"][0].data[...] = 0
    solver.net.params["c2"][1].data[...] = 0
    solver.step(1)
    np.testing.assert_allclose(solver.net.blobs["loss"].data.squeeze(), np.log(3), rtol=1e-6)


def test_test_nets(tmp_path: Path) -> None:
    solver = caffe.SGDSolver(write_problem(tmp_path, "test_iter: 1 test_interval: 1000"), **silent())
    (test,) = solver.test_nets
    solver.net.params["c2"][0].data[...] = 7
    assert (test.params["c2"][0].data == 7).all()
    test.forward()
    assert np.isfinite(test.blobs["loss"].data).all()


def test_solve_snapshots_and_restore(tmp_path: Path) -> None:
    path = write_problem(tmp_path, "snapshot: 2", max_iter=4)
    solver = caffe.SGDSolver(path, **silent())
    solver.solve()
    assert solver.iter == 4
    final = [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]
    for resume in ("restore", "solve"):
        again = caffe.SGDSolver(path, **silent())
        if resume == "restore":
            again.restore(tmp_path / "snap_iter_2.solverstate")
            assert again.iter == 2
            again.solve()
        else:
            again.solve(tmp_path / "snap_iter_2.solverstate")
        for mine, other in zip((b.data for blobs in again.net.params.values() for b in blobs), final, strict=True):
            np.testing.assert_array_equal(mine, other)
    again.snapshot()
    assert read_solverstate(tmp_path / "snap_iter_4.solverstate").iteration == 4


def test_the_seed_of_the_process_is_used_where_the_file_has_none(tmp_path: Path) -> None:
    path = write_problem(tmp_path, seed=None)
    caffe.set_random_seed(5)
    try:
        first, second = (caffe.SGDSolver(path, **silent()) for _ in range(2))
    finally:
        caffe.mode._seed = None
    np.testing.assert_array_equal(first.net.params["c1"][0].data, second.net.params["c1"][0].data)


def test_bad_solvers(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match="none.prototxt"):
        caffe.get_solver(tmp_path / "none.prototxt")
    with pytest.raises(PrototxtError, match="momentum must be 0 for AdaGrad"):
        caffe.AdaGradSolver(write_problem(tmp_path), **silent())
