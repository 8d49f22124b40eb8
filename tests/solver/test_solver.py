from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe import Net, proto
from deeplab_caffe.errors import PrototxtError, SolverError
from deeplab_caffe.solver import Solver, TrainingLog
from deeplab_caffe.solver.world import World
from tests.solver.toy import Recorder, net_text, solver_text, write_images, write_problem

QUIET = {"device": "cpu"}


def make(
    folder: Path, extra: str = "", log: TrainingLog | None = None, options: dict | None = None, **problem
) -> Solver:
    path = write_problem(folder, extra, **problem)
    return Solver(path, log=log or TrainingLog(None), **QUIET, **(options or {}))


def weights(solver: Solver) -> list[np.ndarray]:
    return [blob.parameter.detach().numpy().copy() for blob in solver.blobs]


def test_the_loss_falls(tmp_path: Path) -> None:
    solver = make(tmp_path, max_iter=60)
    solver.step(60)
    assert np.mean(solver.losses[-10:]) < 0.5 * np.mean(solver.losses[:10])


def test_the_default_seed_is_for_solvers_without_one(tmp_path: Path) -> None:
    for said, expected in ((7, 7), (None, 3)):
        assert make(tmp_path, options={"default_seed": 3}, seed=said).seed == expected


def test_callbacks_are_called_before_the_batch_and_before_the_update(tmp_path: Path) -> None:
    log = Recorder()
    solver = make(tmp_path, log=log)
    seen: list[tuple[str, int, bool, bool]] = []

    def note(name: str) -> None:
        blob, begun = solver.blobs[0].parameter, weights(solver)
        unchanged = all(np.array_equal(a, b) for a, b in zip(begun, before, strict=True))
        seen.append((name, len(log.records), blob.grad is None, unchanged))

    solver.callbacks.append((lambda: note("start"), lambda: note("gradients")))
    before = weights(solver)
    solver.step(1)
    assert seen == [("start", 0, True, True), ("gradients", 0, False, True)]
    ((event, iteration, numbers),) = log.records
    assert (event, iteration, numbers["loss"], numbers["lr"]) == ("train", 0, solver.losses[0], float(np.float32(0.05)))
    assert 0 <= numbers["seconds"] < 60


def test_a_run_without_snapshots_needs_no_folder_for_them(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def without_folder(extra: str, max_iter: int) -> Solver:
        solver = make(tmp_path, extra, max_iter=max_iter)
        solver.param.snapshot_prefix = f"{tmp_path}/file/snap"
        return solver

    without_folder("snapshot_after_train: false", 1).solve()
    without_folder("snapshot: 2", 2).step(1)
    for extra in ("", "snapshot_after_train: false snapshot: 1"):
        with pytest.raises(SolverError, match="snapshot_prefix: no files can be written there"):
            without_folder(extra, 1).solve()


def test_order_of_a_run(tmp_path: Path) -> None:
    """As 2014 Caffe: snapshot, test and training before the iteration counts on; at the end snapshot, then test."""
    log = Recorder()
    make(tmp_path, "snapshot: 2 test_iter: 1 test_interval: 2", log, max_iter=4).solve()
    assert log.events() == [
        ("test", 0),
        ("train", 0),
        ("train", 1),
        ("snapshot", 2),
        ("test", 2),
        ("train", 2),
        ("train", 3),
        ("snapshot", 4),
        ("test", 4),
        ("done", 4),
    ]
    assert {path.name for path in tmp_path.glob("snap*")} == {
        f"snap_iter_{n}.{ending}" for n in (2, 4) for ending in ("caffemodel", "solverstate", "resume")
    }


def test_v2_snapshots_at_the_end_of_an_iteration(tmp_path: Path) -> None:
    """As Caffe since 2015: step() ends with the snapshot, and snapshot_after_train: false keeps what is due."""

    def make_v2(extra: str, log: TrainingLog, max_iter: int) -> Solver:
        path, net = write_problem(tmp_path, f"snapshot: 2 {extra}", max_iter=max_iter), tmp_path / "net.prototxt"
        net.write_text(net.read_text().replace("softmaxloss_param", "loss_param"))
        return Solver(path, log=log, dialect="v2", **QUIET)

    log = Recorder()
    test = "test_iter: 1 test_interval: 2 test_initialization: false"
    solver = make_v2(f"{test} snapshot_after_train: false", log, 4)
    solver.step(2)
    first = [("train", 0), ("train", 1), ("snapshot", 2)]
    assert log.events() == first
    solver.solve()
    second = [("test", 2), ("train", 2), ("train", 3), ("snapshot", 4), ("test", 4), ("done", 4)]
    assert log.events() == first + second
    log = Recorder()
    make_v2("", log, 3).solve()
    assert [n for event, n in log.events() if event == "snapshot"] == [2, 3]


def test_what_can_be_turned_off(tmp_path: Path) -> None:
    log = Recorder()
    extra = "test_iter: 1 test_interval: 2 test_initialization: false snapshot_after_train: false"
    make(tmp_path, extra, log, max_iter=3).solve()
    assert log.events() == [("train", 0), ("train", 1), ("test", 2), ("train", 2), ("done", 3)]
    assert not list(tmp_path.glob("snap*"))


def test_no_batches_of_a_test_net_give_no_outputs(tmp_path: Path) -> None:
    log = Recorder()
    extra = "test_iter: 0 test_interval: 2 test_compute_loss: true snapshot_after_train: false"
    make(tmp_path, extra, log, max_iter=2).solve()
    assert log.lines[1:3] == ["Iteration 0, Testing net (#0)", "Test loss: nan"]
    assert not any("Test net output" in line for line in log.lines)
    assert log.events() == [("test", 0), ("train", 0), ("train", 1), ("test", 2), ("done", 2)]


def test_caffes_lines(tmp_path: Path) -> None:
    log = Recorder()
    make(tmp_path, "display: 2 test_iter: 2 test_interval: 4 test_compute_loss: true", log, max_iter=4).solve()
    number = r"[-+.e\d]+"
    expected = [
        r"Solving toy",
        r"Iteration 0, Testing net \(#0\)",
        rf"Test loss: {number}",
        *[rf"    Test net output #{i}: accuracy = {number}" for i in range(3)],
        rf"    Test net output #3: loss = {number} \(\* 1 = {number} loss\)",
        rf"Iteration 0, loss = {number}",
        *[rf"    Train net output #{i}: accuracy = {number}" for i in range(3)],
        rf"    Train net output #3: loss = {number} \(\* 1 = {number} loss\)",
        r"Iteration 0, lr = 0.05",
        rf"Iteration 2, loss = {number}",
        *[rf"    Train net output #{i}: accuracy = {number}" for i in range(3)],
        rf"    Train net output #3: loss = {number} \(\* 1 = {number} loss\)",
        r"Iteration 2, lr = 0.0267943",
        rf"Snapshotting to {re.escape(str(tmp_path))}/snap_iter_4.caffemodel",
        rf"Snapshotting solver state to {re.escape(str(tmp_path))}/snap_iter_4.solverstate",
        rf"Iteration 4, loss = {number}",
        r"Iteration 4, Testing net \(#0\)",
        rf"Test loss: {number}",
        *[rf"    Test net output #{i}: accuracy = {number}" for i in range(3)],
        rf"    Test net output #3: loss = {number} \(\* 1 = {number} loss\)",
        r"Optimization Done.",
    ]
    assert len(log.lines) == len(expected)
    for line, pattern in zip(log.lines, expected, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_a_loss_weight_is_shown_and_counts(tmp_path: Path) -> None:
    log = Recorder()
    path = write_problem(tmp_path, "display: 1", max_iter=1)
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace('top: "loss"', 'top: "loss" loss_weight: 2'))
    solver = Solver(path, log=log, **QUIET)
    solver.step(1)
    (line,) = [line for line in log.lines if "loss = " in line and "output" in line]
    number = float(line.split(" = ")[1].split()[0])
    assert f"(* 2 = {2 * number:g} loss)" in line
    assert solver.losses[0] == pytest.approx(2 * number, rel=1e-5)


def test_average_loss_by_hand(tmp_path: Path) -> None:
    log = Recorder()
    solver = make(tmp_path, "average_loss: 3 display: 1", log, max_iter=6)
    solver.step(6)
    shown = [values["smoothed_loss"] for event, _, values in log.records if event == "train"]
    expected = [np.mean(solver.losses[max(0, i - 2) : i + 1]) for i in range(6)]
    np.testing.assert_allclose(shown, expected, rtol=1e-12)


def test_the_first_update_by_torch(tmp_path: Path) -> None:
    """The same net by hand: gradient of the loss by autograd, then V = lr (g + wd W), W -= V."""
    options = {"ignored_gradient": "zero"}
    solver = make(tmp_path, options=options, dropout=False)
    before = weights(solver)
    net = Net(tmp_path / "net.prototxt", phase="TRAIN", seed=3)
    for blob, array in zip([b for layer in net.layers for b in layer.blobs], before, strict=True):
        np.testing.assert_array_equal(blob.detach().numpy(), array)
    loss = net.loss(net(blobs=net.losses))
    loss.backward()
    solver.step(1)
    assert solver.losses == [pytest.approx(loss.item(), rel=1e-6)]
    multipliers = [(1, 1), (2, 0), (10, 1), (20, 0)]
    parameters = [b for layer in net.layers for b in layer.blobs]
    for blob, parameter, (rate, decay) in zip(solver.blobs, parameters, multipliers, strict=True):
        value = 0.05 * rate * (parameter.grad + 0.0005 * decay * parameter)
        torch.testing.assert_close(blob.parameter, parameter - value, rtol=1e-6, atol=1e-7)


def test_iter_size_is_the_mean_of_several_batches(tmp_path: Path) -> None:
    """With as many valid pixels in each batch, two batches of 2 are one of 4."""
    for name, batch in (("one", 4), ("two", 2)):
        write_problem(tmp_path / name, batch=batch, random=False, dropout=False)
        for path in (tmp_path / name / "img").glob("*_label.png"):
            path.write_bytes((tmp_path / name / "img" / "0_label.png").read_bytes())
    one = Solver(tmp_path / "one" / "solver.prototxt", log=TrainingLog(None))
    two_text = solver_text(tmp_path / "two", "iter_size: 2")
    two = Solver(proto.parse_solver(two_text), log=TrainingLog(None))
    one.step(3)
    two.step(3)
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-5)
    for ours, theirs in zip(weights(two), weights(one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_test_nets_have_the_training_nets_parameters(tmp_path: Path) -> None:
    solver = make(tmp_path, "test_iter: 1 test_interval: 2")
    (test,) = solver.test_nets
    assert test.by_name["c1"].weight is solver.net.by_name["c1"].weight
    assert not test.training
    assert solver.net.training


def test_what_a_test_writes_is_the_mean_of_its_batches(tmp_path: Path) -> None:
    log = Recorder()
    solver = make(tmp_path, "test_iter: 3 test_interval: 2", log, random=False, dropout=False)
    solver.test(0)
    net = Net(tmp_path / "net.prototxt", phase="TEST")
    net.load_state_dict(solver.net.state_dict())
    with torch.no_grad():
        found = [net(blobs=net.losses) for _ in range(3)]
    ((_, _, values),) = log.records
    for name in ("loss", "accuracy"):
        expected = np.mean([batch[name].flatten().numpy() for batch in found], axis=0)
        np.testing.assert_allclose(values["outputs"][name], expected, rtol=1e-6)


def test_test_nets_may_differ_from_the_training_net_but_not_in_shape(tmp_path: Path) -> None:
    path = write_problem(tmp_path, 'test_net: "other.prototxt" test_iter: 1 test_interval: 1')
    other = (tmp_path / "net.prototxt").read_text().replace("num_output: 6", "num_output: 5")
    (tmp_path / "other.prototxt").write_text(other)
    path.write_text(path.read_text().replace("other.prototxt", f"{tmp_path}/other.prototxt"))
    with pytest.raises(Exception, match=r"layer 'c1': its parameters are \[\(5, 3, 3, 3\), \(5,\)\] in the test net"):
        Solver(path, log=TrainingLog(None))


def test_one_seed_gives_the_same_bits(tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        solver = make(tmp_path)
        solver.step(5)
        runs.append((solver.losses, weights(solver)))
    assert runs[0][0] == runs[1][0]
    for ours, theirs in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    other = make(tmp_path, seed=4)
    other.step(1)
    assert other.losses[0] != runs[0][0][0]


def test_without_a_seed_runs_differ(tmp_path: Path) -> None:
    seeds = {make(tmp_path, seed=None).seed for _ in range(3)}
    assert len(seeds) > 1


def test_debug_info(tmp_path: Path) -> None:
    log = Recorder()
    make(tmp_path, "debug_info: true display: 2", log, dropout=False).step(2)
    lines = [line for line in log.lines if line.startswith("    [")]
    forward = [line.split(" data:")[0] for line in lines if "[Forward]" in line]
    assert "    [Forward] Layer c1, top blob c1" in forward
    backward = [line.split(" diff:")[0] for line in lines if "[Backward]" in line]
    # From the loss down; nothing goes into data and labels.
    assert backward[:2] == [
        "    [Backward] Layer loss, bottom blob c2_c2_0_split_0",
        "    [Backward] Layer c2_c2_0_split, bottom blob c2",
    ]
    assert "    [Backward] Layer c2, param blob 1" in backward
    assert "    [Backward] Layer c1, param blob 0" in backward
    assert not any("bottom blob data" in line or "label" in line for line in backward)
    updates = [line for line in lines if "[Update]" in line]
    assert [line.split(" data:")[0] for line in updates] == [
        f"    [Update] Layer {layer}, param {i}" for layer in ("c1", "c2") for i in (0, 1)
    ]
    # Only the iterations that are displayed are told of.
    assert len(updates) == 4


def test_a_loss_that_is_not_finite_names_the_layer(tmp_path: Path) -> None:
    log = Recorder()
    solver = make(tmp_path, "snapshot: 1", log)
    solver.step(2)
    before = (tmp_path / "snap_iter_1.solverstate").read_bytes()
    with torch.no_grad():
        solver.net.by_name["c2"].weight.fill_(1e38)
        solver.net.by_name["c1"].weight.zero_()
        solver.net.by_name["c1"].bias.fill_(1e3)
    at = solver.iteration
    kept = weights(solver)
    with pytest.raises(SolverError) as error:
        solver.step(1)
    message = str(error.value)
    assert f"iteration {at}: the loss is " in message
    assert "at learning rate 0.0409" in message
    assert "layer 'c2': its output 'c2'" in message
    assert "solver.prototxt" in message
    for ours, theirs in zip(weights(solver), kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (tmp_path / "snap_iter_1.solverstate").read_bytes() == before


def test_parameters_that_are_not_finite_are_named_and_not_written(tmp_path: Path) -> None:
    solver = make(tmp_path)
    solver.step(1)
    with torch.no_grad():
        solver.net.by_name["c1"].bias[0] = float("nan")
    with pytest.raises(SolverError, match="layer 'c1': its parameter blob 1"):
        solver.step(1)
    with pytest.raises(SolverError, match="snapshot of iteration 1 is not written: layer 'c1', parameter blob 1"):
        solver.snapshot()
    assert not list(tmp_path.glob("snap*"))


def test_allow_nan_goes_on(tmp_path: Path) -> None:
    solver = make(tmp_path, options={"allow_nan": True}, max_iter=2)
    with torch.no_grad():
        solver.net.by_name["c1"].bias[0] = float("nan")
    solver.solve()
    assert np.isnan(solver.losses).all()
    assert (tmp_path / "snap_iter_2.solverstate").exists()


def test_an_iteration_that_broke_off_leaves_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = {"random": False, "dropout": False}
    each, solver = make(tmp_path, **still), make(tmp_path, "iter_size: 2", **still)
    each.param.base_lr = solver.param.base_lr = 0
    each.step(3)

    def interrupted(**options: bool) -> None:
        run(**options)
        raise KeyboardInterrupt

    run = solver.engine.forward_backward
    with monkeypatch.context() as patch:
        patch.setattr(solver.engine, "forward_backward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.step(1)
    solver.step(1)
    assert solver.losses == [pytest.approx(sum(each.losses[1:]) / 2)]


def test_a_stop_snapshots_and_ends(tmp_path: Path) -> None:
    log = Recorder()
    solver = make(tmp_path, "test_iter: 1 test_interval: 1", log)
    solver.after_iteration = lambda: solver.request_stop(15) if solver.iteration == 3 else None
    solver.solve()
    assert solver.stopped == 15
    assert log.events()[-2:] == [("snapshot", 3), ("stopped", 3)]
    assert "Optimization stopped early." in log.lines


def test_a_stop_during_a_test_does_not_wait_for_its_end(tmp_path: Path) -> None:
    log = Recorder()
    solver = make(tmp_path, "test_iter: 1000000 test_interval: 2 test_initialization: false", log)
    forward, calls = solver.engine.test_forward, []

    def stop_at_the_third(index: int) -> dict:
        calls.append(index)
        if len(calls) == 3:
            solver.request_stop()
        return forward(index)

    solver.engine.test_forward = stop_at_the_third
    solver.solve()
    assert len(calls) == 3
    assert log.events() == [("train", 0), ("train", 1), ("snapshot", 2), ("stopped", 2)]


@pytest.mark.parametrize("wish", ["stop", "snapshot"])
def test_a_signal_while_the_processes_agree_is_not_lost(
    wish: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Recorder()
    solver = make(tmp_path, log=log)

    def largest(_: World, value: int) -> int:
        if solver.iteration == 2 and not solver.losses[2:]:
            solver.request_stop(15) if wish == "stop" else solver.request_snapshot()
        return value

    monkeypatch.setattr(World, "largest", largest)
    solver.step(5)
    assert solver.iteration == (3 if wish == "stop" else 5)
    assert [event for event in log.events() if event[0] == "snapshot"] == [("snapshot", 3)] * (wish == "snapshot")


def test_a_broken_off_test_leaves_no_statistics(tmp_path: Path) -> None:
    """A test net's BatchNorm with the batch's statistics moves the training net's; a test that begins anew does so."""
    text = f"""net_param {{
        layer {{ name: "data" type: "DummyData" top: "x" top: "y"
          dummy_data_param {{ shape {{ dim: 4 dim: 3 }} data_filler {{ type: "gaussian" }} }} }}
        layer {{ name: "bn" type: "BatchNorm" bottom: "x" top: "b" batch_norm_param {{ use_global_stats: false }}
          param {{ lr_mult: 0 }} param {{ lr_mult: 0 }} param {{ lr_mult: 0 }} }}
        layer {{ name: "ip" type: "InnerProduct" bottom: "b" top: "h"
          inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" top: "loss" }} }}
        base_lr: 0.1 lr_policy: "fixed" max_iter: 4 solver_mode: CPU random_seed: 1 test_iter: 3 test_interval: 2
        snapshot_prefix: "{tmp_path}/snap" """

    def new() -> Solver:
        return Solver(proto.parse_solver(text), log=TrainingLog(None))

    whole, stopped, resumed = new(), new(), new()
    whole.solve()
    test_forward, calls = stopped.engine.test_forward, []

    def forward(index: int) -> dict[str, torch.Tensor]:
        calls.append(index)
        if len(calls) == 5:  # in the test before iteration 2
            stopped.request_stop()
        return test_forward(index)

    stopped.engine.test_forward = forward  # type: ignore[method-assign]
    stopped.solve()
    assert stopped.iteration == 2
    resumed.restore(tmp_path / "snap_iter_2.solverstate")
    resumed.solve()
    for ours, theirs in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_several_batches_an_update_with_nothing_to_learn(tmp_path: Path) -> None:
    path, net = write_problem(tmp_path, "iter_size: 2"), tmp_path / "net.prototxt"
    net.write_text(re.sub(r"blobs_lr: \d+", "blobs_lr: 0", net.read_text()))
    solver = Solver(path, log=TrainingLog(None), **QUIET)
    before = weights(solver)
    solver.step(1)
    for now, then in zip(weights(solver), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_snapshot_on_demand(tmp_path: Path) -> None:
    log = Recorder()
    solver = make(tmp_path, log=log)
    solver.after_iteration = lambda: solver.request_snapshot() if solver.iteration == 2 else None
    solver.step(4)
    assert [event for event in log.events() if event[0] == "snapshot"] == [("snapshot", 2)]


@pytest.mark.parametrize(
    "options", [{"dtype": "bfloat16"}, {"channels_last": True}, {"workers": 2}, {"engine": "CAFFE"}]
)
def test_options_train_the_same_net(tmp_path: Path, options: dict) -> None:
    plain = make(tmp_path / "a")
    other = make(tmp_path / "b", options=options)
    plain.step(4)
    other.step(4)
    np.testing.assert_allclose(other.losses, plain.losses, rtol=2e-2 if "dtype" in options else 1e-5)
    assert {blob.parameter.dtype for blob in other.blobs} == {torch.float32}
    if "workers" in options:
        assert other.losses == plain.losses


def test_layers_of_engine_caffe_learn_in_bfloat16(tmp_path: Path) -> None:
    # Both read what a convolution of the other engine gives, bfloat16.
    path, net = write_problem(tmp_path, max_iter=40), tmp_path / "net.prototxt"
    how = 'convolution_param { num_output: 6 kernel_size: 3 pad: 1 engine: CAFFE weight_filler { type: "xavier" } }'
    up = f'layers {{ name: "up" type: DECONVOLUTION bottom: "c1" top: "up" {how} }}'
    side = f'layers {{ name: "on" type: CONVOLUTION bottom: "c1" top: "on" {how} }}'
    both = 'layers { name: "both" type: ELTWISE bottom: "up" bottom: "on" top: "both" }'
    head, tail = net.read_text().split('layers { name: "c2" type: CONVOLUTION bottom: "c1"')
    net.write_text(f'{head} {up} {side} {both} layers {{ name: "c2" type: CONVOLUTION bottom: "both" {tail}')
    plain, half = (
        Solver(path, log=TrainingLog(None), dtype=dtype, default_seed=3, **QUIET) for dtype in ("float32", "bfloat16")
    )
    for solver in (plain, half):
        solver.step(40)
    np.testing.assert_allclose(half.losses, plain.losses, rtol=2e-2)
    assert np.mean(half.losses[-10:]) < 0.7 * np.mean(half.losses[:10])


@pytest.mark.parametrize(
    ("side", "groups", "option", "expected"),
    [
        (128, 1, None, True),
        (127, 1, None, False),
        (128, 2, None, False),
        (128, 1, False, False),
        (16, 1, True, True),
    ],
)
def test_large_batches_are_channels_last_on_the_cpu(
    side: int, groups: int, option: bool | None, expected: bool
) -> None:
    net = f"""
        name: "net"
        layers {{ name: "data" type: DUMMY_DATA top: "data" top: "target"
          dummy_data_param {{ num: 2 channels: 4 height: {side} width: {side}
            num: 2 channels: 4 height: {side} width: {side} data_filler {{ type: "gaussian" }} }} }}
        layers {{ name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
          convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 group: {groups}
            weight_filler {{ type: "xavier" }} }} }}
        layers {{ name: "loss" type: EUCLIDEAN_LOSS bottom: "conv" bottom: "target" top: "loss" }}"""
    param = proto.parse_solver(
        f"""train_net_param {{ {net} }} test_net_param {{ {net} }} test_iter: 1 test_interval: 9 base_lr: 1e-6
            lr_policy: "fixed" max_iter: 2 snapshot_after_train: false solver_mode: CPU random_seed: 1"""
    )
    solver = Solver(param, **QUIET, channels_last=option, log=TrainingLog(None))
    seen = []
    for each in (solver.net, *solver.test_nets):
        assert each.context.channels_last is expected
        each.by_name["conv"].register_forward_hook(lambda _layer, _bottoms, tops: seen.append(tops[0]))
    solver.solve()
    assert len(seen) == 3  # a test, two iterations
    for top in seen:
        assert top.is_contiguous(memory_format=torch.channels_last) is expected
        assert top.is_contiguous() is not expected


def test_ignored_pixels_keep_a_rest_of_their_last_gradient_as_in_the_original(tmp_path: Path) -> None:
    """layers/softmax_loss_layer.cpp:107-140: what is ignored stays in the diff, and all of that is scaled."""
    made = {way: make(tmp_path / way, options={"ignored_gradient": way}, dropout=False) for way in ("original", "zero")}
    for solver in made.values():
        solver.step(1)
    first = [weights(solver) for solver in made.values()]
    for ours, theirs in zip(*first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for solver in made.values():
        solver.step(1)
    second = [weights(solver) for solver in made.values()]
    assert any(not np.array_equal(ours, theirs) for ours, theirs in zip(*second, strict=True))


def test_the_rest_of_a_gradient_by_hand() -> None:
    net = Net(
        proto.parse_net(
            """
            input: "x" input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 3
            input: "y" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 3
            layers { name: "loss" type: SOFTMAX_LOSS bottom: "x" bottom: "y" top: "loss" loss_weight: 3
              softmaxloss_param { ignore_label: 255 } }
            """
        ),
        phase="TRAIN",
    )
    net.context.keep_ignored_diff = True
    x = torch.zeros(1, 2, 1, 3, requires_grad=True)
    net.loss(net(x, torch.tensor([0.0, 1, 0]).view(1, 1, 1, 3))).backward()
    # Probabilities are 1/2, the weight 3, the divisor 3.
    first = torch.tensor([[-0.5, 0.5, -0.5], [0.5, -0.5, 0.5]]).view(1, 2, 1, 3)
    torch.testing.assert_close(x.grad, first)
    x.grad = None
    net.loss(net(x, torch.tensor([255.0, 1, 255]).view(1, 1, 1, 3))).backward()
    # One valid pixel: its gradient is 3 times as large, and so is what the ignored ones keep.
    torch.testing.assert_close(x.grad, 3 * first)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('name: "n" input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1', SolverError, "has inputs .x."),
        (
            'name: "n" layers { name: "d" type: DUMMY_DATA top: "d" '
            "dummy_data_param { num: 1 channels: 1 height: 1 width: 1 } }",
            SolverError,
            "net 'n' has no loss in phase TRAIN",
        ),
    ],
)
def test_nets_that_cannot_be_trained(text: str, error: type[Exception], message: str) -> None:
    param = proto.parse_solver(f'net_param {{ {text} }} base_lr: 1 lr_policy: "fixed"')
    with pytest.raises(error, match=message):
        Solver(param, log=TrainingLog(None))


def test_max_iter_must_be_set_to_solve(tmp_path: Path) -> None:
    path = write_problem(tmp_path)
    path.write_text(re.sub(r"lr_policy.*", 'lr_policy: "fixed"', path.read_text()))
    solver = Solver(path, log=TrainingLog(None))
    solver.step(1)
    with pytest.raises(PrototxtError, match="max_iter must be set"):
        solver.solve()


def test_max_iter_0_trains_nothing_and_writes_the_weights(tmp_path: Path) -> None:
    log, path = Recorder(), write_problem(tmp_path)
    text = path.read_text()
    path.write_text(re.sub(r"lr_policy.*", 'lr_policy: "fixed" max_iter: 0', text))
    Solver(path, log=log, **QUIET).solve()
    assert log.events() == [("snapshot", 0), ("done", 0)]
    assert (tmp_path / "snap_iter_0.caffemodel").exists()
    path.write_text(re.sub(r"lr_policy.*", 'lr_policy: "fixed" max_iter: -1', text))
    with pytest.raises(PrototxtError, match="must not be negative"):
        Solver(path, log=log, **QUIET).solve()


def test_labels_beyond_the_classes_name_the_pixel(tmp_path: Path) -> None:
    from PIL import Image

    path = write_problem(tmp_path, random=False)
    Image.fromarray(np.full((14, 14), 7, np.uint8)).save(tmp_path / "img" / "2_label.png")
    with pytest.raises(Exception, match=r"layer 'loss'.* label 7 at item 2 of 4, row 0, column 0"):
        Solver(path, log=TrainingLog(None)).step(1)


def test_the_folder_of_the_snapshots_is_made_or_refused_before_training(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "net.prototxt").write_text(net_text(tmp_path))
    text = solver_text(tmp_path, max_iter=1).replace(f"{tmp_path}/snap", f"{tmp_path}/new/folder/snap")
    Solver(proto.parse_solver(text), log=TrainingLog(None)).solve()
    assert (tmp_path / "new" / "folder" / "snap_iter_1.solverstate").exists()
    (tmp_path / "file").write_text("")
    solver = Solver(proto.parse_solver(text.replace("/new/folder", "/file/folder")), log=TrainingLog(None))
    with pytest.raises(SolverError, match="snapshot_prefix: no files can be written there"):
        solver.solve()
    assert solver.iteration == 0
