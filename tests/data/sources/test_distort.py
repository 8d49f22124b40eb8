"""Distortion: colours by hand, what chance chooses, and SSD's parameter on its way from a prototxt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import CaffeRNG, ImageSegSource
from deeplab_caffe.data.sources.distort import Distortion
from deeplab_caffe.errors import CaffeModelError, NetError
from deeplab_caffe.proto import parse_net
from deeplab_caffe.proto.upgrade.downgrade import to_dialect

ZERO, HALF, ALMOST_ONE = 0, 2**31, 2**32 - 1

# The coin, then whether and how much: brightness, contrast, saturation, hue.
CONTRAST_SECOND, CONTRAST_LAST = ALMOST_ONE, ZERO


def words(coin: int = CONTRAST_SECOND, **how_much: int) -> list[int]:
    drawn = [coin]
    for name in ("brightness", "contrast", "saturation", "hue"):
        drawn += [ZERO, how_much[name]] if name in how_much else [ALMOST_ONE, ZERO]
    return drawn


def pixel(distortion: Distortion, drawn: list[int], *rgb: int) -> list[int]:
    image = np.array(rgb, np.uint8).reshape(1, 1, 3)
    before = image.copy()
    changed = distortion.apply(image, drawn)
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    return changed[0, 0].tolist()


def test_nothing_by_default():
    image = np.zeros((2, 3, 3), np.uint8)
    assert Distortion().words == 0
    assert Distortion().apply(image, []) is image


@pytest.mark.parametrize(
    ("word", "expected"), [(ZERO, [0, 68, 218]), (HALF, [10, 100, 250]), (ALMOST_ONE, [42, 132, 255])]
)
def test_brightness_by_hand(word, expected):
    assert pixel(Distortion(brightness_prob=0.5, brightness_delta=32), words(brightness=word), 10, 100, 250) == expected


@pytest.mark.parametrize(
    ("word", "expected"), [(ZERO, [5, 50, 125]), (HALF, [10, 100, 250]), (ALMOST_ONE, [15, 150, 255])]
)
def test_contrast_by_hand(word, expected):
    distortion = Distortion(contrast_prob=0.5, contrast_lower=0.5, contrast_upper=1.5)
    assert pixel(distortion, words(contrast=word), 10, 100, 250) == expected


@pytest.mark.parametrize(
    ("word", "expected"), [(ZERO, [200, 200, 200]), (HALF, [200, 150, 100]), (ALMOST_ONE, [200, 100, 0])]
)
def test_saturation_by_hand(word, expected):
    distortion = Distortion(saturation_prob=0.5, saturation_lower=0, saturation_upper=2)
    # Pillow's S and V are bytes.
    np.testing.assert_allclose(pixel(distortion, words(saturation=word), 200, 150, 100), expected, atol=1)


def test_hue_by_hand():
    # Pillow has 256 steps a turn, so a step is 4.7 here.
    # A third of a turn is 60 of OpenCV's units: red turns to green, or to blue.
    distortion = Distortion(hue_prob=1, hue_delta=60)
    np.testing.assert_allclose(pixel(distortion, words(hue=ALMOST_ONE), 200, 0, 0), [0, 200, 0], atol=8)
    np.testing.assert_allclose(pixel(distortion, words(hue=ZERO), 200, 0, 0), [0, 0, 200], atol=8)


def test_contrast_is_second_or_last():
    distortion = Distortion(
        contrast_prob=1, contrast_lower=2, contrast_upper=2, saturation_prob=1, saturation_lower=0, saturation_upper=0
    )
    # Second: 200 and 150 are cut off at 255 before the colour goes. Last: 200 is left, then twice that is cut off.
    assert pixel(distortion, words(CONTRAST_SECOND, contrast=ZERO, saturation=ZERO), 100, 75, 50) == [200, 200, 200]
    assert pixel(distortion, words(CONTRAST_LAST, contrast=ZERO, saturation=ZERO), 100, 75, 50) == [200, 200, 200]
    half = Distortion(
        contrast_prob=1,
        contrast_lower=4,
        contrast_upper=4,
        saturation_prob=1,
        saturation_lower=0.5,
        saturation_upper=0.5,
    )
    second = pixel(half, words(CONTRAST_SECOND, contrast=ZERO, saturation=ZERO), 100, 50, 0)
    last = pixel(half, words(CONTRAST_LAST, contrast=ZERO, saturation=ZERO), 100, 50, 0)
    np.testing.assert_allclose(second, [255, 228, 128], atol=3)
    np.testing.assert_allclose(last, [255, 255, 200], atol=4)


def test_grey_has_no_color():
    image = np.array([[10, 100]], np.uint8)
    distortion = Distortion(brightness_prob=1, brightness_delta=10, hue_prob=1, hue_delta=90)
    np.testing.assert_array_equal(distortion.apply(image, words(brightness=ALMOST_ONE, hue=ZERO)), [[20, 110]])


def test_a_probability_of_0_is_never_and_of_1_always():
    # The least word is a chance of 0.
    never = Distortion(brightness_delta=255, hue_delta=180, contrast_prob=1, contrast_lower=1, contrast_upper=1)
    assert pixel(never, words(brightness=ZERO, contrast=ZERO, hue=ALMOST_ONE), 10, 100, 250) == [10, 100, 250]
    always = Distortion(brightness_prob=1, brightness_delta=255)
    assert pixel(always, [CONTRAST_SECOND, ALMOST_ONE, ZERO, *words()[3:]], 10, 100, 250) == [0, 0, 0]


def test_how_often_and_how_much():
    distortion = Distortion(brightness_prob=0.25, brightness_delta=100)
    rng = CaffeRNG(3)
    image = np.full((1, 1, 3), 128, np.uint8)
    change = np.array([distortion.apply(image, rng.words(9))[0, 0, 0] for _ in range(4000)]) - 128.0
    assert abs((change != 0).mean() - 0.25) < 0.03
    assert abs(change.mean()) < 3
    assert (change.min(), change.max()) == (pytest.approx(-100, abs=2), pytest.approx(100, abs=2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"brightness_prob": 1.5}, "brightness_prob must be from 0 to 1, got 1.5"),
        ({"hue_prob": -1}, "hue_prob must be from 0 to 1, got -1"),
        ({"brightness_delta": 256}, "brightness_delta must be from 0 to 255, got 256"),
        ({"hue_delta": float("nan")}, "hue_delta must be from 0 to 180, got nan"),
        ({"contrast_lower": 2, "contrast_upper": 1}, "contrast_lower must be at least 0 and at most contrast_upper"),
        ({"saturation_upper": float("inf")}, "saturation_lower must be at least 0 and at most saturation_upper"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(NetError, match=message):
        Distortion(**values)


LAYER = """
layer {{ name: "data" type: "{kind}" top: "data" top: "label"
  transform_param {{ {transform} }}
  image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" batch_size: 2 label_type: PIXEL }} }}
"""


def source(folder: Path, transform: str) -> ImageSegSource:
    text = LAYER.format(kind="ImageSegData", transform=transform, folder=folder)
    return ImageSegSource.from_param(parse_net(text).layer[0], "TRAIN", rng=CaffeRNG(5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(np.full((5, 7, 3), 100, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((5, 7), 3, np.uint8)).save(tmp_path / "l.png")
    (tmp_path / "list.txt").write_text("a.png l.png\n")
    return tmp_path


def test_in_a_net(folder: Path):
    plain = "crop_size: 9 mirror: true scale_factors: 0.5 scale_factors: 1 mean_value: 100"
    distorted = source(folder, plain + " distort_param { brightness_prob: 1 brightness_delta: 50 }")
    data, label, _ = distorted.next_batch()
    changes = []
    for image, labels in zip(data, label, strict=True):
        (change,) = np.unique(image[:, labels[0] == 3])
        changes.append(change)
        assert 0 < abs(change) <= 50
        # Padding is the mean still.
        assert not image[:, labels[0] == 255].any()
    assert changes[0] != changes[1]


def test_no_words_without_it(folder: Path):
    plain = "crop_size: 3 mirror: true"
    never = source(folder, plain + " distort_param { brightness_delta: 50 hue_delta: 3 }")
    assert never.transform.words_per_image == source(folder, plain).transform.words_per_image == 3


def test_channels_do_not_change_places(folder: Path):
    with pytest.raises(NetError, match="random_order_prob is not supported"):
        source(folder, "distort_param { random_order_prob: 0.5 }")


def test_layers_without_it_refuse_it(folder: Path):
    from deeplab_caffe.data.sources.transform import SegTransform

    text = LAYER.format(kind="ImageData", transform="distort_param { hue_prob: 1 }", folder=folder)
    with pytest.raises(NetError, match="distort_param is for ImageSegData"):
        SegTransform.from_param(parse_net(text).layer[0].transform_param, "TRAIN")


def test_in_the_files_of_this_package():
    """A snapshot of a net with it can be written; a file for another program names what it has not."""
    net = parse_net('layer { name: "data" type: "Data" transform_param { distort_param { hue_prob: 1 } } }')
    for dialect in ("v2", "merge", "bvlc", "v1"):
        assert "hue_prob: 1" in str(to_dialect(net, dialect, options=True))
        with pytest.raises(CaffeModelError, match="layer 'data': .*distort_param has no equivalent"):
            to_dialect(net, dialect)
