from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe.layers.lock import ForkSafeLock
from tests.nets import build, inputs, layer
from tests.solver.toy import net_text, write_images


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_thread_gets_a_batch_of_its_own(tmp_path: Path, workers: int) -> None:
    """Some got the same one, and without workers some an IndexError."""
    write_images(tmp_path, count=40)
    text = net_text(tmp_path, batch=1, random=False)
    expected = build(text, seed=1)
    losses = sorted(expected(blobs=["loss"])["loss"].item() for _ in range(40))
    net = build(text, seed=1, workers=workers)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: net(blobs=["loss"])["loss"].item(), range(40))) == losses


@pytest.mark.parametrize("reset", ["true", "false"])
def test_each_threads_accuracy_is_its_own(reset: str) -> None:
    """A batch was counted among those of others, or twice."""
    shape = (1, 2, 40, 40)
    net = build(
        inputs(scores=shape, labels=(1, 1, 40, 40))
        + layer("SEG_ACCURACY", "a", "scores labels", "a", f"seg_accuracy_param {{ reset: {reset} }}")
    )
    scores = torch.cat([torch.zeros(1, 1, 40, 40), torch.ones(1, 1, 40, 40)], 1)  # class 1
    labels = [
        torch.ones(1, 1, 40, 40).flatten().index_fill(0, torch.arange(i), 0).view(1, 1, 40, 40) for i in range(64)
    ]
    with ThreadPoolExecutor(4) as pool:
        found = [top.flatten()[0].item() for top in pool.map(lambda each: net(scores, each), labels)]
    if reset == "true":
        np.testing.assert_allclose(found, [1 - i / 1600 for i in range(64)], rtol=1e-6)
    else:
        assert net.by_name["a"].confusion.matrix.sum() == 64 * 1600


def test_copies_are_free() -> None:
    lock = ForkSafeLock()
    with lock, lock, ThreadPoolExecutor(1) as pool:
        for other in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            assert pool.submit(other.__enter__).result(30) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_does_not_wait_for_its_parents_threads() -> None:
    code = """
import os, signal, threading
from deeplab_caffe.layers.lock import ForkSafeLock
lock, inside, done = ForkSafeLock(), threading.Event(), threading.Event()
def hold():
    with lock:
        inside.set()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    with lock:
        os._exit(0)
print(os.waitpid(child, 0)[1])
done.set()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert ran.stdout.strip() == "0", ran.stderr
