"""Processes that share out a batch: by hand, and with two of them started by torchrun."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deeplab_caffe import Net
from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import CaffeModel, parse_net, read_solverstate
from deeplab_caffe.solver import Solver, TrainingLog, World, read_log
from deeplab_caffe.solver.shares import LossShares
from tests.solver.toy import write_problem

NET = """
    input: "x" input_dim: %(n)d input_dim: 3 input_dim: 4 input_dim: 4
    input: "y" input_dim: %(n)d input_dim: 1 input_dim: 4 input_dim: 4
    input: "z" input_dim: %(n)d input_dim: 3 input_dim: 4 input_dim: 4
    layers { name: "c" type: CONVOLUTION bottom: "x" top: "s" convolution_param { num_output: 3 kernel_size: 1
      weight_filler { type: "xavier" } } }
    layers { name: "soft" type: SOFTMAX_LOSS bottom: "s" bottom: "y" top: "soft" loss_weight: 0.7
      softmaxloss_param { ignore_label: 255 %(weights)s } }
    layers { name: "euclid" type: EUCLIDEAN_LOSS bottom: "s" bottom: "z" top: "euclid" loss_weight: 0.3 }
    layers { name: "sum" type: POWER bottom: "s" top: "sum" loss_weight: 0.01 power_param { power: 2 } }
"""


@dataclass(frozen=True)
class Half(World):
    """One of two processes, whose sums are known beforehand."""

    size: int = 2
    totals: list[Tensor] = field(default_factory=list)

    def sum(self, tensor: Tensor) -> Tensor:
        return self.totals.pop(0)


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_and_gradients_of_two_halves_add_up(tmp_path: Path, weighted: bool) -> None:
    """Halves with different numbers of valid pixels: neither their mean loss nor their mean gradient would be right."""
    (tmp_path / "weights.txt").write_text("1 0.25 3")
    source = f'weight_source: "{tmp_path}/weights.txt"' if weighted else ""
    generator = torch.Generator().manual_seed(1)
    x, z = (torch.randn(4, 3, 4, 4, generator=generator) for _ in range(2))
    y = torch.randint(0, 3, (4, 1, 4, 4), generator=generator).float()
    y[3] = y[2, :, 1:] = 255

    def run(rows: slice, world: World | None) -> tuple[float, Tensor, dict[str, Tensor]]:
        net = Net(parse_net(NET % {"n": 4 if world is None else 2, "weights": source}), phase="TRAIN", seed=1)
        if world is not None:
            LossShares(net, world)
        found = net(x[rows], y[rows], z[rows], blobs=net.losses)
        loss = net.loss(found)
        loss.backward()
        return loss.item(), net.by_name["c"].weight.grad, found

    whole = Net(parse_net(NET % {"n": 4, "weights": source}), phase="TRAIN", seed=1)
    total = whole.by_name["soft"].normalizer(torch.empty(0), y)
    expected = run(slice(0, 4), None)
    parts = [run(slice(i, i + 2), Half(i // 2, 2, None, [total.clone()])) for i in (0, 2)]
    assert sum(loss for loss, _, _ in parts) == pytest.approx(expected[0], rel=1e-6)
    torch.testing.assert_close(parts[0][1] + parts[1][1], expected[1])
    for name in ("soft", "euclid"):
        torch.testing.assert_close(parts[0][2][name] + parts[1][2][name], expected[2][name])
    halves = [run(slice(i, i + 2), Half(0, 2, None, [total.clone()]))[2]["soft"].item() for i in (0, 2)]
    assert halves[0] > 3 * halves[1]


def test_nothing_valid_anywhere_is_no_nan() -> None:
    net = Net(parse_net(NET % {"n": 2, "weights": ""}), phase="TRAIN", seed=1)
    LossShares(net, Half(0, 2, None, [torch.tensor(0.0, dtype=torch.float64)]))
    x = torch.ones(2, 3, 4, 4)
    with pytest.warns(UserWarning, match="every label is ignored"):
        loss = net.loss(net(x, torch.full((2, 1, 4, 4), 255.0), x, blobs=net.losses))
    assert torch.isfinite(loss)


def test_one_process_changes_nothing() -> None:
    net = Net(parse_net(NET % {"n": 2, "weights": ""}), phase="TRAIN")
    LossShares(net, World())
    assert not any(layer._forward_hooks for layer in net.layers)


def torchrun(folder: Path, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "deeplab_caffe", "train", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_two_processes_of_4_are_one_of_8(tmp_path: Path) -> None:
    """The same images, crops, mirrors and dropout, in unequal halves: the same losses and weights within rounding.

    Then one process goes on from what the two have left.
    """
    extra = "iter_size: 2 snapshot: 3 test_iter: 2 test_interval: 6"
    one = Solver(write_problem(tmp_path / "one", extra, max_iter=6, batch=8), log=TrainingLog(None))
    one.solve()
    path = write_problem(tmp_path / "two", extra, max_iter=6, batch=4)
    done = torchrun(tmp_path, "--solver", path, "--log-file", tmp_path / "log.jsonl", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "Effective batch: 4 (batch_size) x 2 (processes) x 2 (iter_size) = 16" in done.stderr
    assert done.stderr.count("Optimization Done.") == 1
    records = read_log(tmp_path / "log.jsonl")
    losses = [record["loss"] for record in records if record["event"] == "train"]
    np.testing.assert_allclose(losses, one.losses, rtol=1e-5)
    models = [CaffeModel(tmp_path / name / "snap_iter_6.caffemodel") for name in ("one", "two")]
    for ours, theirs in zip(*([blob for layer in m.layers for blob in layer.blobs] for m in models), strict=True):
        np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-4, atol=1e-6)

    again = Solver(tmp_path / "one" / "solver.prototxt", log=TrainingLog(None))
    again.restore(tmp_path / "two" / "snap_iter_3.solverstate")
    again.step(3)
    np.testing.assert_allclose(again.losses, one.losses[3:], rtol=1e-5)


def test_an_error_in_the_first_process_ends_all(tmp_path: Path) -> None:
    path = write_problem(tmp_path, max_iter=2)
    (tmp_path / "img" / "3.png").unlink()
    done = torchrun(tmp_path, "--solver", path, "--device", "cpu")
    assert done.returncode != 0
    assert f"{tmp_path}/img/3.png" in done.stderr


def test_a_loss_that_is_not_finite_in_one_process_ends_all(tmp_path: Path) -> None:
    """Only images of the second half of the batches are broken: the first process must hear of it."""
    from PIL import Image

    path = write_problem(tmp_path, max_iter=4, batch=2, random=False, dropout=False)
    text = (tmp_path / "net.prototxt").read_text()
    # The mean is 100: what is not of that colour overflows behind the convolutions.
    (tmp_path / "net.prototxt").write_text(text.replace("scale: 0.01", "scale: 1e30"))
    white = np.full((14, 14, 3), 100, np.uint8)
    for i in range(10):
        if i % 4 < 2:
            Image.fromarray(white).save(tmp_path / "img" / f"{i}.png")
    done = torchrun(tmp_path, "--solver", path, "--device", "cpu")
    assert done.returncode != 0
    assert re.search(r"the loss is nan .* layer 'c1': its output 'c1'\. Nothing was updated", done.stderr), done.stderr


def test_a_signal_to_torchrun_snapshots_and_stops_all(tmp_path: Path) -> None:
    path = write_problem(tmp_path, max_iter=10_000_000)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "deeplab_caffe", "train", "--solver", str(path), "--device", "cpu", "--log-file", str(log)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    while not log.exists() or '"train"' not in log.read_text():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate()
    assert child.returncode != 0
    assert "Optimization stopped early." in said
    (state,) = tmp_path.glob("snap_iter_*.solverstate")
    assert read_log(log)[-1] == {"event": "stopped", "iteration": read_solverstate(state).iteration}


LEAVE = """
import weakref, torch, torch.distributed as dist
from deeplab_caffe.solver.world import World, leave_world
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
world = World(0, 2, dist.new_group(backend="gloo"))
message = torch.zeros(1)
dist.all_reduce(message, group=world.control)
held = weakref.ref(message)
del message
leave_world(world)
assert held() is None and not dist.is_initialized()
"""


def test_no_thread_holds_a_message_behind_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_training_net_that_writes_files_is_refused_with_several_processes(tmp_path: Path) -> None:
    layer = 'layers { name: "out" type: MAT_WRITE bottom: "c2" mat_write_param { prefix: "out/" } }'
    path = write_problem(tmp_path)
    with (tmp_path / "net.prototxt").open("a") as net:
        net.write(layer)
    with pytest.raises(NetError, match="layer 'out': writes files, and 2 processes would write the same ones"):
        Solver(path, log=TrainingLog(None), world=Half())
