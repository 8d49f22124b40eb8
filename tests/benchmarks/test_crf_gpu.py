from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe.crf import CRFParams, dense_crf

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import crf_floor
import crf_gpu
from crf_floor import Gpu, LatticeSize, Traffic

# 8 points in 2 dimensions: 24 entries, 1 segment; 5 vertices; 3 labels in rows of 4 floats.
LATTICE = LatticeSize(dims=2, vertices=5, key_bits=20)


def test_rows_are_whole_vectors() -> None:
    assert [crf_floor.row_floats(labels) for labels in (1, 4, 5, 21)] == [4, 4, 8, 24]


def test_splat() -> None:
    found = crf_floor.splat(8, LATTICE, 4, 4)
    assert found == Traffic(cache=24 * 8 + 24 * 16 + 2 * 2 * 16 + 5 * 16, operations=2 * 24 * 4)
    # The norms' rows of ones are not read.
    assert found.cache - crf_floor.splat(8, LATTICE, 4, 4, ones=True).cache == 24 * 16


def test_blur() -> None:
    assert crf_floor.blur(LATTICE, 4, 4) == Traffic(cache=15 * (8 + 3 * 16 + 16), operations=15 * 4 * 4)
    assert crf_floor.blur(LATTICE, 4, 2).cache == 15 * (8 + 3 * 8 + 8)


def test_slicing() -> None:
    assert crf_floor.slicing(8, LATTICE, 4, 4) == Traffic(cache=24 * (8 + 16) + 32, operations=2 * 24 * 4 + 2 * 8 * 4)


def test_iteration_is_its_parts() -> None:
    parts = crf_floor.splat(8, LATTICE, 4, 4) + crf_floor.blur(LATTICE, 4, 4) + crf_floor.slicing(8, LATTICE, 4, 4)
    own = Traffic(cache=2 * 8 * 16, operations=43 * 8 * 4)
    assert crf_floor.iteration(8, 3, [LATTICE, LATTICE]) == parts + parts + own


def test_build() -> None:
    located = 8 * 3 + 24 * (8 + 12)
    sorting = 24 * (8 + 3 * 24)
    numbered = 24 * (16 + 8 + 8 + 4) + 5 * 12
    connected = 15 * (8 + 2 * 3 * 8 + 8)
    norms = crf_floor.splat(8, LATTICE, 4, 4, ones=True) + crf_floor.blur(LATTICE, 4, 4)
    norms += crf_floor.slicing(8, LATTICE, 4, 4)
    assert crf_floor.build(8, LATTICE).cache == located + sorting + numbered + connected + norms.cache


def test_inference() -> None:
    kept = LatticeSize(2, 5, 20, kept=True)
    without = crf_floor.inference(8, 3, [kept], 0)
    assert without == Traffic(cache=2 * 8 * 12 + 4 * 8 * 16, memory=2 * 8 * 12 + 24, operations=42 * 8 * 4)
    assert crf_floor.inference(8, 3, [LATTICE], 0) == without + crf_floor.build(8, LATTICE)
    ten = crf_floor.inference(8, 3, [kept], 10)
    assert ten.cache - without.cache == 10 * crf_floor.iteration(8, 3, [kept]).cache
    assert crf_floor.inference(8, 3, [kept], 10, half=True).cache < ten.cache


def test_floor_is_the_slowest_part() -> None:
    gpu = Gpu(memory=1e9, cache=4e9, operations=2e9)
    assert Traffic(cache=4e6, memory=5e5, operations=1e6).floor_ms(gpu) == pytest.approx(1.0)
    assert Traffic(cache=4e6, memory=3e6, operations=1e6).floor_ms(gpu) == pytest.approx(3.0)
    assert Traffic(cache=4e6, memory=3e6, operations=8e6).floor_ms(gpu) == pytest.approx(4.0)


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_the_originals_steps_give_our_marginals(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(3, *shape)).astype(np.float32)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    params = CRFParams(2, 3, 4, 20, 60)
    steps = crf_gpu.original_run(scores, image, params, 4, torch.device("cpu"))
    np.testing.assert_allclose(steps().numpy(), dense_crf(scores, image, params, iterations=4), atol=1e-5)


def test_floors_of_an_image() -> None:
    image = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    found = crf_gpu.floors(3, image, (4, 20, 60), 10)
    assert found[crf_gpu.BUILT].cache > found[crf_gpu.KEPT].cache > found[crf_gpu.HALF].cache
    assert found[crf_gpu.KEPT] == found[crf_gpu.BATCHED]
