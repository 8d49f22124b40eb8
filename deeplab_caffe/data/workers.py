"""Threads that work on the images of a list side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from deeplab_caffe.environment import usable_cores


class _Pool(ThreadPoolExecutor):
    """A pool whose lack of memory for a thread is a MemoryError."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Begin a call, as the base class does."""
        try:
            return super().submit(*args, **kwargs)
        except RuntimeError as error:
            if "start new thread" in str(error):
                raise MemoryError("no thread can be started: take fewer --jobs") from error
            raise


@contextmanager
def worker_pool(jobs: int, name: str, begin: Callable[[], object] | None = None) -> Iterator[ThreadPoolExecutor]:
    """Lend a pool of threads; if the block fails or is interrupted, what has not begun is left out.

    Args:
        jobs: how many threads; 0 for the number of cores.
        name: of the threads.
        begin: what each thread does first; None: nothing.

    Raises:
        MemoryError: the system gives no thread.
    """
    with _Pool(jobs or usable_cores(), name, begin) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
