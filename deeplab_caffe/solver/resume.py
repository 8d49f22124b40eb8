"""The state of a run besides weights, momentum and iteration: random numbers, positions in the data, running sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.errors import DataError, SolverError
from deeplab_caffe.net import Net
from deeplab_caffe.solver.world import World


def net_state(net: Net) -> dict[str, Any]:
    """Return the state of a net's random generator and of its layers: positions in files, running sums."""
    states = {layer.name: layer.training_state() for layer in net.layers}
    return {"rng": _generator(net).state_dict(), "layers": {name: state for name, state in states.items() if state}}


def load_net_state(net: Net, state: dict[str, Any]) -> None:
    """Restore the result of :func:`net_state`.

    Raises:
        SolverError: the state is of another net.
        DataError: a data layer's position does not fit its list or files.
    """
    try:
        for layer in net.layers:
            if layer.name in state["layers"]:
                layer.load_training_state(state["layers"][layer.name])
        # Restore the generator last, because a data source may draw from it when its position is set.
        _generator(net).load_state_dict(state["rng"])
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SolverError(f"the saved state does not fit net '{net.name}': {type(error).__name__}: {error}") from error


def _generator(net: Net) -> CaffeRNG:
    rng = net.context.rng
    assert rng is not None  # every net has a generator; only layers outside of a net have none
    return rng


def kept_diffs(net: Net, world: World) -> dict[str, np.ndarray]:
    """Return what layers keep from batch to batch, for the whole batch of all processes; see ``keep_ignored_diff``."""
    states = {layer.name: layer.batch_state for layer in net.layers}
    own = {name: state.cpu().numpy() for name, state in states.items() if state is not None}
    parts = world.gather(own)
    return {name: np.concatenate([part[name] for part in parts]) for name in own if all(name in part for part in parts)}


def load_kept_diffs(net: Net, saved: dict[str, np.ndarray], device: torch.device, world: World) -> None:
    """Restore this process's part of the result of :func:`kept_diffs`; if it cannot be split evenly, begin anew."""
    for layer in net.layers:
        whole, part = saved.get(layer.name), None
        if whole is not None and len(whole) % world.size == 0:
            own = np.split(np.asarray(whole, np.float32), world.size)[world.rank]
            part = torch.from_numpy(own.copy()).to(device)
        layer.load_batch_state(part)


def torch_state(device: torch.device) -> dict[str, Any]:
    """Return the states of torch's random generators, of the CPU and of the device."""
    cuda = torch.cuda.get_rng_state(device).numpy() if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state().numpy(), "cuda": cuda}


def load_torch_state(device: torch.device, states: list[dict[str, Any]], world: World) -> bool:
    """Restore this process's result of :func:`torch_state`.

    Args:
        device: this process's device.
        states: the states of all processes, by rank.
        world: the processes.

    Returns:
        Whether it was possible: not if there are more processes than before, and not on a GPU for a run of a CPU.

    Raises:
        SolverError: the states are not those of torch's generators.
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
