"""Where a run stands besides weights, momentum and iteration: random numbers, positions in the data, running sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from deeplab_caffe.data.confusion import ConfusionMatrix
from deeplab_caffe.errors import DataError, SolverError
from deeplab_caffe.layers import Layer
from deeplab_caffe.layers.loss import SegAccuracy, SoftmaxLoss
from deeplab_caffe.net import Net
from deeplab_caffe.solver.world import World


def net_state(net: Net) -> dict[str, Any]:
    """Where a net's generator, layers that read or write files, and running sums stand."""
    layers = {layer.name: source.state_dict() for layer, source in _sources(net)}
    sums = {layer.name: layer.confusion.matrix.copy() for layer in _summing(net) if layer.confusion is not None}
    return {"rng": net.context.rng.state_dict(), "sources": layers, "confusion": sums}


def load_net_state(net: Net, state: dict[str, Any]) -> None:
    """Goes on where :func:`net_state` was taken.

    Raises:
        SolverError: the state is of another net.
        DataError: a data layer's position does not fit its list or files.
    """
    try:
        for layer, source in _sources(net):
            if layer.name in state["sources"]:
                source.load_state_dict(state["sources"][layer.name])
        for layer in _summing(net):
            if layer.name in state["confusion"]:
                matrix = np.asarray(state["confusion"][layer.name], np.int64)
                layer.confusion = ConfusionMatrix(len(matrix), layer.ignored)
                layer.confusion.matrix[...] = matrix
        # Last: a source may draw from the generator when it is moved.
        net.context.rng.load_state_dict(state["rng"])
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SolverError(f"the saved state does not fit net '{net.name}': {type(error).__name__}: {error}") from error


def _sources(net: Net) -> Iterator[tuple[Layer, Any]]:
    """Layers that read or write files, and what knows their position."""
    for layer in net.layers:
        for source in (getattr(layer, "source", None), getattr(layer, "writer", None)):
            if hasattr(source, "state_dict"):
                yield layer, source


def _summing(net: Net) -> Iterator[SegAccuracy]:
    for layer in net.layers:
        if isinstance(layer, SegAccuracy) and not layer.param.seg_accuracy_param.reset:
            yield layer


def kept_diffs(net: Net, world: World) -> dict[str, np.ndarray]:
    """What SOFTMAX_LOSS layers keep of their last gradients, for the whole batch; see ``keep_ignored_diff``."""
    own = {layer.name: layer.kept_diff.cpu().numpy() for layer in _keeping(net) if layer.kept_diff is not None}
    parts = world.gather(own)
    return {name: np.concatenate([part[name] for part in parts]) for name in own if all(name in part for part in parts)}


def load_kept_diffs(net: Net, saved: dict[str, np.ndarray], device: torch.device, world: World) -> None:
    """Takes this process's part of what :func:`kept_diffs` gave; a batch of another size begins anew."""
    for layer in _keeping(net):
        whole = saved.get(layer.name)
        layer.kept_diff = None
        if whole is not None and len(whole) % world.size == 0:
            part = np.split(np.asarray(whole, np.float32), world.size)[world.rank]
            layer.kept_diff = torch.from_numpy(part.copy()).to(device)


def _keeping(net: Net) -> Iterator[SoftmaxLoss]:
    return (layer for layer in net.layers if isinstance(layer, SoftmaxLoss) and layer.keeps_diff)


def torch_state(device: torch.device) -> dict[str, Any]:
    """Where torch's generators stand, the CPU's and the device's."""
    cuda = torch.cuda.get_rng_state(device).numpy() if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state().numpy(), "cuda": cuda}


def load_torch_state(device: torch.device, states: list[dict[str, Any]], world: World) -> bool:
    """Goes on where :func:`torch_state` was taken, process by process.

    Returns:
        Whether it could: not with more processes than there were, nor on a GPU what was begun on a CPU.

    Raises:
        SolverError: the states are none.
    """
    if world.rank >= len(states):
        return False
    state = states[world.rank]
    try:
        torch.set_rng_state(torch.from_numpy(state["cpu"].copy()))
        if device.type == "cuda" and state["cuda"] is not None:
            torch.cuda.set_rng_state(torch.from_numpy(state["cuda"].copy()), device)
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise SolverError(f"the saved random state cannot be used: {error}") from error
    return device.type != "cuda" or state["cuda"] is not None
