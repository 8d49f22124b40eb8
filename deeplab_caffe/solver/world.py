"""The processes that train together, and the messages between them."""

from __future__ import annotations

import os
import time
import weakref
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from deeplab_caffe.errors import SolverError

# A long timeout: the others wait while the first process tests and writes; torchrun ends them if that process dies.
_TIMEOUT = timedelta(hours=24)
# Polling interval and number of polls while gloo's threads release a message; they need only a few time slices.
_WAIT_SECONDS, _MOST_WAITS = 0.001, 5000


@dataclass(frozen=True)
class World:
    """The processes that share each batch; with a single process, every exchange is a no-op.

    Attributes:
        rank: this process's number from 0; process 0 writes and tests.
        size: number of processes.
        control: the group for small messages, on the CPU; None for one process.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def is_first(self) -> bool:
        """Return whether this is the process that writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place, on the tensor's device; return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, value: int) -> int:
        """Return the largest ``value`` of all processes."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return int(found)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.control)
        return found

    def broadcast(self, value: Any) -> Any:
        """Return the first process's value, in all processes."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, group=self.control)
        return box[0]

    def run_on_first(self, work: Any) -> Any:
        """Run ``work`` in the first process while the others wait; an error in it is raised in all of them.

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
    """Join the processes that ``torchrun`` has started; without torchrun there is a single process.

    Args:
        device: this process's device; CPUs communicate by gloo, GPUs by nccl.

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
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
        control = dist.new_group(backend="gloo", timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise SolverError(
            f"the {size} processes cannot reach each other: {str(error).partition(chr(10))[0]}"
        ) from error
    return World(dist.get_rank(), dist.get_world_size(), control)


def local_rank() -> int:
    """Return this process's number on its machine, which is also the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def leave_world(world: World) -> None:
    """Wait until all processes are here, and close the connections that :func:`join_world` has opened."""
    if world.size == 1:
        return
    # Twice, because each group has two threads.
    for group in (world.control, None) * 2:
        if dist.get_backend(group) == "gloo":
            _wait_for_threads(group)
    dist.destroy_process_group()


def _wait_for_threads(group: Any) -> None:
    """Wait until gloo's threads have released the tensors of their messages.

    They hold them for a moment after a call has returned. Releasing a tensor needs Python's GIL, and a thread that
    requests the GIL during interpreter shutdown aborts the process (pytorch/pytorch#179291).
    """
    message = torch.zeros(1)
    dist.all_reduce(message, group=group)
    held = weakref.ref(message)
    del message
    for _ in range(_MOST_WAITS):
        if held() is None:
            return
        time.sleep(_WAIT_SECONDS)
