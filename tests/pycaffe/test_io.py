from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from deeplab_caffe import NetError
from deeplab_caffe.errors import DataError, DeepLabCaffeError
from deeplab_caffe.pycaffe import io


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_load_image(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[255, 0, 51]]], np.uint8)).save(tmp_path / "a.png")
    found = io.load_image(str(tmp_path / "a.png"))
    assert found.dtype == np.float32
    assert found.tolist() == [[[1, 0, pytest.approx(0.2)]]]
    assert io.load_image(tmp_path / "a.png", color=False).shape == (1, 1, 1)
    Image.fromarray(np.full((2, 3), 102, np.uint8)).save(tmp_path / "grey.png")
    assert np.allclose(io.load_image(tmp_path / "grey.png"), np.full((2, 3, 3), 0.4))
    assert np.allclose(io.load_image(tmp_path / "grey.png", color=False), np.full((2, 3, 1), 0.4))
    # scikit-image's rgb2gray.
    assert io.load_image(tmp_path / "a.png", color=False).ravel() == pytest.approx([0.2125 + 0.2 * 0.0721])
    Image.fromarray(np.array([[[0, 255, 0]]], np.uint8)).save(tmp_path / "green.png")
    assert io.load_image(tmp_path / "green.png", color=False).ravel() == pytest.approx([0.7154])
    with pytest.raises(DataError, match=r"none\.png"):
        io.load_image(tmp_path / "none.png")


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_load_image_keeps_16_bits(tmp_path: Path, ending: str) -> None:
    samples = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    Image.fromarray(samples).save(tmp_path / f"a.{ending}")
    found = io.load_image(tmp_path / f"a.{ending}", color=False)
    assert (found.dtype, found.shape) == (np.float32, (2, 3, 1))
    np.testing.assert_allclose(found[..., 0], samples / 65535, rtol=1e-7)
    np.testing.assert_array_equal(io.load_image(tmp_path / f"a.{ending}"), np.repeat(found, 3, axis=2))


def test_resize_image() -> None:
    image = numbers(4, 6, 3)
    same = io.resize_image(image, (4, 6))
    assert np.array_equal(same, image)
    assert not np.shares_memory(same, image)
    assert np.allclose(io.resize_image(np.full((3, 5, 2), 0.3, np.float32), (7, 4)), 0.3)
    # Halving a step of two pixels leaves the step; doubling a ramp keeps its slope inside.
    step = np.repeat(np.array([0.0, 0, 1, 1], np.float32), 2).reshape(1, 8, 1)
    assert io.resize_image(step, (1, 4)).ravel().tolist() == [0, 0, 1, 1]
    ramp = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    assert np.allclose(io.resize_image(ramp, (1, 8)).ravel()[1:-1], np.arange(0.25, 3, 0.5))
    for order in (0, 3):
        found = io.resize_image(image, (9, 13), interp_order=order)
        assert found.shape == (9, 13, 3)
        assert image.min() <= found.min() <= found.max() <= image.max()


def test_resize_image_mixes_the_smallest_number_into_the_border_when_it_grows() -> None:
    # scikit-image: pixel k's centre is at (k + 0.5) / 2 - 0.5 of the old ones; beyond the border is the minimum.
    image = np.array([20.0, 60, 20], np.float32).reshape(1, 3, 1)
    assert io.resize_image(image, (1, 6)).ravel().tolist() == [20, 30, 50, 50, 30, 20]
    image[0, :2, 0] = 60, 20
    assert io.resize_image(image, (1, 6)).ravel().tolist() == [50, 50, 30, 20, 20, 20]
    # In both directions: 3/4 of 3/4 of the way from the minimum, 0, to 16.
    image = np.zeros((2, 2, 3), np.float32)
    image[0, 0] = 16
    assert io.resize_image(image, (4, 4))[..., 1].tolist() == [[9, 9, 3, 0], [9, 9, 3, 0], [3, 3, 1, 0], [0, 0, 0, 0]]


def test_resize_image_puts_other_channels_corner_on_corner() -> None:
    image = np.stack([[[0, 2, 4]], [[1, 0, 0]]], axis=-1).astype(np.uint8)
    assert io.resize_image(image, (1, 5)).tolist() == [[[0, 1], [1, 0.5], [2, 0], [3, 0], [4, 0]]]


def test_resize_image_keeps_a_constant() -> None:
    for channels in (1, 2, 3):
        assert (io.resize_image(np.full((2, 3, channels), -5), (7, 7)) == -5).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_image_takes_the_whole_shape_as_scikit_image_does(channels: int) -> None:
    image = np.random.default_rng(0).random((4, 5, channels)).astype(np.float32)
    assert np.array_equal(io.resize_image(image, (7, 3, channels)), io.resize_image(image, (7, 3)))


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((4, 5), (2, 2), r"an image \(H, W, K\), got an array of shape \(4, 5\)"),
        ((0, 5, 3), (2, 2), r"got an array of shape \(0, 5, 3\)"),
        ((4, 5, 3), (2, 0), r"the new \(height, width\), got \(2, 0\)"),
        ((4, 5, 3), (2, 2, 1), r"got \(2, 2, 1\)"),
        ((4, 5, 2), (2, 2, 2), r"got \(2, 2, 2\)"),
    ],
)
def test_resize_image_refuses(shape: tuple[int, ...], size: tuple[int, ...], message: str) -> None:
    with pytest.raises(NetError, match=message):
        io.resize_image(np.zeros(shape), size)


@pytest.fixture
def without_skimage(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("skimage.io", "skimage.transform"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "skimage", None)


@pytest.mark.usefixtures("without_skimage")
def test_resize_without_scikit_image_is_that_of_its_time() -> None:
    image = numbers(20, 30, 3)
    image[3, 4] = 0  # what surrounds an image is 0 here, its minimum in resize_image
    for size in ((8, 8), (33, 41)):
        found = io.resize(image, (*size, 3))
        assert (found.dtype, found.shape) == (np.float64, (*size, 3))
        np.testing.assert_allclose(found, io.resize_image(image, size), rtol=1e-6)
        np.testing.assert_array_equal(io.resize(image, size), found)
        np.testing.assert_allclose(io.resize(image[..., 0], size), found[..., 0], rtol=1e-12)
    ramp = np.array([[51, 153]], np.uint8)
    np.testing.assert_allclose(io.resize(ramp, (1, 4)), [[0.2, 0.3, 0.5, 0.45]])
    np.testing.assert_allclose(io.resize(ramp, (1, 4), preserve_range=True), [[51, 76.5, 127.5, 114.75]])
    assert io.resize(ramp, (1, 4), order=0).tolist() == [[0.2, 0.2, 0.6, 0.6]]
    assert io.resize(ramp > 99, (1, 2)).tolist() == [[0, 1]]


@pytest.mark.usefixtures("without_skimage")
@pytest.mark.parametrize(
    ("size", "options", "kind", "message"),
    [
        ((8, 8, 1), {}, DeepLabCaffeError, r"an image \(4, 5, 3\) to \(8, 8, 1\), .* pip install scikit"),
        ((8, 8), {"order": 3}, DeepLabCaffeError, "order=3: .* pip install scikit-image"),
        ((8, 8), {"mode": "reflect"}, DeepLabCaffeError, "mode='reflect': .* pip install scikit-image"),
        ((8, 0), {}, NetError, r"got \(4, 5, 3\) and \(8, 0\)"),
        ((8,), {}, NetError, r"got \(4, 5, 3\) and \(8,\)"),
    ],
)
def test_resize_says_what_needs_scikit_image(
    size: tuple[int, ...], options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        io.resize(numbers(4, 5, 3), size, **options)


@pytest.mark.usefixtures("without_skimage")
def test_skimage_is_asked_for_by_name() -> None:
    with pytest.raises(ModuleNotFoundError, match="caffe.io.skimage is scikit-image, .*: pip install scikit-image"):
        io.skimage.img_as_float  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        io.nothing  # noqa: B018


def test_skimage_and_its_resize_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {name: ModuleType(name) for name in ("skimage", "skimage.io", "skimage.transform")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    modules["skimage.transform"].__dict__["resize"] = lambda image, shape, **options: [*image, *shape, options]
    assert io.skimage is modules["skimage"]
    assert io.resize([1], (2, 3), mode="edge").tolist() == [1, 2, 3, {"order": 1, "mode": "edge"}]


def test_zoom_is_scipys() -> None:
    assert io.zoom is ndimage.zoom


def test_oversample() -> None:
    images = np.arange(2 * 4 * 5, dtype=np.float32).reshape(2, 4, 5, 1)
    crops = io.oversample(images, (2, 3))
    assert crops.shape == (20, 2, 3, 1)
    first = images[0]
    corners = [first[:2, :3], first[:2, 2:], first[2:, :3], first[2:, 2:], first[1:3, 1:4]]
    for k, crop in enumerate(corners):
        assert np.array_equal(crops[k], crop)
        assert np.array_equal(crops[5 + k], crop[:, ::-1])
    assert np.array_equal(crops[10], images[1][:2, :3])
    whole = io.oversample(images[:1], (4, 5))  # as large as the image
    assert whole.shape == (10, 4, 5, 1)
    assert (whole[:5] == first).all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], r"of one size, got \[\]"),
        ([(4, 4)], "of one size"),
        ([(4, 4, 3), (4, 5, 3)], "of one size"),
        ([(2, 9, 3)], "3 x 3"),
    ],
)
def test_oversample_refuses(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=f"oversample: .*{message}"):
        io.oversample([np.zeros(shape) for shape in shapes], (3, 3))


@pytest.fixture
def transformer() -> io.Transformer:
    found = io.Transformer({"data": (1, 3, 4, 5)})
    found.set_transpose("data", (2, 0, 1))
    found.set_channel_swap("data", (2, 1, 0))
    found.set_raw_scale("data", 255)
    found.set_mean("data", np.array([104.0, 117, 123]))
    found.set_input_scale("data", 0.5)
    return found


def test_transformer_by_hand(transformer: io.Transformer) -> None:
    image = np.zeros((4, 5, 3), np.float32)
    image[..., 0] = 1  # red
    found = transformer.preprocess("data", image)
    assert found.shape == (3, 4, 5)
    assert found.dtype == np.float32
    assert found[:, 0, 0].tolist() == [-52, -58.5, 66]


def test_transformer_round_trip(transformer: io.Transformer) -> None:
    image = numbers(4, 5, 3)
    assert np.allclose(transformer.deprocess("data", transformer.preprocess("data", image)), image, atol=1e-6)
    batch = transformer.preprocess("data", image)[None]
    assert np.allclose(transformer.deprocess("data", batch), image, atol=1e-6)


def test_transformer_round_trip_with_a_channel_order_that_is_not_its_own_inverse() -> None:
    transformer = io.Transformer({"data": (1, 3, 4, 5)})
    transformer.set_transpose("data", (2, 1, 0))
    transformer.inputs["data"] = (1, 3, 4, 5)
    transformer.set_channel_swap("data", (1, 2, 0))
    image = numbers(4, 5, 3)
    found = transformer.preprocess("data", image)
    assert np.array_equal(found[0], image[..., 1].T)
    assert np.array_equal(transformer.deprocess("data", found), image)


def test_transformer_resizes(transformer: io.Transformer) -> None:
    assert transformer.preprocess("data", numbers(9, 7, 3)).shape == (3, 4, 5)
    full = numbers(3, 4, 5)
    transformer.set_mean("data", full)
    assert np.array_equal(transformer.mean["data"], full)


def test_a_mean_of_another_size_is_resized() -> None:
    transformer = io.Transformer({"data": (1, 3, 2, 4)})
    mean = np.zeros((3, 2, 8), np.float32)
    mean[1] = [0, 2, 4, 6, 8, 10, 12, 14]
    transformer.set_mean("data", mean)
    assert transformer.mean["data"].tolist() == [[[0] * 4] * 2, [[1, 5, 9, 13]] * 2, [[0] * 4] * 2]
    transformer.set_mean("data", np.full((3, 256, 256), 7.0))
    assert (transformer.mean["data"] == np.full((3, 2, 4), 7)).all()


def test_means_that_count_for_several_pixels_or_channels() -> None:
    transformer = io.Transformer({"data": (1, 3, 1, 2)})
    transformer.set_transpose("data", (2, 0, 1))
    image = np.full((1, 2, 3), 10, np.float32)
    for mean, expected in (
        (np.array([1, 2, 3]), [[[9, 9]], [[8, 8]], [[7, 7]]]),
        (np.array([1, 2, 3]).reshape(3, 1, 1), [[[9, 9]], [[8, 8]], [[7, 7]]]),
        (np.array([[4, 5]]), [[[6, 5]]] * 3),
        (np.array([[[4, 5]]]), [[[6, 5]]] * 3),
    ):
        transformer.set_mean("data", mean)
        assert transformer.preprocess("data", image).tolist() == expected
    assert (image == 10).all()


def test_one_channel_comes_back() -> None:
    transformer = io.Transformer({"data": (1, 1, 4, 1)})
    transformer.set_transpose("data", (2, 0, 1))
    image = numbers(4, 1, 1)
    assert np.array_equal(transformer.deprocess("data", transformer.preprocess("data", image)[None]), image)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.preprocess("image", numbers(4, 5, 3)), r"'image' is not one of the net's inputs: \['data'\]"),
        (lambda t: t.deprocess("image", numbers(3, 4, 5)), "'image' is not one"),
        (lambda t: t.set_raw_scale("image", 1), "'image' is not one"),
        (lambda t: t.set_input_scale("image", 1), "'image' is not one"),
        (lambda t: t.set_transpose("image", (2, 0, 1)), "'image' is not one"),
        (lambda t: t.set_channel_swap("image", (2, 1, 0)), "'image' is not one"),
        (lambda t: t.set_mean("image", np.zeros(3)), "'image' is not one"),
        (lambda t: t.set_transpose("data", (2, 0)), "transpose of 'data' must order 3 axes"),
        (lambda t: t.set_transpose("data", (2, 0, 0)), "transpose of 'data' must order 3 axes"),
        (lambda t: t.set_channel_swap("data", (1, 0)), "channel_swap of 'data' needs 3 channels"),
        (lambda t: t.set_channel_swap("data", (0, 1, 3)), "channel_swap of 'data' needs 3 channels"),
        (lambda t: t.set_mean("data", np.zeros(2)), "mean of 'data' needs 3 channels, got 2"),
        (lambda t: t.set_mean("data", np.zeros((4, 5, 3))), r"mean of 'data' needs 3 channels, got 4 in \(4, 5, 3\)"),
        (lambda t: t.set_mean("data", np.zeros((1, 3, 4, 5))), r"must be \(3,\) or \(3, H, W\), got \(1, 3, 4, 5\)"),
        (lambda t: t.set_mean("data", np.float32(7)), r"must be \(3,\) or \(3, H, W\), got \(\)"),
        (
            lambda t: t.preprocess("data", numbers(4, 5)),
            r"expected an image \(H, W, K\) for 'data', got shape \(4, 5\)",
        ),
        (
            lambda t: t.preprocess("data", numbers(9, 5)),
            r"expected an image \(H, W, K\), got an array of shape \(9, 5\)",
        ),
        (lambda t: t.preprocess("data", numbers(4, 5, 1)), "'data' takes 3 channels, the image has 1"),
    ],
)
def test_transformer_refuses(transformer: io.Transformer, call: object, message: str) -> None:
    with pytest.raises(NetError, match=message):
        call(transformer)


def test_transformer_refuses_by_what_was_set_and_not_by_a_changed_input(transformer: io.Transformer) -> None:
    transformer.inputs["data"] = (1, 6, 4, 5)
    with pytest.raises(NetError, match="'data' takes 3 channels, the image has 6: see its channel swap"):
        transformer.preprocess("data", numbers(4, 5, 6))
