from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from tests.nets import inputs, layer

# Class k's score is the mean of channel k over the crop.
TEXT = (
    inputs(data=(4, 3, 4, 4))
    + layer("POOLING", "pool", "data", "pool", "pooling_param { pool: AVE global_pooling: true }")
    + layer("INNER_PRODUCT", "fc", "pool", "fc", "inner_product_param { num_output: 3 }")
    + layer("SOFTMAX", "prob", "fc", "prob")
)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "net.prototxt").write_text(TEXT)
    net = caffe.Net(tmp_path / "net.prototxt")
    net.params["fc"][0].data[0, 0] = np.eye(3)
    net.save(tmp_path / "x.caffemodel")
    return str(tmp_path / "net.prototxt"), str(tmp_path / "x.caffemodel")


def photo(colour: tuple[float, float, float], size: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.full((*size, 3), colour, np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


@pytest.mark.parametrize("oversample", [True, False])
def test_predict(files: tuple[str, str], oversample: bool) -> None:
    classifier = caffe.Classifier(
        *files, image_dims=(5, 7), mean=np.array([1.0, 2, 3]), raw_scale=10, channel_swap=(2, 1, 0)
    )
    colours = [(0.1, 0.2, 0.9), (0.9, 0.1, 0.2), (0.5, 0.5, 0.5)]
    found = classifier.predict([photo(colour) for colour in colours], oversample)
    assert found.shape == (3, 3)
    for row, colour in zip(found, colours, strict=True):
        expected = softmax(10 * np.array(colour[::-1]) - np.array([1, 2, 3]))
        assert np.allclose(row, expected, atol=1e-5)


def test_the_centre_crop_and_the_ten_crops_differ(files: tuple[str, str]) -> None:
    image = photo((0, 0, 0), (6, 8))
    image[1:5, 2:6, 1] = 1  # just the centre
    classifier = caffe.Classifier(*files, image_dims=(6, 8), input_scale=20)
    assert np.allclose(classifier.predict([image], oversample=False)[0], softmax(np.array([0, 20.0, 0])), atol=1e-5)
    corner = 20 * 3 * 2 / 16
    crops = np.mean([softmax(np.array([0, 20.0, 0]))] * 2 + [softmax(np.array([0, corner, 0]))] * 8, axis=0)
    assert np.allclose(classifier.predict([image])[0], crops, atol=1e-5)


def test_the_inputs_size_is_the_default(files: tuple[str, str]) -> None:
    classifier = caffe.Classifier(*files)
    assert classifier.image_dims == (4, 4)
    assert isinstance(classifier, caffe.Net)
    assert classifier.predict([photo((0, 0, 5), (9, 3))], oversample=False).argmax() == 2
