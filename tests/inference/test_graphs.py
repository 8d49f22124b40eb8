from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.graphs import CapturedFunction, LRUCache


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    cache: LRUCache[str] = LRUCache(2)
    made = []

    def get(key: str) -> str:
        return cache.get(key, lambda: made.append(key) or key.upper())

    assert [get(key) for key in "abab"] == ["A", "B", "A", "B"]
    assert made == ["a", "b"]
    get("a")
    get("c")
    assert cache.keys() == ["a", "c"]
    get("b")
    assert made == ["a", "b", "c", "b"]
    cache.clear()
    assert cache.keys() == []


def test_what_cannot_be_made_is_not_kept() -> None:
    cache: LRUCache[int] = LRUCache(1)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert cache.keys() == []
    with pytest.raises(NetError, match="at least one graph, got 0"):
        LRUCache(0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_captured_function_runs_anew_on_each_input() -> None:
    x = torch.arange(6.0, device="cuda")
    run = CapturedFunction(lambda x: {"y": x * 2 + 1}, [x])
    first, shared = run(x, copy=True)["y"], run(x, copy=False)["y"]
    assert run(-x, copy=True)["y"].tolist() == [1, -1, -3, -5, -7, -9]
    assert first.tolist() == [1, 3, 5, 7, 9, 11]
    assert shared.tolist() == [1, -1, -3, -5, -7, -9]
