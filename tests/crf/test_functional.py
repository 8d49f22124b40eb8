from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.crf import CRFMemoryError, CRFParams, clear_cache, dense_crf, layer_inference, memory
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.errors import CRFError
from tests.goldens import CRF_TOLERANCE, case_dir, case_names, load_case

MEAN = np.array([104.008, 116.669, 122.675], np.float32).reshape(3, 1, 1)


def random_case(rng: np.random.Generator, labels: int = 3, height: int = 9, width: int = 11) -> tuple:
    scores = rng.normal(scale=2, size=(labels, height, width)).astype(np.float32)
    return scores, rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)


# dense_crf


def test_any_memory_layout_and_type(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    expected = dense_crf(scores, image)
    assert expected.dtype == np.float32
    assert expected.flags.c_contiguous
    frozen = scores.copy()
    frozen.setflags(write=False)
    channels_last = np.ascontiguousarray(scores.transpose(1, 2, 0)).transpose(2, 0, 1)
    for same in (scores.astype(np.float64), np.asfortranarray(scores), frozen, channels_last, scores.astype(">f4")):
        np.testing.assert_array_equal(dense_crf(same, image), expected)
    wide = np.zeros((9, 22, 3), np.uint8)
    wide[:, ::2] = image
    for same in (image.astype(np.float32), image.astype(np.int64), wide[:, ::2], image[::-1, ::-1][::-1, ::-1]):
        np.testing.assert_array_equal(dense_crf(scores, same), expected)


def test_inputs_are_left_alone(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    copies = scores.copy(), image.copy()
    dense_crf(scores, image)
    np.testing.assert_array_equal(scores, copies[0])
    np.testing.assert_array_equal(image, copies[1])


def test_no_image_leaves_the_colour_kernels_out(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    np.testing.assert_array_equal(dense_crf(scores, None), dense_crf(scores, image, CRFParams(bi_w=0)))
    assert not np.array_equal(dense_crf(scores, None), dense_crf(scores, image))


def test_probabilities_count_by_their_logarithm(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    powers = np.exp(scores)
    expected = dense_crf(scores, image)
    with pytest.warns(UserWarning, match='their sums differ from pixel to pixel.*kind="scores"'):
        found = dense_crf(powers, image, probabilities=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(dense_crf(powers / powers.sum(0), image, probabilities=True), expected, atol=1e-5)


def test_a_probability_of_zero_rules_a_label_out(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    powers = np.exp(scores)
    powers /= powers.sum(0)
    powers[1, 4, 5] = 0
    marginals = dense_crf(powers, image, CRFParams(pos_w=50), probabilities=True)
    assert marginals[1, 4, 5] == 0
    assert np.isfinite(marginals).all()


def test_iterations_are_those_of_the_parameters_unless_given(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    two = dense_crf(scores, image, CRFParams(iterations=2))
    np.testing.assert_array_equal(dense_crf(scores, image, iterations=2), two)
    assert not np.array_equal(dense_crf(scores, image), two)


@pytest.mark.parametrize(
    ("scores", "image", "message"),
    [
        ((21, 375, 500), (500, 375, 3), "scores are (21, 375, 500) but the image is (500, 375, 3): transpose?"),
        ((21, 40, 50), (3, 40, 50), "scores are (21, 40, 50) but the image is (3, 40, 50): transpose?"),
        ((40, 50, 21), (40, 50, 3), "scores are (40, 50, 21) but the image is (40, 50, 3): transpose?"),
        ((4, 5, 6), (7, 8, 3), "scores are (4, 5, 6) but the image is (7, 8, 3): expected (C, H, W) and (H, W, 3)"),
        ((4, 5, 6), (5, 6), "scores are (4, 5, 6) but the image is (5, 6): expected (C, H, W) and (H, W, 3)"),
        ((4, 5, 6), (5, 6, 4), "scores are (4, 5, 6) but the image is (5, 6, 4): expected (C, H, W) and (H, W, 3)"),
        ((5, 6), (5, 6, 3), "scores must be (C, H, W), got shape (5, 6)"),
        ((4, 0, 6), (0, 6, 3), "scores are empty: (C, H, W) = (4, 0, 6)"),
        ((0, 5, 6), (5, 6, 3), "scores are empty"),
    ],
)
def test_shapes_that_do_not_fit(scores: tuple, image: tuple, message: str) -> None:
    with pytest.raises(CRFError, match=re.escape(message)):
        dense_crf(np.zeros(scores, np.float32), np.zeros(image, np.uint8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_scores_must_be_finite(bad: float) -> None:
    scores = np.zeros((2, 3, 4))
    scores[1, 2, 0] = bad
    with pytest.raises(CRFError, match="scores must be finite"):
        dense_crf(scores, None)


def test_other_bad_values() -> None:
    scores, image = np.zeros((2, 3, 4), np.float32), np.zeros((3, 4, 3))
    with pytest.raises(CRFError, match="scores must be floating point, got int64"):
        dense_crf(scores.astype(np.int64), None)
    with pytest.raises(CRFError, match="image must be finite"):
        dense_crf(scores, np.full_like(image, np.nan))
    with pytest.raises(CRFError, match="image must be of real numbers, got bool"):
        dense_crf(scores, image.astype(bool))
    with pytest.raises(CRFError, match="probabilities must not be negative, got -1"):
        dense_crf(scores - 1, image, probabilities=True)
    with pytest.raises(CRFError, match="probabilities are 0 for every label at row 0, column 0"):
        dense_crf(scores, image, probabilities=True)
    with pytest.raises(CRFError, match="iterations must not be negative"):
        dense_crf(scores, image, iterations=-1)


@pytest.mark.parametrize("std", [1e-6, 1e-42, 1e-300])
def test_deviations_too_small_for_the_image(std: float) -> None:
    with pytest.raises(CRFError, match=r"kernel with xy_std \(3.0, 3.0\) and rgb_std .*1e-"):
        dense_crf(np.zeros((2, 3, 4)), np.full((3, 4, 3), 255), CRFParams(bi_xy_std=3, bi_rgb_std=std))


def test_small_deviations_widen_the_keys(rng: np.random.Generator) -> None:
    # Every pixel is alone with its colour, so that the normalised filter gives Q back.
    scores, image = random_case(rng)
    params = CRFParams(pos_w=0, bi_w=2, bi_xy_std=1, bi_rgb_std=2e-3)
    expected = dense_crf(scores, None, CRFParams(pos_w=2, pos_xy_std=0.01), sse_padding=False)
    np.testing.assert_allclose(dense_crf(scores, image, params, sse_padding=False), expected, atol=1e-5)


def test_memory_is_asked_for_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda **_: 30_000)
    with pytest.raises(CRFMemoryError, match="the dense CRF of a 20 x 10 image with 5 labels needs at least"):
        dense_crf(np.zeros((5, 10, 20)), np.zeros((10, 20, 3)))
    assert dense_crf(np.zeros((2, 2, 2)), np.zeros((2, 2, 3))).shape == (2, 2, 2)


def test_memory_is_asked_for_before_anything_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda **_: 30_000)
    monkeypatch.setattr(CpuBackend, "float32", lambda *_: pytest.fail("converts the scores"))
    monkeypatch.setattr(CpuBackend, "colours", lambda *_: pytest.fail("converts the image"))
    with pytest.raises(CRFMemoryError, match="50 x 40 image with 2 labels"):
        dense_crf(np.zeros((2, 40, 50)), np.zeros((40, 50, 3), np.uint8))


def test_an_image_too_large_is_refused_without_touching_its_memory() -> None:
    # 30,000 x 30,000 pixels that all share one: nothing of this size exists until the check is passed.
    scores = np.broadcast_to(np.float32(0), (2, 30_000, 30_000))
    if memory.available_memory() is None or memory.available_memory() > 100 << 30:
        pytest.skip("this machine may have the memory")
    with pytest.raises(CRFMemoryError, match="30000 x 30000 image with 2 labels needs at least"):
        dense_crf(scores, None)


def test_torch_is_not_imported() -> None:
    modules = "deeplab_caffe.crf, deeplab_caffe.crf_search.search, deeplab_caffe.experiment.refine"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_a_batch_or_a_list_is_image_by_image(rng: np.random.Generator, for_threads: Callable) -> None:
    cases = [random_case(rng, 3, height, width) for height, width in ((9, 11), (4, 5), (9, 11))]
    expected = [dense_crf(*case) for case in cases]
    scores, images = [list(column) for column in zip(*cases, strict=True)]
    for results in for_threads(lambda: dense_crf(scores, images)):
        assert isinstance(results, list)
        for actual, one in zip(results, expected, strict=True):
            np.testing.assert_array_equal(actual, one)
    batch = dense_crf(np.stack(scores[::2]), np.stack(images[::2]))
    np.testing.assert_array_equal(batch, np.stack(expected[::2]))
    np.testing.assert_array_equal(dense_crf(np.stack(scores[::2]), None)[1], dense_crf(scores[2], None))
    assert dense_crf([], []) == []


def test_a_batch_that_does_not_fit(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    with pytest.raises(CRFError, match="there are 2 images of scores but 1 images"):
        dense_crf([scores, scores], [image])
    with pytest.raises(CRFError, match=re.escape("scores are (3, 9, 11) but the image is (11, 9, 3): transpose?")):
        dense_crf([scores, scores], [image, image.transpose(1, 0, 2)])
    with pytest.raises(CRFError, match="scores are empty"):
        dense_crf(np.zeros((0, 3, 4, 5)), None)


def test_torch_tensors_in_torch_tensors_out(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    scores, image = random_case(rng)
    expected = dense_crf(scores, image)
    tensor = torch.from_numpy(scores).requires_grad_()
    for same in (
        tensor,
        torch.from_numpy(scores.astype(np.float64)),
        torch.from_numpy(scores.copy()).mT.contiguous().mT,
    ):
        for colours in (image, torch.from_numpy(image)):
            actual = dense_crf(same, colours)
            assert isinstance(actual, torch.Tensor)
            assert actual.dtype == torch.float32
            np.testing.assert_array_equal(actual.numpy(), expected)
    halves = torch.from_numpy(scores).bfloat16()
    np.testing.assert_array_equal(dense_crf(halves, image).numpy(), dense_crf(halves.float().numpy(), image))
    batch = dense_crf(torch.from_numpy(scores)[None], torch.from_numpy(image)[None])
    assert isinstance(batch, torch.Tensor)
    np.testing.assert_array_equal(batch[0].numpy(), expected)


def test_the_lattices_kept_can_be_given_back(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    expected = dense_crf(scores, image)
    clear_cache()
    np.testing.assert_array_equal(dense_crf(scores, image), expected)


# layer_inference


def test_layer_is_dense_crf_image_by_image(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 3, 6, 7)).astype(np.float32)
    image = rng.normal(scale=50, size=(2, 3, 6, 7)).astype(np.float32)
    params = CRFParams(bi_rgb_std=((30, 40, 50),))
    bgr_params = CRFParams(bi_rgb_std=((50, 40, 30),))
    actual = layer_inference(scores, None, image, params)
    for item in range(2):
        # The image's channels are B, G, R, which dense_crf would take for R, G, B.
        expected = dense_crf(scores[item], image[item].transpose(1, 2, 0), bgr_params, image_range=(0, 255))
        np.testing.assert_array_equal(actual[item], expected)
    of_first = layer_inference(scores, None, image, params, image_of_first=True)
    np.testing.assert_array_equal(of_first[0], actual[0])
    assert not np.array_equal(of_first[1], actual[1])
    np.testing.assert_array_equal(layer_inference(scores, None, image[:1], params, image_of_first=True), of_first)


def test_layer_crops_to_data_dim(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 3, 6, 7)).astype(np.float32)
    data_dim = np.array([[4, 5], [90, 6]], np.float32).reshape(2, 1, 1, 2)
    actual = layer_inference(scores, data_dim, None)
    np.testing.assert_array_equal(actual[0, :, :4, :5], dense_crf(scores[0, :, :4, :5], None))
    np.testing.assert_array_equal(actual[1, :, :, :6], dense_crf(scores[1, :, :, :6], None))
    assert not actual[0, :, 4:].any()
    assert not actual[0, :, :, 5:].any()
    assert not actual[1, :, :, 6:].any()
    np.testing.assert_array_equal(layer_inference(scores, data_dim[:1], None)[0], actual[0])


def test_layer_can_return_logarithms(rng: np.random.Generator) -> None:
    scores = rng.normal(scale=40, size=(1, 3, 6, 7)).astype(np.float32)
    marginals = layer_inference(scores, np.array([4, 5]), None)
    logarithms = layer_inference(scores, np.array([4, 5]), None, log=True)
    assert (marginals[..., :4, :5] == 0).any()
    expected = np.log(np.maximum(marginals[..., :4, :5].astype(np.float64), np.finfo(np.float32).tiny))
    np.testing.assert_allclose(logarithms[..., :4, :5], expected, rtol=1e-6)
    assert not logarithms[..., 4:, :].any()
    assert not logarithms[..., 5:].any()


@pytest.mark.parametrize("data_dim", [[0, 5], [4, -1], [np.nan, 5], [4, np.inf], [4], [4, 5, 6]])
def test_layer_refuses_what_is_no_size(data_dim: list) -> None:
    with pytest.raises(CRFError, match="data_dim must"):
        layer_inference(np.zeros((2, 3, 6, 7)), np.array(data_dim), None)


@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (1, 3, 6, 7), (2, 1, 6, 7), (3, 6, 7), (0, 3, 6, 7)])
def test_layer_refuses_images_that_do_not_fit(shape: tuple) -> None:
    with pytest.raises(CRFError, match=re.escape(f"the image blob is {shape}")):
        layer_inference(np.zeros((2, 3, 6, 7)), None, np.zeros(shape))


# What the original computed


def layer_params(prototxt: str) -> tuple[CRFParams, bool]:
    def values(name: str) -> tuple[float, ...]:
        return tuple(float(value) for value in re.findall(rf"\b{name}: ([\d.]+)", prototxt))

    params = CRFParams(
        *(values(name) for name in ("pos_w", "pos_xy_std", "bi_w", "bi_xy_std", "bi_rgb_std")),
        iterations=int(values("max_iter")[0]),
    )
    return params, "output_probability: false" not in prototxt


def load_blob(folder: Path, step: dict) -> np.ndarray:
    blob = np.load(folder / step["file"])
    return blob.astype(np.float32) - MEAN if blob.dtype == np.uint8 else blob


@pytest.mark.parametrize("name", case_names("crf_layer_"))
def test_golden_layer(name: str) -> None:
    folder = case_dir(name)
    blobs: dict[str, np.ndarray] = {}
    compared = 0
    for step in load_case(name)["steps"]:
        if step["op"] == "net":
            params, output_probability = layer_params((folder / step["file"]).read_text())
        elif step["op"] == "set_data":
            blobs[step["blob"]] = load_blob(folder, step)
        elif step["op"] == "forward":
            blobs["y"] = layer_inference(
                blobs["s"],
                blobs["d"],
                blobs.get("im"),
                params,
                log=not output_probability,
                image_of_first=True,
            )
        elif step["op"] == "get_data":
            expected = load_blob(folder, step)
            assert np.abs(blobs["y"] - expected).max() < CRF_TOLERANCE
            np.testing.assert_array_equal(blobs["y"].argmax(axis=1), expected.argmax(axis=1))
            compared += 1
    assert compared == 1


def test_golden_batch_has_its_own_colours_unless_asked_otherwise() -> None:
    folder = case_dir("crf_layer_batch2")
    scores, image, expected = (np.load(folder / f) for f in ("01_in_s.npy", "03_in_im.npy", "04_out_y.npy"))
    image = image.astype(np.float32) - MEAN if image.dtype == np.uint8 else image
    params, _ = layer_params((folder / "net.prototxt").read_text())
    actual = layer_inference(scores, None, image, params)
    assert np.abs(actual[0] - expected[0]).max() < CRF_TOLERANCE
    assert np.abs(actual[1] - expected[1]).max() > 100 * CRF_TOLERANCE
    alone = layer_inference(scores[1:], None, image[1:], params)
    np.testing.assert_array_equal(actual[1], alone[0])
