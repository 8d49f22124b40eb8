from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.proto import CaffeModel, read_solverstate
from deeplab_caffe.solver import read_log
from tests.goldens import TRAINING_TOLERANCE, case_dir, load_case, relative_error
from tests.replay import inside
from tests.solver.fake_wandb import FakeWandb
from tests.solver.toy import write_problem


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """The golden run of ten iterations with a rate that steps, in a folder of its own without its results."""
    work = tmp_path / "work"
    shutil.copytree(case_dir("solver_step"), work, ignore=shutil.ignore_patterns("snap_*"))
    return work


def test_trains_as_the_original(run, case: Path) -> None:
    with inside(case):
        outcome = run("train", "--solver", "solver.prototxt", "--weights", "init.caffemodel", "--log", "log.jsonl")
    assert outcome.status == 0, outcome.err
    assert outcome.out == ""
    records = read_log(case / "log.jsonl")
    losses = [record["loss"] for record in records if record["event"] == "train"]
    rates = [record["lr"] for record in records if record["event"] == "train"]
    golden = load_case("solver_step")
    np.testing.assert_allclose(losses, golden["losses"], rtol=TRAINING_TOLERANCE)
    np.testing.assert_allclose(rates, golden["rates"], rtol=1e-7)
    pairs = zip(
        CaffeModel(case / "snap_iter_10.caffemodel").layers,
        CaffeModel(case_dir("solver_step") / "snap_iter_10.caffemodel").layers,
        strict=True,
    )
    for ours, theirs in pairs:
        assert (ours.name, ours.type) == (theirs.name, theirs.type)
        for mine, other in zip(ours.blobs, theirs.blobs, strict=True):
            assert relative_error(mine.data, other.data) < TRAINING_TOLERANCE
    start = records[0]
    assert (start["event"], start["net"], start["batch"], start["seed"]) == ("start", "tiny", 4, 1)
    assert records[-1]["event"] == "done"


def test_weights_and_biases(run, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with inside(case):
        outcome = run("train", "--solver", "solver.prototxt", "--weights", "init.caffemodel", "--wandb", "voc")
    assert outcome.status == 0, outcome.err
    assert fake.calls[0] == ("init", {"project": "voc"})
    assert fake.calls[-1] == ("finish", None)
    logged = [numbers for name, numbers in fake.calls if name == "log"]
    losses = [numbers["train/loss"] for numbers in logged if "train/loss" in numbers]
    np.testing.assert_allclose(losses, load_case("solver_step")["losses"], rtol=TRAINING_TOLERANCE)


def test_lines_on_stderr(run, case: Path) -> None:
    text = (case / "solver.prototxt").read_text().replace("display: 0", "display: 5 test_iter: 1 test_interval: 10")
    (case / "solver.prototxt").write_text(text)
    with inside(case):
        outcome = run("train", "--solver", "solver.prototxt", "--weights", "init.caffemodel")
    lines = outcome.err.splitlines()
    for line in (
        "Finetuning from init.caffemodel",
        "Effective batch: 4 (batch_size) x 1 (processes) x 1 (iter_size) = 4",
        "Iteration 0, loss = 1.79401",
        "    Train net output #0: loss = 1.79401 (* 1 = 1.79401 loss)",
        "Iteration 0, lr = 0.02",
        "Iteration 5, lr = 0.01",
        "Iteration 10, Testing net (#0)",
        "Snapshotting to snap_iter_10.caffemodel",
        "Optimization Done.",
    ):
        assert line in lines, outcome.err
    assert any(re.fullmatch(r"    Test net output #0: loss = [\d.]+ \(\* 1 = [\d.]+ loss\)", line) for line in lines)
    assert any(line.startswith("Memory, about: parameters 0 MiB") for line in lines)


def test_lines_as_caffes_log_has_them(run, case: Path) -> None:
    with inside(case):
        plain = run("train", "--solver", "solver.prototxt", "--weights", "init.caffemodel").err
        found = run("train", "--solver", "solver.prototxt", "--weights", "init.caffemodel", "--glog").err
    # What tools/extra/parse_log.py of Caffe takes apart.
    rows = [
        re.fullmatch(r"I(\d{4} \d\d:\d\d:\d\d\.\d{6}) +\d+ solver\.cpp:\d+\] (.*)", line) for line in found.splitlines()
    ]
    assert [row and row[2] for row in rows] == plain.splitlines()
    assert [row[1] for row in rows if row] == sorted(row[1] for row in rows if row)


def test_several_weight_files(run, case: Path) -> None:
    """The later one wins."""
    with inside(case):
        first = run("train", "--solver", "solver.prototxt", "--weights", "init.caffemodel")
        both = run("train", "--solver", "solver.prototxt", "--weights", "snap_iter_10.caffemodel,init.caffemodel")
    assert (first.status, both.status) == (0, 0)
    assert "Finetuning from snap_iter_10.caffemodel\nFinetuning from init.caffemodel" in both.err
    golden = case_dir("solver_step") / "snap_iter_10.solverstate"
    for ours, theirs in zip(
        read_solverstate(case / "snap_iter_10.solverstate").history, read_solverstate(golden).history, strict=True
    ):
        assert relative_error(ours.data, theirs.data) < TRAINING_TOLERANCE


@pytest.mark.parametrize("which", ["snap_iter_4.solverstate", "latest"])
def test_resuming(run, tmp_path: Path, which: str) -> None:
    path = write_problem(tmp_path, "snapshot: 4", max_iter=6)
    whole = run("train", "--solver", path, "--log", tmp_path / "log")
    assert whole.status == 0, whole.err
    final = (tmp_path / "snap_iter_6.caffemodel").read_bytes()
    for old in tmp_path.glob("snap_iter_6.*"):
        old.unlink()
    state = which if which == "latest" else tmp_path / which
    resumed = run("train", "--solver", path, "--snapshot", state, "--log", tmp_path / "log")
    assert resumed.status == 0, resumed.err
    assert "Resuming from" in resumed.err
    assert (tmp_path / "snap_iter_6.caffemodel").read_bytes() == final
    iterations = [record["iteration"] for record in read_log(tmp_path / "log") if record["event"] == "train"]
    assert iterations == list(range(6))


def test_variables(run, tmp_path: Path) -> None:
    path = write_problem(tmp_path, max_iter=1)
    path.write_text(path.read_text().replace("base_lr: 0.05", "base_lr: ${RATE} display: 1"))
    assert "RATE" in run("train", "--solver", path).error_line()
    outcome = run("train", "--solver", path, "--var", "RATE=0.25")
    assert "Iteration 0, lr = 0.25" in outcome.err


def test_options_reach_the_solver(run, tmp_path: Path) -> None:
    path = write_problem(tmp_path, max_iter=2)
    words = (
        "--dtype",
        "bfloat16",
        "--channels-last",
        "--engine",
        "CAFFE",
        "--workers",
        1,
        "--ignored-gradient",
        "zero",
    )
    outcome = run("train", "--solver", path, "--device", "cpu", "--log", tmp_path / "log", *words)
    assert outcome.status == 0, outcome.err
    assert read_log(tmp_path / "log")[0]["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (('lr_policy: "poly"', 'lr_policy: "cosine"'), (), r"solver.prototxt:3: lr_policy: unknown policy 'cosine'"),
        (("momentum: 0.9", "momentm: 0.9"), (), r"solver.prototxt:4: .*no field 'momentm'.*'momentum'"),
        (("net.prototxt", "gone.prototxt"), (), "gone.prototxt: cannot be read"),
        (("", ""), ("--weights", "gone.caffemodel"), "gone.caffemodel"),
        (("", ""), ("--snapshot", "gone.solverstate"), "gone.solverstate"),
        (("", ""), ("--snapshot", "latest"), "there is no snapshot with this prefix"),
        (("", ""), ("--device", "cuda:77"), "cuda:77"),
        (("", ""), ("--device", "tpu"), "device must be"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path: Path, change: tuple[str, str], words: tuple, message: str) -> None:
    path = write_problem(tmp_path)
    path.write_text(path.read_text().replace(*change) if change[0] else path.read_text())
    with inside(tmp_path):
        line = run("train", "--solver", path, *words).error_line()
    assert re.search(message, line), line
    assert not list(tmp_path.glob("snap*"))


def test_weights_and_snapshot_exclude_each_other(run, tmp_path: Path) -> None:
    outcome = run("train", "--solver", write_problem(tmp_path), "--weights", "a", "--snapshot", "b")
    assert outcome.status == 2
    assert "exclude each other" in outcome.err


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "img" / "3.png").unlink(), r"list\.txt:4: .*3\.png"),
        (lambda folder: _write(folder / "img" / "3_label.png", (9, 9), 0), r"list\.txt:4: .*9 x 9.*14 x 14"),
        (lambda folder: _write(folder / "img" / "3_label.png", (14, 14), 9), r"layer 'loss': .*label 9"),
    ],
)
def test_bad_data_name_their_line(run, tmp_path: Path, break_it, message: str) -> None:
    path = write_problem(tmp_path)
    break_it(tmp_path)
    outcome = run("train", "--solver", path)
    assert outcome.status == 1
    assert re.search(message, outcome.err), outcome.err


def _write(path: Path, size: tuple[int, int], value: int) -> None:
    from PIL import Image

    Image.fromarray(np.full(size, value, np.uint8)).save(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_snapshot_and_stop(tmp_path: Path, number: signal.Signals) -> None:
    path = write_problem(tmp_path, max_iter=10_000_000)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "deeplab_caffe", "train", "--solver", path, "--log", log, "--device", "cpu"]
    child = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
    while not log.exists() or '"train"' not in log.read_text():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)
    child.send_signal(number)
    _, said = child.communicate()
    assert child.returncode == 128 + number, said
    assert "Optimization stopped early." in said
    (state,) = tmp_path.glob("snap_iter_*.solverstate")
    assert read_solverstate(state).iteration > 0
    assert read_log(log)[-1] == {"event": "stopped", "iteration": read_solverstate(state).iteration}


def test_sighup_snapshots_and_goes_on(tmp_path: Path, run) -> None:
    path = write_problem(tmp_path, max_iter=3)
    from deeplab_caffe.solver import Solver

    before = Solver._train_once

    def once(solver: Solver) -> None:
        before(solver)
        if solver.iteration == 0:
            os.kill(os.getpid(), signal.SIGHUP)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Solver, "_train_once", once)
        outcome = run("train", "--solver", path)
    assert outcome.status == 0, outcome.err
    assert {p.name for p in tmp_path.glob("*.solverstate")} == {"snap_iter_1.solverstate", "snap_iter_3.solverstate"}


@pytest.mark.parametrize("words", [("-solver", "solver.prototxt"), ("-solver=solver.prototxt",)])
def test_caffes_own_flags(run, case: Path, words: tuple[str, ...]) -> None:
    with inside(case):
        two = run("train", "--solver", "solver.prototxt", "--weights", "init.caffemodel")
        weights = (case / "snap_iter_10.caffemodel").read_bytes()
        one = run("train", *words, "-weights", "init.caffemodel", "-gpu", "-1", "-sighup_effect=none")
    assert (one.status, one.err) == (two.status, two.err)
    assert (case / "snap_iter_10.caffemodel").read_bytes() == weights


def test_several_gpus_take_torchrun(run, case: Path) -> None:
    with inside(case):
        outcome = run("train", "-solver", "solver.prototxt", "-gpu", "0,1")
    assert outcome.status == 2
    assert "torchrun --nproc-per-node 2 -m deeplab_caffe train --gpu 0,1" in outcome.err
    assert "expected numbers of GPUs" in run("train", "-solver", "x", "-gpu", "0;1").err


def test_level_and_stage(run, tmp_path: Path) -> None:
    """They choose layers of the training net, as in BVLC's tools/caffe.cpp."""
    (tmp_path / "net.prototxt").write_text(
        """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
          shape { dim: 2 dim: 3 } shape { dim: 2 } } }
        layer { name: "low" type: "InnerProduct" bottom: "data" top: "y" inner_product_param { num_output: 1 }
          include { max_level: 0 } }
        layer { name: "high" type: "InnerProduct" bottom: "data" top: "y" inner_product_param { num_output: 2 }
          include { min_level: 1 stage: "wide" } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }"""
    )
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 snapshot_prefix: "s"'
    )
    found = []
    with inside(tmp_path):
        for words in ((), ("-level", "1", "-stage=wide, other"), ("--level=1", "--stage", "wide")):
            outcome = run("train", "-solver", "solver.prototxt", *words)
            assert outcome.status == 0, outcome.err
            found.append([layer.name for layer in CaffeModel("s_iter_1.caffemodel").layers if layer.blobs])
    assert found == [["low"], ["high"], ["high"]]


def test_flags_that_a_script_leaves_empty(run, case: Path) -> None:
    """For gflags an empty value is none: --gpu=$DEVICE --snapshot=$STATE."""
    with inside(case):
        words = ("train", "--solver=solver.prototxt", "--gpu=", "--snapshot=", "--weights", "init.caffemodel, ")
        outcome = run(*words)
        assert outcome.status == 0
        assert "warning: --snapshot is empty: the training begins without, as Caffe's does" in outcome.err
        assert "this is a net's prototxt" in run("train", "--solver", "train.prototxt").err


@pytest.mark.parametrize("name", ["solver.prototxt", "train.prototxt", "init.caffemodel"])
def test_a_log_over_what_is_read_is_refused(run, case: Path, name: str) -> None:
    before = (case / name).read_bytes()
    with inside(case):
        words = ("--solver", "solver.prototxt", "--weights", "init.caffemodel")
        line = run("train", *words, "--log-file", case / name).error_line()
    assert f"{case / name}: --log would be written over " in line
    assert (case / name).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--weights", "none.caffemodel"), "none.caffemodel: cannot be read"),
        (("--snapshot", "none.solverstate"), "none.solverstate: "),
        (("--weights", "train.prototxt"), "train.prototxt at byte 0: is not a binary caffemodel"),
    ],
)
def test_a_training_that_cannot_begin_leaves_no_log(
    run, case: Path, words: tuple[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    before = sorted(case.iterdir())
    with inside(case):
        line = run("train", "--solver", "solver.prototxt", *words, "--log", "logs/l", "--wandb", "voc").error_line()
    assert message in line
    assert sorted(case.iterdir()) == before
    assert not fake.calls
