from __future__ import annotations

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.data import load_image
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.segmentation.views import Views, average_views, starts
from deeplab_caffe.zoo.default import DEMO_PHOTO

# One convolution that sees three pixels to the left of each: mirroring and windows make a difference.
NET = """
name: "toy" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "c" type: CONVOLUTION bottom: "data" top: "s" convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
"""


@pytest.fixture
def photo() -> np.ndarray:
    return np.ascontiguousarray(load_image(DEMO_PHOTO)[100:130, 200:241])


def segmenter(**options: object) -> dc.Segmenter:
    seg = dc.Segmenter(proto.parse_net(NET), None, device="cpu", **options)
    weight = seg.net.by_name["c"].weight
    weight.data = 0.02 * torch.arange(weight.numel()).reshape(weight.shape).remainder(7).sub(3).float()
    return seg


def probabilities(image: np.ndarray) -> np.ndarray:
    return torch.softmax(torch.from_numpy(segmenter().scores(image)), 0).numpy()


def test_one_view_is_the_scores_themselves(photo: np.ndarray) -> None:
    plain = segmenter().scores(photo)
    for options in ({"scales": (1,)}, {"window": 41}, {"window": 400, "stride": 100}):
        np.testing.assert_array_equal(segmenter(**options).scores(photo), plain)


def test_flip_is_the_mean_of_both_probabilities(photo: np.ndarray) -> None:
    mirrored = probabilities(np.ascontiguousarray(photo[:, ::-1]))[:, :, ::-1]
    expected = (probabilities(photo) + mirrored) / 2
    assert np.abs(expected - probabilities(photo)).max() > 0.01
    found = segmenter(flip=True).segment(photo)
    np.testing.assert_allclose(np.exp(found.scores), expected, atol=1e-6)
    np.testing.assert_allclose(found.probabilities(), expected, atol=1e-6)
    # A symmetric picture has symmetric labels.
    both = np.concatenate([photo, photo[:, ::-1]], axis=1)
    labels = segmenter(flip=True)(both)
    np.testing.assert_array_equal(labels, labels[:, ::-1])


def test_scales(photo: np.ndarray) -> None:
    from PIL import Image

    half = np.asarray(Image.fromarray(photo).resize((20, 15), Image.Resampling.BILINEAR))
    small = interp(torch.from_numpy(probabilities(half))[None], height=30, width=41)[0].numpy()
    found = segmenter(scales=(0.5, 1)).scores(photo)
    np.testing.assert_allclose(np.exp(found), (small + probabilities(photo)) / 2, atol=1e-6)


def test_windows(photo: np.ndarray) -> None:
    total, seen = np.zeros((2, 30, 41)), np.zeros((30, 41))
    for top in (0, 10, 14):
        for left in (0, 10, 20, 25):
            total[:, top : top + 16, left : left + 16] += probabilities(
                np.ascontiguousarray(photo[top : top + 16, left : left + 16])
            )
            seen[top : top + 16, left : left + 16] += 1
    found = segmenter(window=16, stride=10).scores(photo)
    np.testing.assert_allclose(np.exp(found), total / seen, atol=1e-6)


def test_every_pixel_is_seen_in_windows_of_one_size() -> None:
    assert starts(10, 10, 3) == [0]
    assert starts(7, 10, 3) == [0]
    assert starts(11, 10, 10) == [0, 1]
    assert starts(20, 10, 10) == [0, 10]
    for size in range(1, 60):
        covered = np.zeros(size, int)
        for start in starts(size, 13, 5):
            covered[start : start + 13] += 1
        assert covered.all()


def test_a_certain_view_has_finite_scores() -> None:
    sure = torch.tensor([[[1.0]], [[0.0]]])
    found = average_views(np.zeros((1, 1, 3), np.uint8), Views(flip=True), lambda image: sure)
    assert torch.isfinite(found).all()
    assert found.argmax(0).item() == 0


def test_the_views_of_arguments_of_other_types() -> None:
    views = Views([np.float32(0.5), 2], np.True_, 9.0, np.int64(4))
    assert views == Views((0.5, 2.0), True, 9, 4)
    assert [type(one) for one in (views.flip, views.window, views.stride)] == [bool, int, int]
    assert Views() == Views((1.0,), False, None, None)
    assert Views((100,)).scales == (100,)


def test_sizes_and_steps_by_hand() -> None:
    # Rounded, halves to even, and one pixel at least.
    assert Views((0.5, 0.01, 2)).sizes(30, 41) == [(15, 20), (1, 1), (60, 82)]
    # A stride of two thirds of the window by default.
    assert [Views(window=window).step for window in (9, 16, 1)] == [6, 10, 1]
    assert Views(window=9, stride=9).step == 9


@pytest.mark.parametrize(
    ("options", "size", "single"),
    [
        ({}, (700, 900), True),
        ({"scales": (0.5,)}, (7, 9), False),
        ({"scales": (1, 1)}, (7, 9), False),
        ({"flip": True}, (7, 9), False),
        ({"window": 9}, (9, 9), True),
        ({"window": 9}, (9, 10), False),
        ({"window": 9}, (10, 9), False),
    ],
)
def test_which_images_have_one_view(options: dict, size: tuple[int, int], single: bool) -> None:
    assert Views(**options).is_single(*size) is single


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "scales must be positive"),
        ({"scales": (1, 0)}, "scales must be positive"),
        ({"scales": (float("nan"),)}, "scales must be positive"),
        ({"scales": (1, 1e9)}, r"scales must be positive numbers up to 100, got \(1.0, 1000000000.0\)"),
        ({"stride": 3}, "no window"),
        ({"scales": (float("inf"),)}, "scales must be positive"),
        ({"scales": "12"}, r"scales must be several numbers, \(1.0,\) for one, got '12'"),
        ({"flip": "no"}, "flip must be True or False, got 'no'"),
        ({"window": 0}, "window must be positive"),
        ({"window": 2.5}, "the window must be a whole number of pixels, got 2.5"),
        ({"window": 5, "stride": 6}, "from 1 to the window, 5, got 6"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(dc.NetError, match=message):
        Views(**options)


def test_windows_need_the_memory_of_a_window_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplab_caffe.segmentation.segmenter.available_memory", lambda device: 20_000)
    image = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(dc.NetError, match="or window to work piece by piece"):
        segmenter()(image)
    assert segmenter(window=16)(image).shape == (100, 100)
