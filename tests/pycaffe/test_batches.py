from __future__ import annotations

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import NetError
from tests.nets import inputs, layer, parse

# y = 3 x, in batches of two.
TRIPLE = (
    "force_backward: true "
    + inputs(data=(2, 1, 1, 2))
    + layer("POWER", "double", "data", "double", "power_param { scale: 2 }")
    + layer("POWER", "y", "double", "y", "power_param { scale: 1.5 }")
)
FIVE = np.arange(10, dtype=np.float32).reshape(5, 1, 1, 2)


def test_forward_backward_all() -> None:
    net = caffe.Net(parse(TRIPLE))
    values, gradients = net.forward_backward_all(["double"], ["double"], data=FIVE, y=FIVE + 100)
    assert {name: value.shape for name, value in values.items()} == {"y": (5, 1, 1, 2), "double": (5, 1, 1, 2)}
    assert np.array_equal(values["y"], 3 * FIVE)
    assert np.array_equal(values["double"], 2 * FIVE)
    assert np.array_equal(gradients["data"], 3 * (FIVE + 100))
    assert np.array_equal(gradients["double"], 1.5 * (FIVE + 100))


def test_without_gradients_for_the_outputs_what_the_blob_holds_counts() -> None:
    net = caffe.Net(parse(TRIPLE))
    net.blobs["y"].diff[...] = 1
    values, gradients = net.forward_backward_all(data=FIVE[:4])
    assert np.array_equal(values["y"], 3 * FIVE[:4])
    assert np.array_equal(gradients["data"], np.full((4, 1, 1, 2), 3))


def test_a_loss_counts_once_for_each_batch() -> None:
    for text in (
        layer("EUCLIDEAN_LOSS", "loss", "a b", "loss"),
        'layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss" }',
    ):
        net = caffe.Net(parse(inputs(a=(2, 1, 1, 2), b=(2, 1, 1, 2)) + text))
        found = net.forward_all(a=FIVE, b=FIVE)["loss"]
        assert found.ravel().tolist() == [0, 0, 0]


def test_batches_are_filled_up_with_zeros() -> None:
    net = caffe.Net(parse(TRIPLE))
    first, second = net._batch({"x": FIVE[:3]})
    assert np.array_equal(first["x"], FIVE[:2])
    assert second["x"].ravel().tolist() == [4, 5, 0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.forward_backward_all(), r"expected values for some of \['data', 'y'\], got \[\]"),
        (lambda net: net.forward_backward_all(x=FIVE), r"some of \['data', 'y'\], got \['x'\]"),
        (lambda net: net.forward_backward_all(data=FIVE, y=FIVE[:4]), r"needs as many items, got \[4, 5\]"),
        (lambda net: net.forward_backward_all(["no"], data=FIVE), "no blob 'no'"),
        (lambda net: net.forward_all(), r"values for \[\] do not match the net's \['data'\]"),
    ],
)
def test_refuses(call: object, message: str) -> None:
    with pytest.raises(NetError, match=message):
        call(caffe.Net(parse(TRIPLE)))
