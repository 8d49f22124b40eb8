"""The order of a list file's lines in IMAGE_DATA and IMAGE_SEG_DATA: shuffling and skipping."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from deeplab_caffe.data.sources.base import ItemSource, SourceOptions
from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.data.sources.transform import SegTransform
from deeplab_caffe.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Unpack

Entry = TypeVar("Entry")
Item = TypeVar("Item")


class ListSource(ItemSource[Entry, Item]):
    """Goes through the lines of a list, again and again.

    At set-up, one word of the net's generator seeds the shuffler, and one is used for ``rand_skip``. The list is
    shuffled at the start and at the end of every epoch, each time from its present order.

    Args:
        source: the list file, for messages.
        entries: the lines of the list.
        shuffle: shuffle the lines.
        rand_skip: start at a random line below this number.
        batch_size: as for :class:`ItemSource`.
        transform: as for :class:`ItemSource`.
        **options: as for :class:`ItemSource`.

    Attributes:
        entries: the lines in their original order.

    Raises:
        DataError: ``rand_skip`` went beyond the end of the list.
    """

    def __init__(
        self,
        source: str | PathLike[str],
        entries: list[Entry],
        shuffle: bool,
        rand_skip: int,
        batch_size: int,
        transform: SegTransform,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(batch_size, transform, **options)
        self.source = source
        self.entries = entries
        self._sequence = np.arange(len(entries))
        self._shuffler: CaffeRNG | None = None
        if shuffle:
            self._shuffler = CaffeRNG(self._rng.word())
            self._shuffle()
        self._next = 0
        if rand_skip:
            self._next = self._rng.rand(rand_skip)
            if self._next >= len(entries):
                raise DataError(f"not enough points to skip: {len(entries)}, to be skipped {self._next}", source)
        self._first = entries[self._sequence[self._next]]
        self._start()

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.entries)

    def _draw(self, count: int) -> list[Entry]:
        drawn = []
        for _ in range(count):
            drawn.append(self.entries[self._sequence[self._next]])
            self._next += 1
            if self._next == len(self.entries):
                self._next = 0
                self._shuffle()
        return drawn

    def _shuffle(self) -> None:
        if self._shuffler:
            # A new array, because saved positions refer to the old one.
            self._sequence = self._sequence.copy()
            self._shuffler.shuffle(self._sequence)

    def _order(self) -> dict[str, Any]:
        return {
            "next": self._next,
            "order": self._sequence,
            "shuffler": self._shuffler.state_dict() if self._shuffler else None,
        }

    def _set_order(self, order: dict[str, Any]) -> None:
        sequence = np.array(order["order"], dtype=self._sequence.dtype)
        fits = np.array_equal(np.sort(sequence), np.arange(len(self.entries)))
        if not fits or not 0 <= order["next"] < len(sequence):
            raise DataError(f"the saved position is of another list of {len(sequence)} images", self.source)
        if (order["shuffler"] is None) != (self._shuffler is None):
            raise DataError("the saved position has another setting of shuffle", self.source)
        self._sequence, self._next = sequence, int(order["next"])
        if self._shuffler:
            self._shuffler.load_state_dict(order["shuffler"])
