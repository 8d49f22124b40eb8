"""SpatialProduct: by hand, gradients, bad input; golden cases are in tests/test_goldens.py."""

from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run


def test_every_channel_by_hand() -> None:
    scores = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]).requires_grad_()
    weights = torch.tensor([[[[10.0, -1.0]]]]).requires_grad_()
    top = run("SpatialProduct", "", scores, weights)
    assert top.tolist() == [[[[10, -2]], [[30, -4]]]]
    top.sum().backward()
    assert scores.grad.tolist() == [[[[10, -1]], [[10, -1]]]]
    assert weights.grad.tolist() == [[[[4, 6]]]]


@pytest.mark.parametrize("shape", [(3, 1, 5, 7), (1, 4, 1, 1), (0, 2, 3, 3), (2, 3, 0, 4), (2, 0, 3, 4)])
def test_sizes(shape: tuple[int, int, int, int]) -> None:
    scores, weights = noise(*shape), noise(shape[0], 1, *shape[2:], seed=1)
    top = run("SpatialProduct", "", scores, weights)
    assert torch.equal(top, torch.stack([c * weights[:, 0] for c in scores.unbind(1)], 1) if shape[1] else scores)


def test_more_items_than_at_set_up() -> None:
    layer = make("SpatialProduct", "", [(1, 2, 3, 3), (1, 1, 3, 3)])
    scores, weights = noise(3, 2, 3, 3), noise(3, 1, 3, 3, seed=1)
    assert torch.equal(layer(scores, weights)[0][2], scores[2] * weights[2])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3, 4, 5), (2, 3, 4, 5)], r"the map 'b1' for \(2, 3, 4, 5\) must be \(2, 1, 4, 5\), got \(2, 3, 4, 5\)"),
        ([(2, 3, 4, 5), (1, 1, 4, 5)], r"must be \(2, 1, 4, 5\), got \(1, 1, 4, 5\)"),
        ([(2, 3, 4, 5), (2, 1, 5, 4)], r"must be \(2, 1, 4, 5\), got \(2, 1, 5, 4\)"),
        ([(2, 3, 4, 5), (2, 4, 5)], r"must be \(2, 1, 4, 5\), got \(2, 4, 5\)"),
        ([(2,), (2,)], r"bottom 'b0' must have channels, a second axis, got \(2,\)"),
        ([(2, 3), (2, 1, 1)], r"must be \(2, 1\), got \(2, 1, 1\)"),
    ],
)
def test_bottoms_that_do_not_fit(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
        make("SpatialProduct", "", shapes, dialect=V2)


@pytest.mark.parametrize(
    ("scores", "weights"),
    [
        ((2, 3), (2,)),
        ((2, 3), (2, 1)),
        ((2, 3, 4), (2, 1, 4)),
        ((2, 3, 4, 1), (2, 1, 4)),
        ((2, 3, 2, 1, 2), (2, 1, 2, 1, 2)),
    ],
)
def test_any_number_of_axes(scores: tuple[int, ...], weights: tuple[int, ...]) -> None:
    x, factors = noise(*scores), noise(*weights, seed=1)
    expected = x * factors.reshape(scores[0], 1, *scores[2:])
    assert torch.equal(run("SpatialProduct", "", x, factors, dialect=V2), expected)


def test_it_takes_two_bottoms() -> None:
    with pytest.raises(NetError, match="SpatialProduct takes 2 bottom blobs, got 1"):
        make("SpatialProduct", "", [(2, 3, 4, 5)])
