"""The extension's own threads, which csrc/common/parallel.cpp keeps: seen through the lattice's filter."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.crf import Lattice, cpu, dense_crf
from deeplab_caffe.errors import CRFError


def work(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return Lattice.build(rng.normal(scale=2, size=(9001, 5))).filter(rng.normal(size=(9001, 7)))


def test_loops_that_python_threads_start_at_the_same_time(for_threads) -> None:
    expected = [work(seed) for seed in range(4)]

    def together() -> np.ndarray:
        with ThreadPoolExecutor(4) as pool:
            return np.stack(list(pool.map(work, range(4))))

    for found in for_threads(together):
        np.testing.assert_array_equal(found, expected)


def test_openmps_threads_compute_the_same_bits(for_threads) -> None:
    pytest.importorskip("torch")  # which loads OpenMP
    expected = work(0)
    assert _C.use_openmp_here(True) is False
    try:
        for found in for_threads(lambda: work(0)):
            np.testing.assert_array_equal(found, expected)
        with ThreadPoolExecutor(1) as pool:  # of this thread alone
            assert pool.submit(_C.use_openmp_here, False).result() is False
    finally:
        assert _C.use_openmp_here(False) is True


def test_the_number_of_threads_of_one_python_thread() -> None:
    _C.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1, initializer=_C.set_num_threads_here, initargs=(1,)) as pool:
            assert pool.submit(_C.num_threads).result() == 1
        assert _C.num_threads() == 3
        _C.set_num_threads_here(2)
        assert _C.num_threads() == 2
        _C.set_num_threads_here(0)
        assert _C.num_threads() == 3
    finally:
        _C.set_num_threads(0)
        _C.set_num_threads_here(0)


def test_images_at_a_time_are_no_more_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "usable_cores", lambda: 3)
    with cpu.image_pool(100_000) as pool:
        list(pool.map(lambda _: time.sleep(0.001), range(50)))
        assert len(pool._threads) <= 3


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_system_that_starts_no_more_threads(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(3, 5, 6)) for _ in range(7)]
    expected = [dense_crf(one, None) for one in scores]
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if len(started) == most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(cpu, "usable_cores", lambda: 4)
    monkeypatch.setattr(threading.Thread, "start", limited)
    _C.set_num_threads(4)
    try:
        if most == 0:
            with pytest.raises(CRFError, match="no thread can be started for the images: can't start new thread"):
                dense_crf(scores, None)
            return
        np.testing.assert_array_equal(dense_crf(scores, None), expected)
    finally:
        _C.set_num_threads(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    code = """
import os, sys
import numpy as np
from deeplab_caffe import _C
from tests.crf.test_threads import work
_C.set_num_threads(3)
expected = work(0)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(work(0), expected) else 3)
assert np.array_equal(work(0), expected)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert ran.stdout.strip() == "0", ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_does_not_wait_for_its_parents_threads() -> None:
    """The parent's thread is about to make what a lattice makes when it is first asked for; in the child it is gone."""
    code = """
import os, signal, threading, time
import numpy as np
from deeplab_caffe import _C
from deeplab_caffe.crf import Lattice
points = 500_000
lattice = Lattice.build(np.random.default_rng(0).random((points, 5), np.float32) * 8).handle
thread = threading.Thread(target=_C.MeanField, args=(2, points, [(lattice, 1.0, _C.Normalization.AFTER, [])]))
thread.start()
children = []
while thread.is_alive() and len(children) < 4:
    time.sleep(0.01)
    children.append(os.fork())
    if children[-1] == 0:
        signal.alarm(60)
        _C.MeanField(2, points, [(lattice, 1.0, _C.Normalization.AFTER, [])])
        os._exit(0)
thread.join()
print({os.waitpid(child, 0)[1] for child in children})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert ran.stdout.strip() == "{0}", ran.stderr


def test_a_daemon_thread_may_compute_when_the_interpreter_ends() -> None:
    """Python before 3.14 ends it where it asks for the interpreter's lock, by unwinding its stack."""
    code = """
import sys, threading, time
import numpy as np
from deeplab_caffe.crf import DenseCRF2D
crf = DenseCRF2D((20, 20))
crf.add_gaussian(3)
run, inside = crf.start(np.zeros((2, 20, 20), np.float32)), threading.Event()
run.step(100)
began = time.perf_counter()
run.step(100)
iterations = int(80 / (time.perf_counter() - began))  # of 0.8 s
def compute():
    inside.set()
    run.step(iterations)
class Late:
    def __del__(self, sleep=time.sleep):
        for _ in range(250):
            sleep(0.01)  # gives the lock back while the interpreter ends
sys.late = Late()
threading.Thread(target=compute, daemon=True).start()
inside.wait()
time.sleep(0.1)  # until it computes
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
