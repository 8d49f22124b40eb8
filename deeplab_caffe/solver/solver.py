"""Training as Caffe does it: :class:`Solver`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.errors import DataError, SolverError, warn
from deeplab_caffe.net import Net
from deeplab_caffe.net.hdf5 import import_h5py
from deeplab_caffe.net.weights import save_hdf5, save_weights
from deeplab_caffe.proto import V1, caffe_pb2
from deeplab_caffe.solver.config import read_config
from deeplab_caffe.solver.diagnosis import debug_info, non_finite_parameter, update_lines
from deeplab_caffe.solver.engine import Engine
from deeplab_caffe.solver.log import TrainingLog
from deeplab_caffe.solver.losses import SmoothedLoss
from deeplab_caffe.solver.parameters import ParameterBlob
from deeplab_caffe.solver.policies import LearningRate
from deeplab_caffe.solver.resume import (
    kept_diffs,
    load_kept_diffs,
    load_net_state,
    load_torch_state,
    net_state,
    torch_state,
)
from deeplab_caffe.solver.snapshot import (
    SnapshotFiles,
    SnapshotWarning,
    check_prefix,
    read_snapshot,
    remove_leftovers,
    write_snapshot,
)
from deeplab_caffe.solver.testing import MOST_SHOWN, run_test
from deeplab_caffe.solver.updates import create_rule
from deeplab_caffe.solver.world import World


class Solver:
    """Trains a net by a solver prototxt, in the original's order (solver.cpp, Solve).

    Before iteration n: a snapshot if ``snapshot`` divides n, tests if ``test_interval`` divides n. Then forward,
    backward, display, update. After the last iteration: snapshot, display, tests.

    ``random_seed`` seeds all random numbers; without it the seed comes from the operating system. In both cases torch's
    own generator is seeded too, like Caffe's.

    Args:
        solver: path of the solver prototxt, or a SolverParameter.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; ``"auto"`` or None: the device of ``solver_mode`` and
            ``device_id``, or the CPU if there is no GPU.
        variables: values of ``${NAME}`` in the solver and its nets; other names are taken from the environment.
        solver_type: ``"SGD"``, ``"Adam"`` or another ``type``, instead of the prototxt's.
        default_seed: ``random_seed`` if the prototxt has none.
        ignored_gradient: gradient of pixels with an ignored label. ``"original"``: their gradient of the last
            iteration, divided by about the number of valid pixels, as in the original. ``"zero"``: 0.
        allow_nan: go on if the loss is not finite.
        world: the processes that train together; ``docs/training.md`` says how the effective batch size follows.
        log: the log; None: only Caffe's lines on stderr.
        dtype: ``"float32"``, ``"bfloat16"``, or the torch.dtype. With bfloat16 forward passes run under autocast;
            parameters and updates stay float32.
        level: level of the training net's NetState, as Caffe's ``-level``.
        stages: stages of the training net's NetState, as Caffe's ``-stage``, in addition to those of the solver's
            ``train_state``.
        channels_last: keep images in channels-last order internally, which changes the last digits; None: on the CPU,
            if the batches are large enough to make it faster and no convolution has groups.
        **options: ``engine``, ``workers``, ``label_reading``, ``python_layers``: as for :class:`deeplab_caffe.Net`.

    Attributes:
        param: the SolverParameter.
        rule: the update rule, with its history.
        rate: the learning-rate policy.
        iteration: the next iteration.
        losses: loss of each iteration since the solver was made.
        after_iteration: function called after each iteration, or None.
        callbacks: pairs of functions; in each iteration the first is called before the batch, and the second between
            the backward pass and the update.

    Raises:
        PrototxtError: a file cannot be read, or the solver's fields are not consistent.
        NetError: a net cannot be built.
        SolverError: a net has inputs, or the training net has no loss.
    """

    ENGINE = Engine

    def __init__(
        self,
        solver: str | PathLike[str] | caffe_pb2.SolverParameter,
        *,
        device: str | torch.device | None = None,
        variables: Mapping[str, str] | None = None,
        solver_type: str | None = None,
        default_seed: int | None = None,
        ignored_gradient: str = "original",
        allow_nan: bool = False,
        world: World | None = None,
        log: TrainingLog | None = None,
        dtype: str | torch.dtype = "float32",
        level: int = 0,
        stages: Sequence[str] = (),
        channels_last: bool | None = None,
        **options: Any,
    ) -> None:
        if ignored_gradient not in ("original", "zero"):
            raise SolverError(f"ignored_gradient must be 'original' or 'zero', got {ignored_gradient!r}")
        number_format = str(dtype).removeprefix("torch.")
        if number_format not in ("float32", "bfloat16"):
            raise SolverError(f"dtype must be float32 or bfloat16, got {dtype}")
        self.config = read_config(solver, variables, level=level, stages=stages)
        self.param = self.config.param
        if solver_type is not None:
            self.param.type = solver_type
        if default_seed is not None and self.param.random_seed < 0:
            self.param.random_seed = default_seed
        self.device = solver_device(self.param) if device in (None, "auto") else resolve_device(device)
        self.world = world or World()
        self.log = log or TrainingLog()
        self.allow_nan = allow_nan
        self.losses: list[float] = []
        self.after_iteration: Callable[[], object] | None = None
        self.callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self._stop = 0
        self._snapshot_asked = False
        self.start_from(0)
        self.seed = self.param.random_seed
        if self.seed < 0:
            self.seed = self.world.broadcast(secrets.randbits(32))
        options["keep_ignored_diff"] = ignored_gradient == "original"
        options["bfloat16"] = number_format == "bfloat16"
        options["channels_last"] = channels_last
        self.engine = self.ENGINE(self.config, self.device, self.world, self.seed, **options)
        try:
            self.rate = LearningRate(self.param)
            self.rule = create_rule(self.param, self.blobs)
        except SolverError as error:
            raise self.config.error(error) from None
        for name in self.param.weights:
            self.copy_from(name)
        self.smoothed = SmoothedLoss(self.param.average_loss)
        torch.manual_seed(self.seed + self.world.rank)

    @property
    def net(self) -> Net:
        """Return the training net."""
        return self.engine.net

    @property
    def test_nets(self) -> list[Net]:
        """Return the test nets, whose parameters are the training net's; only in the first process."""
        return self.engine.test_nets

    @property
    def blobs(self) -> list[ParameterBlob]:
        """Return the parameter blobs in net order."""
        return self.engine.blobs

    def copy_from(self, weights: str | PathLike[str]) -> None:
        """Load a caffemodel into the training net; layers without weights in it keep their initial values, with a
        warning.
        """
        self.engine.before_snapshot()
        self.net.copy_from(weights)

    def start_from(self, iteration: int) -> None:
        """Set the next iteration."""
        self.iteration = self._start = iteration
        self._written = -1

    def request_stop(self, status: int = 1) -> None:
        """Make :meth:`solve` or :meth:`step` end before the next iteration; safe to call from a signal handler."""
        self._stop = status

    def request_snapshot(self) -> None:
        """Request a snapshot before the next iteration; safe to call from a signal handler."""
        self._snapshot_asked = True

    @property
    def stopped(self) -> int:
        """Return the status that any process gave to :meth:`request_stop`; 0 if none called it."""
        return self._stop

    def step(self, iterations: int) -> None:
        """Run some iterations, with their snapshots, tests and displays.

        Raises:
            SolverError: the loss is not finite, or a snapshot cannot be written.
        """
        if iterations < 0:
            raise SolverError(f"step: expected a number of iterations, got {iterations}")
        self._check_snapshots(self.iteration + iterations, afterwards=False)
        self._iterate(self.iteration + iterations)

    def solve(self) -> None:
        """Train up to ``max_iter``; then write the last snapshot, display and test.

        Raises:
            SolverError: as :meth:`step`.
            PrototxtError: ``max_iter`` is not set.
        """
        param = self.param
        if not param.HasField("max_iter"):
            raise self.config.error(SolverError("max_iter must be set; 0 trains nothing", field="max_iter"))
        self._check_snapshots(param.max_iter, afterwards=True)
        self.log.line(f"Solving {self.net.name}")
        if self._iterate(param.max_iter):
            self._last_snapshot()
            self.log.line("Optimization stopped early.")
            self.log.record("stopped", self.iteration)
            return
        if param.snapshot_after_train:
            self._last_snapshot()
        if param.display and self.iteration % param.display == 0:
            self.log.line(f"Iteration {self.iteration}, loss = {self.engine.forward():g}")
        if param.test_interval and self.iteration % param.test_interval == 0:
            self.test_all()
        self.log.line("Optimization Done.")
        self.log.record("done", self.iteration)

    def _last_snapshot(self) -> None:
        """Write the snapshot of the last iteration, unless it was due at its end and is written."""
        if self._written != self.iteration:
            self.snapshot()

    def _check_snapshots(self, last: int, *, afterwards: bool) -> None:
        """Fail early if snapshots cannot be written."""
        wanted = 0 < self.param.snapshot <= last or (afterwards and self.param.snapshot_after_train)
        if wanted and self.world.is_first:
            if self._hdf5:
                import_h5py(self.param.snapshot_prefix)
            check_prefix(self.param.snapshot_prefix)
            remove_leftovers(self.param.snapshot_prefix)

    @property
    def _hdf5(self) -> bool:
        return self.param.snapshot_format == caffe_pb2.SolverParameter.HDF5

    def _iterate(self, until: int) -> bool:
        """Run iterations; return whether a stop was requested before the last one."""
        param = self.param
        while self.iteration < until:
            # The processes must agree on stopping and on a snapshot; one message serves both. A signal that arrives
            # during the message is for the next iteration, so its flag must not be cleared.
            requested = self._snapshot_asked
            stop, asked = divmod(self.world.largest(2 * self._stop + requested), 2)
            if requested:
                self._snapshot_asked = False
            if stop:
                self._stop = stop
                return True
            n = self.iteration
            if asked or (self.net.dialect.snapshots_before_iterations and self._snapshot_due()):
                self.snapshot()
            if param.test_interval and n % param.test_interval == 0 and (n > 0 or param.test_initialization):
                before, parameters = self._data_state(), self._parameters_of_states()
                if not self.test_all():
                    # A resumed run repeats an interrupted test from its beginning, so restore the state before it.
                    self._load_data_state(before)
                    for blob, value in parameters:
                        blob.data.copy_(value)
                    continue
            self._train_once()
            self.iteration += 1
            if self.after_iteration is not None:
                self.after_iteration()
            if not self.net.dialect.snapshots_before_iterations and self._snapshot_due():
                self.snapshot()
        return False

    def _snapshot_due(self) -> bool:
        """Return whether ``snapshot`` asks for one of this iteration."""
        n, every = self.iteration, self.param.snapshot
        return bool(every) and n > self._start and n % every == 0

    def _parameters_of_states(self) -> list[tuple[Tensor, Tensor]]:
        """Return the parameters that a test's forward passes may change, such as BatchNorm's statistics, and copies.

        These are the parameters of layers that are not computed item by item.
        """
        layers = [layer for net in self.test_nets for layer in net.layers if not layer.per_item]
        return [(blob, blob.detach().clone()) for layer in layers for blob in layer.blobs]

    def _train_once(self) -> None:
        param, engine, n = self.param, self.engine, self.iteration
        begin = perf_counter()
        display = bool(param.display) and n % param.display == 0
        debug = display and param.debug_info
        engine.begin()
        for start, _ in self.callbacks:
            start()
        with debug_info(self.net, self.log.line) if debug else contextlib.nullcontext():
            for part in range(param.iter_size):
                found = engine.forward_backward(is_last=part == param.iter_size - 1)
        loss = engine.loss() / param.iter_size
        rate = self.rate(n)
        self._check_finite(loss, rate, found)
        self.losses.append(loss)
        smoothed = self.smoothed.add(loss)
        shown = self._display(smoothed, rate, found) if display else {}
        for _, gradients_ready in self.callbacks:
            gradients_ready()
        self._update(engine.gradients(), rate)
        if debug:
            for line in update_lines(self.blobs, self.rule.values or []):
                self.log.line(line)
        self.log.record("train", n, loss=loss, lr=rate, seconds=round(perf_counter() - begin, 6), **shown)

    def _update(self, gradients: list[Tensor | None], rate: float) -> None:
        """Update the parameters: clip, divide by ``iter_size``, decay, step (BVLC's sgd_solver.cpp, ApplyUpdate)."""
        if (clipped := self.rule.clip(gradients)) is not None:
            self.log.line(
                f"Gradient clipping: scaling down gradients (L2 norm {clipped[0]:g} > {self.param.clip_gradients:g}) "
                f"by scale factor {clipped[1]:g}"
            )
        if self.param.iter_size > 1 and (given := [diff for diff in gradients if diff is not None]):
            torch._foreach_mul_(given, 1 / self.param.iter_size)
        self.rule.apply(gradients, rate, self.iteration)
        self.engine.updated(self.rule.values or [])

    def _check_finite(self, loss: float, rate: float, found: Mapping[str, Tensor]) -> None:
        if self.allow_nan or np.isfinite(loss):
            return
        places = self.world.gather(self.engine.first_non_finite(found))
        place = next((place for place in places if place is not None), None)
        where = f"the first that is not finite: {place}" if place else "run again, all layers' outputs were finite"
        raise SolverError(
            f"iteration {self.iteration}: the loss is {loss:g} at learning rate {rate:g}; {where}. Nothing was updated "
            f"or written; a smaller base_lr may help, and --allow-nan (allow_nan=True) goes on regardless",
            self.config.path,
        )

    def _display(self, smoothed: float, rate: float, found: Mapping[str, Tensor]) -> dict[str, Any]:
        rows = []
        for name in self.net.outputs:
            value, weight = found[name].detach(), self.net.losses.get(name, 0.0)
            if value.numel() <= MOST_SHOWN:
                # The processes' losses are shares, which are summed; other outputs are averaged.
                total = self.world.sum(value.float().clone()) / (1 if weight else self.world.size)
                rows.append((name, total.flatten().tolist(), weight))
        self.log.line(f"Iteration {self.iteration}, loss = {smoothed:g}")
        self.log.outputs("Train", rows)
        self.log.line(f"Iteration {self.iteration}, lr = {rate:g}")
        return {"smoothed_loss": smoothed, "outputs": {name: numbers for name, numbers, _ in rows}}

    def test_all(self) -> bool:
        """Test all test nets, in the first process; return False if a stop was requested before the end."""
        return bool(self.world.run_on_first(lambda: all(self.test(i) for i in range(len(self.test_nets)))))

    def test(self, index: int = 0) -> bool:
        """Run a test net for its ``test_iter`` batches and write the means of its outputs.

        Returns:
            False if a stop was requested before the end; nothing is written then.
        """
        self.log.line(f"Iteration {self.iteration}, Testing net (#{index})")
        net, batches = self.test_nets[index], self.param.test_iter[index]
        found = run_test(lambda: self.engine.test_forward(index), net, batches, lambda: self._stop != 0)
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

    def snapshot(self) -> Path:
        """Write the three files of a snapshot; see :mod:`deeplab_caffe.solver.snapshot`.

        Returns:
            The ``.solverstate``.

        Raises:
            SolverError: the files cannot be written, or a parameter is not finite and ``allow_nan`` is not set; earlier
                files of these names are kept.
        """
        files = SnapshotFiles.of(self.param.snapshot_prefix, self.iteration, hdf5=self._hdf5)
        state = self.state_dict()
        self.world.run_on_first(lambda: self._write_snapshot(files, state))
        self._written = self.iteration
        return files.state

    def _write_snapshot(self, files: SnapshotFiles, state: dict[str, Any]) -> None:
        self.engine.before_snapshot()
        bad = None if self.allow_nan else non_finite_parameter(self.blobs)
        if bad is not None:
            raise SolverError(f"the snapshot of iteration {self.iteration} is not written: {bad} is not finite")
        self.log.line(f"Snapshotting to {files.model}")
        self.log.line(f"Snapshotting solver state to {files.state}")
        diffs = self._last_updates() if self.param.snapshot_diff else None
        save = save_hdf5 if files.hdf5 else save_weights
        write_snapshot(files, state, lambda path: save(self.net, path, diffs), self.net.dialect.name)
        self.log.record("snapshot", self.iteration, path=str(files.state))

    def _last_updates(self) -> dict[str, list[np.ndarray]]:
        """Return what the last update subtracted from each layer's blobs; Caffe leaves it in their diffs."""
        values = self.rule.values or [torch.zeros_like(blob.parameter) for blob in self.blobs]
        own = {(blob.layer.name, blob.index): value for blob, value in zip(self.blobs, values, strict=True)}
        # In later Caffe a shared blob is updated once; all layers that share it have the same diff.
        shared = {blob.parameter.data_ptr(): value for blob, value in zip(self.blobs, values, strict=True)}
        found: dict[str, list[np.ndarray]] = {}
        for layer in self.net.layers:
            for i, blob in enumerate(layer.blobs):
                value = own[layer.name, i] if (layer.name, i) in own else shared[blob.data_ptr()]
                array = value.detach().float().cpu().numpy().reshape(layer.blob_shape(blob.shape))
                found.setdefault(layer.name, []).append(array)
        return found

    def restore(self, path: str | PathLike[str]) -> None:
        """Resume from a ``.solverstate`` of this package or of the original.

        With the ``.resume`` file that this package writes beside it, training continues bit for bit as if it had never
        stopped. Without it the order of the data and the random numbers begin anew, with a :class:`SnapshotWarning`.

        Raises:
            CaffeModelError: a file cannot be read.
            SolverError: the state is of another net, or a file is missing or damaged.
            DataError: a data layer's position does not fit its list or files.
        """
        state, model = read_snapshot(path)
        try:
            self._check_history(state["history"])
            self.engine.before_snapshot()
            if model is None:
                warn(f"{path}: names no caffemodel: the weights stay as they are", SnapshotWarning)
            else:
                self.net.copy_from(model)
            complete = self.load_state_dict(state)
        except SolverError as error:
            raise SolverError(str(error), path) from error
        if state["run"] is None:
            problem = "no .resume file of this state beside it: the order of the data and random numbers begin anew"
        elif not complete:
            problem = "written by other processes or on another device: torch's random numbers begin anew"
        else:
            return
        warn(f"{path}: {problem}", SnapshotWarning)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the training besides the net's weights; all processes must call it.

        Returns:
            ``iteration``, ``current_step`` (of the learning rate) and ``history`` (of the update rule: arrays of the
            parameter blobs), as in a ``.solverstate``; and ``run``: what Caffe's files cannot hold, which is random
            numbers, positions in the data and running sums. Arrays may be views of the solver's own.
        """
        return {
            "iteration": self.iteration,
            "current_step": self.rate.current_step,
            "history": [history.detach().float().cpu().numpy() for history in self.rule.history],
            "run": {
                "smoothed_loss": self.smoothed.state_dict(),
                "kept_diffs": kept_diffs(self.net, self.world),
                "torch": self.world.gather(torch_state(self.device)),
                **self._data_state(),
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Restore the result of :meth:`state_dict`; the net's weights are loaded separately.

        Args:
            state: the state; if its ``run`` is None, the order of the data and the random numbers begin anew.

        Returns:
            Whether torch's random numbers continue too: not if there are more processes than before, and not on a GPU
            for a run of a CPU.

        Raises:
            SolverError: the state is of another net, or incomplete.
            DataError: a data layer's position does not fit its list or files.
        """
        self._check_history(state["history"])
        with torch.no_grad():
            for history, array in zip(self.rule.history, state["history"], strict=True):
                history.copy_(torch.from_numpy(np.array(array, np.float32)).view(history.shape))
        self.rule.regroup()
        self.rule.values = None
        self.start_from(state["iteration"])
        self.rate.current_step = state["current_step"]
        run = state["run"]
        if run is None:
            return False
        try:
            self._load_data_state(run)
            self.smoothed.load_state_dict(run["smoothed_loss"])
            load_kept_diffs(self.net, run["kept_diffs"], self.device, self.world)
            return load_torch_state(self.device, run["torch"], self.world)
        except (DataError, SolverError):
            raise
        except KeyError as error:
            raise SolverError(f"its .resume file lacks {error}") from error
        except (AttributeError, IndexError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise SolverError(f"its .resume file does not fit: {type(error).__name__}: {error}") from error

    def _check_history(self, history: Sequence[np.ndarray]) -> None:
        blobs = self.blobs * self.rule.histories
        if len(history) != len(blobs):
            more = f", and {self.rule.TYPE} keeps {self.rule.histories} of each" if self.rule.histories > 1 else ""
            raise SolverError(f"its history has {len(history)} blobs, the net has {len(self.blobs)}{more}")
        for i, (found, blob) in enumerate(zip(history, blobs, strict=True)):
            if V1.blob_shape(found.shape) != V1.blob_shape(blob.shape):
                raise SolverError(f"history {i} has shape {found.shape}, {blob} has {blob.shape}")

    def _data_state(self) -> dict[str, Any]:
        """Return the nets' positions in their data, and the states of their generators."""
        return {"train": net_state(self.net), "test": [net_state(net) for net in self.test_nets]}

    def _load_data_state(self, state: Mapping[str, Any]) -> None:
        load_net_state(self.net, state["train"])
        for net, saved in zip(self.test_nets, state["test"], strict=False):
            load_net_state(net, saved)


def solver_device(param: caffe_pb2.SolverParameter) -> torch.device:
    """Return the device that ``solver_mode`` and ``device_id`` name; the CPU if there is no GPU."""
    if param.solver_mode == caffe_pb2.SolverParameter.CPU:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if param.HasField("solver_mode"):
            warn("solver_mode: GPU: torch sees no CUDA device here: training on the CPU")
        return torch.device("cpu")
    return resolve_device(f"cuda:{param.device_id}")
