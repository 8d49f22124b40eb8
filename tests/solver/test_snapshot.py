from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from deeplab_caffe import proto
from deeplab_caffe.errors import CaffeModelError, DataError, SolverError
from deeplab_caffe.net.hdf5 import write_tree
from deeplab_caffe.proto import CaffeModel, caffe_pb2, read_solverstate, write_solverstate
from deeplab_caffe.solver import SnapshotFiles, SnapshotWarning, Solver, TrainingLog, latest_snapshot
from deeplab_caffe.solver.snapshot import check_prefix, read_snapshot, remove_leftovers, write_snapshot
from deeplab_caffe.solver.statefile import read_state, write_state
from tests.solver.test_solver import make, weights
from tests.solver.toy import Recorder, solver_text, write_images, write_problem


def files(folder: Path, iteration: int) -> SnapshotFiles:
    return SnapshotFiles.of(f"{folder}/snap", iteration)


def state_of(solver: Solver) -> tuple[list, list, list]:
    return solver.losses, weights(solver), [history.numpy().copy() for history in solver.rule.history]


def test_the_folder_of_snapshots_is_made_and_tried(tmp_path: Path) -> None:
    check_prefix(f"{tmp_path}/a/b/snap")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(SolverError, match="file/snap: snapshot_prefix: no files can be written there: "):
        check_prefix(f"{tmp_path}/file/snap")


def assert_same(ours: tuple, theirs: tuple) -> None:
    assert ours[0] == theirs[0]
    for mine, other in zip((*ours[1], *ours[2]), (*theirs[1], *theirs[2]), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_files_are_written_beside_their_places(tmp_path: Path) -> None:
    # A folder for temporary files may be on another disk, from which nothing can be renamed.
    seen: list[Path] = []
    state = {"iteration": 3, "current_step": 0, "history": [np.ones(2, np.float32)], "run": {}}

    def save(path: Path) -> None:
        seen.append(path)
        path.write_bytes(b"weights")

    write_snapshot(files(tmp_path, 3), state, save, "v1")
    assert [path.parent.parent for path in seen] == [tmp_path]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "snap_iter_3.caffemodel",
        "snap_iter_3.resume",
        "snap_iter_3.solverstate",
    ]


def test_names() -> None:
    assert [str(path) for path in SnapshotFiles.of("a/train", 200)] == [
        "a/train_iter_200.caffemodel",
        "a/train_iter_200.resume",
        "a/train_iter_200.solverstate",
    ]


def test_what_caffes_files_hold(tmp_path: Path) -> None:
    solver = make(tmp_path, max_iter=3)
    solver.solve()
    found = files(tmp_path, 3)
    model, state = CaffeModel(found.model), read_solverstate(found.state)
    assert model.name == "toy"
    assert [(layer.name, layer.type) for layer in model.layers][:3] == [
        ("data", "ImageSegData"),
        ("label_data_1_split", "Split"),
        ("c1", "Convolution"),
    ]
    shapes = [(6, 3, 3, 3), (1, 1, 1, 6), (3, 6, 1, 1), (1, 1, 1, 3)]
    blobs = [blob for layer in model.layers for blob in layer.blobs]
    assert [blob.shape for blob in blobs] == [blob.shape for blob in state.history] == shapes
    for blob, history, ours, rule in zip(blobs, state.history, weights(solver), solver.rule.history, strict=True):
        np.testing.assert_array_equal(blob.data.ravel(), ours.ravel())
        np.testing.assert_array_equal(history.data.ravel(), rule.numpy().ravel())
        assert blob.diff is None
    assert (state.iteration, state.learned_net, state.current_step) == (3, str(found.model), 0)
    # protobuf itself reads them too.
    assert len(caffe_pb2.NetParameter.FromString(found.model.read_bytes()).layers) == len(model.layers)
    assert len(caffe_pb2.SolverState.FromString(found.state.read_bytes()).history) == 4


def test_snapshot_diff_is_the_last_update(tmp_path: Path) -> None:
    solver = make(tmp_path, "snapshot_diff: true")
    solver.step(2)
    before = weights(solver)
    solver.step(1)
    solver.snapshot()
    diffs = [blob.diff for layer in CaffeModel(files(tmp_path, 3).model).layers for blob in layer.blobs]
    for diff, old, new in zip(diffs, before, weights(solver), strict=True):
        np.testing.assert_allclose(diff.ravel(), (old - new).ravel(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "seed", "workers"),
    [
        ("SGD", 3, 0),
        ("SGD", None, 0),
        ("SGD", 3, 2),
        ("NESTEROV", 3, 0),
        ("ADAGRAD", 3, 0),
        ("RMSPROP", 3, 0),
        ("ADADELTA", 3, 0),
        ("ADAM", 3, 0),
    ],
)
def test_resumed_as_if_never_stopped(tmp_path: Path, kind: str, seed: int | None, workers: int) -> None:
    """Shuffled images, random crops and mirrors, dropout, ignored pixels, a smoothed loss: bit for bit."""
    momentum = 0 if kind in ("ADAGRAD", "RMSPROP") else 0.9
    extra = f"solver_type: {kind} average_loss: 4 test_iter: 3 test_interval: 2 snapshot: 5 display: 1"
    path = write_problem(tmp_path, extra, seed=seed)
    path.write_text(path.read_text().replace("momentum: 0.9", f"momentum: {momentum}"))
    log = Recorder()
    whole = Solver(path, log=log, workers=workers)
    whole.solve()
    again = Recorder()
    resumed = Solver(path, log=again, workers=workers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.restore(files(tmp_path, 5).state)
    assert resumed.iteration == 5
    resumed.solve()
    losses, *rest = state_of(whole)
    assert_same((resumed.losses, *state_of(resumed)[1:]), (losses[5:], *rest))
    # What is displayed, tested and smoothed is the same too; the snapshot itself is not repeated.
    tail = [record for record in log.records if record[1] >= 5 and record[:2] != ("snapshot", 5)]
    for records in (tail, again.records):
        for _, _, values in records:
            values.pop("seconds", None)
    assert again.records == tail


def test_hdf5_snapshots(tmp_path: Path) -> None:
    extra = "snapshot: 2 snapshot_format: HDF5 snapshot_diff: true type: 'Adam' clip_gradients: 5"
    whole = make(tmp_path, extra, max_iter=4)
    whole.solve()
    names = {path.name for path in tmp_path.glob("snap_iter_2.*")}
    assert names == {"snap_iter_2.caffemodel.h5", "snap_iter_2.resume", "snap_iter_2.solverstate.h5"}
    assert latest_snapshot(f"{tmp_path}/snap") == tmp_path / "snap_iter_4.solverstate.h5"
    with h5py.File(tmp_path / "snap_iter_2.solverstate.h5") as file:
        assert (file["iter"][...].tolist(), file["current_step"][...].tolist()) == ([2], [0])
        learned = f"{tmp_path}/snap_iter_2.caffemodel.h5".encode()
        # With its zero byte, as C reads it.
        assert (file["learned_net"][()], file["learned_net"].dtype.itemsize) == (learned, len(learned) + 1)
        assert sorted(file["history"]) == [*"01234567"]
    with h5py.File(tmp_path / "snap_iter_2.caffemodel.h5") as file:
        assert file["diff/c1/0"].shape == file["data/c1/0"].shape == (6, 3, 3, 3)
    again = make(tmp_path, extra, max_iter=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.restore(tmp_path / "snap_iter_2.solverstate.h5")
    again.solve()
    assert_same((again.losses, *state_of(again)[1:]), (whole.losses[2:], *state_of(whole)[1:]))


def test_the_newest_of_an_iterations_two_states(tmp_path: Path) -> None:
    for age, name in enumerate(("solverstate.h5", "solverstate")):
        path = tmp_path / f"snap_iter_7.{name}"
        path.touch()
        os.utime(path, (age, age))
    (tmp_path / "snap_iter_6.solverstate.h5").touch()
    assert latest_snapshot(f"{tmp_path}/snap") == tmp_path / "snap_iter_7.solverstate"


@pytest.mark.parametrize(
    ("iteration", "learned_net", "step", "message"),
    [
        (-1, None, 0, "its iteration is -1"),
        (1, None, -7, "its current_step is -7"),
        (1, "/", 0, "its caffemodel '/': it names no file"),
        (1, "x" * 5000, 0, "its caffemodel 'x{200}': File name too long"),
        (1, "gone", 0, "its caffemodel gone is not there"),
    ],
)
def test_states_with_odd_values(
    tmp_path: Path, iteration: int, learned_net: str | None, step: int, message: str
) -> None:
    write_solverstate(tmp_path / "x.solverstate", iteration, learned_net, [np.zeros(2)], step)
    with pytest.raises(SolverError, match=message):
        read_snapshot(tmp_path / "x.solverstate")


def test_a_state_of_another_solver_type(tmp_path: Path) -> None:
    make(tmp_path, max_iter=1).solve()
    with pytest.raises(SolverError, match="its history has 4 blobs, the net has 4, and Adam keeps 2 of each"):
        make(tmp_path, "type: 'Adam'").restore(files(tmp_path, 1).state)


def test_what_is_no_hdf5_state(tmp_path: Path) -> None:
    path = tmp_path / "x.solverstate.h5"
    good = {"iter": np.array([1]), "current_step": np.array([0]), "history": {"0": np.zeros(2)}}
    for bad, message in (
        ({"iter": np.array([1.5])}, "expected one integer 'iter'"),
        ({"current_step": {}}, "expected one integer 'current_step'"),
        ({"learned_net": np.array([1])}, "expected a string of fixed length 'learned_net'"),
        ({"history": {"1": np.zeros(2)}}, "expected datasets 0, 1, ... in its group 'history'"),
        ({"history": {"0": {}}}, "expected numbers in its group 'history'"),
    ):
        write_tree(path, good | bad)
        with pytest.raises(CaffeModelError, match=message):
            read_snapshot(path)
    write_tree(path, good)
    state, model = read_snapshot(path)
    assert (state["iteration"], state["run"], model) == (1, None, None)


def test_diffs_of_shared_blobs(tmp_path: Path) -> None:
    """In later Caffe a shared blob is updated once: both layers' diffs are that update; `b` has a bias of its own."""
    (tmp_path / "net.prototxt").write_text("""
        layer { name: "x" type: "DummyData" top: "x" top: "y" dummy_data_param {
          shape { dim: 1 dim: 2 dim: 3 dim: 3 } shape { dim: 1 dim: 2 dim: 3 dim: 3 }
          data_filler { value: 1 } data_filler { value: 0 } } }
        layer { name: "a" type: "Convolution" bottom: "x" top: "a" param { name: "w" }
          convolution_param { num_output: 2 kernel_size: 1 weight_filler { value: 1 } } }
        layer { name: "b" type: "Convolution" bottom: "a" top: "b" param { name: "w" }
          convolution_param { num_output: 2 kernel_size: 1 } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "y" top: "loss" }
        """)
    text = solver_text(tmp_path, "snapshot_diff: true", max_iter=1)
    for extra, name in (("", "caffemodel"), ("snapshot_format: HDF5", "caffemodel.h5")):
        solver = Solver(proto.parse_solver(text + extra), log=TrainingLog(None), device="cpu")
        solver.solve()
        path = tmp_path / f"snap_iter_1.{name}"
        if extra:
            with h5py.File(path) as file:
                found = {f"{layer}{i}": file[f"diff/{layer}/{i}"][()] for layer in "ab" for i in (0, 1)}
        else:
            layers = CaffeModel(path).by_name
            found = {f"{layer}{i}": layers[layer].blobs[i].diff for layer in "ab" for i in (0, 1)}
        np.testing.assert_array_equal(found["a0"], found["b0"])
        assert np.abs(found["a0"]).min() > 0
        assert not np.array_equal(found["a1"], found["b1"])


def test_a_living_runs_unfinished_files_stay(tmp_path: Path) -> None:
    unfinished = tmp_path / ".snap_iter_3.abcd_1.tmp"
    unfinished.mkdir()
    script = f"""
import sys
from deeplab_caffe.data.io.lock import folder_lock
with folder_lock({str(tmp_path)!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "held\n"
        remove_leftovers(f"{tmp_path}/snap")
        assert unfinished.is_dir()
        writer.stdin.close()
    remove_leftovers(f"{tmp_path}/snap")
    assert list(tmp_path.iterdir()) == []


def test_files_that_layers_write_go_on_too(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    extra = f"""
        layers {{ name: "h5" type: HDF5_OUTPUT bottom: "data" bottom: "label" include {{ phase: TRAIN }}
          hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}
        layers {{ name: "mat" type: MAT_WRITE bottom: "c2" include {{ phase: TRAIN }}
          mat_write_param {{ prefix: "{tmp_path}/mat/" period: 2 }} }}"""
    (tmp_path / "mat").mkdir()
    path = write_problem(tmp_path, "snapshot: 3", batch=2)
    with (tmp_path / "net.prototxt").open("a") as net:
        net.write(extra)

    def written() -> tuple[np.ndarray, dict[str, bytes]]:
        with h5py.File(tmp_path / "out.h5") as file:
            return file["data"][:], {one.name: one.read_bytes()[128:] for one in (tmp_path / "mat").iterdir()}

    Solver(path, log=TrainingLog(None)).step(5)
    rows, mats = written()
    assert len(rows) == 10
    assert len(mats) == 3
    resumed = Solver(path, log=TrainingLog(None))
    resumed.restore(files(tmp_path, 3).state)
    resumed.step(2)
    again = written()
    np.testing.assert_array_equal(again[0], rows)
    assert again[1] == mats


def test_resuming_twice_from_one_file_gives_the_same(tmp_path: Path) -> None:
    make(tmp_path, "snapshot: 5").step(6)
    runs = []
    for _ in range(2):
        solver = Solver(tmp_path / "solver.prototxt", log=TrainingLog(None))
        solver.restore(files(tmp_path, 5).state)
        solver.step(2)
        runs.append(state_of(solver))
    assert_same(*runs)


def test_without_our_file_beside_it(tmp_path: Path) -> None:
    """As the original's own states: weights, momentum and iteration go on, the data begin anew."""
    make(tmp_path, "snapshot: 5").step(6)
    whole = files(tmp_path, 5)
    whole.resume.unlink()
    solver = Solver(tmp_path / "solver.prototxt", log=TrainingLog(None))
    with pytest.warns(SnapshotWarning, match="snap_iter_5.solverstate: no .resume file of this state"):
        solver.restore(whole.state)
    assert solver.iteration == 5
    for blob, history in zip(read_solverstate(whole.state).history, solver.rule.history, strict=True):
        np.testing.assert_array_equal(blob.data.ravel(), history.numpy().ravel())


def test_a_resume_file_of_another_state_is_not_used(tmp_path: Path) -> None:
    solver = make(tmp_path, "snapshot: 5")
    solver.step(6)
    whole = files(tmp_path, 5)
    arrays = [np.zeros(blob.shape, np.float32) for blob in read_solverstate(whole.state).history]
    write_solverstate(whole.state, 5, str(whole.model), arrays)
    with pytest.warns(SnapshotWarning, match="no .resume file of this state"):
        Solver(tmp_path / "solver.prototxt", log=TrainingLog(None)).restore(whole.state)


def test_files_that_have_been_moved_find_each_other(tmp_path: Path) -> None:
    make(tmp_path, "snapshot: 2", max_iter=2).solve()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in files(tmp_path, 2):
        path.rename(moved / path.name)
    solver = Solver(tmp_path / "solver.prototxt", log=TrainingLog(None))
    solver.restore(moved / "snap_iter_2.solverstate")
    assert solver.iteration == 2


def test_bad_states_are_refused(tmp_path: Path) -> None:
    solver = make(tmp_path, "snapshot: 2")
    solver.step(3)
    good = files(tmp_path, 2)
    kept = state_of(solver)

    def refuse(message: str, error: type[Exception] = SolverError) -> None:
        with pytest.raises(error, match=message):
            solver.restore(tmp_path / "bad.solverstate")
        assert_same(state_of(solver), kept)

    bad, history = tmp_path / "bad.solverstate", [blob.data for blob in read_solverstate(good.state).history]
    refuse("No such file", CaffeModelError)
    bad.write_bytes(good.state.read_bytes()[:-40])
    refuse("bad.solverstate", CaffeModelError)
    write_solverstate(bad, 2, str(good.model), history[:-1])
    refuse("its history has 3 blobs, the net has 4")
    write_solverstate(bad, 2, str(good.model), [history[2], *history[1:]])
    refuse(r"history 0 has shape \(3, 6, 1, 1\), layer 'c1', parameter blob 0 has \(6, 3, 3, 3\)")
    write_solverstate(bad, 2, "gone.caffemodel", history)
    refuse("its caffemodel gone.caffemodel is not there")
    write_solverstate(bad, -1, str(good.model), history)
    refuse("its iteration is -1")
    bad.write_bytes(good.state.read_bytes())
    (tmp_path / "bad.resume").write_bytes(good.resume.read_bytes()[:-5])
    refuse("bad.resume: cannot be read")


def test_a_saved_position_of_another_list_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "snapshot: 2").step(3)
    write_images(tmp_path, count=3)
    solver = Solver(tmp_path / "solver.prototxt", log=TrainingLog(None))
    with pytest.raises(DataError, match=r"list\.txt: the saved position is of another list"):
        solver.restore(files(tmp_path, 2).state)


def test_a_resume_file_that_lacks_something_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "snapshot: 2").step(3)
    found = files(tmp_path, 2)
    state = read_state(found.resume)
    for key in ("train", "smoothed_loss", "torch"):
        write_state(found.resume, {name: value for name, value in state.items() if name != key})
        solver = Solver(tmp_path / "solver.prototxt", log=TrainingLog(None))
        with pytest.raises(SolverError, match=f"lacks '{key}'"):
            solver.restore(found.state)


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    """The kernel refuses to write more than a kilobyte into a file: an error as from a full disk."""
    solver = make(tmp_path)
    solver.step(1)
    solver.snapshot()
    before = {path: path.read_bytes() for path in tmp_path.glob("snap*")}
    solver.step(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(
            SolverError, match=r"snap_iter_2.caffemodel: the snapshot of iteration 2 cannot be written: F"
        ):
            solver.snapshot()
        solver.iteration = 1
        with pytest.raises(SolverError, match="the snapshot of iteration 1 cannot be written"):
            solver.snapshot()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in tmp_path.glob("snap*")} == before
    assert not list(tmp_path.glob(".snap*"))


def test_latest_snapshot(tmp_path: Path) -> None:
    assert latest_snapshot(f"{tmp_path}/snap") is None
    assert latest_snapshot(f"{tmp_path}/none/snap") is None
    make(tmp_path, "snapshot: 2", max_iter=11).solve()
    (tmp_path / "snap_iter_99.caffemodel").write_bytes(b"")
    (tmp_path / "other_iter_99.solverstate").write_bytes(b"")
    assert latest_snapshot(f"{tmp_path}/snap") == files(tmp_path, 11).state


def test_leftovers_of_this_prefix_are_removed(tmp_path: Path) -> None:
    kept = [".snap_iter_3.txt", ".snapshot_iter_3.abc.tmp", ".snap_iter_x.abc.tmp", "snap_iter_3.abc.tmp"]
    for name in (".snap_iter_3.ab_1.tmp", *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    remove_leftovers(f"{tmp_path}/snap")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


CHILD = "import sys; from deeplab_caffe.cli import main; main(sys.argv[1:])"


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """SIGKILL while snapshots are written as fast as can be: what is there is whole, and the run goes on from it."""
    path = write_problem(tmp_path, "snapshot: 1", max_iter=100_000)
    rng = np.random.default_rng(int(time.time()))
    command = [sys.executable, "-c", CHILD, "train", "--solver", str(path), "--device", "cpu"]
    for _ in range(2):
        before = latest_snapshot(f"{tmp_path}/snap")
        more = [] if before is None else ["--snapshot", "latest"]
        child = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while latest_snapshot(f"{tmp_path}/snap") == before:
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        states = list(tmp_path.glob("snap*.solverstate"))
        assert states
        for state in states:
            solver_state = read_solverstate(state)
            assert CaffeModel(solver_state.learned_net).layers
            assert read_state(state.with_suffix(".resume"))["iteration"] == solver_state.iteration
    last = latest_snapshot(f"{tmp_path}/snap")
    resumed = Solver(path, log=TrainingLog(None))
    resumed.restore(last)
    n = resumed.iteration
    assert n >= 2
    resumed.step(2)
    assert not list(tmp_path.glob(".snap*.tmp"))
    folder = tmp_path / "whole"
    whole = make(folder, max_iter=100_000)
    whole.step(n + 2)
    assert resumed.losses == whole.losses[n:]
    assert last.samefile(files(tmp_path, n).state)
