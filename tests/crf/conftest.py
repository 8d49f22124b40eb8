"""What the tests of the dense CRF share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from deeplab_caffe import _C
from tests.ops.conftest import device as device


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2015)


@pytest.fixture
def for_threads() -> Iterator[Callable[[Callable[[], np.ndarray]], list[np.ndarray]]]:
    """Results of a function with 1, 2 and 5 threads."""

    def run(function: Callable[[], np.ndarray]) -> list[np.ndarray]:
        results = []
        for threads in (1, 2, 5):
            _C.set_num_threads(threads)
            results.append(function())
        return results

    yield run
    _C.set_num_threads(0)
