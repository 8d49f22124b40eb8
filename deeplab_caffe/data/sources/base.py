"""Sources of batches whose items are read one by one, optionally ahead of the net by worker threads."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar

import numpy as np

from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.data.sources.transform import SegTransform
from deeplab_caffe.errors import NetError

if TYPE_CHECKING:
    from typing_extensions import Unpack

Shape4 = tuple[int, int, int, int]
Blobs = tuple[np.ndarray, ...]
Entry = TypeVar("Entry")
Item = TypeVar("Item")


class SourceOptions(TypedDict, total=False):
    """Keyword arguments of every :class:`ItemSource`.

    Attributes:
        rng: the net's generator; None (the default): a new one with a seed from the operating system.
        shard: this process's part of each batch; None (the default): the whole batch.
        workers: number of threads that read ahead; 0 (the default): read when a batch is asked for.
        reseeds: reseed the generator that places images for each batch, as DeepLab v1 does (the default), or only once
            (v2).
    """

    rng: CaffeRNG | None
    shard: Shard | None
    workers: int
    reseeds: bool


def _empty(shape: Shape4) -> np.ndarray:
    return np.empty(shape, np.float32)


@dataclass
class _Batch(Generic[Entry, Item]):
    """A batch that has its place in the order and may already be in work.

    Attributes:
        order: state of the order before this batch.
        entries: the entries of the batch.
        items: the contents of the entries, read ahead; None if they are read when the batch is asked for.
        blobs: the memory of the batch, once it is being filled.
        writes: the jobs that fill it.
    """

    order: dict[str, Any]
    entries: list[Entry]
    items: list[Future[Item]] | None = None
    blobs: Blobs | None = None
    writes: list[Future[None]] | None = None


class ItemSource(ABC, Generic[Entry, Item]):
    """A source of batches: an order of entries, each of which is read independently.

    A subclass implements which entries come next (:meth:`_draw`: cheap, in order, in the caller's thread), how an entry
    is read (:meth:`_read`), and how it is written into a batch (:meth:`_write`). The last two run in any thread and
    order, and must change nothing but the batch's memory.

    Words are drawn from the net's generator when and as often as in the original: if images are mirrored, scaled or
    cropped at random, one word at set-up, one for the first batch, and in DeepLab v1 one at the end of every batch for
    the next one (base_data_layer.cpp:26,49). Each word seeds a separate generator that places the images of a batch.
    So workers can read ahead any number of batches, but only the next batch's images are placed, and the batches do not
    depend on the number of workers. In v2 each thread of the original takes one more word when it starts
    (internal_thread.cpp:30), which moves what later layers draw. A subclass calls :meth:`_start` when it is set up.

    Workers are threads: decoding and numpy's arithmetic run without Python's GIL.

    Args:
        batch_size: number of items per batch.
        transform: decides how many words are drawn.
        **options: see :class:`SourceOptions`.

    Attributes:
        allocate: function that allocates a float32 blob of a given shape; may be replaced.
        READERS: threads of v2's original that read records before the source is set up.
    """

    READERS: ClassVar[int] = 0

    def __init__(self, batch_size: int, transform: SegTransform, **options: Unpack[SourceOptions]) -> None:
        workers = options.get("workers", 0)
        if batch_size < 1:
            raise NetError(f"batch_size must be positive, got {batch_size}")
        if workers < 0:
            raise NetError(f"workers must not be negative, got {workers}")
        self.batch_size = batch_size
        self.transform = transform
        self.shard = options.get("shard") or Shard()
        self.workers = workers
        self.allocate: Callable[[Shape4], np.ndarray] = _empty
        self._rng = options.get("rng") or CaffeRNG()
        self._seed = 0
        # Places the images of all batches, if one generator is used for all; None: each batch has its own.
        self._placer: CaffeRNG | None = None
        self.reseeds = options.get("reseeds", True)
        self._planned: deque[_Batch[Entry, Item]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        if not self.reseeds:
            self._rng.words(self.READERS)
            self._draw_seed()

    def _start(self) -> None:
        """Draw what the original draws when the layer is set up and its thread starts."""
        if self.reseeds:
            self._draw_seed()
        self._draw_seed()
        if not self.reseeds:
            self._rng.word()

    @abstractmethod
    def shapes(self) -> tuple[Shape4, ...]:
        """Return the shapes of a batch's blobs."""

    @abstractmethod
    def _draw(self, count: int) -> list[Entry]:
        """Return the next ``count`` entries, and advance the order."""

    @abstractmethod
    def _order(self) -> dict[str, Any]:
        """Return the state of the order: plain numbers and arrays that are not changed afterwards."""

    @abstractmethod
    def _set_order(self, order: dict[str, Any]) -> None:
        """Restore a state of :meth:`_order`."""

    @abstractmethod
    def _read(self, entry: Entry) -> Item:
        """Read an entry's content."""

    @abstractmethod
    def _write(self, entry: Entry, item: Item, words: list[int], blobs: Blobs, i: int) -> None:
        """Write an item into position ``i`` of a batch; ``words`` are its ``transform.words_per_image`` random ones."""

    def _size_varies(self) -> bool:
        """Return whether each batch has the size of its own first item, instead of one size for all batches."""
        return False

    def _batch_shapes(self, first: Callable[[], Item]) -> tuple[Shape4, ...]:
        """Return the shapes of the blobs of a batch whose first item ``first`` returns."""
        return self.shapes()

    def next_batch(self) -> Blobs:
        """Read the next batch.

        Returns:
            Newly allocated float32 blobs.

        Raises:
            DataError: an item cannot be read; the message has file and line. The batch then remains the next one.
        """
        self._reset_after_fork()
        try:
            self._plan()
            batch = self._planned[0]
            self._fill(batch)
            for write in batch.writes or ():
                write.result()
        except BaseException:  # including KeyboardInterrupt
            self._roll_back()
            raise
        self._planned.popleft()
        self._go_on()
        if self.workers:
            # An error here will occur again, and be reported, when the batch is asked for.
            with suppress(Exception):
                self._plan()
                if not self._size_varies():
                    self._fill(self._planned[0])
        assert batch.blobs is not None
        return batch.blobs

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the next batch, in plain numbers and arrays; what workers have read ahead is ignored.

        The state of the net's generator is not included, because it belongs to the net.
        """
        self._reset_after_fork()
        order = self._planned[0].order if self._planned else self._order()
        copied = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in order.items()}
        return {**copied, "seed": self._seed, "placer": self._placer.state_dict() if self._placer else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`.

        Raises:
            DataError: the state belongs to other data.
        """
        self._reset_after_fork()
        self._roll_back()
        self._set_order(state)
        self._seed = int(state["seed"])
        if state.get("placer") is not None:
            self._placer = CaffeRNG(0)
            self._placer.load_state_dict(state["placer"])

    def close(self) -> None:
        """Stop the workers; the next batch starts them again."""
        self._reset_after_fork()
        self._roll_back()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _draw_seed(self) -> None:
        """Seed the generator that places images by a word of the net's generator (DataTransformer::InitRand)."""
        if self.transform.needs_rand:
            self._seed = self._rng.word()
            self._placer = None if self.reseeds else CaffeRNG(self._seed)

    def _go_on(self) -> None:
        """Advance the generator that places images to the next batch."""
        if self._placer is None:
            self._draw_seed()
        else:
            self._placer.words(self.transform.words_per_image * self.batch_size * self.shard.world)

    def _plan(self) -> None:
        """Assign entries to batches and jobs to the workers: the next batch, and enough more to keep them busy."""
        ahead = 1 + math.ceil(2 * self.workers / self.batch_size) if self.workers else 1
        while len(self._planned) < ahead:
            order = self._order()
            first, count = self.shard.before(self.batch_size), self.batch_size * self.shard.world
            try:
                entries = self._draw(count)[first : first + self.batch_size]
            except BaseException:
                self._set_order(order)
                raise
            batch: _Batch[Entry, Item] = _Batch(order, entries)
            self._planned.append(batch)
            if self.workers:
                batch.items = [self._submit(self._read, entry) for entry in entries]

    def _fill(self, batch: _Batch[Entry, Item]) -> None:
        """Write the batch's items, by the workers or in this thread."""
        if batch.writes is not None:
            return
        items = batch.items
        first = items[0].result if items else lambda: self._read(batch.entries[0])
        blobs = tuple(self.allocate(shape) for shape in self._batch_shapes(first))
        words, each = self._words(), self.transform.words_per_image
        writes = []
        for i, entry in enumerate(batch.entries):
            drawn = words[i * each : (i + 1) * each]
            if items:
                writes.append(self._submit(self._write_read, entry, items[i], drawn, blobs, i))
            else:
                self._write(entry, self._read(entry), drawn, blobs, i)
        batch.blobs, batch.writes, batch.items = blobs, writes, None

    def _words(self) -> list[int]:
        """Return the random words of this process's part of the next batch."""
        if not self.transform.needs_rand:
            return []
        each = self.transform.words_per_image
        generator = CaffeRNG(self._seed)
        if self._placer is not None:
            generator.load_state_dict(self._placer.state_dict())
        generator.words(each * self.shard.before(self.batch_size))
        return generator.words(each * self.batch_size)

    def _write_read(self, entry: Entry, item: Future[Item], words: list[int], blobs: Blobs, i: int) -> None:
        # No deadlock: workers take jobs in order, so the read that this waits for is finished or running.
        self._write(entry, item.result(), words, blobs, i)

    def _submit(self, job: Callable[..., Any], *args: Any) -> Future[Any]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix=f"deeplab-caffe-{type(self).__name__}")
        try:
            return self._pool.submit(job, *args)
        except RuntimeError as exc:  # the system's limit of threads or memory
            raise NetError(f"{self.workers} workers are too many here: {exc}") from exc

    def _roll_back(self) -> None:
        """Discard everything that was read ahead."""
        if not self._planned:
            return
        for batch in self._planned:
            for job in (*(batch.writes or ()), *(batch.items or ())):
                job.cancel()
        self._set_order(self._planned[0].order)
        self._planned.clear()

    def _reset_after_fork(self) -> None:
        """Drop what a forked child cannot use of its parent: threads, and files that libraries have open."""
        if self._process != os.getpid():
            self._process, self._pool = os.getpid(), None
            order = self._planned[0].order if self._planned else self._order()
            self._planned.clear()
            self._set_order(order)

    def __getstate__(self) -> dict[str, Any]:
        order = self._planned[0].order if self._planned else None
        return self.__dict__ | {"_planned": deque(), "_pool": None, "_copied_order": order}

    def __setstate__(self, state: dict[str, Any]) -> None:
        order = state.pop("_copied_order")
        self.__dict__.update(state)
        self._process = os.getpid()
        if order is not None:
            self._set_order(order)
