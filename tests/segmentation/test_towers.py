"""Nets of three towers, the image at 1, 1/2 and 3/4 of its size: padded until the towers meet, for any image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.errors import NetError
from deeplab_caffe.ops.preprocess import preprocess
from deeplab_caffe.proto import parse_net
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


@pytest.mark.parametrize("size", [(41, 33), (33, 41)])
@pytest.mark.parametrize("optimize", [False, True])
def test_heights_and_widths_are_padded_each_for_itself(size: tuple[int, int], optimize: bool) -> None:
    """A net whose last layer names a size that is no square."""
    height, width = size
    text = f'input: "data" input_shape {{ dim: 1 dim: 3 dim: {height} dim: {width} }}'
    text += """ layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 5
      kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.02 } } }
      layer { name: "p" type: "Pooling" bottom: "c" top: "p"
        pooling_param { pool: AVE kernel_size: 9 stride: 8 pad: 4 } }
      layer { name: "i" type: "Interp" bottom: "p" top: "i" interp_param """
    text += f"{{ height: {height} width: {width} }} }}"
    net = dc.Net(parse_net(text), seed=1)
    image = np.random.default_rng(0).integers(0, 256, (height - 1, width - 3, 3), np.uint8)
    blob = torch.zeros(1, 3, height, width)
    blob[0, :, :-1, :-3] = torch.from_numpy(image[..., ::-1] - np.array(IMAGENET_MEAN_BGR)).permute(2, 0, 1)
    with torch.no_grad():
        expected = net(blob)[0, :, :-1, :-3].argmax(0).numpy()
    found = dc.Segmenter(net, device="cpu", optimize=optimize).segment(image)
    assert (found.labels != expected).mean() < 0.001
