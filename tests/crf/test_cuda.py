"""The dense CRF on a GPU, against the CPU's. ``python -m tests.cuda_on_host`` runs these tests without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.arrays import TorchArrays
from deeplab_caffe.crf import CRFParams, DenseCRF2D, Lattice, PairwiseKernel, cuda_lattice, dense_crf, layer_inference
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.crf.cuda import CudaBackend
from deeplab_caffe.crf.cuda_lattice import CudaLattice
from deeplab_caffe.errors import CRFError
from deeplab_caffe.reference.lattice import image_features, lattice_filter
from tests.crf.gpu import HALF_TOLERANCE, TOLERANCE, arrays_or_reason, assert_alike, case, on_gpu, sorted_keys
from tests.crf.gpu import arrays as arrays
from tests.crf.test_functional import layer_params, load_blob
from tests.goldens import CRF_TOLERANCE, case_dir, case_names, load_case

pytestmark = pytest.mark.cuda

# The lattice


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 1), (8, 6), (23, 31)])
@pytest.mark.parametrize("sse_padding", [True, False])
@pytest.mark.parametrize("std", [(20.0, 30.0), (1.0, 2e-3)], ids=["64_bits", "128_bits"])
def test_keys_are_the_cpus(
    arrays: Any, height: int, width: int, sse_padding: bool, std: tuple[float, float], rng: np.random.Generator
) -> None:
    _, image = case(rng, 1, height, width)
    kernel = PairwiseKernel(1.0, (std[0],) * 2, (std[1],) * 3)
    (lattice,) = cuda_lattice.build_lattices(arrays, [((height, width), kernel, arrays.take(image))], sse_padding)
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
    (lattice,) = cuda_lattice.build_lattices(arrays, [((6, 7), kernel, arrays.take(image))], True)
    features = image_features(6, 7, kernel.xy_std, image, kernel.rgb_std)
    values = rng.normal(size=(42, channels)).astype(np.float32)
    taken, out = arrays.take(values[None]), arrays.empty((1, 42, channels), "float32")
    CudaLattice.filter_all([lattice], arrays.view(taken), arrays.view(out), adjoint, arrays.stream)
    if adjoint:
        identity = lattice_filter(features, np.eye(42, dtype=np.float32))
        expected = identity.astype(np.float64).T @ values
    else:
        expected = lattice_filter(features, values)
    np.testing.assert_allclose(arrays.numpy(out)[0], expected, rtol=1e-4, atol=1e-5)


def test_a_batch_is_filtered_item_by_item(arrays: Any, rng: np.random.Generator) -> None:
    kernel = PairwiseKernel(1.0, (5.0, 5.0), (60.0, 60.0, 60.0))
    images = [case(rng, 1, 4, 5)[1] for _ in range(18)]  # more than a launch takes
    lattices = cuda_lattice.build_lattices(arrays, [((4, 5), kernel, arrays.take(one)) for one in images], True)
    values = rng.normal(size=(18, 3, 20)).astype(np.float32).transpose(0, 2, 1)  # channels are not the last in memory
    taken, out = arrays.take(values), arrays.empty((18, 20, 3), "float32")
    CudaLattice.filter_all(lattices, arrays.view(taken), arrays.view(out), False, arrays.stream)
    for item, image, found in zip(values, images, arrays.numpy(out), strict=True):
        expected = lattice_filter(image_features(4, 5, kernel.xy_std, image, kernel.rgb_std), item)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_no_channels_are_filtered_to_none(arrays: Any) -> None:
    (lattice,) = cuda_lattice.build_lattices(arrays, [((2, 3), PairwiseKernel(1.0, (3.0, 3.0)), None)], True)
    nothing = arrays.empty((1, 6, 0), "float32")
    CudaLattice.filter_all([lattice], arrays.view(nothing), arrays.view(nothing), False, arrays.stream)


def test_a_lattice_may_be_connected_again(arrays: Any) -> None:
    # One colour and a deviation beyond the image: a vertex whose entries fill many segments.
    kernel = PairwiseKernel(1.0, (500.0, 500.0), (60.0, 60.0, 60.0))
    request = ((40, 50), kernel, arrays.take(np.full((40, 50, 3), 90, np.uint8)))
    (lattice,) = cuda_lattice.build_lattices(arrays, [request], True)
    norms = [arrays.numpy(lattice.norm(False))]
    for vertices in (lattice.vertices, lattice.handle.max_vertices):
        lattice.connect(vertices)
        lattice._norms.clear()
        norms.append(arrays.numpy(lattice.norm(False)))
    np.testing.assert_array_equal(norms[0], norms[1])
    np.testing.assert_array_equal(norms[0], norms[2])


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
            options = {"log": not output_probability, "image_of_first": True}
            found = layer_inference(blobs["s"], blobs["d"], blobs.get("im"), params, **options)
        elif step["op"] == "get_data":
            for actual, expected in zip(arrays.numpy(found), load_blob(folder, step), strict=True):
                assert_alike(actual, expected, CRF_TOLERANCE)


@pytest.mark.parametrize("labels", [1, 2, 3, 4, 5, 21, 33, 128, 129, 150, 256, 257, 300])
def test_any_number_of_labels(arrays: Any, labels: int, rng: np.random.Generator) -> None:
    scores, image = case(rng, labels, 5, 7)
    params = CRFParams(3, 3, 5, 20, 60, iterations=2)
    if labels == 1:  # which dense_crf takes for a foreground
        blobs = scores[None], None, image.transpose(2, 0, 1)[None].copy()
        found = layer_inference(*(None if one is None else arrays.take(one) for one in blobs), params)
        assert_alike(arrays.numpy(found)[0], layer_inference(*blobs, params)[0])
        return
    assert_alike(on_gpu(arrays, scores, image, params), dense_crf(scores, image, params))


def test_kinds_of_scores(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    probabilities = np.exp(scores) / np.exp(scores).sum(0)
    for kind, values in (("probabilities", probabilities), ("energies", -np.log(probabilities))):
        with pytest.raises(CRFError, match=f'kind="{kind}"'):
            on_gpu(arrays, values, image)
        assert_alike(on_gpu(arrays, values, image, kind=kind), dense_crf(values, image, kind=kind))
    for kind in ("scores", "probabilities", "energies"):
        values = probabilities[:1] if kind == "probabilities" else np.abs(scores[:1])
        assert_alike(on_gpu(arrays, values, image, kind=kind), dense_crf(values, image, kind=kind))


def test_ranges_of_images(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    expected = dense_crf(scores, image)
    with pytest.raises(CRFError, match=r"from 0 to 1\? Say image_range"):
        on_gpu(arrays, scores, image / np.float32(255))
    assert_alike(on_gpu(arrays, scores, image / np.float32(255), image_range=(0, 1)), expected)
    assert_alike(on_gpu(arrays, scores, image.astype(np.float32)), expected)


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
    whole = {"image_range": (0, 255)}
    assert_alike(on_gpu(arrays, scores, signed, **whole), dense_crf(scores, signed, **whole))
    planes = arrays.take(np.ascontiguousarray(signed.transpose(2, 0, 1)))
    found = dense_crf(arrays.take(scores), arrays.permute(planes, (1, 2, 0)), **whole)
    np.testing.assert_array_equal(arrays.numpy(found), on_gpu(arrays, scores, signed, **whole))


@pytest.mark.parametrize("normalization", ["none", "before", "after", "symmetric"])
def test_normalizations(arrays: Any, normalization: str, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    params = CRFParams(pos_w=0.5, bi_w=0.25, bi_rgb_std=60, iterations=3)
    found = []
    for device in ("cuda", "cpu"):
        crf = DenseCRF2D.for_image(image, params, normalization, device=device)
        assert isinstance(crf.backend, CpuBackend if device == "cpu" else CudaBackend)
        found.append(crf.infer(scores))
    assert_alike(*found)


def test_small_deviations_widen_the_keys(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    params = CRFParams(pos_w=0, bi_w=2, bi_xy_std=1, bi_rgb_std=2e-3)
    assert_alike(on_gpu(arrays, scores, image, params), dense_crf(scores, image, params))


def test_numpy_arrays_that_torch_does_not_take(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    expected = dense_crf(scores, image)
    backwards = np.ascontiguousarray(image[::-1])[::-1]
    fixed, swapped = image.copy(), scores.astype(">f4")
    fixed.flags.writeable = False
    assert_alike(dense_crf(scores, backwards, device="cuda"), expected)
    assert_alike(dense_crf(swapped, fixed, device="cuda"), expected)


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
        cuda_lattice.clear_cache()
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
    for options in ({}, {"log": True}, {"image_of_first": True}):
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
    arrays = arrays_or_reason("torch")
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
        (lambda s, i: (s, i > 100), "image must be of real numbers, got bool"),
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
        _C.CudaMeanField(0, 5, 6, 3, [(lattice, 1.0, None, None, None)], False)
    memory = arrays.empty(lattice.nbytes + 16, "uint8")
    room = arrays.empty(lattice.scratch_bytes, "uint8")
    scratch = arrays.view(room)
    with pytest.raises(ValueError, match="memory: expected memory aligned to 16 bytes"):
        lattice.build(None, arrays.view(memory[4:]), scratch, arrays.stream)
    lattice.build(None, arrays.view(memory), scratch, arrays.stream)
    neighbours = arrays.empty(lattice.table_bytes(lattice.max_vertices), "uint8")
    table = arrays.view(neighbours)
    with pytest.raises(ValueError, match="the number of vertices once they are counted, got 5"):
        lattice.connect(table, 5, arrays.stream)
    (vertices,) = _C.count_vertices([lattice], arrays.stream)
    with pytest.raises(ValueError, match=f"or the {vertices} vertices, got {vertices - 1}"):
        lattice.connect(table, vertices - 1, arrays.stream)
    lattice.connect(table, vertices, arrays.stream)
    costs = arrays.empty((3, 3), "float32")
    with pytest.raises(ValueError, match="costs: expected"):
        _C.CudaMeanField(0, 4, 5, 3, [(lattice, 1.0, None, None, arrays.view(costs))], False)
    costs = arrays.empty((2, 4), "float32")
    with pytest.raises(ValueError, match="kernel 0: expected 1 or 4 rows of costs, got 2"):
        _C.CudaMeanField(0, 4, 5, 3, [(lattice, 1.0, None, None, arrays.view(costs))], False)


def test_images_of_many_channels_are_refused(arrays: Any) -> None:
    image, scratch = arrays.empty((2, 2, 17), "float32"), arrays.empty(8 * 17, "uint8")
    with pytest.raises(ValueError, match="at most 16 channels"):
        _C.channel_ranges(arrays.view(image), arrays.view(scratch), arrays.stream)
