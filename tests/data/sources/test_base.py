from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab_caffe.data import CaffeRNG, Shard
from deeplab_caffe.data.sources.base import Blobs, ItemSource
from deeplab_caffe.data.sources.transform import SegTransform
from deeplab_caffe.errors import DataError, NetError

CROPPED = SegTransform("TRAIN", crop_size=2, mirror=True)


class Numbers(ItemSource[int, int]):
    """0, 1, 2, ... and the random words of each; some cannot be read."""

    def __init__(self, *args: Any, bad: tuple[int, ...] = (), slow: float = 0.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.bad, self.slow = set(bad), slow
        self.reads: list[int] = []
        self._next = 0
        self._draw_seed()
        self._draw_seed()

    def shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        return (self.batch_size, 1, 1, 1), (self.batch_size, 3, 1, 1)

    def _draw(self, count: int) -> list[int]:
        self._next += count
        return list(range(self._next - count, self._next))

    def _order(self) -> dict[str, Any]:
        return {"next": self._next}

    def _set_order(self, order: dict[str, Any]) -> None:
        self._next = order["next"]

    def _read(self, entry: int) -> int:
        # The later ones first, if there are several workers.
        time.sleep(self.slow * (1 + -entry % 3))
        self.reads.append(entry)
        if entry in self.bad:
            raise DataError(f"cannot read {entry}", "numbers", entry)
        return entry

    def _write(self, entry: int, item: int, words: list[int], blobs: Blobs, i: int) -> None:
        blobs[0][i] = item
        blobs[1][i, : len(words), 0, 0] = [word % 1000 for word in words]


def taken(source: ItemSource, batches: int) -> list[list[list[float]]]:
    return [[blob.reshape(len(blob), -1).tolist() for blob in source.next_batch()] for _ in range(batches)]


def test_numbers_and_words_by_hand() -> None:
    rng = CaffeRNG(3)
    source = Numbers(2, CROPPED, rng=rng)
    seeds = CaffeRNG(3).words(4)
    # Two words at set-up, the second for the first batch; three per image: mirror, row, column.
    for k in range(2):
        words = CaffeRNG(seeds[1 + k]).words(6)
        data, drawn = source.next_batch()
        assert data.ravel().tolist() == [2 * k, 2 * k + 1]
        assert drawn.ravel().tolist() == [word % 1000 for word in words]
    assert rng.word() == CaffeRNG(3).words(5)[4]


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_are_the_same_at_any_number_of_workers(workers: int, batch_size: int) -> None:
    rng, other = CaffeRNG(8), CaffeRNG(8)
    plain = Numbers(batch_size, CROPPED, rng=rng)
    threaded = Numbers(batch_size, CROPPED, rng=other, workers=workers, slow=0.001)
    for _ in range(6):
        assert taken(threaded, 1) == taken(plain, 1)
        # Somebody else draws from the net's generator between the batches: dropout, say.
        assert rng.word() == other.word()
    threaded.close()


def test_workers_read_ahead_but_not_without_end() -> None:
    source = Numbers(4, CROPPED, rng=CaffeRNG(1), workers=3)
    source.next_batch()
    deadline = time.monotonic() + 30
    while len(source.reads) < 16 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    # The batch that was taken, the next, and two more keep three workers busy.
    assert sorted(source.reads) == list(range(16))
    source.close()


def test_nothing_is_read_before_the_first_batch_is_asked_for() -> None:
    source = Numbers(4, CROPPED, rng=CaffeRNG(1), workers=2)
    assert source.shapes() == ((4, 1, 1, 1), (4, 3, 1, 1))
    assert source.reads == []


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("method", ["_draw", "_words"])
def test_a_batch_that_is_interrupted_is_still_the_next_one(
    workers: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Numbers(2, CROPPED, rng=CaffeRNG(1), workers=workers)

    def interrupted(*given: Any) -> None:
        run(*given)
        raise KeyboardInterrupt

    run = getattr(source, method)
    with monkeypatch.context() as patch:
        patch.setattr(source, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            source.next_batch()
    assert taken(source, 3) == taken(Numbers(2, CROPPED, rng=CaffeRNG(1)), 3)
    source.close()


@pytest.mark.parametrize("workers", [0, 3])
def test_the_position_is_that_of_the_next_batch_to_be_taken(workers: int) -> None:
    rng = CaffeRNG(5)
    source = Numbers(2, CROPPED, rng=rng, workers=workers)
    source.next_batch()
    state, words = source.state_dict(), rng.state_dict()
    assert state["next"] == 2
    ahead = taken(source, 5)
    other_rng = CaffeRNG(6)
    other = Numbers(2, CROPPED, rng=other_rng, workers=2 - min(workers, 2))
    other.next_batch()
    other.load_state_dict(state)
    other_rng.load_state_dict(words)
    assert taken(other, 5) == ahead
    source.load_state_dict(state)
    rng.load_state_dict(words)
    assert taken(source, 5) == ahead
    source.close()
    other.close()


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_error_comes_with_its_batch_and_leaves_the_position(workers: int) -> None:
    source = Numbers(3, CROPPED, rng=CaffeRNG(2), workers=workers, bad=(7, 8))
    good = Numbers(3, CROPPED, rng=CaffeRNG(2))
    assert taken(source, 2) == taken(good, 2)
    for _ in range(2):
        with pytest.raises(DataError, match="numbers:7: cannot read 7"):
            source.next_batch()
        assert source.state_dict()["next"] == 6
    source.bad = set()
    assert taken(source, 3) == taken(good, 3)
    source.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_together_are_one_process_with_the_global_batch(workers: int) -> None:
    whole = Numbers(6, CROPPED, rng=CaffeRNG(4))
    parts = [Numbers(2, CROPPED, rng=CaffeRNG(4), shard=Shard(rank, 3), workers=workers) for rank in range(3)]
    for _ in range(4):
        expected = whole.next_batch()
        found = [part.next_batch() for part in parts]
        for blob, *shards in zip(expected, *found, strict=True):
            np.testing.assert_array_equal(np.concatenate(shards), blob)
    # A process reads its own part only.
    assert {read // 2 % 3 for read in parts[1].reads} == {1}
    for part in parts:
        part.close()


def test_a_copy_goes_on_at_the_same_batch() -> None:
    rng = CaffeRNG(9)
    source = Numbers(2, CROPPED, rng=rng, workers=2)
    source.next_batch()
    copies = [pickle.loads(pickle.dumps(source)), copy.deepcopy(source)]
    expected = taken(source, 4)
    for other in copies:
        assert taken(other, 4) == expected
        other.close()
    source.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on_at_the_same_batch() -> None:
    source = Numbers(2, CROPPED, rng=CaffeRNG(9), workers=2)
    source.next_batch()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, pickle.dumps(taken(source, 4)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        seen = pickle.loads(stream.read())
    os.waitpid(child, 0)
    assert seen == taken(source, 4)
    source.close()


def test_closing_ends_the_threads_and_the_next_batch_starts_them_again() -> None:
    source = Numbers(2, CROPPED, rng=CaffeRNG(1), workers=3)
    plain = Numbers(2, CROPPED, rng=CaffeRNG(1))
    assert taken(source, 2) == taken(plain, 2)
    source.close()
    assert not [thread for thread in threading.enumerate() if "deeplab-caffe-Numbers" in thread.name]
    assert taken(source, 2) == taken(plain, 2)
    source.close()


def test_a_source_that_nobody_holds_leaves_no_thread() -> None:
    source = Numbers(2, CROPPED, rng=CaffeRNG(1), workers=2)
    source.next_batch()
    threads = [thread for thread in threading.enumerate() if "deeplab-caffe-Numbers" in thread.name]
    assert threads
    del source
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


SCRIPT = """
import os, signal, sys, threading, time
# A shell's job in the background ignores it, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from tests.data.sources.test_base import CROPPED, CaffeRNG, Numbers
source = Numbers(4, CROPPED, rng=CaffeRNG(1), workers=3, slow=0.02)
{body}
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("source.next_batch()", 0, ""),
        ("source.next_batch(); raise ValueError('stop')", 1, "ValueError: stop"),
        ("source.bad = {2}; source.next_batch()", 1, "numbers:2: cannot read 2"),
        (
            "source.slow = 0.3\n"
            "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
            "while True: source.next_batch()",
            None,
            "KeyboardInterrupt",
        ),
    ],
)
def test_the_process_ends(body: str, code: int | None, said: str) -> None:
    root = str(Path(__file__).resolve().parents[2])
    script = SCRIPT.format(root=root, body=body)
    # The limit only keeps a hang from holding up the other tests.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert code is None or done.returncode == code
    assert said in done.stderr


def test_senseless_arguments() -> None:
    with pytest.raises(NetError, match="batch_size must be positive, got 0"):
        Numbers(0, CROPPED)
    with pytest.raises(NetError, match="workers must not be negative, got -1"):
        Numbers(1, CROPPED, workers=-1)
    for rank, world in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(NetError, match=rf"got \({rank}, {world}\)"):
            Shard(rank, world)


def test_the_memory_of_a_batch_comes_from_where_one_says() -> None:
    made = []

    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        made.append(np.zeros(shape, np.float32))
        return made[-1]

    source = Numbers(2, CROPPED, rng=CaffeRNG(1), workers=1)
    source.allocate = allocate
    first = source.next_batch()
    assert first[0] is made[0]
    assert first[1] is made[1]
    # The batch that is on its way does not touch the one that was given away.
    before = first[0].copy()
    source.next_batch()
    np.testing.assert_array_equal(first[0], before)
    source.close()
