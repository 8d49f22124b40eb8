"""Images of other ranges than 0 to 255: refused with what to do, or taken as the caller says, at every door."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import deeplab_caffe.pydensecrf.densecrf as dcrf
from deeplab_caffe.crf import CRFParams, DenseCRF2D, MeanField, dense_crf
from deeplab_caffe.crf.colours import validate_colours
from deeplab_caffe.errors import CRFError

HEIGHT, WIDTH, LABELS = 5, 7, 3
PARAMS = CRFParams(1, 2, 10, 20, 15, iterations=2)

Door = Callable[..., np.ndarray]


def by_dense_crf(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return dense_crf(scores, image, PARAMS, **how)


def by_list(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return dense_crf([scores, scores], [image, image], PARAMS, **how)[1]


def by_object(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    return DenseCRF2D.for_image(image, PARAMS, **how).infer(scores)


def by_kernels(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    crf = DenseCRF2D((HEIGHT, WIDTH), iterations=2)
    crf.add_gaussian(2, 1)
    crf.add_bilateral(image, 20, 15, 10, **how)
    return crf.infer(scores)


def by_module(scores: np.ndarray, image: np.ndarray, **how: Any) -> np.ndarray:
    module = MeanField(LABELS, PARAMS, **how)
    return (
        module(torch.from_numpy(scores)[None], torch.from_numpy(np.ascontiguousarray(image))[None])[0].detach().numpy()
    )


DOORS = [by_dense_crf, by_list, by_object, by_kernels, by_module]


@pytest.fixture
def scores(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(scale=2, size=(LABELS, HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint16, np.float16])
def test_0_to_255_of_any_dtype_is_the_uint8_image(
    door: Door, dtype: Any, scores: np.ndarray, image: np.ndarray
) -> None:
    if door is by_module and dtype == np.uint16:
        pytest.skip("torch computes nothing with uint16")
    np.testing.assert_array_equal(door(scores, image.astype(dtype)), door(scores, image))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image / np.float32(255), r"from 0 to 1\? Say image_range=\(0, 1\)"),
        (lambda image: image / np.float64(127.5) - 1, r"from -1 to 1\? Say image_range=\(-1, 1\)"),
        (lambda image: (image / 255 - 0.45) / 0.225, r"normalised\? Undo it"),
        (lambda image: image - np.float32(120), r"is a mean subtracted\? Add it"),
        (lambda image: image.astype(np.int16) - 120, r"is a mean subtracted\? Add it"),
        (lambda image: image.astype(np.int32) * 257, r"more than 8 bits\? .*image_range=\(0, 65535\)"),
        (lambda image: image.astype(np.float32) * 4, r"more than 8 bits\? .*image_range=\(0, 1023\)"),
        (lambda image: image * np.float32(1.1), r"a resize's overshoot\? Take image.clip\(0, 255\)"),
        (lambda image: np.where(image > 9, np.nan, image), "image must be finite"),
    ],
)
def test_images_of_other_ranges_are_refused(
    door: Door, change: Callable, message: str, scores: np.ndarray, image: np.ndarray
) -> None:
    image[0, 0], image[0, 1] = 0, 255
    with pytest.raises(CRFError, match=message):
        door(scores, change(image))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("change", "image_range"),
    [
        (lambda image: image / np.float32(255), (0, 1)),
        (lambda image: image / np.float32(127.5) - 1, (-1, 1)),
        (lambda image: image.astype(np.int32) * 257, (0, 65535)),
        (lambda image: image // 128, (0, 1)),
        (lambda image: image.astype(np.float32), (0, 255)),
    ],
)
def test_the_caller_says_what_black_and_white_are(
    door: Door, change: Callable, image_range: tuple, scores: np.ndarray, image: np.ndarray
) -> None:
    given = change(image)
    levels = image // 128 * 255 if image_range == (0, 1) and given.dtype == np.uint8 else image
    np.testing.assert_array_equal(door(scores, given, image_range=image_range), door(scores, levels))


@pytest.mark.parametrize("door", DOORS)
def test_a_range_that_the_image_does_not_have(door: Door, scores: np.ndarray, image: np.ndarray) -> None:
    image[0, 0], image[0, 1] = 0, 255
    with pytest.raises(CRFError, match=r"image_range says 0 to 1, but image is not: got values from 0 to 255"):
        door(scores, image, image_range=(0, 1))
    for bad in ((1, 0), 1, "ab", (0, np.inf), (0, 1, 2)):
        with pytest.raises(CRFError, match=r"image_range must be \(black, white\)"):
            door(scores, image, image_range=bad)


@pytest.mark.parametrize("door", DOORS)
def test_dark_images(door: Door, scores: np.ndarray, image: np.ndarray) -> None:
    dark = image // 200  # 0 and 1
    for whole in (dark, dark.astype(np.int64)):
        # Black and white, or nearly black: taken as it is, but not in silence.
        with pytest.warns(UserWarning, match=r"from 0 to 1: say image_range=\(0, 1\), or \(0, 255\)"):
            found = door(scores, whole)
        np.testing.assert_array_equal(found, door(scores, dark, image_range=(0, 255)))
    expected = door(scores, dark, image_range=(0, 255))
    # Of a float image nobody can tell.
    with pytest.raises(CRFError, match=r"image_range=\(0, 255\) if it is nearly black"):
        door(scores, dark.astype(np.float32))
    np.testing.assert_array_equal(door(scores, dark.astype(np.float32), image_range=(0, 255)), expected)
    np.testing.assert_array_equal(door(scores, np.zeros_like(image, np.float32)), door(scores, np.zeros_like(image)))


def test_differences_of_colours_alone_count() -> None:
    # Black beside white; scores whose edge lies a column beside the image's, and a mean that is subtracted.
    image = np.repeat(np.array([[0, 0, 0, 255, 255, 255]], np.float32), 5, 0)[..., None].repeat(3, 2)
    scores = np.stack([image[..., 0] * 0, np.float32([[-3, -3, 0.5, 3, 3, 3]] * 5)])
    params = CRFParams(0, 3, 10, 20, 10)
    for same in (image, image - 104):
        labels = dense_crf(scores, same, params, image_range=(0, 255)).argmax(0)
        np.testing.assert_array_equal(labels, image[..., 0] / 255)


@pytest.mark.parametrize(
    ("low", "high", "floating"),
    [(0, 255, True), (-0.4, 255.4, True), (3, 7.5, True), (0, 2, False), (0, 0, True), (0, 3, True)],
)
def test_what_is_0_to_255(low: float, high: float, floating: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        validate_colours(low, high, floating, None)


def test_bright_colours_that_are_normalised() -> None:
    """White of ImageNet's mean and deviation is 2.64; bright images have little below 0."""
    with pytest.raises(CRFError, match=r"normalised\? Undo it .*or image_range=\(0, 255\) if it is nearly black"):
        validate_colours(-0.3, 2.64, True, None)


def test_each_image_of_a_batch_is_looked_at(scores: np.ndarray, image: np.ndarray) -> None:
    several = torch.from_numpy(np.stack([image, image / 255]))
    with pytest.raises(CRFError, match="from 0 to 1"):
        MeanField(LABELS, PARAMS)(torch.from_numpy(np.stack([scores, scores])), several)


@pytest.mark.parametrize("door", [by_dense_crf, by_object, by_kernels])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image.transpose(2, 0, 1), r"channels first\? Take image.transpose\(1, 2, 0\)"),
        (lambda image: image[..., 0], r"grey\? Take np.stack\(\[image\] \* 3, axis=-1\)"),
        (lambda image: image[..., :1], r"grey\? Take np.repeat\(image, 3, axis=-1\)"),
        (lambda image: image[..., [0, 1, 2, 0]], r"RGBA\? Take image\[..., :3\]"),
        (lambda image: image[None], r"a batch of one\? Take image\[0\]"),
    ],
)
def test_images_of_other_shapes_are_told_what_to_do(
    door: Door, change: Callable, message: str, scores: np.ndarray, image: np.ndarray
) -> None:
    with pytest.raises(CRFError, match=message):
        door(scores, change(image))


def test_an_image_of_bool(scores: np.ndarray, image: np.ndarray) -> None:
    with pytest.raises(CRFError, match=r"real numbers, got bool: take image \* np.uint8\(255\)"):
        by_dense_crf(scores, image > 100)


def by_pydensecrf(image: np.ndarray, **how: Any) -> np.ndarray:
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.setUnaryEnergy(np.arange(LABELS * HEIGHT * WIDTH, dtype=np.float32).reshape(LABELS, -1) % 5)
    crf.addPairwiseBilateral(sxy=20, srgb=15, rgbim=image, compat=10, **how)
    return crf.inference(2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16])
def test_pydensecrf_takes_whole_numbers_from_0_to_255(dtype: Any, image: np.ndarray) -> None:
    np.testing.assert_array_equal(by_pydensecrf(image.astype(dtype)), by_pydensecrf(image))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image / np.float32(255), r"got float32: .*from 0 to 1\? Say image_range=\(0, 1\)"),
        (lambda image: image * np.float32(0.9), r"got float32 with fractions: take rgbim.round\(\).astype\(np.uint8\)"),
        (lambda image: image.astype(np.uint16) * 257, r"got uint16: .*more than 8 bits"),
        (lambda image: image - np.float32(120), "got float32: .*is a mean subtracted"),
        (lambda image: image > 100, "got bool: image must be of real numbers"),
    ],
)
def test_pydensecrf_says_what_to_do(change: Callable, message: str, image: np.ndarray) -> None:
    image[0, 0], image[0, 1] = 0, 255
    with pytest.raises(CRFError, match="rgbim must be uint8 from 0 to 255, " + message) as error:
        by_pydensecrf(change(image))
    assert "* 255" not in str(error.value)


def test_pydensecrf_with_a_range(image: np.ndarray) -> None:
    found = by_pydensecrf(image / np.float32(255), image_range=(0, 1))
    np.testing.assert_array_equal(found, by_pydensecrf(image))
