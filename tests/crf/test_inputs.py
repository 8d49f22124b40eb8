"""What scores are: the caller says it, or it is noticed where they are beyond doubt something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_caffe.crf import CRFParams, DenseCRF, DenseCRF2D, MeanField, dense_crf
from deeplab_caffe.crf.inputs import apparent_kind, as_kind, image_sizes, shape_advice, validate_compatibility
from deeplab_caffe.crf.params import validate_weight
from deeplab_caffe.errors import CRFError

HEIGHT, WIDTH, LABELS = 11, 9, 4
PARAMS = CRFParams(3, 3, 4, 20, 30, iterations=3)

Door = Callable[..., np.ndarray]


def by_dense_crf(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return dense_crf(scores, image, PARAMS, **how)


def by_batch(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return dense_crf(scores[None], image[None], PARAMS, **how)[0]


def by_tensors(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return dense_crf(torch.from_numpy(scores), torch.from_numpy(image), PARAMS, **how).numpy()


def by_object(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return DenseCRF2D.for_image(image, PARAMS).infer(scores, **how)


def by_steps(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return DenseCRF2D.for_image(image, PARAMS).start(scores, **how).step(3).marginals()


def by_points(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    features = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1).T / np.float32(3)
    crf = DenseCRF(HEIGHT * WIDTH, iterations=3)
    crf.add_pairwise(features, 3)
    found = crf.infer(scores.reshape(len(scores), -1), **how)
    return found.reshape(len(found), HEIGHT, WIDTH)


def by_module(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    module = MeanField(max(2, len(scores)), PARAMS, **how)
    return module(torch.from_numpy(scores)[None], torch.from_numpy(image)[None])[0].detach().numpy()


DOORS = [by_dense_crf, by_batch, by_tensors, by_object, by_steps, by_points, by_module]


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def scores(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(scale=2, size=(LABELS, HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture
def probabilities(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores)
    return powers / powers.sum(0)


@pytest.mark.parametrize("door", DOORS)
def test_the_three_kinds_say_the_same(
    door: Door, scores: np.ndarray, probabilities: np.ndarray, image: np.ndarray
) -> None:
    expected = door(scores, image)
    np.testing.assert_array_equal(door(scores, image, kind="scores"), expected)
    np.testing.assert_allclose(door(np.log(probabilities), image), expected, atol=2e-5)  # log-softmax: silent
    np.testing.assert_allclose(door(probabilities, image, kind="probabilities"), expected, atol=2e-5)
    np.testing.assert_allclose(door(-np.log(probabilities), image, kind="energies"), expected, atol=2e-5)


@pytest.mark.parametrize("door", DOORS)
def test_probabilities_and_energies_are_noticed(door: Door, probabilities: np.ndarray, image: np.ndarray) -> None:
    one_hot = (probabilities == probabilities.max(0)).astype(np.float32)
    rounded = probabilities.astype(np.float16).astype(np.float32)
    for found in (probabilities, one_hot, rounded, probabilities.clip(1e-5, 1)):
        with pytest.raises(CRFError, match='scores sum to 1 at every pixel.*say kind="probabilities"'):
            door(found, image)
        assert np.isfinite(door(found, image, kind="scores")).all()
    for found in (-np.log(probabilities), -np.log(one_hot.clip(1e-5, 1))):
        with pytest.raises(CRFError, match='these are energies.*say kind="energies"'):
            door(found, image)
        assert np.isfinite(door(found, image, kind="scores")).all()


@pytest.mark.parametrize("door", DOORS)
def test_one_pixel_that_does_not_sum_to_1_makes_them_scores(
    door: Door, probabilities: np.ndarray, image: np.ndarray
) -> None:
    probabilities[:, 5, 3] *= 1.5  # not among the pixels that are looked at first
    assert np.isfinite(door(probabilities, image)).all()


@pytest.mark.parametrize("door", DOORS)
def test_one_channel_is_the_foreground(door: Door, image: np.ndarray, rng: np.random.Generator) -> None:
    logit = rng.normal(size=(1, HEIGHT, WIDTH)).astype(np.float32)
    foreground = 1 / (1 + np.exp(-logit))
    expected = door(np.concatenate([np.zeros_like(logit), logit]), image)
    assert expected.shape == (2, HEIGHT, WIDTH)
    np.testing.assert_array_equal(door(logit, image, kind="scores"), expected)
    np.testing.assert_allclose(door(foreground, image, kind="probabilities"), expected, atol=2e-5)
    np.testing.assert_allclose(door(-np.log(foreground), image, kind="energies"), expected, atol=2e-5)
    for one in (logit, foreground):
        with pytest.raises(CRFError, match='have one channel: the foreground.*kind="scores"'):
            door(one, image)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_said_and_cannot_be(
    door: Door, probabilities: np.ndarray, scores: np.ndarray, image: np.ndarray
) -> None:
    with pytest.raises(CRFError, match='logarithms of probabilities, without the minus; say kind="scores"'):
        door(np.log(probabilities), image, kind="energies")
    with pytest.raises(CRFError, match='kind="energies", but they sum to 1.*say kind="probabilities"'):
        door(probabilities, image, kind="energies")
    with pytest.raises(CRFError, match='kind="probabilities", but exp.* these are energies'):
        door(-np.log(probabilities), image, kind="probabilities")
    with pytest.warns(UserWarning, match=r"probabilities go up to 2\d\.\d+, and their sums differ.*are they scores"):
        door(scores.clip(0, 9) * 5 + 1 - np.float32(scores.max() > 9), image, kind="probabilities")


@pytest.mark.parametrize("door", DOORS)
def test_one_channel_of_half_precision(door: Door, image: np.ndarray, rng: np.random.Generator) -> None:
    # Where the energy is 0, the background's is beyond half precision.
    energies = rng.integers(0, 9, size=(1, HEIGHT, WIDTH)).astype(np.float16)
    assert (energies == 0).any()
    found = door(energies, image, kind="energies")
    np.testing.assert_array_equal(found, door(energies.astype(np.float32), image, kind="energies"))


@pytest.mark.parametrize("door", DOORS)
def test_one_channel_a_little_above_1(door: Door, image: np.ndarray) -> None:
    foreground = np.full((1, HEIGHT, WIDTH), 0.25, np.float32)
    foreground[0, 0, :2] = 1, np.nextafter(np.float32(1), np.float32(2))
    found = door(foreground, image, kind="probabilities")
    foreground[0, 0, 1] = 1
    np.testing.assert_allclose(found, door(foreground, image, kind="probabilities"), atol=1e-6)


@pytest.mark.parametrize("door", DOORS)
def test_one_channel_that_is_not_what_is_said(door: Door, image: np.ndarray) -> None:
    mask = np.full((1, HEIGHT, WIDTH), 255, np.float32)
    with pytest.raises(CRFError, match="probabilities of one channel must be from 0 to 1, got 255: .*Divide by 255"):
        door(mask, image, kind="probabilities")
    with pytest.raises(CRFError, match="energies of one channel must not be negative, got -255: a logit"):
        door(-mask, image, kind="energies")


def test_each_item_of_a_batch_is_looked_at(scores: np.ndarray, probabilities: np.ndarray, image: np.ndarray) -> None:
    several, images = np.stack([scores, probabilities]), np.stack([image, image])
    for door in (by_batches_of_torch, dense_crf):
        with pytest.raises(CRFError, match="scores sum to 1"):
            door(several, images)


def by_batches_of_torch(scores: np.ndarray, images: np.ndarray) -> np.ndarray:
    return MeanField(LABELS, PARAMS)(torch.from_numpy(scores), torch.from_numpy(images)).detach().numpy()


def test_probabilities_stored_in_bytes_are_noticed(image: np.ndarray, rng: np.random.Generator) -> None:
    """21 classes, each rounded to a 255th: the sums lie up to 0.04 beside 1."""
    powers = np.exp(rng.normal(size=(21, HEIGHT, WIDTH)))
    stored = (powers / powers.sum(0) * 255).round().astype(np.float32) / 255
    assert abs(stored.sum(0) - 1).max() > 0.01
    with pytest.raises(CRFError, match="scores sum to 1"):
        dense_crf(stored, image)


@pytest.mark.parametrize("door", [by_dense_crf, by_object, by_points])
def test_label_maps_and_one_hot_in_place_of_scores(door: Door, scores: np.ndarray, image: np.ndarray) -> None:
    for dtype in (np.uint8, bool, np.int64):
        with pytest.raises(CRFError, match=r"floating point, got \w+: a label map or one-hot\? .*unary_from_labels"):
            door((scores > 0).astype(dtype), image)


def test_scores_and_images_that_are_no_tensors(scores: np.ndarray, image: np.ndarray) -> None:
    module = MeanField(LABELS, PARAMS)
    with pytest.raises(CRFError, match=r"scores must be a torch tensor, got ndarray: take torch.from_numpy\(scores\)"):
        module(scores[None], torch.from_numpy(image)[None])
    with pytest.raises(CRFError, match="image must be a torch tensor, got ndarray"):
        module(torch.from_numpy(scores)[None], image[None])


def test_a_batch_of_scores_and_one_image(scores: np.ndarray, image: np.ndarray) -> None:
    one = r"image must be .* batch \(N, H, W, 3\), as the scores are of 1, but is one, \(11, 9, 3\): take image\[None\]"
    for photo in (image, torch.from_numpy(image), Image.fromarray(image)):
        with pytest.raises(CRFError, match=one):
            dense_crf(scores[None], photo)
        with pytest.raises(CRFError, match=one):
            dense_crf([scores], photo)
    for wrong in ("photo.jpg", Path("photo.jpg"), 3):
        with pytest.raises(CRFError, match=r"image must be a list or a batch \(N, H, W, 3\), got .*(photo.jpg|3)"):
            dense_crf(scores[None], wrong)
    np.testing.assert_array_equal(dense_crf(scores[None], iter([image]))[0], dense_crf(scores, image))


def test_certain_pixels_of_a_mask(image: np.ndarray) -> None:
    mask = np.zeros((1, HEIGHT, WIDTH), np.float32)
    mask[:, 3:6] = 1
    for kind, values in (("probabilities", mask), ("energies", -np.log(mask.clip(1e-5, 1)))):
        found = dense_crf(values, image, PARAMS, kind=kind)
        np.testing.assert_array_equal(found.argmax(0), mask[0])


def test_the_older_spelling(probabilities: np.ndarray, image: np.ndarray) -> None:
    expected = dense_crf(probabilities, image, kind="probabilities")
    np.testing.assert_array_equal(dense_crf(probabilities, image, probabilities=True), expected)
    crf = DenseCRF2D.for_image(image)
    np.testing.assert_array_equal(crf.infer(probabilities, probabilities=True), expected)
    # It never said what becomes of one channel: that is asked.
    with pytest.raises(CRFError, match="have one channel"):
        dense_crf(probabilities[:1], image, probabilities=True)
    assert as_kind(None, True) == as_kind("probabilities", True) == "probabilities"
    with pytest.raises(CRFError, match="contradict each other"):
        dense_crf(probabilities, image, kind="scores", probabilities=True)


@pytest.mark.parametrize("door", [by_dense_crf, by_object, by_steps, by_points, by_module])
@pytest.mark.parametrize("kind", ["logits", "Scores", 1, True])
def test_other_words(door: Door, kind: Any, scores: np.ndarray, image: np.ndarray) -> None:
    with pytest.raises(CRFError, match="kind must be scores, probabilities or energies, got"):
        door(scores, image, kind=kind)


def test_a_mask_is_told_how_to_become_two_channels(image: np.ndarray) -> None:
    for mask in (np.ones((HEIGHT, WIDTH)), np.ones((HEIGHT, WIDTH), bool)):
        with pytest.raises(
            CRFError, match=r"scores must be \(C, H, W\), got shape \(11, 9\): .*np.stack\(\[1 - p, p\]\)"
        ):
            dense_crf(mask, image)
        with pytest.raises(CRFError, match=r"np.stack\(\[1 - p, p\]\)"):
            DenseCRF2D.for_image(image).infer(mask)


def test_what_becomes_of_an_image_of_another_shape() -> None:
    first, grey, alone, alpha = "image.transpose(1, 2, 0)", "np.stack", "np.repeat", "image[..., :3]"
    for shape, size, advice in (
        ((3, 4, 5), (4, 5), first), ((3, 4, 5), None, first), ((3, 4, 5), (5, 4), ""), ((4, 3, 5), None, ""),
        ((4, 5), (4, 5), grey), ((4, 5), None, grey), ((4, 5), (5, 4), ""),
        ((4, 5, 1), (4, 5), alone), ((4, 5, 1), None, alone), ((4, 5, 1), (5, 4), ""),
        ((4, 5, 4), (4, 5), alpha), ((4, 5, 4), None, alpha), ((4, 5, 2), None, ""),
        ((1, 4, 5, 3), (4, 5), "image[0]"), ((2, 4, 5, 3), (4, 5), ""),
    ):  # fmt: skip
        found = shape_advice(shape, size)
        assert advice in found
        assert bool(found) == bool(advice)


def test_parts_of_images_are_within_the_blob() -> None:
    shape = (2, 21, 4, 5)
    assert image_sizes(None, shape) == [(4, 5)] * 2
    assert image_sizes(np.array([1, 9]), shape) == [(1, 5)] * 2
    assert image_sizes(np.array([[2.9, 1], [9, 3]]), shape) == [(2, 1), (4, 3)]
    for sizes in ([0, 3], [0.9, 3], [3, np.inf], [np.nan, 3]):
        with pytest.raises(CRFError, match="data_dim must be heights and widths of 1 or more, got"):
            image_sizes(np.array(sizes), shape)
    for sizes in ([3], [1, 2, 3], [1] * 6):
        with pytest.raises(CRFError, match=r"data_dim must hold .height, width. of each of 2 images, got shape"):
            image_sizes(np.array(sizes), shape)


def test_energies_must_be_finite(image: np.ndarray) -> None:
    energies = np.zeros((2, HEIGHT, WIDTH))
    energies[1] = np.inf
    with pytest.raises(CRFError, match="energies must be finite .*from 0.0 to inf"):
        dense_crf(energies, image, kind="energies")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.25, 0.75], "probabilities"),
        ([1.05, -0.05], "probabilities"),  # a resize's overshoot
        ([0.6, 0.6], None),
        ([1.5, -0.5], None),
        ([np.log(2), np.log(2)], "energies"),
        ([0.0, 11.5], "energies"),
        ([-np.log(2), -np.log(2)], None),
        ([3e38, 3e38], None),
        ([0.0, 0.0], None),
    ],
)
def test_apparent_kind(values: list[float], kind: str | None) -> None:
    assert apparent_kind(np.array(values, np.float32)[:, None, None]) == kind
    several = np.tile(np.array(values, np.float32)[:, None, None], (1, 20, 30))
    assert apparent_kind(several) == kind


def test_gradients_through_every_kind(scores: np.ndarray, probabilities: np.ndarray, image: np.ndarray) -> None:
    colours = torch.from_numpy(image)[None]
    for kind, values in (("probabilities", probabilities), ("energies", -np.log(probabilities))):
        leaf = torch.from_numpy(values)[None].requires_grad_()
        MeanField(LABELS, PARAMS, kind=kind)(leaf, colours)[0, 0].sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.abs().max() > 0
    logit = torch.from_numpy(scores[:1])[None].requires_grad_()
    MeanField(2, PARAMS, kind="scores")(logit, colours)[0, 1].sum().backward()
    assert logit.grad.abs().max() > 0


def test_a_device_of_torchs(scores: np.ndarray, image: np.ndarray) -> None:
    cpu = torch.device("cpu")
    np.testing.assert_array_equal(dense_crf(scores, image, PARAMS, device=cpu), dense_crf(scores, image, PARAMS))
    assert DenseCRF2D((3, 4), device=cpu).points == DenseCRF(12, device=cpu).points == 12
    with pytest.raises(CRFError, match="device must be cpu, cuda or cuda:<index>, got 0"):
        dense_crf(scores, image, device=0)


@pytest.mark.parametrize("wrong", ["x.npy", Path("x.npy"), b"x", None])
def test_what_is_no_array_is_named(scores: np.ndarray, image: np.ndarray, wrong: Any) -> None:
    advice = "$" if wrong is None else ".*: read the file first, an image by deeplab_caffe.data.load_image"
    with pytest.raises(
        CRFError, match=f"scores must be of real numbers, an array, got {'None' if wrong is None else ''}{advice}"
    ):
        dense_crf(wrong, image)
    if wrong is not None:
        with pytest.raises(CRFError, match=f"image must be of real numbers, an array, got {advice}"):
            dense_crf(scores, wrong)


def test_costs_at_their_bounds() -> None:
    """1e14 in float32 is a little more, and was said to be outside of its own range."""
    for costs in (np.full(2, 1e14), np.full((2, 2), -1e14, np.float32)):
        np.testing.assert_array_equal(validate_compatibility(costs), costs.astype(np.float32))
    assert validate_weight("pos_w", np.float32(1e14)) == np.float32(1e14)
    with pytest.raises(CRFError, match=r"from -1e\+14 to 1e\+14, got 1\.00000009e\+14"):
        validate_compatibility(np.full(2, np.nextafter(np.float32(1e14), np.float32(np.inf))))


def test_scores_that_are_nan_are_counted(scores: np.ndarray, image: np.ndarray) -> None:
    """It was said that they were from nan to nan."""
    scores = scores.copy()
    scores[0, 1, 2] = scores[1, 0, 0] = np.nan
    with pytest.raises(CRFError, match=rf"scores must be finite \(in float32\), got NaN at 2 of {scores.size}$"):
        dense_crf(scores, image)
