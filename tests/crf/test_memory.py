from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.crf import CRFMemoryError, Lattice, PairwiseKernel, clear_cache, cpu, dense_crf, memory
from deeplab_caffe.crf.backend import Problem, infer
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.errors import CRFError


def test_available_memory_is_a_sensible_number() -> None:
    available = memory.available_memory()
    if available is None:
        pytest.skip("this system does not tell")
    assert 1 << 20 < available < 1 << 50


def test_check_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda **_: 3 << 30)
    memory.check_memory(3 << 30, "it")
    with pytest.raises(CRFMemoryError, match=r"it needs at least 4\.0 GiB of memory, but 3\.0 GiB are available"):
        memory.check_memory(4 << 30, "it")
    monkeypatch.setattr(memory, "available_memory", lambda **_: None)
    memory.check_memory(1 << 60, "it")


def test_the_error_is_caught_as_either_of_its_kinds() -> None:
    for kind in (CRFError, MemoryError):
        with pytest.raises(kind, match="the task: not enough memory"), memory.memory_errors("the task"):
            raise MemoryError


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), memory.memory_errors("the task"):
        raise KeyError
    with pytest.raises(CRFMemoryError, match="^as it was$"), memory.memory_errors("the task"):
        raise CRFMemoryError("as it was")


def test_buffers_are_kept_for_the_next_image_and_given_back() -> None:
    scores = np.zeros((5, 300, 400), np.float32)
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    workspace = memory.DEFAULT_WORKSPACE
    usual = workspace.limit
    workspace.limit = 256 << 20  # 0 under AddressSanitizer
    try:
        clear_cache()
        assert workspace.nbytes == 0
        first = dense_crf(scores, image, iterations=2)
        kept = workspace.nbytes
        assert kept > scores.nbytes
        np.testing.assert_array_equal(dense_crf(scores, image, iterations=2), first)
        assert workspace.nbytes == kept
        workspace.limit = 1 << 23
        assert workspace.nbytes <= 1 << 23
        np.testing.assert_array_equal(dense_crf(scores, image, iterations=2), first)
        assert workspace.nbytes <= 1 << 23
        assert workspace.limit == 1 << 23
        clear_cache()
        assert workspace.nbytes == 0
        assert workspace.limit == 1 << 23
    finally:
        workspace.limit = usual


def test_what_is_kept_makes_room_for_other_sizes() -> None:
    """Images of many sizes do not pile up."""
    clear_cache()
    for height in (300, 500, 260, 700, 330):
        dense_crf(np.zeros((5, height, 400), np.float32), np.zeros((height, 400, 3), np.uint8), iterations=1)
        assert memory.DEFAULT_WORKSPACE.nbytes <= 1.3 * 600 * 700 * 400


def test_lattices_of_positions_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four up to a number of pixels, one of more, none beyond."""
    clear_cache()
    monkeypatch.setattr(cpu, "CACHED_POINTS", 100)
    monkeypatch.setattr(cpu, "_MOST_CACHED_POINTS", 200)
    backend, kernel = CpuBackend(), PairwiseKernel.of(3.0, 3.0)

    def lattice(height: int) -> object:
        return backend.pixel_lattices([((height, 10), kernel, None)])[0]

    small = [lattice(height) for height in (1, 2, 3, 10)]
    large, larger = lattice(11), lattice(20)
    assert [lattice(height) for height in (1, 2, 3, 10)] == small
    assert lattice(20) is larger
    assert lattice(11) is not large
    assert lattice(21) is not lattice(21)
    clear_cache()
    assert lattice(1) is not small[0]
    assert lattice(20) is not larger
    clear_cache()


def test_what_is_kept_counts_as_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda *, reclaimable: (1 << 30) + reclaimable)
    workspace = _C.Workspace(1 << 28)
    Lattice.build(np.random.default_rng(0).normal(size=(100_000, 5)), workspace=workspace)
    assert 1 << 22 < workspace.nbytes <= 1 << 28
    memory.check_memory((1 << 30) + workspace.nbytes, "it", workspace)
    with pytest.raises(CRFMemoryError):
        memory.check_memory((1 << 30) + workspace.nbytes + 1, "it", workspace)


def test_a_backend_uses_the_workspace_of_its_caller() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 300, 400)).astype(np.float32)
    image = rng.integers(0, 255, (300, 400, 3)).astype(np.float32)
    kernels = [PairwiseKernel.of(3.0, 3.0), PairwiseKernel.of(5.0, 30.0, 5.0)]
    found = []
    clear_cache()
    for limit in (1 << 28, 0):
        workspace = _C.Workspace(limit)
        backend = CpuBackend(workspace=workspace)
        for _ in range(2):
            found.append(np.empty_like(scores))
            infer(backend, [Problem(scores, image, found[-1])], kernels, 2)
            assert (workspace.nbytes > scores.nbytes) == (limit > 0)
            np.testing.assert_array_equal(found[-1], found[0])
    assert memory.DEFAULT_WORKSPACE.nbytes == 0


def test_memory_outlives_its_workspace_and_threads_share_one() -> None:
    workspace = _C.Workspace(1 << 28)
    features = np.random.default_rng(0).normal(size=(100_000, 5))
    values = np.random.default_rng(1).normal(size=(100_000, 8))
    expected = Lattice.build(features).filter(values)

    def filtered(_: int) -> np.ndarray:
        return Lattice.build(features, workspace=workspace).filter(values)

    with ThreadPoolExecutor(3) as pool:
        for actual in pool.map(filtered, range(6)):
            np.testing.assert_array_equal(actual, expected)
    assert 0 < workspace.nbytes <= workspace.limit
    lattice = Lattice.build(features, workspace=_C.Workspace(1 << 28))
    np.testing.assert_array_equal(lattice.filter(values), expected)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's memory from /proc")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what is freed")
def test_buffers_of_no_bytes_are_freed_with_their_workspace() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = resident()
    for _ in range(5000):
        assert not memoryview(_C.Workspace().buffer(0))
    assert resident() - before < 2000  # pages: 8 MB
