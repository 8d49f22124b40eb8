"""Read losses from the device, and smooth them for display."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SmoothedLoss:
    """The mean of the last ``count`` losses, computed step by step as Caffe does (solver.cpp, Solve).

    Args:
        count: ``average_loss``.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._losses: list[float] = []
        self._mean = 0.0

    def add(self, loss: float) -> float:
        """Add the next loss and return the mean with it."""
        if len(self._losses) < self._count:
            self._losses.append(loss)
            size = len(self._losses)
            self._mean = (self._mean * (size - 1) + loss) / size
        else:
            index = self._seen % self._count
            self._mean += (loss - self._losses[index]) / self._count
            self._losses[index] = loss
        self._seen += 1
        return self._mean

    def state_dict(self) -> dict[str, Any]:
        """Return the losses that the mean is made of."""
        return {"seen": self._seen, "losses": list(self._losses), "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`; if ``average_loss`` has changed, begin anew."""
        losses = [float(loss) for loss in state["losses"]]
        if len(losses) == min(int(state["seen"]), self._count):
            self._seen, self._losses, self._mean = int(state["seen"]), losses, float(state["mean"])


class LossReader:
    """Sums losses and copies them to the CPU while the GPU goes on working.

    Reading a number from a GPU waits for all work queued before it. Here the copy is queued right after the forward
    pass, so that reading it does not wait for the backward pass.

    Args:
        device: the device of the losses.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._pending: list[tuple[Tensor, Any]] = []

    def add(self, loss: Tensor) -> None:
        """Add a loss, a detached scalar."""
        if not self._on_gpu:
            self._pending.append((loss, None))
            return
        host = torch.empty((), dtype=loss.dtype, pin_memory=True)
        host.copy_(loss, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending.append((host, event))

    def clear(self) -> None:
        """Drop the losses of an iteration that was broken off."""
        self._pending.clear()

    def read(self) -> float:
        """Return the sum of the losses since the last call."""
        total = 0.0
        for value, event in self._pending:
            if event is not None:
                event.synchronize()
            total += float(value)
        self._pending.clear()
        return total
