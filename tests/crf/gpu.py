"""What the tests of the dense CRF on a GPU share. ``python -m tests.cuda_on_host`` runs them without one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.arrays import CupyArrays, TorchArrays, nvrtc
from deeplab_caffe.crf import cuda_lattice, dense_crf

# Sums over a vertex' points are added up segment by segment here, point by point there.
TOLERANCE = 1e-5
HALF_TOLERANCE = 5e-3


def arrays_or_reason(name: str, run_time: bool = False) -> TorchArrays | CupyArrays | str:
    """The library's arrays on its first GPU, or why not; with kernels compiled at run time or compiled ones."""
    if not _C.with_cuda and not run_time:
        return "the extension was built without CUDA"
    try:
        library = importlib.import_module(name)
        count = library.cuda.device_count() if name == "torch" else library.cuda.runtime.getDeviceCount()
    except ImportError:
        return f"{name} is not installed"
    except RuntimeError as exc:
        return f"{name}: {exc}"
    if count == 0:
        return f"{name} sees no CUDA device"
    return TorchArrays(0) if name == "torch" else CupyArrays(0)


@pytest.fixture(params=["torch", "cupy", "cupy_nvrtc"])
def arrays(request: pytest.FixtureRequest) -> Iterator[TorchArrays | CupyArrays]:
    name, _, run_time = request.param.partition("_")
    found = arrays_or_reason(name, bool(run_time))
    if isinstance(found, str):
        pytest.skip(found)
    before = nvrtc.enabled()
    nvrtc.enable(bool(run_time))
    yield found
    cuda_lattice.clear_cache()
    nvrtc.enable(before)


def on_gpu(arrays: Any, scores: np.ndarray, image: np.ndarray | None, *args: Any, **kwargs: Any) -> np.ndarray:
    found = dense_crf(arrays.take(scores), None if image is None else arrays.take(image), *args, **kwargs)
    assert type(found) is type(arrays.empty(1, "float32"))
    return arrays.numpy(found)


def case(rng: np.random.Generator, labels: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    scores = rng.normal(scale=2, size=(labels, height, width)).astype(np.float32)
    return scores, rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)


def assert_alike(actual: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
    best = np.sort(expected, axis=0)
    clear = best[-1] - best[-2] > 2 * tolerance if len(best) > 1 else np.ones(best.shape[1:], bool)
    np.testing.assert_array_equal(actual.argmax(0)[clear], expected.argmax(0)[clear])


def sorted_keys(keys: np.ndarray) -> np.ndarray:
    return keys[np.lexsort(keys.T)]
