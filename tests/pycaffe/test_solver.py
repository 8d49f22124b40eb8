from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import CaffeModelError, NetError, PrototxtError
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


# One weight (1, 1), start 2; the data are ones, the targets zeros: loss = 1/2 * w^2 for a batch of 1, gradient = w.
LINE = """
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 1 dim: 1 } shape { dim: 1 dim: 1 } data_filler { value: 1 } data_filler { value: 0 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 1 bias_term: false weight_filler { value: 2 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }
"""


def line_solver(folder: Path, extra: str = 'type: "SGD" momentum: 0.5') -> caffe.SGDSolver:
    (folder / "line.prototxt").write_text(LINE)
    head = f'net: "{folder}/line.prototxt" base_lr: 0.25 lr_policy: "step" gamma: 0.5 stepsize: 2 max_iter: 8'
    (folder / "line_solver.prototxt").write_text(f'{head} snapshot_prefix: "{folder}/line" {extra}')
    return caffe.get_solver(folder / "line_solver.prototxt", **silent())


def weight(solver: caffe.SGDSolver) -> float:
    return float(solver.net.params["ip"][0].data[0, 0])


def test_the_rate_and_the_parameters(tmp_path: Path) -> None:
    solver = line_solver(tmp_path)
    assert (solver.iter, solver.lr, solver.param.max_iter, solver.param.base_lr) == (0, 0.25, 8, 0.25)
    solver.step(2)
    # To ask changes nothing.
    assert [solver.lr, solver.lr] == [0.125, 0.125]
    solver.param.base_lr = 1
    assert solver.lr == 0.5


def test_an_iteration_by_hand(tmp_path: Path) -> None:
    solver = line_solver(tmp_path)
    for expected in (2 - 0.5, 1.5 - (0.25 + 0.375)):
        solver.net.clear_param_diffs()
        solver.net.forward()
        solver.net.backward()
        solver.apply_update()
        # V = 1/2 * V + 1/4 * w: 1/2, then 1/4 + 3/8.
        assert weight(solver) == expected
    assert (solver.iter, solver.lr) == (2, 0.125)
    whole = line_solver(tmp_path)
    whole.step(2)
    assert weight(whole) == weight(solver)


def test_an_update_from_diffs_that_a_script_wrote(tmp_path: Path) -> None:
    solver = line_solver(tmp_path, "iter_size: 2 clip_gradients: 4")
    solver.net.params["ip"][0].diff[...] = 8
    solver.apply_update()
    # 8 is clipped to 4, divided by 2, times 1/4.
    assert weight(solver) == 1.5
    # Caffe leaves the update in the diff.
    assert solver.net.params["ip"][0].diff[0, 0] == 0.5


def test_weights_to_begin_with(tmp_path: Path) -> None:
    first = line_solver(tmp_path)
    first.step(1)
    first.net.save_hdf5(tmp_path / "w.h5")
    assert weight(line_solver(tmp_path, f'weights: "{tmp_path}/w.h5" layer_wise_reduce: false')) == 1.5
    with pytest.raises(CaffeModelError, match="gone.caffemodel"):
        line_solver(tmp_path, 'weights: "gone.caffemodel"')


def test_callbacks(tmp_path: Path) -> None:
    solver = line_solver(tmp_path, "iter_size: 3")
    seen: list[object] = []

    def ready() -> None:
        diff = solver.net.params["ip"][0].diff
        # The sum over the three batches; what is written here counts.
        seen.append(float(diff[0, 0]))
        diff[...] = 12

    solver.add_callback(lambda: seen.append(("start", solver.iter)), ready)
    solver.step(1)
    assert seen == [("start", 0), 6.0]
    assert weight(solver) == 2 - 0.25 * 12 / 3


def test_callbacks_see_the_sum_in_the_old_layout_too(tmp_path: Path) -> None:
    solver = caffe.SGDSolver(write_problem(tmp_path, "iter_size: 2", dropout=False), **silent())
    core = Solver(tmp_path / "solver.prototxt", log=TrainingLog(None), device="cpu")
    core.rule.apply = lambda gradients, *_: found.extend(one.numpy().ravel().copy() for one in gradients)
    found: list[np.ndarray] = []
    core.step(1)
    sums: list[np.ndarray] = []
    blobs = [blob for blobs in solver.net.params.values() for blob in blobs]
    solver.add_callback(lambda: None, lambda: sums.extend(blob.diff.ravel() / 2 for blob in blobs))
    solver.step(1)
    for mine, other in zip(sums, found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)


def test_share_weights(tmp_path: Path) -> None:
    solver = line_solver(tmp_path)
    other = caffe.Net(str(tmp_path / "line.prototxt"), caffe.TEST)
    solver.share_weights(other)
    solver.step(1)
    assert other.params["ip"][0].data[0, 0] == weight(solver) == 1.5


def test_parameters_of_a_solver_keep_their_shape(tmp_path: Path) -> None:
    solver = line_solver(tmp_path, 'type: "SGD" test_iter: 1 test_interval: 100 test_initialization: false')
    other = caffe.Net(str(tmp_path / "line.prototxt"), caffe.TRAIN)
    solver.share_weights(other)
    for net in (solver.net, *solver.test_nets, other):
        with pytest.raises(
            NetError, match=r"shape \(1, 1\) cannot become \(2, 1\): a solver trains it: reshape it in a "
        ):
            net.params["ip"][0].reshape(2, 1)
    solver.step(1)


def test_nets_outlive_their_solver(tmp_path: Path) -> None:
    solver = line_solver(tmp_path)
    solver.step(1)
    net = solver.net
    del solver
    assert net.params["ip"][0].data[0, 0] == 1.5
    assert net.forward()["loss"] == 1.5**2 / 2


@pytest.mark.parametrize(
    ("kind", "cls"),
    [("RMSProp", caffe.RMSPropSolver), ("AdaDelta", caffe.AdaDeltaSolver), ("Adam", caffe.AdamSolver)],
)
def test_later_types(tmp_path: Path, kind: str, cls: type) -> None:
    solver = line_solver(tmp_path, f"type: '{kind}'")
    assert type(solver) is cls
    solver.step(3)
    same = cls(tmp_path / "line_solver.prototxt", **silent())
    same.step(3)
    assert weight(solver) == weight(same) < 2
    solver.snapshot()
    again = line_solver(tmp_path, f"type: '{kind}'")
    again.restore(tmp_path / "line_iter_3.solverstate")
    assert (again.iter, weight(again)) == (3, weight(solver))
    for one in (solver, again):
        one.step(2)
    assert weight(solver) == weight(again)


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
