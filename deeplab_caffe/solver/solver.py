"""Training as Caffe does it: :class:`Solver`."""

from __future__ import annotations

import contextlib
import secrets
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deeplab_caffe.devices import resolve_device
from deeplab_caffe.errors import SolverError
from deeplab_caffe.net import Net
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver.config import SolverConfig, read_config
from deeplab_caffe.solver.diagnosis import debug_info, first_non_finite, non_finite_parameter, update_lines
from deeplab_caffe.solver.log import TrainingLog
from deeplab_caffe.solver.losses import LossReader, SmoothedLoss
from deeplab_caffe.solver.parameters import ParameterBlob, collect_parameters, gradients
from deeplab_caffe.solver.policies import LearningRate
from deeplab_caffe.solver.resume import load_net_state, load_torch_state, net_state, torch_state
from deeplab_caffe.solver.shares import LossShares
from deeplab_caffe.solver.snapshot import (
    SnapshotFiles,
    SnapshotWarning,
    check_prefix,
    read_snapshot,
    remove_leftovers,
    write_snapshot,
)
from deeplab_caffe.solver.testing import share_parameters, test_net
from deeplab_caffe.solver.updates import create_rule
from deeplab_caffe.solver.world import World

# Outputs with more numbers than this are blobs that somebody forgot to SILENCE, not results.
_MOST_SHOWN = 64


class Solver:
    """Trains a net by a solver prototxt, in the order in which the original does things (solver.cpp, Solve).

    Before iteration n: a snapshot where ``snapshot`` divides n, tests where ``test_interval`` does. Then forward,
    backward, display, update. After the last one: snapshot, display, tests.

    Args:
        solver: path of the solver prototxt, or a SolverParameter.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"auto"``; None: as ``solver_mode`` and ``device_id`` say, and the
            CPU where there is no GPU.
        variables: values of ``${NAME}`` in the solver and its nets; the environment gives the rest.
        engine: ``"CAFFE"`` or ``"CUDNN"`` for all convolutions; None keeps each layer's own.
        bfloat16: run the layers that can do with it in bfloat16 (autocast); parameters and updates stay float32.
        channels_last: keep images in channels-last order inside.
        workers: threads of each data layer that decode ahead.
        label_reading: how palette label PNGs are read: ``"index"`` or ``"luminance"``.
        allow_nan: go on where the loss is not finite.
        world: the processes that train together; see ``docs/training.md`` for the rule of the effective batch.
        log: where to write; None for Caffe's lines on stderr alone.

    ``random_seed`` seeds everything that is drawn at random; without one the seed comes from the operating system. Either
    way torch's own generator is seeded too, as Caffe's is.

    Attributes:
        config: the solver's parameters and nets.
        net: the training net.
        test_nets: the test nets, whose parameters are the training net's; only in the first process.
        blobs: the parameter blobs in net order.
        rule: the update rule, with its history.
        rate: the learning-rate policy.
        iteration: the next iteration.
        losses: loss of each iteration since the solver was made.

    Raises:
        PrototxtError: a file cannot be read, or the solver's fields do not go together.
        NetError: a net cannot be built.
        SolverError: the training net has no loss.
    """

    def __init__(
        self,
        solver: str | PathLike[str] | caffe_pb2.SolverParameter,
        *,
        device: str | torch.device | None = None,
        variables: Mapping[str, str] | None = None,
        engine: str | None = None,
        bfloat16: bool = False,
        channels_last: bool = False,
        workers: int = 0,
        label_reading: str = "index",
        allow_nan: bool = False,
        world: World | None = None,
        log: TrainingLog | None = None,
    ) -> None:
        self.config = read_config(solver, variables)
        self.param = self.config.param
        self.device = solver_device(self.param) if device is None else resolve_device(device)
        self.world = world or World()
        self.log = log or TrainingLog()
        self.bfloat16 = bfloat16
        self.allow_nan = allow_nan
        self.iteration = 0
        self.losses: list[float] = []
        self._stop = 0
        self._started_at = 0
        self._module: nn.Module | None = None

        options = {
            "engine": engine,
            "channels_last": channels_last,
            "label_reading": label_reading,
            "workers": workers,
        }
        self.seed = self._choose_seed()
        self.net = self._build(
            self.config.train_net, seed=self.seed, shard=(self.world.rank, self.world.size), **options
        )
        if not self.net.losses:
            raise SolverError(f"net '{self.net.name}' has no loss in phase TRAIN: there is nothing to train for")
        self.blobs = collect_parameters(self.net)
        try:
            self.rate = LearningRate(self.param)
            self.rule = create_rule(self.param, self.blobs)
        except SolverError as error:
            raise self.config.error(str(error)) from None
        self.test_nets: list[Net] = []
        for i, (_, test) in enumerate(self.config.test_nets if self.world.is_first else ()):
            net = self._build(test, seed=(self.seed + 1 + i) % 2**32, **options)
            share_parameters(net, self.net)
            self.test_nets.append(net)
        self._smoothed = SmoothedLoss(self.param.average_loss)
        self._reader = LossReader(self.device)
        LossShares(self.net, self.world)
        torch.manual_seed(self.seed + self.world.rank)

    def _choose_seed(self) -> int:
        if self.param.random_seed >= 0:
            return self.param.random_seed
        return self.world.broadcast(secrets.randbits(32))

    def _build(self, param: caffe_pb2.NetParameter, **options: Any) -> Net:
        net = Net(param, **options)
        if net.inputs:
            raise SolverError(
                f"net '{net.name}' has inputs ({', '.join(net.inputs)}): a solver's nets read their data by data layers"
            )
        # Drawing dropout's masks from Caffe's generator is slow: only where the original's very numbers were asked for.
        net.context.seeded = self.param.random_seed >= 0
        return net.to(self.device)

    def copy_from(self, weights: str | PathLike[str]) -> None:
        """Loads a caffemodel into the training net; layers that it lacks keep their initial values, with a warning."""
        self.net.copy_from(weights)

    def request_stop(self, status: int = 1) -> None:
        """Has :meth:`solve` or :meth:`step` end before the next iteration; safe to call from a signal handler."""
        self._stop = status

    @property
    def stopped(self) -> int:
        """What :meth:`request_stop` was called with, in any process; 0 where nobody has."""
        return self._stop

    def step(self, iterations: int) -> None:
        """Runs some iterations, with their snapshots, tests and displays.

        Raises:
            SolverError: the loss is not finite, or a snapshot cannot be written.
        """
        self._prepare(self.iteration + iterations)
        self._iterate(self.iteration + iterations)

    def solve(self) -> None:
        """Trains up to ``max_iter``; then the last snapshot, display and tests.

        Raises:
            SolverError: as :meth:`step`; or ``max_iter`` is not set.
        """
        param = self.param
        if param.max_iter < 1:
            raise self.config.error("max_iter must be set, and positive")
        self._prepare(param.max_iter)
        self.log.line(f"Solving {self.net.name}")
        if self._iterate(param.max_iter):
            self.snapshot()
            self.log.line("Optimization stopped early.")
            self.log.record("stopped", self.iteration)
            return
        if param.snapshot_after_train:
            self.snapshot()
        if param.display and self.iteration % param.display == 0:
            with torch.no_grad(), self._autocast():
                found = self._forward(self.net)
                loss = float(self.world.sum(self.net.loss(found).detach().clone()))
            self.log.line(f"Iteration {self.iteration}, loss = {loss:g}")
        if param.test_interval and self.iteration % param.test_interval == 0:
            self.test_all()
        self.log.line("Optimization Done.")
        self.log.record("done", self.iteration)

    def _prepare(self, last: int) -> None:
        """What is better found out before hours of training than after."""
        if self.world.is_first and (self.param.snapshot_after_train or 0 < self.param.snapshot <= last):
            check_prefix(self.param.snapshot_prefix)
            remove_leftovers(self.param.snapshot_prefix)
        if self._module is None:
            self._module = self._wrap()

    def _wrap(self) -> nn.Module:
        if self.world.size == 1 or not any(blob.parameter.requires_grad for blob in self.blobs):
            return self.net
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.net, device_ids=devices, broadcast_buffers=False)

    def _iterate(self, until: int) -> bool:
        """Runs iterations; whether it was asked to stop before the last one."""
        param = self.param
        while self.iteration < until:
            if self._asked_to_stop():
                return True
            n = self.iteration
            if param.snapshot and n > self._started_at and n % param.snapshot == 0:
                self.snapshot()
            if param.test_interval and n % param.test_interval == 0 and (n > 0 or param.test_initialization):
                before = self._data_state()
                if not self.test_all():
                    # The test is left half done: resumed, it begins anew.
                    self._load_data_state(before)
                    continue
            self._train_once()
            self.iteration += 1
        return False

    def _asked_to_stop(self) -> bool:
        self._stop = self.world.largest(self._stop)
        return self._stop != 0

    def _train_once(self) -> None:
        param, n = self.param, self.iteration
        begin = perf_counter()
        display = bool(param.display) and n % param.display == 0
        telling = debug_info(self.net, self.log.line) if display and param.debug_info else contextlib.nullcontext()
        for blob in self.blobs:
            blob.parameter.grad = None
        with telling:
            for part in range(param.iter_size):
                found = self._forward_backward(is_last=part == param.iter_size - 1)
        # Waits for the forward passes only: a GPU is still busy with the last backward pass.
        loss = self._reader.read() / param.iter_size
        rate = self.rate(n)
        self._check_finite(loss, rate, found)
        self.losses.append(loss)
        smoothed = self._smoothed.add(loss)
        shown = self._display(smoothed, rate, found) if display else {}
        diffs = gradients(self.blobs)
        if param.iter_size > 1:
            torch._foreach_mul_([diff for diff in diffs if diff is not None], 1 / param.iter_size)
        self.rule.apply(diffs, rate)
        if display and param.debug_info and self.rule.values is not None:
            for line in update_lines(self.blobs, self.rule.values):
                self.log.line(line)
        seconds = perf_counter() - begin
        self.log.record("train", n, loss=loss, lr=rate, seconds=round(seconds, 6), **shown)

    def _forward_backward(self, *, is_last: bool) -> dict[str, Tensor]:
        """One batch forward and backward: gradients add up in the parameters."""
        module = self._module or self.net
        wait = contextlib.nullcontext()
        if isinstance(module, DistributedDataParallel) and not is_last:
            wait = module.no_sync()
        with wait:
            with self._autocast():
                found = self._forward(module)
                loss = self.net.loss(found)
            self._reader.add(self.world.sum(loss.detach().clone()))
            if loss.requires_grad:
                # DistributedDataParallel averages; what each process has is a share, and shares add up.
                (loss * self.world.size if module is not self.net else loss).backward()
        return found

    def _forward(self, module: nn.Module) -> dict[str, Tensor]:
        sources = [top for step in self.net.steps if step.layer.IS_SOURCE for top in step.tops]
        return module(blobs=[*self.net.losses, *sources])

    def _autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def _check_finite(self, loss: float, rate: float, found: dict[str, Tensor]) -> None:
        if self.allow_nan or np.isfinite(loss):
            return
        with self._autocast():
            own = first_non_finite(self.net, found)
        place = next((place for place in self.world.gather(own) if place is not None), None)
        where = f"the first that is not finite: {place}" if place else "run again, all layers' outputs were finite"
        raise SolverError(
            f"iteration {self.iteration}: the loss is {loss:g} at learning rate {rate:g}; {where}. Nothing was updated "
            f"or written; a smaller base_lr may help, and --allow-nan (allow_nan=True) goes on regardless",
            self.config.path,
        )

    def _display(self, smoothed: float, rate: float, found: dict[str, Tensor]) -> dict[str, Any]:
        rows = []
        for name in self.net.outputs:
            value, weight = found[name].detach(), self.net.losses.get(name, 0.0)
            if value.numel() <= _MOST_SHOWN:
                # Losses are shares that add up; of other outputs the processes' mean is shown.
                total = self.world.sum(value.float().clone()) / (1 if weight else self.world.size)
                rows.append((name, total.flatten().tolist(), weight))
        self.log.line(f"Iteration {self.iteration}, loss = {smoothed:g}")
        self.log.outputs("Train", rows)
        self.log.line(f"Iteration {self.iteration}, lr = {rate:g}")
        return {"smoothed_loss": smoothed, "outputs": {name: numbers for name, numbers, _ in rows}}

    def test_all(self) -> bool:
        """Tests all test nets, in the first process; False where it was asked to stop before the end."""
        done = self.world.run_on_first(lambda: all(self.test(i) for i in range(len(self.test_nets))))
        return bool(done)

    def test(self, index: int = 0) -> bool:
        """Runs a test net for its ``test_iter`` batches and writes the means of its outputs.

        Returns:
            False where it was asked to stop before the end: nothing is written then.
        """
        self.log.line(f"Iteration {self.iteration}, Testing net (#{index})")
        net, batches = self.test_nets[index], self.param.test_iter[index]
        with self._autocast():
            found = test_net(lambda: self._test_forward(index), net, batches, lambda: self._stop != 0)
        if found is None:
            return False
        extra = {}
        if self.param.test_compute_loss:
            self.log.line(f"Test loss: {found.loss:g}")
            extra["loss"] = found.loss
        rows = [(name, numbers, net.losses.get(name, 0.0)) for name, numbers in found.outputs.items()]
        self.log.outputs("Test", rows)
        self.log.record("test", self.iteration, net=index, outputs=found.outputs, **extra)
        return True

    def _test_forward(self, index: int) -> dict[str, Tensor]:
        net = self.test_nets[index]
        return net(blobs=[*net.losses, *net.outputs])

    def snapshot(self) -> Path:
        """Writes the three files of a snapshot; see :mod:`deeplab_caffe.solver.snapshot`.

        Returns:
            The ``.solverstate``.

        Raises:
            SolverError: they cannot be written, or a parameter is not finite (and ``allow_nan`` is not set); what was
                there before is still there.
        """
        files = SnapshotFiles.of(self.param.snapshot_prefix, self.iteration)
        resume = {
            "iteration": self.iteration,
            "started_at": self._started_at,
            "smoothed_loss": self._smoothed.state_dict(),
            "torch": self.world.gather(torch_state(self.device)),
            **self._data_state(),
        }
        self.world.run_on_first(lambda: self._write_snapshot(files, resume))
        return files.state

    def _write_snapshot(self, files: SnapshotFiles, resume: dict[str, Any]) -> None:
        bad = None if self.allow_nan else non_finite_parameter(self.blobs)
        if bad is not None:
            raise SolverError(f"the snapshot of iteration {self.iteration} is not written: {bad} is not finite")
        self.log.line(f"Snapshotting to {files.model}")
        self.log.line(f"Snapshotting solver state to {files.state}")
        write_snapshot(
            files,
            self.net,
            iteration=self.iteration,
            current_step=self.rate.current_step,
            history=self.rule.history,
            diffs=self._last_updates() if self.param.snapshot_diff else None,
            resume=resume,
        )
        self.log.record("snapshot", self.iteration, path=str(files.state))

    def _last_updates(self) -> dict[str, list[np.ndarray]]:
        """What the last update took off each layer's blobs: Caffe leaves it in their diffs."""
        found: dict[str, list[np.ndarray]] = {}
        for i, blob in enumerate(self.blobs):
            value = torch.zeros_like(blob.parameter) if self.rule.values is None else self.rule.values[i]
            found.setdefault(blob.layer.name, []).append(value.detach().float().cpu().numpy())
        return found

    def _data_state(self) -> dict[str, Any]:
        return {"train": net_state(self.net), "test": [net_state(net) for net in self.test_nets]}

    def _load_data_state(self, state: Mapping[str, Any]) -> None:
        load_net_state(self.net, state["train"])
        for net, saved in zip(self.test_nets, state["test"], strict=False):
            load_net_state(net, saved)

    def restore(self, path: str | PathLike[str]) -> None:
        """Goes on from a ``.solverstate``, ours or the original's.

        With the ``.resume`` file that lies beside one of ours, training goes on bit for bit as if it had never stopped.
        Without it the order of the data and random numbers begin anew, with a :class:`SnapshotWarning`.

        Raises:
            CaffeModelError: a file cannot be read.
            SolverError: it is of another net, or a file is missing or damaged. Nothing has been changed then.
        """
        found = read_snapshot(path, self.blobs)
        if found.model is None:
            warnings.warn(f"{path}: names no caffemodel: the weights stay as they are", SnapshotWarning, 2)
        else:
            self.net.copy_from(found.model)
        with torch.no_grad():
            for history, array in zip(self.rule.history, found.history, strict=True):
                history.copy_(torch.from_numpy(np.array(array, np.float32)).view(history.shape))
        self.rule.regroup()
        self.rule.values = None
        self.iteration = self._started_at = found.iteration
        self.rate.current_step = found.current_step
        if found.resume is None:
            warnings.warn(
                f"{path}: there is no .resume file of this state beside it: the order of the data and the random numbers "
                "begin anew",
                SnapshotWarning,
                2,
            )
            return
        try:
            self._load_data_state(found.resume)
            self._smoothed.load_state_dict(found.resume["smoothed_loss"])
            complete = load_torch_state(self.device, found.resume["torch"], self.world)
        except (KeyError, TypeError) as error:
            raise SolverError(f"its .resume file lacks {error}", path) from error
        if not complete:
            warnings.warn(
                f"{path}: written by other processes or on another device: torch's random numbers begin anew",
                SnapshotWarning,
                2,
            )


def solver_device(param: caffe_pb2.SolverParameter) -> torch.device:
    """The device that ``solver_mode`` and ``device_id`` name; the CPU where there is no GPU."""
    if param.solver_mode == caffe_pb2.SolverParameter.CPU:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if param.HasField("solver_mode"):
            warnings.warn("solver_mode: GPU: torch sees no CUDA device here: training on the CPU", UserWarning, 3)
        return torch.device("cpu")
    return resolve_device(f"cuda:{param.device_id}")


def describe(config: SolverConfig) -> str:
    """One line on what is to be done."""
    param = config.param
    kind = caffe_pb2.SolverParameter.SolverType.Name(param.solver_type)
    return f"{kind}, {param.lr_policy} policy from {param.base_lr:g}, {param.max_iter} iterations"
