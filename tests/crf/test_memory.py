from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.crf import CRFMemoryError, clear_cache, dense_crf, memory
from deeplab_caffe.errors import CRFError


def test_available_memory_is_a_sensible_number() -> None:
    available = memory.available_memory()
    if available is None:
        pytest.skip("this system does not tell")
    assert 1 << 20 < available < 1 << 50


def test_check_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 3 << 30)
    memory.check_memory(3 << 30, "it")
    with pytest.raises(CRFMemoryError, match=r"it needs at least 4\.0 GiB of memory, but 3\.0 GiB are available"):
        memory.check_memory(4 << 30, "it")
    monkeypatch.setattr(memory, "available_memory", lambda: None)
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
    usual = _C.keep_blocks(256 << 20)  # none under AddressSanitizer
    clear_cache()
    assert _C.kept_block_bytes() == 0
    first = dense_crf(scores, image, iterations=2)
    kept = _C.kept_block_bytes()
    assert kept > scores.nbytes
    np.testing.assert_array_equal(dense_crf(scores, image, iterations=2), first)
    assert _C.kept_block_bytes() == kept
    before = _C.keep_blocks(1 << 23)
    try:
        assert _C.kept_block_bytes() <= 1 << 23
        np.testing.assert_array_equal(dense_crf(scores, image, iterations=2), first)
        assert _C.kept_block_bytes() <= 1 << 23
    finally:
        assert _C.keep_blocks(before) == 1 << 23
    clear_cache()
    assert _C.kept_block_bytes() == 0
    assert _C.keep_blocks(usual) == before


def test_what_is_kept_makes_room_for_other_sizes() -> None:
    """Images of many sizes do not pile up."""
    clear_cache()
    for height in (300, 500, 260, 700, 330):
        dense_crf(np.zeros((5, height, 400), np.float32), np.zeros((height, 400, 3), np.uint8), iterations=1)
        assert _C.kept_block_bytes() <= 1.3 * 600 * 700 * 400
