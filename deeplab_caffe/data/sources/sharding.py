"""The part of each batch that a process reads when several processes train together."""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as short_repr

from deeplab_caffe.arguments import whole_number
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

    @classmethod
    def of(cls, pair: object) -> Shard:
        """Return the shard of a pair (rank, world) of whole numbers.

        Raises:
            NetError: it is none, or not one with 0 <= rank < world.
        """
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise NetError(f"shard must be (rank, world), two whole numbers, got {short_repr(pair)}")
        rank, world = pair
        return cls(whole_number("shard's rank", rank, NetError), whole_number("shard's world", world, NetError))

    def before(self, batch_size: int) -> int:
        """Return the number of entries of the global batch before this process's part."""
        return self.rank * batch_size

    def after(self, batch_size: int) -> int:
        """Return the number of entries of the global batch after this process's part."""
        return (self.world - 1 - self.rank) * batch_size
