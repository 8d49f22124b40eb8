"""The processes that train together: who they are, and what they tell each other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from deeplab_caffe.errors import SolverError

# The first process tests and writes alone while the others wait; torchrun ends them if it dies.
_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True)
class World:
    """Processes that share out each batch; with one process every exchange is a no-op.

    Attributes:
        rank: this process's number from 0; number 0 writes and tests.
        size: how many there are.
        control: the group for small messages, on the CPU; None for one process.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in place, where the tensor lies."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, value: int) -> int:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return int(found)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.control)
        return found

    def broadcast(self, value: Any) -> Any:
        """The first process's value."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, group=self.control)
        return box[0]

    def run_on_first(self, work: Any) -> Any:
        """Runs ``work`` in the first process while the others wait; an error there is raised in all of them.

        Returns:
            What ``work`` returned in the first process, in every process.
        """
        if self.size == 1:
            return work()
        result, error = None, None
        if self.is_first:
            try:
                result = work()
            except Exception as caught:
                error = caught
        result, told = self.broadcast((result, None if error is None else str(error)))
        if error is not None:
            raise error
        if told is not None:
            raise SolverError(f"in the first process: {told}")
        return result


def join_world(device: torch.device) -> World:
    """The world that ``torchrun`` has set up by environment variables; one process without it.

    Args:
        device: this process's device: gloo connects CPUs, nccl GPUs.

    Raises:
        SolverError: the processes cannot reach each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    try:
        if not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        control = dist.new_group(backend="gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise SolverError(
            f"the {size} processes cannot reach each other: {str(error).partition(chr(10))[0]}"
        ) from error
    return World(dist.get_rank(), dist.get_world_size(), control)


def local_rank() -> int:
    """This process's number on its machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def leave_world() -> None:
    """Closes the connections that :func:`join_world` has opened."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
