from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import NetError
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
    assert classifier.image_dims == caffe.Classifier(*files, image_dims=[]).image_dims == (4, 4)
    assert isinstance(classifier, caffe.Net)
    assert classifier.predict([photo((0, 0, 5), (9, 3))], oversample=False).argmax() == 2


def test_the_signatures_of_each_age(files: tuple[str, str], tmp_path: Path) -> None:
    mean, dims = np.array([1.0, 2, 3]), np.array([5, 7])
    np.save(tmp_path / "mean.npy", mean)
    order = (2, 1, 0)
    for classifier in (
        caffe.Classifier(*files, dims, False, mean, 0.5, 10, order),  # 2014
        caffe.Classifier(*files, dims, mean, 0.5, 10, order),  # 2015
        caffe.Classifier(
            *files, image_dims=dims, gpu=False, mean=mean, input_scale=0.5, raw_scale=10, channel_swap=order
        ),
        caffe.Classifier(
            *files, dims, mean_file=str(tmp_path / "mean.npy"), input_scale=0.5, raw_scale=10, channel_swap=order
        ),
    ):
        assert classifier.image_dims == (5, 7)
        assert classifier.mean["data"].ravel().tolist() == [1, 2, 3]
        assert classifier.transformer.mean is classifier.mean
        assert (classifier.input_scale, classifier.raw_scale) == ({"data": 0.5}, {"data": 10})
        assert classifier.channel_swap == {"data": order}
        found = classifier.predict([photo((0.1, 0.2, 0.9))])
        assert np.allclose(found[0], softmax(0.5 * np.array([8.0, 0, -2])), atol=1e-5)


def test_gpu_sets_the_mode(files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("deeplab_caffe.pycaffe.mode.set_mode_gpu", lambda: calls.append("gpu"))
    monkeypatch.setattr("deeplab_caffe.pycaffe.mode.set_mode_cpu", lambda: calls.append("cpu"))
    caffe.Classifier(*files, gpu=True)
    caffe.Classifier(*files, None, False)
    caffe.Classifier(*files)
    assert calls == ["gpu", "cpu"]


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((None, False, None, 1, 1, (2, 1, 0), 16), {}),
        ((None, None, 1), {"input_scale": 2}),
        ((), {"context_pad": 16}),
        ((), {"mean": np.zeros(3), "mean_file": "x.npy"}),
    ],
)
def test_options_that_do_not_exist(
    files: tuple[str, str], args: tuple[object, ...], options: dict[str, object]
) -> None:
    with pytest.raises(TypeError, match="Classifier: "):
        caffe.Classifier(*files, *args, **options)


def test_a_mean_image_of_another_size(files: tuple[str, str]) -> None:
    classifier = caffe.Classifier(*files, mean=np.full((3, 256, 256), 2, np.float32))
    assert np.array_equal(classifier.mean["data"], np.full((3, 4, 4), 2))
    assert np.allclose(classifier.predict([photo((5, 4, 6))])[0], softmax(np.array([3.0, 2, 4])), atol=1e-5)


def test_grey_images(tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(inputs(data=(1, 1, 2, 2)) + layer("RELU", "r", "data", "r"))
    caffe.Net(tmp_path / "n.prototxt").save(tmp_path / "w.caffemodel")
    classifier = caffe.Classifier(tmp_path / "n.prototxt", tmp_path / "w.caffemodel", raw_scale=10)
    image = np.array([[1, 2], [3, 4]], np.float32)[..., None]
    assert classifier.predict([image], oversample=False).tolist() == [[[[10, 20], [30, 40]]]]
    # Half of the ten crops are mirrored.
    assert classifier.predict([image]).tolist() == [[15, 15, 35, 35]]


AVERAGE = "pooling_param { pool: AVE global_pooling: true }"


@pytest.mark.parametrize(
    ("shape", "end", "centre", "ten"),
    [
        # v1's outputs have four axes; its releases took the last two off.
        ((2, 3, 2, 2), layer("POOLING", "p", "data", "p", AVERAGE), (2, 3), (2, 3)),
        ((2, 3, 2, 2), layer("RELU", "p", "data", "p"), (2, 3, 2, 2), (2, 12)),
        ((2, 3, 2, 2), f'type: "Pooling" {AVERAGE}', (2, 3, 1, 1), (2, 3)),
        ((2, 3, 2, 2), 'type: "Flatten"', (2, 12), (2, 12)),
        ((2, 3, 2, 2), 'type: "Flatten" flatten_param { axis: 2 }', (2, 3, 4), (2, 12)),
        ((2, 1, 1, 1), 'type: "Flatten" flatten_param { axis: 0 }', (2,), (2, 1)),
    ],
)
def test_outputs_of_any_number_of_axes(
    tmp_path: Path, shape: tuple[int, ...], end: str, centre: tuple[int, ...], ten: tuple[int, ...]
) -> None:
    if "layers" not in end:
        end = f'layer {{ name: "p" bottom: "data" top: "p" {end} }}'
    (tmp_path / "n.prototxt").write_text(inputs(data=shape) + end)
    caffe.Net(tmp_path / "n.prototxt").save(tmp_path / "w.caffemodel")
    classifier = caffe.Classifier(tmp_path / "n.prototxt", tmp_path / "w.caffemodel")
    images = [np.full((2, 2, shape[1]), value, np.float32) for value in (3, 8)]
    for given in (images, iter(images), np.stack(images)):
        found = classifier.predict(given, oversample=False)
        assert found.shape == centre
        assert [row.mean() for row in found] == [3, 8]
    found = classifier.predict(images)
    assert found.shape == ten
    assert [row.mean() for row in found] == [3, 8]


def test_outputs_without_an_item_for_each_image(tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(
        inputs(data=(2, 3, 2, 2))
        + 'layer { name: "p" type: "Flatten" bottom: "data" top: "p" flatten_param { axis: 0 } }'
    )
    caffe.Net(tmp_path / "n.prototxt").save(tmp_path / "w.caffemodel")
    classifier = caffe.Classifier(tmp_path / "n.prototxt", tmp_path / "w.caffemodel")
    with pytest.raises(NetError, match="output 'p' has 24 items for 2 images"):
        classifier.predict([np.zeros((2, 2, 3))] * 2, oversample=False)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], r"expected images of as many channels, got \[\]"),
        (np.zeros((4, 4, 3)), r"a list of images \(H, W, C\), got one of shape \(4, 3\): give \[image\]"),
        ([np.zeros((6, 6))], r"got one of shape \(6, 6\)"),
        ([np.zeros((6, 6, 3)), np.zeros((6, 6, 1))], r"as many channels, got \[3, 1\]"),
        ([np.zeros((6, 6, 1))], r"'data' takes items \(3, 4, 4\), the images make \(1, 4, 4\)"),
    ],
)
def test_images_that_do_not_fit(files: tuple[str, str], images: object, message: str) -> None:
    classifier = caffe.Classifier(*files)
    for oversample in (True, False):
        with pytest.raises(NetError, match=message):
            classifier.predict(images, oversample)


def test_image_dims_below_the_inputs_size(files: tuple[str, str]) -> None:
    classifier = caffe.Classifier(*files, image_dims=(4, 3))
    with pytest.raises(NetError, match=r"image_dims \(4, 3\) are smaller than the input \(4, 4\)"):
        classifier.predict([photo((0, 0, 0))], oversample=False)
    with pytest.raises(NetError, match="a crop of 4 x 4 does not fit into images of 4 x 3"):
        classifier.predict([photo((0, 0, 0))])


def test_nets_without_an_input_for_images(tmp_path: Path) -> None:
    data = layer("DUMMY_DATA", "d", "", "d", "dummy_data_param { num: 1 channels: 3 height: 4 width: 4 }")
    for text, shapes in (
        (data + layer("RELU", "r", "d", "r"), r"\{\}"),
        ('input: "d" input_shape { dim: 2 dim: 3 } layer { type: "ReLU" name: "r" bottom: "d" top: "r" }', r"\(2, 3\)"),
        (inputs(a=(1, 1, 2, 2), b=(1, 1, 2, 2)) + layer("ELTWISE", "e", "a b", "e"), "'b': "),
    ):
        (tmp_path / "n.prototxt").write_text(text)
        caffe.Net(tmp_path / "n.prototxt").save(tmp_path / "w.caffemodel")
        with pytest.raises(NetError, match=rf"Classifier: .*n\.prototxt has the inputs .*{shapes}.*deploy prototxt"):
            caffe.Classifier(tmp_path / "n.prototxt", tmp_path / "w.caffemodel")
