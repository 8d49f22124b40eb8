from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest

from deeplab_caffe.errors import DataError, SolverError
from deeplab_caffe.solver import TrainingLog, WandbCallback, read_log
from tests.solver.fake_wandb import FakeWandb


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    log = TrainingLog(None, path)
    log.record("train", 3, loss=float("nan"), lr=0.5, outputs={"a": [1.0, float("inf")]})
    log.close()
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "event": "train",
        "iteration": 3,
        "loss": None,
        "lr": 0.5,
        "outputs": {"a": [1.0, None]},
    }


def test_outputs_as_caffe_numbers_them() -> None:
    lines: list[str] = []
    TrainingLog(lines.append).outputs("Test", [("acc", [0.5, 0.25], 0), ("loss", [1.5], 2)])
    assert lines == [
        "    Test net output #0: acc = 0.5",
        "    Test net output #1: acc = 0.25",
        "    Test net output #2: loss = 1.5 (* 2 = 3 loss)",
    ]


def test_lines_are_added_and_a_torn_one_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "train", "iteration": 0, "loss": 1}\n{"event": "tr')
    log = TrainingLog(None, path)
    log.record("train", 1, loss=2.0)
    log.close()
    assert [(record["iteration"], record["loss"]) for record in read_log(path)] == [(0, 1), (1, 2)]


def test_a_resumed_run_takes_the_place_of_what_it_repeats(tmp_path: Path) -> None:
    log = TrainingLog(None, tmp_path / "log")
    log.record("start", 0)
    for iteration in range(5):
        log.record("train", iteration, loss=1.0)
    log.record("start", 3)
    log.record("train", 3, loss=2.0)
    log.close()
    found = [(r["iteration"], r["loss"]) for r in read_log(tmp_path / "log") if r["event"] == "train"]
    assert found == [(0, 1), (1, 1), (2, 1), (3, 2)]


def test_a_full_disk_does_not_end_the_training(tmp_path: Path) -> None:
    lines: list[str] = []
    log = TrainingLog(lines.append, tmp_path / "log")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        for iteration in range(100):
            log.record("train", iteration, loss=1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(lines) == 1
    assert "cannot be written, going on without" in lines[0]
    log.close()
    assert len(read_log(tmp_path / "log")) > 1


@pytest.mark.parametrize("content", ["", "hello\n", '{"event": "train"}\n', "[1]\n", "\xff"])
def test_files_that_are_no_logs(tmp_path: Path, content: str) -> None:
    (tmp_path / "log").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match="log"):
        read_log(tmp_path / "log")


ODD = [
    "[" * 100_000,
    '{"event": "train", "iteration": 1e400}',
    '{"event": "train", "iteration": true}',
    '{"event": "train", "iteration": "3"}',
    '{"event": "train", "iteration": 1.5}',
    '{"event": "train", "iteration": 99999999999}',
    '{"event": "train", "iteration": 1, "loss": "low"}',
    '{"event": "train", "iteration": 1, "loss": [1]}',
    '{"event": "train", "iteration": 1, "loss": 1e999}',
    '{"event": "train", "iteration": 1, "lr": 1' + "0" * 400 + "}",
    '{"event": "test", "iteration": 1, "outputs": [1]}',
    '{"event": "test", "iteration": 1, "outputs": {"accuracy": 1}}',
    '{"event": "test", "iteration": 1, "outputs": {"accuracy": [{}]}}',
    '{"event": "test", "iteration": 1, "net": [], "outputs": {}}',
    '{"event": ["start"], "iteration": 1}',
]


@pytest.mark.parametrize("line", ODD, ids=lambda line: line[-40:])
def test_lines_with_odd_values_are_no_records(tmp_path: Path, line: str) -> None:
    good = '{"event": "train", "iteration": 2, "loss": 0.5}\n'
    (tmp_path / "log").write_text(good + line + '\n{"event": "start", "iteration": 3}\n')
    assert [record["iteration"] for record in read_log(tmp_path / "log")] == [2, 3]
    (tmp_path / "log").write_text(line)
    with pytest.raises(DataError, match="holds no record"):
        read_log(tmp_path / "log")


def test_missing_and_unwritable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_log(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        TrainingLog(None, tmp_path / "file" / "log")


def test_tensorboard_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(SolverError, match=r"pip install 'deeplab-caffe\[tensorboard\]'"):
        TrainingLog(None, tensorboard=tmp_path)


class _Board:
    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], float] = {}

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name, step] = value

    def close(self) -> None:
        self.scalars["closed", 0] = 1


def test_numbers_for_tensorboard() -> None:
    log = TrainingLog(None)
    log._board = board = _Board()
    log.record("train", 3, loss=1.5, lr=0.1, outputs={"loss": [1.5], "accuracy": [0.1, 0.2]}, path="x", flag=True)
    log.close()
    assert board.scalars == {
        ("train/loss", 3): 1.5,
        ("train/lr", 3): 0.1,
        ("train/outputs/loss", 3): 1.5,
        ("train/outputs/accuracy/0", 3): 0.1,
        ("train/outputs/accuracy/1", 3): 0.2,
        ("closed", 0): 1,
    }


def test_callbacks_get_what_tensorboard_gets() -> None:
    seen: list[object] = []

    class Closed:
        def __call__(self, *values: object) -> None:
            seen.append(values)

        def close(self) -> None:
            seen.append("closed")

    log = TrainingLog(None, callbacks=[Closed(), lambda event, *_: seen.append(event)])
    log.record("start", 0, net="x", seed=3)
    log.record("test", 20, outputs={"accuracy": [0.5, 0.25], "loss": [1.5]})
    log.close()
    log.close()
    numbers = {"outputs/accuracy/0": 0.5, "outputs/accuracy/1": 0.25, "outputs/loss": 1.5}
    assert seen == [("start", 0, {"seed": 3}), "start", ("test", 20, numbers), "test", "closed"]


def test_weights_and_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    log = TrainingLog(None, callbacks=[WandbCallback("deeplab", name="largefov")])
    log.record("train", 20, loss=1.5, lr=0.001)
    log.close()
    assert fake.calls == [
        ("init", {"project": "deeplab", "name": "largefov"}),
        ("define_metric", ("*", "iteration")),
        ("log", {"iteration": 20, "train/loss": 1.5, "train/lr": 0.001}),
        ("finish", None),
    ]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SolverError, match=r"pip install 'deeplab-caffe\[wandb\]'"):
        WandbCallback("deeplab")
