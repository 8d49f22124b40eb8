from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab_caffe.data import SegTransform, image_to_blob
from deeplab_caffe.data.sources.transform import Placement, crop_of
from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2


def by_hand(
    image: np.ndarray, label: np.ndarray, transform: SegTransform, words: list[int], ignore_label: int
) -> tuple[np.ndarray, np.ndarray]:
    """The original's steps one after the other: pad, crop, mirror while copying, in float32."""
    words = list(words)
    mirror = transform.mirror and words.pop(0) % 2 == 1
    mean = np.float32(transform.mean_value if len(transform.mean_value) == 3 else list(transform.mean_value or [0]) * 3)
    height, width = image.shape[:2]
    crop = transform.crop_size
    rows, columns = (crop or height), (crop or width)
    padded = np.empty((max(height, rows), max(width, columns), 3), np.float32)
    padded[:] = mean
    padded[:height, :width] = image[..., ::-1]
    labels = np.full(padded.shape[:2], ignore_label, np.float32)
    labels[:height, :width] = label
    h_off = w_off = 0
    if crop and transform.phase == "TRAIN":
        h_off, w_off = words.pop(0) % (len(padded) - crop + 1), words.pop(0) % (padded.shape[1] - crop + 1)
    elif crop:
        h_off, w_off = (len(padded) - crop) // 2, (padded.shape[1] - crop) // 2
    assert not words
    data = np.empty((3, rows, columns), np.float32)
    out = np.empty((rows, columns), np.float32)
    for y in range(rows):
        for x in range(columns):
            to = columns - 1 - x if mirror else x
            data[:, y, to] = (padded[h_off + y, w_off + x] - mean) * np.float32(transform.scale)
            out[y, to] = labels[h_off + y, w_off + x]
    return data, out


@given(
    st.sampled_from(["TRAIN", "TEST"]),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 9),
    st.booleans(),
    st.sampled_from([(), (110.5,), (104.008, 116.669, 122.675)]),
    st.sampled_from([1.0, 0.0078125, 0.017]),
    st.integers(0, 2**32 - 1),
)
def test_against_the_same_steps_by_hand(
    phase: str, height: int, width: int, crop: int, mirror: bool, mean: tuple[float, ...], scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    label = rng.integers(0, 21, (height, width), dtype=np.uint8)
    transform = SegTransform(phase, crop, mirror, mean, scale)  # type: ignore[arg-type]
    words = rng.integers(0, 2**32, transform.words_per_image).tolist()
    assert transform.needs_rand == bool(words)
    size = (crop, crop) if crop else (height, width)
    data, out = np.full((3, *size), np.nan, np.float32), np.full(size, np.nan, np.float32)
    placement = transform.place(height, width, words)
    transform.image_into(image, placement, data)
    transform.label_into(label, placement, out, 255)
    expected_data, expected_label = by_hand(image, label, transform, words, 255)
    np.testing.assert_array_equal(data, expected_data)
    np.testing.assert_array_equal(out, expected_label)


def test_channels_are_blue_green_red_minus_their_means() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    blob = image_to_blob(image, mean_value=(1, 2, 3), scale=2.0, size=(2, 3))
    assert blob.shape == (1, 3, 2, 3)
    assert blob.dtype == np.float32
    assert blob[0, :, 0, 0].tolist() == [58.0, 36.0, 14.0]
    assert not blob[0, :, 1:].any()
    assert not blob[0, :, 0, 1:].any()


def test_grey_images_have_one_channel() -> None:
    assert image_to_blob(np.array([[10, 20]], np.uint8), mean_value=(4,)).tolist() == [[[[6.0, 16.0]]]]


def test_the_middle_is_rounded_down() -> None:
    assert SegTransform("TEST", crop_size=4).place(9, 7, []) == Placement(False, 2, 1)
    assert SegTransform("TEST", crop_size=9).place(9, 7, []) == Placement(False, 0, 0)


def test_chance_mirrors_first_then_takes_rows_then_columns() -> None:
    transform = SegTransform("TRAIN", crop_size=4, mirror=True)
    assert transform.place(9, 7, [3, 8, 9]) == Placement(True, 2, 1)
    # An image no larger than the crop uses up its words all the same.
    assert transform.words_per_image == 3
    assert transform.place(4, 2, [2, 8, 9]) == Placement(False, 0, 0)


def test_mirroring_in_test_draws_one_word() -> None:
    transform = SegTransform("TEST", crop_size=4, mirror=True)
    assert transform.words_per_image == 1
    assert transform.needs_rand


def test_two_means_fit_no_image() -> None:
    with pytest.raises(ValueError, match=r"as many as channels \(3\), got 2"):
        SegTransform(mean_value=(1, 2)).means(3)


@pytest.mark.parametrize("image", [np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8)])
def test_what_is_no_image_makes_no_blob(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a uint8 image"):
        image_to_blob(image)


def test_a_blob_smaller_than_its_image() -> None:
    with pytest.raises(ValueError, match="an image of 4 x 5 does not fit into 4 x 4"):
        image_to_blob(np.zeros((4, 5, 3), np.uint8), size=(4, 4))


@pytest.mark.parametrize(
    ("transform", "words", "factor", "placement"),
    [
        # Mirror, factor, row, column: odd, number 5 % 3, 4 % (5 - 3 + 1), 9 % (7 - 3 + 1).
        (SegTransform("TRAIN", 3, True, scale_factors=(0.5, 1, 2)), [1, 5, 4, 9], 2, Placement(True, 1, 4)),
        (SegTransform("TRAIN", 3, True), [2, 4, 9], 1, Placement(False, 1, 4)),
        (SegTransform("TRAIN", 3, scale_factors=(0.5, 1)), [2, 4, 9], 0.5, Placement(False, 1, 4)),
        # Nothing is drawn for the place in the middle.
        (SegTransform("TEST", 3, True, scale_factors=(0.5, 1)), [3, 3], 1, Placement(True, 1, 2)),
        (SegTransform("TRAIN", 0, scale_factors=(0.5, 1)), [3], 1, Placement(False)),
        (SegTransform("TEST", 3), [], 1, Placement(False, 1, 2)),
    ],
)
def test_the_order_of_the_random_words(
    transform: SegTransform, words: list[int], factor: float, placement: Placement
) -> None:
    assert transform.words_per_image == len(words)
    assert transform.needs_rand == bool(words)
    assert transform.factor(words) == factor
    assert transform.place(5, 7, words) == placement


@pytest.mark.parametrize("size", [(5, 6), (9, 5), (6, 6)])
def test_an_image_is_as_large_as_the_crop_or_padded(size: tuple[int, int]) -> None:
    transform = SegTransform("TRAIN", 6)
    transform.check((3, *size), pads=True)
    if min(size) == 6:
        transform.check((3, *size), pads=False)
        return
    message = rf"the image is {size[0]} x {size[1]} \(height x width\), crop_size is 6"
    with pytest.raises(ValueError, match=message):
        transform.check((3, *size), pads=False)
    # Pixels beyond the mean image have no mean.
    mean = SegTransform("TRAIN", 6, mean_image=np.zeros((3, *size), np.float32))
    with pytest.raises(ValueError, match=message):
        mean.check((3, *size), pads=True)


def test_the_crop_of_a_prototxt() -> None:
    def crop(**sizes: int) -> tuple[int, int]:
        return crop_of(caffe_pb2.TransformationParameter(**sizes))

    assert (crop(), crop(crop_size=5), crop(crop_height=1, crop_width=7)) == ((0, 0), (5, 5), (1, 7))
    for side in ("crop_height", "crop_width"):
        with pytest.raises(NetError, match="crop_size and crop_height, crop_width exclude each other"):
            crop(crop_size=5, **{side: 5})
        with pytest.raises(NetError, match="crop_height and crop_width go together"):
            crop(**{side: 1})
