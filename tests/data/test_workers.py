from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from deeplab_caffe.data import workers
from deeplab_caffe.data.workers import worker_pool


def test_a_block_that_fails_waits_only_for_what_has_begun() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(number: int) -> int:
        begun.set()
        assert go_on.wait(60)
        return number

    def interrupted() -> None:
        with worker_pool(1, "w") as pool:
            futures.extend(pool.submit(work, number) for number in range(3))
            assert begun.wait(60)
            # The block leaves nobody to do it later.
            threading.Timer(0.1, go_on.set).start()
            raise KeyboardInterrupt

    futures: list[Future[int]] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert futures[0].result() == 0
    assert [future.cancelled() for future in futures] == [False, True, True]


@pytest.mark.parametrize(("jobs", "threads"), [(0, 3), (2, 2)])
def test_without_a_number_as_many_threads_as_usable_cores(
    monkeypatch: pytest.MonkeyPatch, jobs: int, threads: int
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 3)
    with worker_pool(jobs, "w") as pool:
        assert pool._max_workers == threads


def test_no_memory_for_a_thread_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MemoryError, match="no thread can be started"), worker_pool(2, "x") as pool:
        pool.submit(int)
