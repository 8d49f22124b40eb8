"""The dense CRF on a GPU, against the CPU's. ``python -m tests.cuda_on_host`` runs these tests without one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.crf import CRFParams, Lattice, PairwiseKernel, cuda, dense_crf, layer_inference
from deeplab_caffe.crf._device import CupyArrays, TorchArrays
from deeplab_caffe.crf._view import view
from deeplab_caffe.errors import CRFError
from tests.crf.reference import image_features, lattice_filter
from tests.crf.test_inference import layer_params, load_blob
from tests.goldens import CRF_TOLERANCE, case_dir, case_names, load_case

pytestmark = pytest.mark.cuda

# Sums over a vertex' points are added up segment by segment here, point by point there.
TOLERANCE = 1e-5
HALF_TOLERANCE = 5e-3


def _arrays(name: str) -> TorchArrays | CupyArrays | str:
    """The library's arrays on its first GPU, or why not."""
    if not _C.with_cuda:
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


@pytest.fixture(params=["torch", "cupy"])
def arrays(request: pytest.FixtureRequest) -> Iterator[TorchArrays | CupyArrays]:
    found = _arrays(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    yield found
    cuda.clear_cache()


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


# The lattice


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 1), (8, 6), (23, 31)])
@pytest.mark.parametrize("sse_padding", [True, False])
@pytest.mark.parametrize("std", [(20.0, 30.0), (1.0, 2e-3)], ids=["64_bits", "128_bits"])
def test_keys_are_the_cpus(
    arrays: Any, height: int, width: int, sse_padding: bool, std: tuple[float, float], rng: np.random.Generator
) -> None:
    _, image = case(rng, 1, height, width)
    kernel = PairwiseKernel(1.0, (std[0],) * 2, (std[1],) * 3)
    (lattice,) = cuda.build_lattices(arrays, [((height, width), kernel, arrays.take(image))], "rgb", sse_padding)
    features = image_features(height, width, kernel.xy_std, image, kernel.rgb_std)
    expected = Lattice.build(features, sse_padding=sse_padding)
    assert lattice.vertices == expected.vertices
    assert (lattice.handle.key_bits > 64) == (std[1] < 1 and (height * width > 1 or sse_padding))
    keys = np.empty((lattice.vertices, 5), np.int32)
    lattice.handle.copy_keys(_C.TensorView(keys.ctypes.data, keys.shape, (5, 1), "int32", -1), arrays.stream)
    np.testing.assert_array_equal(sorted_keys(keys), sorted_keys(expected.keys))


@pytest.mark.parametrize("channels", [1, 3, 4, 21, 130])
@pytest.mark.parametrize("adjoint", [False, True])
def test_filter_is_the_reference(arrays: Any, channels: int, adjoint: bool, rng: np.random.Generator) -> None:
    _, image = case(rng, 1, 6, 7)
    kernel = PairwiseKernel(1.0, (5.0, 5.0), (60.0, 60.0, 60.0))
    (lattice,) = cuda.build_lattices(arrays, [((6, 7), kernel, arrays.take(image))], "rgb", True)
    features = image_features(6, 7, kernel.xy_std, image, kernel.rgb_std)
    values = rng.normal(size=(42, channels)).astype(np.float32)
    taken, out = arrays.take(values), arrays.empty((42, channels), "float32")
    lattice.filter(arrays.view(taken), arrays.view(out), adjoint, arrays.stream)
    if adjoint:
        identity = lattice_filter(features, np.eye(42, dtype=np.float32))
        expected = identity.astype(np.float64).T @ values
    else:
        expected = lattice_filter(features, values)
    np.testing.assert_allclose(arrays.numpy(out), expected, rtol=1e-4, atol=1e-5)


# Inference


@pytest.mark.parametrize("name", case_names("crf_layer_"))
def test_golden(arrays: Any, name: str) -> None:
    folder = case_dir(name)
    blobs: dict[str, np.ndarray] = {}
    for step in load_case(name)["steps"]:
        if step["op"] == "net":
            params, output_probability = layer_params((folder / step["file"]).read_text())
        elif step["op"] == "set_data":
            blobs[step["blob"]] = arrays.take(load_blob(folder, step))
        elif step["op"] == "forward":
            options = {"output_probability": output_probability, "image_of_first": True}
            found = layer_inference(blobs["s"], blobs["d"], blobs.get("im"), params, **options)
        elif step["op"] == "get_data":
            for actual, expected in zip(arrays.numpy(found), load_blob(folder, step), strict=True):
                assert_alike(actual, expected, CRF_TOLERANCE)


@pytest.mark.parametrize("labels", [1, 2, 3, 4, 5, 21, 33, 128, 129, 150, 256, 257, 300])
def test_any_number_of_labels(arrays: Any, labels: int, rng: np.random.Generator) -> None:
    scores, image = case(rng, labels, 5, 7)
    params = CRFParams(3, 3, 5, 20, 60, iterations=2)
    assert_alike(on_gpu(arrays, scores, image, params), dense_crf(scores, image, params))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (5, 1), (8, 6), (37, 41)])
def test_several_kernels_and_sizes(arrays: Any, height: int, width: int, rng: np.random.Generator) -> None:
    scores, image = case(rng, 4, height, width)
    params = CRFParams(
        pos_w=(2, 1, 1), pos_xy_std=(3, (8, 5), 1), bi_w=(3, 2), bi_xy_std=((40, 30), 15), bi_rgb_std=((9, 20, 40), 50)
    )
    assert_alike(on_gpu(arrays, scores, image, params), dense_crf(scores, image, params))


def test_one_colour_is_one_heavy_vertex(arrays: Any, rng: np.random.Generator) -> None:
    scores, _ = case(rng, 3, 50, 60)
    image = np.full((50, 60, 3), 90, np.uint8)
    params = CRFParams(bi_xy_std=500, iterations=3)
    assert_alike(on_gpu(arrays, scores, image, params), dense_crf(scores, image, params))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_images_of_any_type_and_strides(arrays: Any, dtype: type, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    signed = (image.astype(np.int64) - 128).astype(dtype)
    assert_alike(on_gpu(arrays, scores, signed), dense_crf(scores, signed))
    planes = arrays.take(np.ascontiguousarray(signed.transpose(2, 0, 1)))
    found = dense_crf(arrays.take(scores), arrays.channels_last(planes))
    np.testing.assert_array_equal(arrays.numpy(found), on_gpu(arrays, scores, signed))


@pytest.mark.parametrize("normalization", ["none", "before", "after", "symmetric"])
def test_normalizations(arrays: Any, normalization: str, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    params = CRFParams(pos_w=0.5, bi_w=0.25, bi_rgb_std=60, iterations=3)
    taken = cuda.Problem(arrays.take(scores), arrays.take(image), arrays.empty(scores.shape, "float32"))
    cuda.infer(arrays, [taken], params, "rgb", None, normalization=normalization)
    features = [image_features(9, 11, (3, 3)), image_features(9, 11, (50, 50), image, (60, 60, 60))]
    lattices = [_C.Lattice.build(view(one), True) for one in features]
    kind = getattr(_C.Normalization, normalization.upper())
    kernels = [(lattice, weight, kind, []) for lattice, weight in zip(lattices, (0.5, 0.25), strict=True)]
    field = _C.MeanField(3, 99, kernels)
    field.start(view(scores.reshape(3, 99)))
    field.run(3)
    expected = np.empty((3, 99), np.float32)
    field.marginals(view(expected))
    assert_alike(arrays.numpy(taken.out).reshape(3, 99), expected)


def test_small_deviations_widen_the_keys(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    params = CRFParams(pos_w=0, bi_w=2, bi_xy_std=1, bi_rgb_std=2e-3)
    assert_alike(on_gpu(arrays, scores, image, params), dense_crf(scores, image, params))


def test_probabilities(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    powers = np.exp(scores)
    powers[1, 4, 5] = 0
    found = on_gpu(arrays, powers, image, probabilities=True)
    assert_alike(found, dense_crf(powers, image, probabilities=True))
    assert found[1, 4, 5] == 0


def test_arrays_on_the_cpu_are_worked_on_where_asked(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    found = dense_crf(scores, image, device="cuda")
    assert type(found) is np.ndarray
    assert_alike(found, dense_crf(scores, image))


def test_half_precision_on_the_lattice(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 5, 30, 40)
    exact = on_gpu(arrays, scores, image)
    half = on_gpu(arrays, scores, image, half=True)
    assert not np.array_equal(half, exact)
    assert np.quantile(np.abs(half - exact), 0.99) < HALF_TOLERANCE
    assert_alike(half, exact, 0.1)  # noise: labels compete everywhere, and iterations amplify differences
    once, params = on_gpu(arrays, scores, image, iterations=1), CRFParams(iterations=1)
    assert_alike(on_gpu(arrays, scores, image, params, half=True), once, HALF_TOLERANCE)
    # More than a half holds lies on one vertex.
    flat = np.zeros((300, 300, 3), np.uint8)
    many, params = rng.normal(size=(2, 300, 300)).astype(np.float32), CRFParams(bi_xy_std=9000, iterations=1)
    assert_alike(on_gpu(arrays, many, flat, params, half=True), on_gpu(arrays, many, flat, params), HALF_TOLERANCE)


def test_the_same_bits_in_every_run(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 21, 33, 45)
    image[10:] = 80
    first = on_gpu(arrays, scores, image)
    for _ in range(3):
        cuda.clear_cache()
        np.testing.assert_array_equal(on_gpu(arrays, scores, image), first)


def test_a_batch_is_its_images(arrays: Any, rng: np.random.Generator) -> None:
    cases = [case(rng, 3, 5 + i % 3, 7 + i) for i in range(11)]
    scores, images = ([arrays.take(one) for one in some] for some in zip(*cases, strict=True))
    together = dense_crf(scores, images)
    for one, (score, image) in zip(together, cases, strict=True):
        np.testing.assert_array_equal(arrays.numpy(one), on_gpu(arrays, score, image))


def test_layer_crops_and_pads(arrays: Any, rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 3, 6, 7)).astype(np.float32)
    image = rng.normal(scale=50, size=(2, 3, 6, 7)).astype(np.float32)
    data_dim = np.array([[4, 5], [90, 6]], np.float32).reshape(2, 1, 1, 2)
    for options in ({}, {"output_probability": False}, {"image_of_first": True}):
        found = layer_inference(arrays.take(scores), arrays.take(data_dim), arrays.take(image), **options)
        expected = layer_inference(scores, data_dim, image, **options)
        np.testing.assert_allclose(arrays.numpy(found), expected, rtol=1e-4, atol=TOLERANCE)


# Streams and graphs


def test_another_stream(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 20, 30)
    expected = on_gpu(arrays, scores, image)
    library = arrays.torch if isinstance(arrays, TorchArrays) else arrays.cupy
    stream = library.cuda.Stream() if isinstance(arrays, TorchArrays) else library.cuda.Stream(non_blocking=True)
    with library.cuda.stream(stream) if isinstance(arrays, TorchArrays) else stream:
        found = dense_crf(arrays.take(scores), arrays.take(image))
        stream.synchronize()
    np.testing.assert_array_equal(arrays.numpy(found), expected)


def test_a_graph_replays_with_other_images(rng: np.random.Generator) -> None:
    arrays = _arrays("torch")
    if isinstance(arrays, str):
        pytest.skip(arrays)
    torch = arrays.torch
    (scores, image), (other_scores, other_image) = case(rng, 3, 20, 30), case(rng, 3, 20, 30)
    static_scores, static_image = arrays.take(scores), arrays.take(image)
    dense_crf(static_scores, static_image)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = dense_crf(static_scores, static_image)
    for new_scores, new_image in ((other_scores, other_image), (scores, image)):
        static_scores.copy_(arrays.take(new_scores))
        static_image.copy_(arrays.take(new_image))
        graph.replay()
        np.testing.assert_array_equal(arrays.numpy(found), on_gpu(arrays, new_scores, new_image))
    static_scores[1, 3, 4] = float("nan")
    graph.replay()
    assert np.isnan(arrays.numpy(found)).any()


# Errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, i: (np.where(s == s.max(), np.nan, s), i), "scores must be finite"),
        (lambda s, i: (np.where(s == s.max(), np.inf, s), i), "scores must be finite"),
        (lambda s, i: (s, np.where(i == i.max(), np.nan, i.astype(np.float32))), "image must be finite"),
        (lambda s, i: (s, np.where(i == i.max(), np.inf, i.astype(np.float32))), "image must be finite"),
        (lambda s, i: (s, i.transpose(1, 0, 2)), "transpose?"),
        (lambda s, i: (s[0], i), "scores must be"),
    ],
)
def test_bad_input(arrays: Any, change: Any, message: str, rng: np.random.Generator) -> None:
    scores, image = (np.ascontiguousarray(one) for one in change(*case(rng, 3, 9, 11)))
    with pytest.raises(CRFError, match=message.replace("?", r"\?")):
        on_gpu(arrays, scores.astype(np.float32), image)


def test_bad_probabilities_and_deviations(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    with pytest.raises(CRFError, match="probabilities must not be negative"):
        on_gpu(arrays, -np.abs(scores), image, probabilities=True)
    powers = np.exp(scores)
    powers[:, 2, 3] = 0
    with pytest.raises(CRFError, match="probabilities are 0 for every label at row 2, column 3"):
        on_gpu(arrays, powers, image, probabilities=True)
    with pytest.raises(CRFError, match=r"kernel with xy_std \(50.0, 50.0\) and rgb_std \(1e-06"):
        on_gpu(arrays, scores, image, CRFParams(bi_rgb_std=1e-6))


def test_the_extension_checks_memory(arrays: Any) -> None:
    lattice = _C.CudaLattice(0, 4, 5, True, [3.0, 3.0], [], True)
    small = arrays.view(arrays.empty(64, "uint8"))
    with pytest.raises(ValueError, match="memory: expected .* bytes on cuda:0"):
        lattice.build(None, small, small, arrays.stream)
    with pytest.raises(ValueError, match="built before it is connected"):
        lattice.connect(small, 1, arrays.stream)
    with pytest.raises(ValueError, match="kernel 0: expected a connected lattice of 30 points"):
        _C.CudaMeanField(0, 5, 6, 3, [(lattice, 1.0, None, None)], False)
