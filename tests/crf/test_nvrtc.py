"""The dense CRF on CuPy arrays by kernels compiled at run time; on the host here, on a GPU see test_cuda*.py."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deeplab_caffe.arrays import CupyArrays, arrays_of, nvrtc
from deeplab_caffe.arrays.nvrtc import kernels
from deeplab_caffe.crf import CRFParams, cuda_lattice, dense_crf
from deeplab_caffe.crf.captured import CapturedCRF
from deeplab_caffe.crf.cuda_lattice import CudaLattice
from deeplab_caffe.errors import CRFError
from tests.crf.gpu import HALF_TOLERANCE, assert_alike, case
from tests.cuda_on_host import nvrtc_stand_in


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A CuPy that compiles for the host what NVRTC would compile for a GPU."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernels with")
    found = nvrtc_stand_in.make()
    monkeypatch.setitem(sys.modules, "cupy", found)
    monkeypatch.setattr(kernels, "_FUNCTIONS", {})
    before = nvrtc.enabled()
    nvrtc.enable()
    yield found
    cuda_lattice.clear_cache()
    nvrtc.enable(before)


def test_marginals_are_the_cpus(cupy: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 12, 17)
    found = dense_crf(cupy.asarray(scores), cupy.asarray(image))
    assert isinstance(arrays_of(found), CupyArrays)
    assert_alike(cupy.asnumpy(found), dense_crf(scores, image))
    # The same bits again, in a batch and from an image that is no block of memory.
    wide = np.zeros((12, 34, 3), np.uint8)
    wide[:, ::2] = image
    again = dense_crf(cupy.asarray(np.stack([scores, -scores])), [cupy.asarray(wide)[:, ::2]] * 2)
    np.testing.assert_array_equal(cupy.asnumpy(again)[0], cupy.asnumpy(found))


def test_arrays_by_dlpack(cupy: Any, rng: np.random.Generator) -> None:
    class Array:
        def __init__(self, array: Any) -> None:
            self.array, self.shape, self.ndim, self.dtype = array, array.shape, array.ndim, array.dtype

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self, **_: Any) -> Any:
            return self.array

    scores, image = (cupy.asarray(one) for one in case(rng, 3, 9, 10))
    found = dense_crf(Array(scores), Array(image))
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(found), cupy.asnumpy(dense_crf(scores, image)))


def test_wide_keys_and_half_precision(cupy: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 10)
    params = CRFParams(bi_xy_std=0.1, bi_rgb_std=0.02, iterations=2)  # more than 64 bits a key
    found = dense_crf(cupy.asarray(scores), cupy.asarray(image), params, half=True)
    assert_alike(cupy.asnumpy(found), dense_crf(scores, image, params), HALF_TOLERANCE)


def test_bad_scores_are_refused(cupy: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 10)
    scores[1, 2, 3] = np.nan
    with pytest.raises(CRFError, match="finite"):
        dense_crf(cupy.asarray(scores), cupy.asarray(image))


def test_no_graph(cupy: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 10)
    with pytest.raises(CRFError, match="CUDA graph cannot hold .* compiled at run time: CuPy"):
        CapturedCRF(cupy.asarray(scores), cupy.asarray(image))


def test_a_norm_that_another_thread_made_first_is_kept() -> None:
    """The extension may hold its address by then."""
    lattice = CudaLattice.__new__(CudaLattice)
    lattice._norms = {}
    lattice.arrays = SimpleNamespace(empty=lambda *_: object(), view=lambda _: None, stream=0)
    theirs = object()
    lattice.handle = SimpleNamespace(
        points=3, norm_workspace_bytes=1, norm=lambda root, *_: lattice._norms.setdefault(root, theirs)
    )
    assert lattice.norm(False) is theirs
    assert lattice.norm(False) is theirs


def test_without_cupy(cupy: Any, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    scores = cupy.asarray(case(rng, 3, 9, 10)[0])
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(CRFError, match=r"nvcc on PATH|CuPy is not installed"):
        dense_crf(scores, None)
