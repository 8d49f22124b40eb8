"""Reading ahead, computing, writing behind: three threads, so that no core waits for a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.results import ResultWriter

T = TypeVar("T")
R = TypeVar("R")

# One picture is computed while one is read and one is written; a second of each evens out their sizes.
_DEPTH = 2
_END: Any = object()


@dataclass(frozen=True)
class Done:
    """What has become of an item.

    Attributes:
        item: the item.
        paths: the files that were written.
        found: what the network says, without scores unless marginals are written; None after an error.
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
) -> Iterator[Done]:
    """Segment pictures and write the results; yields one Done for each, in order. A bad one does not stop the others.

    ``segment`` runs in the caller's thread. At most six pictures are in memory, of any number of items.

    Args:
        items: the pictures.
        read: gives an item's pixels, uint8 RGB (H, W, 3); in a thread.
        segment: the network and its CRF.
        writer: writes the files; in another thread.
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

    return behind(map(compute, ahead(map(load, items), leave=True)), write)


def ahead(source: Iterable[T], depth: int = _DEPTH, *, leave: bool = False) -> Generator[T, None, None]:
    """Yield what ``source`` yields, which runs ahead in a thread by at most ``depth`` values.

    Args:
        source: gives the values.
        depth: how many.
        leave: who stops does not wait for the value that is being made; it may never come, from standard input say.
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
    """Yield ``function`` of each value, in order: in a thread, at most ``depth`` values behind ``source``."""
    pending: deque[Future[R]] = deque()
    # However this ends, what was computed is written: the pool waits.
    with ThreadPoolExecutor(1, "write-behind") as pool:
        for value in source:
            pending.append(pool.submit(function, value))
            # Otherwise it would be kept until the next one is here.
            del value
            while len(pending) > depth or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
