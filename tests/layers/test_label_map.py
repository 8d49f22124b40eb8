from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from tests.layers.build import image, make, run


def test_censor_label() -> None:
    pixels = torch.tensor([[[0.0, 1], [2, -1]], [[0, 1], [2, 255]]])[:, None]
    names = torch.tensor([[0.0, 2, -1], [1, 1, 255]])[:, :, None, None]
    found = run("CensorLabel", "censor_label_param { ignore_label: 9 }", pixels, names)
    assert found.tolist() == [[[[0, 9], [2, 9]]], [[[9, 1], [9, 255]]]]


def test_censor_label_refuses() -> None:
    params = "censor_label_param { ignore_label: 9 }"
    with pytest.raises(NetError, match="layer 'l': the label map must have one channel"):
        make("CensorLabel", params, [(1, 2, 3, 3), (1, 2, 1, 1)])
    for names in [(2, 2, 1, 1), (1, 2, 3, 3)]:
        with pytest.raises(NetError, match=r"layer 'l': image labels for .* must be \(1, 2, 1, 1\)"):
            make("CensorLabel", params, [(1, 1, 3, 3), names])


def test_ignore_overlay() -> None:
    first, second = image([255, 1], [0, 255.4]), image([3, 4], [5, 6])
    assert run("IgnoreOverlay", "ignore_overlay_param { ignore_label: 255 }", first, second).tolist() == [
        [[[255, 4], [5, 255]]]
    ]
    assert run("IgnoreOverlay", "", first, second).tolist() == [[[[3, 4], [0, 6]]]]
    with pytest.raises(NetError, match=r"layer 'l': both label maps must have one shape, got \(1, 1, 2, 2\)"):
        make("IgnoreOverlay", "", [(1, 1, 2, 2), (1, 1, 2, 3)])


def test_histogram() -> None:
    pixels = image([0, 1, 255], [1, 3, 1])
    found = run("Histogram", "histogram_param { num_labels: 5 ignore_label: 255 }", pixels)
    assert found.shape == (1, 5, 1, 1)
    assert found.flatten().tolist() == [1, 3, 0, 1, 0]
    # The original's way: the first item has the whole batch's counts.
    batch = run("Histogram", "histogram_param { num_labels: 2 }", torch.tensor([0.0, 1, 1]).reshape(3, 1, 1, 1))
    assert batch.flatten().tolist() == [1, 2, 0, 0, 0, 0]
    nothing = run("Histogram", "histogram_param { num_labels: 2 ignore_label: 0 ignore_label: 7 }", image([0, 7]))
    assert nothing.flatten().tolist() == [0, 0]


@pytest.mark.parametrize("label", ["2", "-1", "0.5", "nan"])
def test_histogram_refuses_labels(label: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': label {label} is neither one of the 2 labels nor ignored"):
        run("Histogram", "histogram_param { num_labels: 2 }", image([0, float(label)]))


def test_histogram_refuses() -> None:
    with pytest.raises(NetError, match="layer 'l': num_labels must be positive, got 0"):
        make("Histogram", "histogram_param { num_labels: 0 }")
    with pytest.raises(NetError, match="layer 'l': the label map must have one channel"):
        make("Histogram", "histogram_param { num_labels: 2 }", [(1, 2, 2, 2)])


def test_onehot() -> None:
    labels = torch.tensor([[2.0, 0], [0, -1], [-1, 0]])[None, :, None]
    found = run("OneHot", "onehot_param { num_labels: 4 }", labels)
    assert found.tolist() == [[[[1, 1]], [[0, 0]], [[1, 0]], [[0, 0]]]]
    for label in (4, -2):
        with pytest.raises(NetError, match=f"layer 'l': label {label} is neither one of the 4 labels nor -1"):
            run("OneHot", "onehot_param { num_labels: 4 }", image([0, label]))
    with pytest.raises(NetError, match="layer 'l': num_labels must be positive, got -1"):
        make("OneHot", "onehot_param { num_labels: -1 }")
