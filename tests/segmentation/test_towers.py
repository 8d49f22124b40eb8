"""Nets of three towers, the image at 1, 1/2 and 3/4 of its size: padded until the towers meet, for any image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.errors import NetError
from deeplab_caffe.ops.preprocess import preprocess
from tests.slim import slim

ASPP, ATTENTION = "deeplab_aspp_resnet101", "deeplab_attention_vgg16"
BOTH = pytest.mark.parametrize("model", [ATTENTION, ASPP])


@pytest.fixture(scope="module")
def nets() -> dict[str, dc.Net]:
    return {name: slim(name) for name in (ATTENTION, ASPP)}


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@torch.no_grad()
def scores_of(net: dc.Net, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The net on the image, padded with the mean to this size, and cut."""
    found = net(preprocess(torch.from_numpy(image)[None], mean=IMAGENET_MEAN_BGR, size=size))
    return found[0, :, : image.shape[0], : image.shape[1]].numpy()


def error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@BOTH
@pytest.mark.parametrize(
    ("size", "padded"), [((33, 65), (33, 65)), ((34, 50), (65, 65)), ((64, 63), (65, 65)), ((40, 97), (65, 97))]
)
def test_images_are_padded_until_the_towers_meet(
    model: str, size: tuple[int, int], padded: tuple[int, int], nets: dict[str, dc.Net]
) -> None:
    net, image = nets[model], photo(*size)
    expected = scores_of(net, image, padded)
    assert np.array_equal(dc.Segmenter(net).scores(image), expected)
    assert error(dc.Segmenter(net.optimize(size=padded)).scores(image), expected) < 1e-5


@BOTH
def test_the_sides_at_which_the_towers_meet(model: str, nets: dict[str, dc.Net]) -> None:
    runner = dc.Segmenter(nets[model])._runner
    assert [runner.fit(side) for side in (257, 258, 300, 321, 385, 500, 513)] == [
        (side, side) for side in (257, 289, 321, 321, 385, 513, 513)
    ]


@BOTH
def test_images_may_be_padded_to_the_crop_size_of_the_original(model: str, nets: dict[str, dc.Net]) -> None:
    net, image = nets[model], photo(30, 41)
    assert np.array_equal(dc.Segmenter(net, crop_size=97).scores(image), scores_of(net, image, (97, 97)))


@pytest.mark.parametrize(
    "options", [{"scales": (0.5, 1, 1.25)}, {"flip": True}, {"window": 33}, {"window": 40, "stride": 20, "flip": True}]
)
def test_views(options: dict[str, object], nets: dict[str, dc.Net]) -> None:
    net, image = nets[ATTENTION], photo(45, 70)
    segmenter = dc.Segmenter(net, **options)
    assert not segmenter.views.is_single(45, 70)
    found = segmenter.segment(image)
    assert found.labels.shape == (45, 70)
    np.testing.assert_allclose(np.exp(found.scores).sum(0), 1, rtol=1e-4)
    assert np.array_equal(found.labels, segmenter(image))


@BOTH
def test_batches_and_label_images(model: str, nets: dict[str, dc.Net]) -> None:
    net, images = nets[model], np.stack([photo(31, 60), photo(60, 31).transpose(1, 0, 2)])
    segmenter = dc.Segmenter(net)
    each = np.stack([segmenter(image) for image in images])
    assert (segmenter.batch(images) == each).mean() > 0.999
    fast = net.optimize(size=(33, 65), batch=2)
    assert (fast.label_images(images).numpy() == each).mean() > 0.999


@BOTH
def test_of_a_size_that_does_not_fit_the_error_names_those_that_do(model: str, nets: dict[str, dc.Net]) -> None:
    net, x = nets[model], torch.zeros(1, 3, 65, 500)
    for run in (net, net.optimize(size=65)):
        with pytest.raises(NetError, match=r"layer 'fc.*': .*: image sides of \d+ or \d+ pixels fit in place of 500$"):
            run(x)
    with pytest.raises(NetError, match=r"\d+ pixels fit in place of 500$"):
        net.infer_shapes(data=(1, 3, 500, 65))
    with pytest.raises(NetError, match=r"the weights are for 3 input channels, the bottom has 4$"):
        net.infer_shapes(data=(1, 4, 65, 65))
