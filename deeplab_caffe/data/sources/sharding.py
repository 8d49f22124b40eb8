"""The part of each batch that a process reads when several processes train together."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_caffe.errors import NetError


@dataclass(frozen=True)
class Shard:
    """One of ``world`` processes that share each global batch of ``world * batch_size`` consecutive entries.

    Rank r has its entries from ``r * batch_size`` up to ``(r + 1) * batch_size``. Random words are drawn for the whole
    global batch, so that the processes together see what a single process with the global batch would.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.world < 1 or not 0 <= self.rank < self.world:
            raise NetError(f"shard must be (rank, world) with 0 <= rank < world, got ({self.rank}, {self.world})")

    def before(self, batch_size: int) -> int:
        """Return the number of entries of the global batch before this process's part."""
        return self.rank * batch_size

    def after(self, batch_size: int) -> int:
        """Return the number of entries of the global batch after this process's part."""
        return (self.world - 1 - self.rank) * batch_size
