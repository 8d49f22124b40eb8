"""Pictures from files to files, so that no core waits: three stages in threads, or several pictures side by side."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from deeplab_caffe import _C
from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.data.workers import worker_pool
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.results import ResultWriter

T = TypeVar("T")
R = TypeVar("R")

# While one picture is computed, others are read and written; a queue of two evens out different sizes.
_DEPTH = 2
_END: Any = object()


@dataclass(frozen=True)
class Done:
    """The outcome of an item.

    Attributes:
        item: the item.
        paths: the files that were written.
        found: the segmentation, without scores unless marginals are written; None after an error.
        error: why nothing was written.
    """

    item: WorkItem
    paths: tuple[Path, ...] = ()
    found: Segmentation | None = None
    error: DeepLabCaffeError | None = None


def segment_pictures(
    items: Iterable[WorkItem],
    read: Callable[[WorkItem], np.ndarray],
    segment: Callable[[np.ndarray], Segmentation],
    writer: ResultWriter,
    *,
    at_once: int = 1,
) -> Iterator[Done]:
    """Segment pictures and write the results; yield a Done for each, in order. An error does not stop the others.

    One at a time, a picture is computed in the caller's thread, which shares the cores with the operations' threads,
    while the next is read and the last is written. Several at a time share out the cores: a picture's thread reads,
    computes and writes it, and waits for no other.

    Args:
        items: the pictures.
        read: function that returns an item's pixels, uint8 RGB (H, W, 3); called in a thread.
        segment: function that runs the network and the CRF.
        writer: writes the files, in another thread.
        at_once: how many pictures are computed at a time; in memory are at most six, or as many.
    """

    def load(item: WorkItem) -> tuple[Done, Any]:
        try:
            return Done(item), read(item)
        except DeepLabCaffeError as error:
            return Done(item, error=error), None

    def compute(loaded: tuple[Done, Any]) -> tuple[Done, Any]:
        done, image = loaded
        if done.error is not None:
            return loaded
        try:
            return Done(done.item, found=segment(image)), image
        except DeepLabCaffeError as error:
            return Done(done.item, error=error), None

    def write(computed: tuple[Done, Any]) -> Done:
        done, image = computed
        if done.found is None:
            return done
        try:
            return Done(done.item, writer.write(done.item, image, done.found), done.found)
        except DeepLabCaffeError as error:
            return Done(done.item, error=error)

    if at_once > 1:
        return in_order(items, lambda item: write(compute(load(item))), at_once)
    return behind(map(compute, ahead(map(load, items), leave=True)), write)


def ahead(source: Iterable[T], depth: int = _DEPTH, *, leave: bool = False) -> Generator[T, None, None]:
    """Yield the values of ``source``, which runs in a thread ahead of the caller, by at most ``depth`` values.

    Args:
        source: the values.
        depth: number of values.
        leave: when the caller stops, do not wait for the next value, which may never come (from standard input).
    """
    values = iter(source)
    pool = ThreadPoolExecutor(1, "read-ahead")
    try:
        pending = deque(pool.submit(next, values, _END) for _ in range(depth))
        while (value := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, values, _END))
            yield value
    finally:
        pool.shutdown(wait=not leave, cancel_futures=True)


def behind(source: Iterable[T], function: Callable[[T], R], depth: int = _DEPTH) -> Generator[R, None, None]:
    """Yield ``function(value)`` for each value, in order; it runs in a thread at most ``depth`` values behind."""
    # However this ends, the computed values are written: leaving the pool waits for them.
    with ThreadPoolExecutor(1, "write-behind") as pool:
        yield from _results(pool, source, function, depth)


def in_order(items: Iterable[T], function: Callable[[T], R], at_once: int) -> Generator[R, None, None]:
    """Yield ``function`` of each item, in order; several at a time share out the cores among them.

    Threads that share a picture wait for each other at the end of each operation, and longer where reading or writing
    another picture has a core.

    Args:
        items: what the function takes; twice as many as ``at_once`` are begun before the first result is taken.
        function: runs in one of so many threads, and there with its share of torch's threads.
        at_once: how many; 1: in the caller's thread.
    """
    if at_once == 1:
        yield from map(function, items)
        return
    total = torch.get_num_threads()
    try:
        with worker_pool(at_once, "picture", partial(_use_threads, max(1, total // at_once))) as pool:
            yield from _results(pool, items, function, 2 * at_once - 1)
    finally:
        torch.set_num_threads(total)  # for threads to come: the workers have set that number too


def _results(
    pool: ThreadPoolExecutor, source: Iterable[T], function: Callable[[T], R], most: int
) -> Generator[R, None, None]:
    """Yield ``function(value)`` for each value, in order, computed by a pool.

    Args:
        pool: the pool.
        source: the values.
        function: runs in the pool.
        most: number of values whose results are not taken yet when the next value is read.
    """
    pending: deque[Future[R]] = deque()
    for value in source:
        pending.append(pool.submit(function, value))
        # Drop the reference: otherwise the value would be kept until the next one arrives.
        del value
        while len(pending) > most or (pending and pending[0].done()):
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _use_threads(count: int) -> None:
    """Have the calling thread's operations use so many threads, torch's and the extension's."""
    torch.get_num_threads()  # otherwise a thread's first operation takes the number that other threads have
    torch.set_num_threads(count)
    _C.set_num_threads_here(count)


class MemoryBudget:
    """Has threads wait for memory that others have taken; one of them may take any amount.

    Args:
        total: bytes that all may take together; None: no limit is known.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._taken, self._users = 0, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Wait until there are ``count`` bytes left, or nobody else has any; they are given back at the end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._users or self._total is None or self._taken + count <= self._total)
            self._taken, self._users = self._taken + count, self._users + 1
        try:
            yield
        finally:
            with self._changed:
                self._taken, self._users = self._taken - count, self._users - 1
                self._changed.notify_all()
