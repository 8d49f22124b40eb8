"""Which part of each batch a process reads, where several train together."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_caffe.errors import NetError


@dataclass(frozen=True)
class Shard:
    """One of ``world`` processes that share out each global batch of ``world * batch_size`` consecutive entries.

    Rank r has entries ``r * batch_size`` up to ``(r + 1) * batch_size`` of it. Random words are drawn for all of them,
    so that together the processes see what one process with the global batch would.

    Attributes:
        rank: from 0.
        world: how many processes.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.world < 1 or not 0 <= self.rank < self.world:
            raise NetError(f"shard must be (rank, world) with 0 <= rank < world, got ({self.rank}, {self.world})")

    def before(self, batch_size: int) -> int:
        """Return how many entries of the global batch come before this process's."""
        return self.rank * batch_size

    def after(self, batch_size: int) -> int:
        """Return how many entries of the global batch come after this process's."""
        return (self.world - 1 - self.rank) * batch_size
