"""Read a solver prototxt, its nets and their states, and check them before anything is built (solver.cpp, Init)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from google.protobuf.message import Message

from deeplab_caffe import proto
from deeplab_caffe.errors import PrototxtError, SolverError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.text.outline import outline
from deeplab_caffe.solver.paths import find_data, find_nets
from deeplab_caffe.solver.updates import rule_class

_TRAIN_NET_FIELDS = ("net", "net_param", "train_net", "train_net_param")
_NOT_NEGATIVE = ("display", "snapshot", "test_interval", "max_iter", "device_id", "weight_decay")
_FINITE = ("weight_decay", "gamma", "power", "delta", "clip_gradients")


@dataclass(frozen=True)
class SolverConfig:
    """A solver's parameters and the nets that they name.

    Attributes:
        param: the SolverParameter.
        path: the solver's file, for messages.
        train_net: the training net, with its complete state.
        test_nets: (origin of the net, net) for each entry of ``test_iter``.
    """

    param: caffe_pb2.SolverParameter
    path: str
    train_net: caffe_pb2.NetParameter
    test_nets: tuple[tuple[str, caffe_pb2.NetParameter], ...]

    def error(self, error: SolverError) -> PrototxtError:
        """Return an error about a field of the solver as an error that names the file and line."""
        return solver_error(error, self.path)


def read_config(
    solver: str | PathLike[str] | caffe_pb2.SolverParameter,
    variables: Mapping[str, object] | None = None,
    *,
    level: int = 0,
    stages: Sequence[str] = (),
) -> SolverConfig:
    """Read a solver and its nets.

    File names are relative to the working directory, as in the original, or else to the solver's folder.

    Args:
        solver: path of the prototxt, or its message.
        variables: values of ``${NAME}`` in the solver and its nets; other names are taken from the environment.
        level: level of the training net; if it is not 0, it overrides the one in the solver's ``train_state``.
        stages: stages of the training net, in addition to those of ``train_state``.

    Raises:
        PrototxtError: a file cannot be read, or the solver's fields are not consistent.
    """
    path = "<solver>"
    if not isinstance(solver, caffe_pb2.SolverParameter):
        read = proto.read_solver(solver, variables)
        path, solver = os.fspath(solver), read
    if solver.HasField("solver_type"):
        solver = proto.upgrade_solver(solver)
    if level or stages:
        solver = _with_state(solver, level, stages)
    if solver.weights:
        solver = _with_single_weights(solver)
    folder = None if path == "<solver>" else Path(path).parent
    try:
        _check(solver)
        if folder is not None:
            find_nets(solver, folder)
        config = SolverConfig(solver, path, _train_net(solver, variables), tuple(_test_nets(solver, variables)))
        if folder is not None:
            for net in (config.train_net, *(net for _, net in config.test_nets)):
                find_data(net, folder)
        return config
    except SolverError as error:
        raise solver_error(error, path) from None


def _with_single_weights(solver: caffe_pb2.SolverParameter) -> caffe_pb2.SolverParameter:
    """Return a copy with one file per entry of ``weights``: Caffe allows several in one entry, separated by commas."""
    result = caffe_pb2.SolverParameter()
    result.CopyFrom(solver)
    result.weights[:] = [name.strip() for names in solver.weights for name in names.split(",")]
    return result


def _with_state(solver: caffe_pb2.SolverParameter, level: int, stages: Sequence[str]) -> caffe_pb2.SolverParameter:
    """Return a copy whose ``train_state`` has the level and stages of Caffe's ``-level`` and ``-stage`` flags
    (tools/caffe.cpp, train).
    """
    found = caffe_pb2.SolverParameter()
    found.CopyFrom(solver)
    if level:
        found.train_state.level = level
    found.train_state.stage.extend(stages)
    return found


def solver_error(error: SolverError, path: str) -> PrototxtError:
    """Return an error about a field as a PrototxtError, with the field's line if the file has the field."""
    # Names of `type` in the file.
    names = ("type", "solver_type") if error.field == "type" else (error.field or "",)
    line = None
    with suppress(OSError, UnicodeDecodeError, ValueError):
        tree = outline(Path(path).read_text(encoding="utf-8"))
        line = next((node.line for name in names for node in tree.all(name)), None)
    return PrototxtError(str(error), path, line)


def _check(param: caffe_pb2.SolverParameter) -> None:
    for field in _FINITE:
        if not math.isfinite(getattr(param, field)):
            raise SolverError(f"{field} must be finite, got {getattr(param, field):g}", field=field)
    for field in _NOT_NEGATIVE:
        if getattr(param, field) < 0:
            raise SolverError(f"{field} must not be negative, got {getattr(param, field):g}", field=field)
    for field in ("average_loss", "iter_size"):
        if getattr(param, field) < 1:
            raise SolverError(f"{field} must be positive, got {getattr(param, field)}", field=field)
    rule_class(param)
    if not 0 <= param.momentum < 1:
        raise SolverError(f"momentum must be at least 0 and below 1, got {param.momentum:g}", field="momentum")
    if param.random_seed >= 2**32:
        raise SolverError(f"random_seed must be below {2**32}, got {param.random_seed}", field="random_seed")


def _train_net(param: caffe_pb2.SolverParameter, variables: Mapping[str, object] | None) -> caffe_pb2.NetParameter:
    message: Message = param
    given = [field for field in _TRAIN_NET_FIELDS if message.HasField(field)]
    if len(given) != 1:
        came = ", ".join(given) or "none"
        raise SolverError(
            f"{given[1] if given else 'net'}: exactly one of {', '.join(_TRAIN_NET_FIELDS)} must be set, got {came}",
            field=given[1] if given else "net",
        )
    found = getattr(param, given[0])
    net = caffe_pb2.NetParameter()
    net.CopyFrom(proto.read_net(found, variables) if isinstance(found, str) else found)
    _set_state(net, caffe_pb2.TRAIN, param.train_state)
    return net


def _test_nets(
    param: caffe_pb2.SolverParameter, variables: Mapping[str, object] | None
) -> list[tuple[str, caffe_pb2.NetParameter]]:
    generic = param.HasField("net") or param.HasField("net_param")
    named = len(param.test_net) + len(param.test_net_param)
    count = len(param.test_iter)
    if count < named or (count > named and not generic):
        raise SolverError(
            f"test_iter must be given once for each of the {named} test nets, got {count}", field="test_iter"
        )
    if len(param.test_state) not in (0, count):
        raise SolverError(
            f"test_state must be given once for each of the {count} test nets, got {len(param.test_state)}",
            field="test_state",
        )
    if any(iterations < 0 for iterations in param.test_iter):
        raise SolverError(f"test_iter must not be negative, got {min(param.test_iter)}", field="test_iter")
    if count and param.test_interval < 1:
        raise SolverError(
            f"test_interval must be positive where there are test nets, got {param.test_interval}",
            field="test_interval",
        )
    found = [(f"test_net_param #{i}", net) for i, net in enumerate(param.test_net_param)]
    found += [(file, proto.read_net(file, variables)) for file in param.test_net]
    if count > named:
        origin = param.net or "net_param"
        net = proto.read_net(param.net, variables) if param.HasField("net") else param.net_param
        found += [(origin, net)] * (count - named)
    nets = []
    for i, (origin, net) in enumerate(found):
        own = caffe_pb2.NetParameter()
        own.CopyFrom(net)
        _set_state(own, caffe_pb2.TEST, param.test_state[i] if param.test_state else None)
        nets.append((origin, own))
    return nets


def _set_state(net: caffe_pb2.NetParameter, phase: int, state: caffe_pb2.NetState | None) -> None:
    """Set a net's state: the solver's state overrides the net's own, and both override ``phase``."""
    merged = caffe_pb2.NetState(phase=phase)
    merged.MergeFrom(net.state)
    if state is not None:
        merged.MergeFrom(state)
    net.state.CopyFrom(merged)
