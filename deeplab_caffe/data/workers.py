"""Threads that work on the images of a list side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from deeplab_caffe.environment import usable_cores


@contextmanager
def worker_pool(jobs: int, name: str, begin: Callable[[], object] | None = None) -> Iterator[ThreadPoolExecutor]:
    """Lend a pool of threads; if the block fails or is interrupted, what has not begun is left out.

    Args:
        jobs: how many threads; 0 for the number of cores.
        name: of the threads.
        begin: what each thread does first; None: nothing.
    """
    with ThreadPoolExecutor(jobs or usable_cores(), name, begin) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
