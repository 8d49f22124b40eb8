from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from deeplab_caffe.crf import CRFMemoryError, Lattice, memory
from deeplab_caffe.errors import CRFError
from deeplab_caffe.reference.lattice import elevate, image_features, lattice_filter, locate, neighbours, scale_factors

# One lattice unit of a one-dimensional feature: there the elevated coordinates are (s, -s) with s = feature * scale,
# and the vertices are the whole numbers.
UNIT = 1 / float(scale_factors(1)[0])


def test_one_dimension_by_hand() -> None:
    lattice = Lattice.build(np.array([[0.0], [0.5 * UNIT], [1.25 * UNIT], [-0.5 * UNIT]]))
    assert (lattice.points, lattice.dims, lattice.vertices) == (4, 1, 4)
    # Vertices are numbered in the order of the first point that touches them; each simplex has its even vertex first.
    assert lattice.keys.ravel().tolist() == [0, 1, 2, -1]
    np.testing.assert_array_equal(lattice.point_vertices, [[0, 1], [0, 1], [2, 1], [0, 3]])
    np.testing.assert_allclose(lattice.point_weights, [[1, 0], [0.5, 0.5], [0.25, 0.75], [0.5, 0.5]], atol=1e-6)


def test_filter_by_hand() -> None:
    # A point on vertex 0 also makes vertex 1, empty. Both axes of a line blur with (1/2, 1, 1/2):
    # (1, 0) -> (1, 1/2) -> (5/4, 1), and slicing multiplies with 1 / (1 + 1/2).
    assert Lattice.build(np.zeros((1, 1))).filter(np.ones(1)) == pytest.approx(5 / 4 * 2 / 3)
    # Points on vertices 0 and 2 (with 1 and 3 made too): (1, 0, 1, 0) -> (1, 1, 1, 1/2) -> (3/2, 2, 7/4, 1).
    two = Lattice.build(np.array([[0.0], [2 * UNIT]]), sse_padding=False)
    np.testing.assert_allclose(two.filter(np.ones(2)), [1.5 * 2 / 3, 1.75 * 2 / 3], rtol=1e-6)


def test_sse_padding_adds_the_vertices_around_zero_where_points_are_no_multiple_of_four() -> None:
    far = np.full((5, 2), 100.0)
    assert Lattice.build(far).vertices == 6
    assert Lattice.build(far, sse_padding=False).vertices == 3
    assert Lattice.build(far[:4]).vertices == 3


@pytest.mark.parametrize("dims", [1, 2, 3, 5, 6, 9])
@pytest.mark.parametrize("scale", [0.3, 3.0, 40.0])
def test_keys_and_weights_are_those_of_the_slow_reference(dims: int, scale: float, rng: np.random.Generator) -> None:
    features = rng.normal(scale=scale, size=(150, dims)).astype(np.float32)
    lattice = Lattice.build(features)
    keys = lattice.keys[lattice.point_vertices]
    for i, feature in enumerate(features):
        expected_keys, expected_weights = locate(feature)
        np.testing.assert_array_equal(keys[i], expected_keys)
        np.testing.assert_array_equal(lattice.point_weights[i], np.array(expected_weights, np.float32))


def test_rounding_is_half_to_even() -> None:
    # (d + 1)(k + 1/2) lattice units are halfway between two vertices of colour 0. Powers of two keep the floats exact.
    scale = scale_factors(1)[0]
    features = np.array([n / scale for n in (1, 3, 5, -1, -3)], np.float32)
    halves = features * scale == np.array([1, 3, 5, -1, -3], np.float32)
    assert halves.any()
    lattice = Lattice.build(features[:, None])
    for i, feature in enumerate(features[:, None]):
        assert [tuple(key) for key in lattice.keys[lattice.point_vertices[i]]] == locate(feature)[0]


@pytest.mark.parametrize("dims", [2, 5, 8])
def test_weights_are_barycentric_coordinates(dims: int, rng: np.random.Generator) -> None:
    features = rng.normal(scale=5, size=(200, dims)).astype(np.float32)
    lattice = Lattice.build(features)
    weights = lattice.point_weights.astype(np.float64)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert weights.min() > -1e-5
    rebuilt = np.einsum("nr,nrd->nd", weights, lattice.keys[lattice.point_vertices])
    np.testing.assert_allclose(rebuilt, [elevate(feature)[:dims] for feature in features], atol=1e-3)


@pytest.mark.parametrize("sse_padding", [True, False])
@pytest.mark.parametrize(
    ("dims", "channels"),
    [
        (1, 1),
        (2, 2),
        (2, 21),
        (3, 4),
        (5, 1),
        (5, 3),
        (5, 5),
        (5, 8),
        (5, 16),
        (5, 21),
        (5, 32),
        (5, 33),
        (5, 70),
        (7, 9),
    ],
)
def test_filter_is_bit_equal_to_the_slow_reference(
    dims: int, channels: int, sse_padding: bool, rng: np.random.Generator
) -> None:
    features = rng.normal(scale=1.5, size=(61, dims)).astype(np.float32)
    values = rng.normal(size=(61, channels)).astype(np.float32)
    actual = Lattice.build(features, sse_padding=sse_padding).filter(values)
    np.testing.assert_array_equal(actual, lattice_filter(features, values, sse_padding))


@pytest.mark.parametrize("dims", [5, 6])
def test_features_that_need_keys_of_128_bits(dims: int, rng: np.random.Generator) -> None:
    # About 2^18 lattice units each: 20 bits a coordinate, with 64 bits for all of them keys would collide.
    features = rng.uniform(-(2**16), 2**16, size=(40, dims)).astype(np.float32)
    features[20:] = features[:20] + rng.normal(scale=0.3, size=(20, dims)).astype(np.float32)
    values = rng.normal(size=(40, 3)).astype(np.float32)
    lattice = Lattice.build(features)
    for i, feature in enumerate(features):
        np.testing.assert_array_equal(lattice.keys[lattice.point_vertices[i]], locate(feature)[0])
    np.testing.assert_array_equal(lattice.filter(values), lattice_filter(features, values))


def test_the_filter_is_linear_and_its_adjoint_blurs_in_reverse(rng: np.random.Generator) -> None:
    features = rng.normal(scale=1.2, size=(40, 3)).astype(np.float32)
    lattice = Lattice.build(features)
    number = {tuple(key): i for i, key in enumerate(lattice.keys)}
    splat = np.zeros((lattice.vertices, lattice.points))
    for point in range(lattice.points):
        splat[lattice.point_vertices[point], point] = lattice.point_weights[point]
    blurs = []
    for axis in range(lattice.dims + 1):
        blur = np.eye(lattice.vertices)
        for key, i in number.items():
            for other in neighbours(key, axis):
                if other in number:
                    blur[i, number[other]] += 0.5
        np.testing.assert_array_equal(blur, blur.T)
        blurs.append(blur)
    alpha = 1 / (1 + 2.0**-lattice.dims)
    forward = alpha * splat.T @ blurs[3] @ blurs[2] @ blurs[1] @ blurs[0] @ splat
    backward = alpha * splat.T @ blurs[0] @ blurs[1] @ blurs[2] @ blurs[3] @ splat
    matrix = lattice.filter(np.eye(lattice.points))
    np.testing.assert_allclose(matrix, forward, atol=1e-6)
    np.testing.assert_allclose(matrix.T, backward, atol=1e-6)


def test_means_of_a_constant_are_the_constant(rng: np.random.Generator) -> None:
    lattice = Lattice.build(rng.normal(scale=2, size=(500, 5)))
    weight = lattice.filter(np.ones(500))
    assert weight.min() > 0
    np.testing.assert_allclose(lattice.filter(np.full(500, -7.5)) / weight, -7.5, rtol=1e-5)


@pytest.mark.parametrize(("xy_std", "rgb_std", "bound"), [(3.0, None, 0.03), (5.0, 40.0, 0.04)])
def test_it_is_about_a_gaussian(xy_std: float, rgb_std: float | None, bound: float, rng: np.random.Generator) -> None:
    """Normalised filtering against the N^2 Gaussian it stands for: error norm over norm below ``bound``."""
    height = width = 20
    y, x = np.mgrid[:height, :width]
    image = np.stack([(x > 9) * 120.0 + 40, y * 6.0, np.full((height, width), 90.0)], axis=-1)
    image += rng.normal(scale=4, size=image.shape)
    features = image_features(height, width, (xy_std,) * 2, image, None if rgb_std is None else (rgb_std,) * 3)
    values = np.stack([(x > 9), (y > 12), np.sin(x / 3)], axis=-1).reshape(-1, 3).astype(np.float32)
    distance = ((features[:, None].astype(np.float64) - features[None]) ** 2).sum(axis=-1)
    gaussian = np.exp(-distance / 2)
    expected = gaussian @ values / gaussian.sum(axis=1, keepdims=True)
    lattice = Lattice.build(features)
    actual = lattice.filter(values) / lattice.filter(np.ones(len(features)))[:, None]
    assert np.linalg.norm(actual - expected) / np.linalg.norm(expected) < bound
    # The image itself is much farther away: the bound means something.
    assert np.linalg.norm(values - expected) / np.linalg.norm(expected) > 2 * bound


def test_bit_equal_for_any_number_of_threads(for_threads: Callable, rng: np.random.Generator) -> None:
    features = rng.normal(scale=2, size=(9001, 5)).astype(np.float32)
    values = rng.normal(size=(9001, 21)).astype(np.float32)

    def everything() -> np.ndarray:
        lattice = Lattice.build(features)
        parts = (lattice.keys, lattice.point_vertices, lattice.point_weights, lattice.filter(values))
        return np.concatenate([part.ravel().astype(np.float64) for part in parts])

    first, *others = for_threads(everything)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_any_memory_layout(rng: np.random.Generator) -> None:
    features = rng.normal(size=(50, 3)).astype(np.float32)
    values = rng.normal(size=(50, 4)).astype(np.float32)
    expected = Lattice.build(features).filter(values)
    frozen = features.copy()
    frozen.setflags(write=False)
    unaligned = np.frombuffer(b"x" + features.tobytes(), np.uint8)[1:].view(np.float32).reshape(50, 3)
    for same in (np.asfortranarray(features), features[::-1][::-1], frozen, features.astype(">f4"), unaligned):
        np.testing.assert_array_equal(Lattice.build(same).filter(values), expected)
    for same in (np.asfortranarray(values), values.astype(np.float64), np.repeat(values, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(Lattice.build(features).filter(same), expected)
    assert Lattice.build(features).filter(values[:, 0]).shape == (50,)
    assert Lattice.build(features).filter(values[:, :0]).shape == (50, 0)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((0, 2)), r"\(0, 2\)"),
        (np.zeros((4, 0)), r"\(4, 0\)"),
        (np.zeros((4, 17)), "d from 1 to 16"),
        (np.zeros(4), r"\(4,\)"),
        (np.array([["a"]]), "real numbers"),
        (np.array([[0.0], [np.nan]]), "point 1 has a value that is not finite"),
        (np.array([[np.inf], [0.0]]), "point 0 has a value that is not finite"),
        (np.array([[0.0], [1e300]]), "point 1 has a value that is not finite"),
        (np.array([[0.0, 1e7]]), "is a standard deviation too small"),
        (np.linspace(-9e3, 9e3, 64).reshape(4, 16), "128 is the most"),
    ],
)
def test_bad_features(features: np.ndarray, message: str) -> None:
    with pytest.raises(CRFError, match=message):
        Lattice.build(features)


def test_bad_values() -> None:
    lattice = Lattice.build(np.zeros((4, 2)))
    for values in (np.zeros(3), np.zeros((3, 4)), np.zeros((4, 1, 1)), np.float32(1)):
        with pytest.raises(CRFError, match=r"values must be \(4,\) or \(4, C\)"):
            lattice.filter(values)


def test_memory_is_asked_for_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    lattice = Lattice.build(np.zeros((4, 2)))
    monkeypatch.setattr(memory, "available_memory", lambda **_: 100)
    with pytest.raises(CRFMemoryError, match="a lattice of 4 points in 2 dimensions needs at least"):
        Lattice.build(np.zeros((4, 2)))
    with pytest.raises(MemoryError, match="filtering"):
        lattice.filter(np.zeros((4, 50)))


@pytest.mark.skipif(sys.platform != "linux", reason="address space limits are Linux' here")
@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer's shadow needs terabytes of it"
)
def test_running_out_of_memory_is_an_exception() -> None:
    """Also where a worker thread runs out of it, and where nobody had estimated the need."""
    code = """
import resource
import numpy as np
from deeplab_caffe import _C
from deeplab_caffe.crf import CRFMemoryError, Lattice, lattice
lattice.check_memory = lambda needed, what, workspace: None
features = np.random.default_rng(0).uniform(-300, 300, (400_000, 5)).astype(np.float32)
Lattice.build(features[:5000])
pages = int(open("/proc/self/statm").read().split()[0])
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
failures = 0
for megabytes in range(10, 120, 10):
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (megabytes << 20), hard))
    try:
        Lattice.build(features)
    except CRFMemoryError:
        failures += 1
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
print("failures", failures)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[-1]) >= 3
