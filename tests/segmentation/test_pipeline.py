from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.errors import DataError, NetError
from deeplab_caffe.segmentation.pipeline import MemoryBudget, ahead, behind, in_order, segment_pictures
from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.results import ResultWriter
from deeplab_caffe.viz import VOC_COLORMAP


def test_values_come_in_order_and_from_another_thread() -> None:
    threads = set()

    def source():
        for number in range(20):
            threads.add(threading.current_thread().name)
            yield number

    assert list(ahead(source())) == list(range(20))
    assert list(behind(range(20), lambda number: number**2)) == [number**2 for number in range(20)]
    assert list(ahead([])) == list(behind([], str)) == []
    assert threads == {"read-ahead_0"}


def test_no_more_values_are_held_than_the_depth() -> None:
    made, taken, most = 0, 0, 0
    free = threading.Semaphore(0)

    def source():
        nonlocal made, most
        for number in range(30):
            made += 1
            most = max(most, made - taken)
            yield number

    def write(number: int) -> int:
        free.acquire(timeout=5)
        return number

    def released(numbers):
        for number in numbers:
            free.release()
            yield number

    for _ in behind(released(ahead(source(), 3)), write, 2):
        taken += 1
    # 3 ahead, 1 in the caller's hands, 2 and 1 behind.
    assert taken == 30
    assert most <= 7


def test_errors_come_where_the_value_would_have() -> None:
    def source():
        yield 1
        raise KeyError("read")

    found = ahead(source())
    assert next(found) == 1
    with pytest.raises(KeyError):
        next(found)
    with pytest.raises(ZeroDivisionError):
        list(behind([1, 0], lambda number: 1 / number))


def test_who_stops_leaves_no_thread() -> None:
    before = threading.active_count()
    found = behind(numbers := ahead(iter(range(100))), str)
    assert next(found) == "0"
    found.close()
    numbers.close()
    assert threading.active_count() == before


def test_who_stops_need_not_wait_for_what_never_comes() -> None:
    never = threading.Event()

    def source():
        yield 1
        never.wait(30)

    found = ahead(source(), leave=True)
    assert next(found) == 1
    start = time.monotonic()
    found.close()
    assert time.monotonic() - start < 10
    never.set()


@pytest.mark.parametrize("at_once", [1, 3])
def test_results_come_in_the_items_order(at_once: int) -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number**2

    assert list(in_order(range(20), slow_at_first, at_once)) == [number**2 for number in range(20)]
    assert list(in_order([], slow_at_first, at_once)) == []


def test_several_at_a_time_share_out_the_threads() -> None:
    total = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        met = threading.Barrier(3, timeout=30)

        def threads(_: int) -> tuple[str, int]:
            met.wait()  # three are inside
            torch.ones(3).sum()
            return threading.current_thread().name, torch.get_num_threads()

        found = set(in_order(range(3), threads, 3))
        assert found == {("picture_0", 2), ("picture_1", 2), ("picture_2", 2)}
        assert torch.get_num_threads() == 6
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [6]
        alone = in_order([0], lambda _: (threading.current_thread(), torch.get_num_threads()), 1)
        assert list(alone) == [(threading.current_thread(), 6)]
    finally:
        torch.set_num_threads(total)


def test_twice_as_many_as_are_computed_at_a_time_are_begun() -> None:
    begun = []

    def items():
        for number in range(30):
            begun.append(number)
            yield number

    hold = threading.Event()
    found = in_order(items(), lambda number: hold.wait(30) and number, 2)
    threading.Timer(0.2, hold.set).start()
    assert next(found) == 0
    assert begun == [0, 1, 2, 3]
    found.close()


def test_an_error_of_several_at_a_time_comes_where_the_value_would_have() -> None:
    before = threading.active_count()
    found = in_order([1, 0, 1, 1, 1, 1, 1], lambda number: 1 / number, 2)
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert threading.active_count() == before


def test_who_stops_several_at_a_time_waits_for_those_begun_alone() -> None:
    before, done = threading.active_count(), []
    found = in_order(range(100), done.append, 2)
    next(found)
    found.close()
    assert threading.active_count() == before
    assert len(done) <= 4


def test_memory_is_waited_for() -> None:
    budget, inside, most = MemoryBudget(10), [], []
    lock = threading.Lock()

    def work(count: int) -> None:
        with budget.take(count):
            with lock:
                inside.append(count)
                most.append(sum(inside))
            time.sleep(0.02)
            with lock:
                inside.remove(count)

    list(in_order([4, 5, 6, 4, 25, 3, 3, 3, 3, 7], work, 4))
    assert len(most) == 10
    # What is too much for all together is taken alone.
    assert max(one for one in most if one != 25) <= 10
    assert 25 in most


def test_without_a_known_limit_no_memory_is_waited_for() -> None:
    budget = MemoryBudget(None)
    with budget.take(1 << 60), budget.take(1 << 60):
        pass


@pytest.fixture
def writer(tmp_path: Path) -> ResultWriter:
    return ResultWriter(tmp_path / "out", VOC_COLORMAP)


def _read(item: WorkItem) -> np.ndarray:
    if item.name == "unreadable":
        raise DataError("is no image", item.source)
    return np.full((4, 6, 3), len(item.name), np.uint8)


def _segment(image: np.ndarray) -> Segmentation:
    if image[0, 0, 0] == len("too large"):
        raise NetError("too large")
    return Segmentation(image[..., 0], np.zeros((21, 0, 0), np.float32))


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_bad_picture_does_not_stop_the_others(tmp_path: Path, writer: ResultWriter, at_once: int) -> None:
    (tmp_path / "out" / "blocked_overlay.png").mkdir(parents=True)
    items = [WorkItem(f"{name}.jpg", name) for name in ("a", "unreadable", "too large", "in/b", "blocked", "last")]
    done = list(segment_pictures(items, _read, _segment, writer, at_once=at_once))
    assert [one.item for one in done] == items
    assert [one.error is None for one in done] == [True, False, False, True, False, True]
    assert done[3].paths == (tmp_path / "out/in/b_labels.png", tmp_path / "out/in/b_overlay.png")
    assert all(path.is_file() for one in done for path in one.paths)
    left = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert left == [
        "a_labels.png",
        "a_overlay.png",
        "b_labels.png",
        "b_overlay.png",
        "last_labels.png",
        "last_overlay.png",
    ]


def test_what_an_item_becomes(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path, VOC_COLORMAP, "mat")
    names = [path.name for path in writer.paths(WorkItem("x.jpg", "x"))]
    assert names == ["x_labels.png", "x_overlay.png", "x_marginals.mat"]
    assert writer.paths(WorkItem("x.mp4", "in/x", "video")) == (tmp_path / "in" / "x_overlay.mp4",)
