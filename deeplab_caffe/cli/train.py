"""``deeplab-caffe train``: what ``caffe train`` does."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import FrameType

import click
import torch

from deeplab_caffe._version import __version__
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.cli.options import (
    chosen_device,
    dtype_option,
    gpu_option,
    path_option,
    python_layers_option,
    split_list,
    state_options,
    variables_option,
    word_option,
)
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.data.io.images import LABEL_READINGS
from deeplab_caffe.environment import usable_cores
from deeplab_caffe.errors import SolverError
from deeplab_caffe.files.apart import validate_outputs
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver import (
    Solver,
    TrainingLog,
    WandbCallback,
    join_world,
    latest_snapshot,
    leave_world,
    local_rank,
    read_config,
    training_memory,
)
from deeplab_caffe.solver.solver import solver_device

# The exit status of a process ended by a signal is this plus its number, as in shells.
_SIGNAL_STATUS = 128
_MOST_WORKERS = 8
_EFFECTS = click.Choice(["stop", "snapshot", "none"])


@click.command()
@path_option("--solver", required=True, help="The solver: a prototxt file.")
@click.option("--weights", help="Initial caffemodels, separated by commas; matched by layer names.")
@click.option(
    "--snapshot",
    help="A .solverstate to go on from; `latest`: the newest of the solver's snapshot_prefix.",
)
@path_option(
    "--log",
    "--log-file",
    "log_path",
    help="File for JSON lines; torchrun takes --log for its own: use --log-file there.",
)
@click.option("--glog", is_flag=True, help="Start each line as Caffe's log does, for parse_log.py and similar tools.")
@path_option("--tensorboard", help="Folder for TensorBoard's event files.")
@word_option("--wandb", metavar="PROJECT", help="Log to this project of Weights & Biases.")
@dtype_option
@click.option(
    "--channels-last/--no-channels-last",
    default=None,
    help="Channels-last memory order: last digits differ. By default on the CPU, if it is faster.",
)
@click.option("--engine", type=click.Choice(["DEFAULT", "CAFFE", "CUDNN"]), default="DEFAULT", show_default=True)
@click.option("--workers", type=click.IntRange(min=0), help="Threads that decode ahead; default: cores minus one.")
@click.option("--label-reading", type=click.Choice(LABEL_READINGS), default="index", show_default=True)
@click.option(
    "--ignored-gradient",
    type=click.Choice(["original", "zero"]),
    default="original",
    show_default=True,
    help="Gradient of pixels with an ignored label.",
)
@click.option("--allow-nan", is_flag=True, help="Continue if the loss is not finite.")
@state_options
@python_layers_option
@click.option("--device", help="auto, cpu, cuda or cuda:INDEX; auto: as the solver's solver_mode.  [auto]")
@gpu_option
@click.option("--sigint-effect", type=_EFFECTS, default="stop", show_default=True, help="What SIGINT (Ctrl-C) does.")
@click.option("--sighup-effect", type=_EFFECTS, default="snapshot", show_default=True, help="What SIGHUP does.")
@variables_option
def train(
    solver: Path,
    weights: str | None,
    snapshot: str | None,
    log_path: Path | None,
    glog: bool,
    tensorboard: Path | None,
    wandb: str | None,
    dtype: str,
    channels_last: bool | None,
    engine: str,
    workers: int | None,
    label_reading: str,
    ignored_gradient: str,
    allow_nan: bool,
    level: int,
    stages: tuple[str, ...],
    python_layers: bool,
    device: str | None,
    gpu: str | None,
    sigint_effect: str,
    sighup_effect: str,
    variables: dict[str, str],
) -> None:
    """Train a network with a solver prototxt.

    SIGINT (Ctrl-C) and SIGTERM end it with a snapshot and exit status 130 or 143; a second one ends it at once. SIGHUP
    writes a snapshot, and training continues.

    Several GPUs need a process each: torchrun --nproc-per-node 2 -m deeplab_caffe train --solver solver.prototxt. Each
    process computes its part of a batch, whose size is the prototxt's batch_size times the number of processes.
    """
    _check_begin(weights, snapshot)
    config = read_config(solver, variables, level=level, stages=stages)
    _validate_log(log_path, solver, config.param, [*split_list(weights), snapshot or None])
    place = _device(device, gpu, config.param)
    world = join_world(place)
    if not world.is_first:
        # The warnings are the same in all processes.
        warnings.simplefilter("ignore")
    # In training, reproducible bits are worth more than cuDNN's fastest kernels.
    torch.backends.cudnn.deterministic = True
    state = _snapshot_path(snapshot, config.param.snapshot_prefix)
    with progress("training", config.param.max_iter, to_stderr=True, hidden=not world.is_first) as advance:
        echo = _like_glog(advance.log) if glog else advance.log
        lines = _lines(echo) if world.is_first else None
        trainer = Solver(
            solver,
            device=place,
            variables=variables,
            engine=engine,
            dtype=dtype,
            channels_last=channels_last,
            workers=_workers() if workers is None else workers,
            label_reading=label_reading,
            ignored_gradient=ignored_gradient,
            allow_nan=allow_nan,
            level=level,
            stages=stages,
            python_layers=python_layers,
            world=world,
            log=TrainingLog(lines),
        )
        _begin(trainer, state, split_list(weights))
        if world.is_first:
            # A training that cannot begin leaves no files.
            trainer.log = TrainingLog(lines, log_path, tensorboard, [WandbCallback(wandb)] if wandb else [])
        _describe(trainer, dtype)
        advance(trainer.iteration)
        trainer.after_iteration = advance
        with _signals(trainer, sigint_effect, sighup_effect):
            trainer.solve()
        trainer.log.close()
    # Not after an error: the other processes may wait for this one until torchrun ends them.
    leave_world(world)
    if trainer.stopped:
        raise click.exceptions.Exit(_SIGNAL_STATUS + trainer.stopped)


def _check_begin(weights: str | None, snapshot: str | None) -> None:
    """Warn of an empty ``--weights`` or ``--snapshot``.

    Raises:
        click.UsageError: they do not go together, or name nothing.
    """
    for flag, value in (("--weights", weights), ("--snapshot", snapshot)):
        if value is not None and not value.strip():
            # gflags accepts it, and scripts for Caffe use it: --snapshot=$STATE.
            warnings.warn(f"{flag} is empty: the training begins without, as Caffe's does", stacklevel=1)
    if weights and weights.strip() and not split_list(weights):
        raise click.UsageError(f"--weights: expected files with commas, got '{weights}'")
    if weights and snapshot:
        raise click.UsageError("--weights and --snapshot exclude each other: a snapshot has its own weights")


def _begin(trainer: Solver, state: Path | None, weights: Sequence[str]) -> None:
    """Load what the training begins with, and say so."""
    if state is not None:
        trainer.restore(state)
        trainer.log.line(f"Resuming from {state}")
    for path in weights:
        trainer.copy_from(path)
        trainer.log.line(f"Finetuning from {path}")


def _validate_log(
    log: Path | None, solver: Path, param: caffe_pb2.SolverParameter, weights: Sequence[str | None]
) -> None:
    """Check that the log is not one of the files that the training reads."""
    nets = [param.net, param.train_net, *param.test_net]
    read = [("the net", net) for net in nets if net] + [("the weights or snapshot", path) for path in weights if path]
    validate_outputs([("--log", log)], [("--solver", solver), *read])


def _device(device: str | None, gpu: str | None, param: caffe_pb2.SolverParameter) -> torch.device:
    """Return the device of the command line or else of the solver; under torchrun each process has its own GPU."""
    several = _several(gpu)
    if several:
        return resolve_device(f"cuda:{several[local_rank()]}")
    if device in (None, "auto") and gpu is None:
        place, named = solver_device(param), False
    else:
        place = resolve_device(chosen_device(device or "auto", gpu))
        named = place.index is not None
    if "LOCAL_RANK" not in os.environ or place.type != "cuda":
        return place
    if named:
        raise click.UsageError("under torchrun each process has the GPU of its number: leave --gpu and the index out")
    return resolve_device(f"cuda:{local_rank()}")


def _several(gpu: str | None) -> list[int]:
    """Return the GPUs if ``--gpu`` names several, one for each of torchrun's processes; else an empty list.

    Raises:
        click.UsageError: the number of processes differs.
    """
    if gpu is None or not ("," in gpu or gpu == "all"):
        return []
    found = list(range(torch.cuda.device_count())) if gpu == "all" else [int(index) for index in gpu.split(",")]
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if len(found) != processes and (len(found) > 1 or processes > 1):
        raise click.UsageError(
            f"--gpu {gpu}: {len(found)} GPUs take as many processes, here {processes}. Say "
            f"torchrun --nproc-per-node {len(found)} -m deeplab_caffe train --gpu {gpu} ...; "
            f"the effective batch is then {len(found)} times the prototxt's, as in Caffe"
        )
    return found if len(found) > 1 else []


def _workers() -> int:
    """Return the number of decoding threads: this process's share of the cores, minus one for the network."""
    share = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(max(share - 1, 1), _MOST_WORKERS)


def _snapshot_path(snapshot: str | None, prefix: str) -> Path | None:
    if not snapshot:
        return None
    if snapshot != "latest":
        return Path(snapshot)
    found = latest_snapshot(prefix)
    if found is None:
        raise SolverError("--snapshot latest: there is no snapshot with this prefix", f"{prefix}_iter_*.solverstate")
    return found


def _like_glog(echo: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that writes a line after its level, date, time, process and place, as in Caffe's log."""

    def line(text: str) -> None:
        echo(f"I{datetime.now():%m%d %H:%M:%S.%f} {os.getpid():5} solver.cpp:0] {text}")

    return line


def _lines(echo: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that writes a line; a closed terminal does not end the training."""

    def line(text: str) -> None:
        with suppress(OSError):
            echo(text)

    return line


def _describe(trainer: Solver, dtype: str) -> None:
    """Describe the training on stderr and in the log."""
    param, net, world = trainer.param, trainer.net, trainer.world
    memory = training_memory(net, dtype=dtype, buffers=trainer.rule.buffers)
    sources = [step for step in net.steps if step.layer.is_source and step.tops]
    batch = net.blob_shapes[sources[0].tops[0]][0] if sources else 0
    log = trainer.log
    log.line(f"{net.name}: {net.parameter_count():,} parameters, on {trainer.device}, random seed {trainer.seed}")
    whole = batch * world.size * param.iter_size
    log.line(
        f"Effective batch: {batch} (batch_size) x {world.size} (processes) x {param.iter_size} (iter_size) = {whole}"
    )
    log.line(f"Memory, about: {memory}")
    log.record(
        "start",
        trainer.iteration,
        net=net.name,
        max_iter=param.max_iter,
        device=str(trainer.device),
        processes=world.size,
        batch=whole,
        seed=trainer.seed,
        activation_bytes=memory.activations,
        dtype=dtype,
        version=__version__,
        torch=torch.__version__,
    )


@contextmanager
def _signals(trainer: Solver, sigint_effect: str, sighup_effect: str) -> Iterator[None]:
    """Let signals ask the solver to stop or to write a snapshot, within the block."""

    def stop(number: int, _: FrameType | None) -> None:
        if trainer.stopped:
            raise KeyboardInterrupt
        trainer.request_stop(number)

    effects: dict[str, Callable[[int, FrameType | None], None]] = {
        "stop": stop,
        "snapshot": lambda *_: trainer.request_snapshot(),
        "none": lambda *_: None,
    }
    handlers = {signal.SIGTERM: stop, signal.SIGINT: effects[sigint_effect]}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = effects[sighup_effect]
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
