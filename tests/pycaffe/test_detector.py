from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import DataError, DeepLabCaffeError, NetError
from tests.nets import inputs, layer

# The output is each channel's mean over the crop.
TEXT = inputs(data=(2, 3, 8, 8)) + layer("POOLING", "p", "data", "p", "pooling_param { pool: AVE kernel_size: 8 }")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "n.prototxt").write_text(TEXT)
    caffe.Net(tmp_path / "n.prototxt").save(tmp_path / "w.caffemodel")
    return str(tmp_path / "n.prototxt"), str(tmp_path / "w.caffemodel")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """Red above, blue below, 16 x 20."""
    pixels = np.zeros((16, 20, 3), np.uint8)
    pixels[:8, :, 0] = pixels[8:, :, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def test_detect_windows(files: tuple[str, str], picture: str) -> None:
    detector = caffe.Detector(*files, raw_scale=100, channel_swap=(2, 1, 0), mean=np.array([10.0, 0, 0]))
    upper, lower, both = np.array([0, 0, 8, 8]), [8, 2, 16, 10], (4, 0, 12, 8)
    found = detector.detect_windows(pair for pair in [(picture, [upper, lower]), (picture, [both])])
    assert [each["filename"] for each in found] == [picture] * 3
    assert [each["window"] for each in found] == [upper, lower, both]
    rows = [each["prediction"] for each in found]
    assert [row.shape for row in rows] == [(3,)] * 3
    assert np.allclose(rows, [[-10, 0, 100], [90, 0, 0], [40, 0, 50]], atol=1e-4)
    assert detector.detect_windows([(picture, [])]) == []


def test_the_signatures_of_each_age(files: tuple[str, str]) -> None:
    mean = np.array([1.0, 2, 3])
    for detector in (
        caffe.Detector(*files, False, mean, 0.5, 10, (2, 1, 0), 2),  # 2014
        caffe.Detector(*files, mean, 0.5, 10, (2, 1, 0), 2),  # 2015
        caffe.Detector(
            *files, gpu=False, mean=mean, input_scale=0.5, raw_scale=10, channel_swap=(2, 1, 0), context_pad=2
        ),
    ):
        assert detector.context_pad == 2
        assert detector.crop_dims.tolist() == [8, 8, 3]
        # The mean as a colour of the image.
        assert np.broadcast_to(detector.crop_mean, (8, 8, 3))[5, 5] == pytest.approx([0.3, 0.2, 0.1])
        assert detector.input_scale == {"data": 0.5}


def test_context_within_the_image(files: tuple[str, str]) -> None:
    # A window of 4 x 4 (the last row counts) at (8, 8) with 2 of 8 pixels around at each side: 8 x 8 from (6, 6) to
    # (14, 14), which is 9 per 8 pixels in Caffe's count, cut as 8 and brought to 8 of 8.
    image = np.arange(20 * 20, dtype=np.float32).reshape(20, 20, 1).repeat(3, axis=2)
    detector = caffe.Detector(*files, context_pad=2)
    assert np.array_equal(detector.crop(image, np.array([8, 8, 11, 11])), image[6:14, 6:14])
    assert np.array_equal(caffe.Detector(*files).crop(image, np.array([8, 8, 11, 11])), image[8:11, 8:11])


def test_the_mean_stands_outside_the_image(files: tuple[str, str]) -> None:
    image = np.ones((20, 20, 3), np.float32)
    detector = caffe.Detector(*files, context_pad=2, mean=np.array([10.0, 20, 30]), raw_scale=100)
    crop = detector.crop(image, [0, 0, 3, 3])
    # From (-2, -2) to (6, 6): 2 * 8/9 = 1.8 rows are outside.
    assert crop.shape == (8, 8, 3)
    assert np.allclose(crop[:2], [0.1, 0.2, 0.3])
    assert np.allclose(crop[:, :2], [0.1, 0.2, 0.3])
    assert (crop[2:, 2:] == 1).all()
    crop = detector.crop(image, [16, 16, 19, 19])
    # From (14, 14) to (22, 22): 14 to 20 is 7 rows in Caffe's count, 7 * 8/9 = 6.2 rows.
    assert (crop[:6, :6] == 1).all()
    assert np.allclose(crop[6:], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("pad", "window", "message"),
    [
        (0, (0, 0, 0, 4), "is empty or leaves the image of 16 x 20"),
        (0, (-1, 0, 3, 4), "is empty or leaves"),
        (0, (0, 20, 3, 22), "is empty or leaves"),
        (0, (3, 0, 2, 4), r"expected a window \(ymin, xmin, ymax, xmax\)"),
        (0, (0, 0, 3), "expected a window"),
        (0, (0, 0, 3, float("nan")), "expected a window"),
        (2, (100, 100, 110, 110), "is not in the image of 16 x 20"),
    ],
)
def test_windows_that_do_not_fit(
    files: tuple[str, str], picture: str, pad: int, window: tuple[float, ...], message: str
) -> None:
    with pytest.raises(NetError, match=rf"a\.png: .*{message}"):
        caffe.Detector(*files, context_pad=pad).detect_windows([(picture, [window])])


def test_refuses(files: tuple[str, str], tmp_path: Path) -> None:
    for pad in (4, -1):
        with pytest.raises(NetError, match=f"context_pad {pad} does not go with an input of 8 x 8"):
            caffe.Detector(*files, context_pad=pad)
    with pytest.raises(DataError, match=r"none\.png"):
        caffe.Detector(*files).detect_windows([(str(tmp_path / "none.png"), [(0, 0, 1, 1)])])
    (tmp_path / "n.prototxt").write_text(TEXT.replace("input_dim: 8", "input_dim: 9", 1))
    with pytest.raises(NetError, match="input of 9 x 8"):
        caffe.Detector(*files, context_pad=2)


def test_selective_search(files: tuple[str, str], picture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = caffe.Detector(*files)
    monkeypatch.setitem(sys.modules, "selective_search_ijcv_with_python", None)
    with pytest.raises(DeepLabCaffeError, match="needs Matlab and selective_search_ijcv_with_python"):
        detector.detect_selective_search([picture])

    def get_windows(names: list[str], cmd: str) -> list[np.ndarray]:
        assert (names, cmd) == ([picture], "selective_search_rcnn")
        return [np.array([[0, 0, 8, 8]])]

    monkeypatch.setitem(sys.modules, "selective_search_ijcv_with_python", SimpleNamespace(get_windows=get_windows))
    monkeypatch.chdir(Path(picture).parent)
    (found,) = detector.detect_selective_search([Path(picture).name])
    assert found["filename"] == picture
    assert found["prediction"].tolist() == [1, 0, 0]
