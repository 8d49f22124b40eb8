from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import DataError, NetError
from tests.nets import inputs, layer, parse


def make(shape: tuple[int, ...] = (2, 3, 4, 5)) -> caffe.Net:
    return caffe.Net(parse(inputs(data=shape) + layer("RELU", "r", "data", "r")))


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_by_hand() -> None:
    net = make()
    mean = np.zeros((3, 4, 5), np.float32)
    mean[0, 0, 0] = 2
    net.set_mean("data", mean)
    net.set_raw_scale("data", 10)
    net.set_channel_swap("data", (2, 1, 0))
    net.set_input_scale("data", 0.5)
    image = np.zeros((4, 5, 3), np.float32)
    image[0, 0] = 0.1, 0.2, 0.8
    found = net.preprocess("data", image)
    assert found.shape == (3, 4, 5)
    assert found[:, 0, 0] == pytest.approx([3, 1, 0.5])
    assert net.deprocess("data", found[None]) == pytest.approx(image, abs=1e-6)
    assert np.array_equal(net.mean["data"], mean)
    assert (net.raw_scale, net.input_scale) == ({"data": 10}, {"data": 0.5})
    assert net.channel_swap == {"data": (2, 1, 0)}


def test_the_mean_of_each_channel() -> None:
    net = make()
    mean = np.zeros((3, 2, 2), np.float32)
    mean[1] = [[1, 2], [3, 6]]
    net.set_mean("data", mean, mode="channel")
    assert net.mean["data"].tolist() == [[[0]], [[3]], [[0]]]
    net.set_mean("data", np.array([1, 2, 3]), mode="channel")  # that it is already
    assert net.mean["data"].tolist() == [[[1]], [[2]], [[3]]]


def test_a_mean_of_another_size_and_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.full((3, 256, 256), 7.0))
    net = make()
    net.set_mean("data", str(tmp_path / "mean.npy"))
    assert np.array_equal(net.mean["data"], np.full((3, 4, 5), 7))
    (tmp_path / "no.npy").write_text("no")
    # The beginning of an archive, which numpy opens whatever its name is.
    (tmp_path / "archive.npy").write_bytes(b"PK\x03\x04" + bytes(99))
    for name in ("no.npy", "missing.npy", "archive.npy"):
        with pytest.raises(DataError, match=f"{name}: set_mean: expected a .npy file"):
            net.set_mean("data", tmp_path / name)


def test_the_size_is_the_blobs_of_now() -> None:
    net = make()
    assert net.preprocess("data", picture(9, 9, 3)).shape == (3, 4, 5)
    net.blobs["data"].reshape(1, 3, 2, 2)
    assert net.preprocess("data", picture(9, 9, 3)).shape == (3, 2, 2)


def test_nets_do_not_share_their_settings() -> None:
    one, two = make(), make()
    one.set_raw_scale("data", 255)
    assert two.raw_scale == {}


def test_a_later_scripts_subclass_may_use_the_names() -> None:
    class Mine(caffe.Net):
        mean: object
        transformer: object

    net = Mine(parse(inputs(data=(1, 3, 2, 2)) + layer("RELU", "r", "data", "r")))
    net.mean, net.transformer = 3, "mine"
    assert (net.mean, net.transformer) == (3, "mine")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.set_mean("image", np.zeros(3)), "'image' is not one of the net's inputs"),
        (
            lambda net: net.set_mean("data", np.zeros(3), "pixel"),
            "mode must be 'elementwise' or 'channel', got 'pixel'",
        ),
        (lambda net: net.set_mean("data", np.zeros((2, 4, 5))), "needs 3 channels, got 2"),
        (lambda net: net.set_raw_scale("r", 255), "'r' is not one"),
        (lambda net: net.set_channel_swap("data", (1, 0)), "needs 3 channels"),
        (lambda net: net.preprocess("image", picture(4, 5, 3)), "'image' is not one"),
        (lambda net: net.deprocess("image", picture(3, 4, 5)), "'image' is not one"),
    ],
)
def test_refuses(call: object, message: str) -> None:
    with pytest.raises(NetError, match=message):
        call(make())


def test_grey_images_may_lie_along_the_channels() -> None:
    """As mnist_siamese.ipynb of 2014 prepares its digits."""
    net = make((4, 1, 2, 2))
    net.set_input_scale("data", 0.5)
    digits = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    assert np.array_equal(net.preprocess("data", digits.transpose(1, 2, 0)), digits / 2)
