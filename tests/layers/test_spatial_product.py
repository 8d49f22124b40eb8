"""SpatialProduct: by hand, gradients, bad input; golden cases are in tests/test_goldens.py."""

from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
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
        ([(2, 3), (2, 1)], r"bottom 'b0' must be \(N, C, H, W\), got \(2, 3\)"),
    ],
)
def test_bottoms_that_do_not_fit(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
        make("SpatialProduct", "", shapes)


def test_it_takes_two_bottoms() -> None:
    with pytest.raises(NetError, match="SpatialProduct takes 2 bottom blobs, got 1"):
        make("SpatialProduct", "", [(2, 3, 4, 5)])
