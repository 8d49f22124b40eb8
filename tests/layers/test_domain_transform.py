from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeplab_caffe.errors import NetError
from deeplab_caffe.ops.domain_transform import domain_transform
from tests.layers.build import make, noise, run
from tests.nets import build, inputs

SCORES, EDGES = noise(2, 3, 4, 5), 3 * noise(2, 1, 4, 5, seed=1)
SIZES = torch.tensor([[4.0, 5.0], [3.0, 2.0]])
PARAMS = "num_iter: 2 spatial_sigma: 8 range_sigma: 2 min_weight: 0.1"
OPTIONS = {"iterations": 2, "spatial_sigma": 8.0, "range_sigma": 2.0, "min_weight": 0.1}


def filtered(kind: str, *blobs: Tensor, params: str = PARAMS) -> Tensor:
    return run(kind, f"domain_transform_param {{ {params} }}", *blobs)


@pytest.mark.parametrize("shape", [(2, 1, 1, 2), (2, 2, 1, 1), (2, 2)])
def test_it_is_the_operation(shape: tuple) -> None:
    found = filtered("DomainTransform", SCORES, EDGES, SIZES.view(shape))
    assert torch.equal(found, domain_transform(SCORES, EDGES, SIZES, **OPTIONS))
    assert torch.equal(found[1, :, 3:], SCORES[1, :, 3:])
    default = filtered("DomainTransform", SCORES, EDGES, SIZES.view(shape), params="")
    assert torch.equal(default, domain_transform(SCORES, EDGES, SIZES))


@pytest.mark.parametrize("kind", ["DomainTransform", "DomainTransformForwardOnly"])
def test_without_a_size_all_is_filtered(kind: str) -> None:
    whole = torch.tensor([[4.0, 5.0], [4.0, 5.0]])
    assert torch.equal(filtered(kind, SCORES, EDGES), filtered(kind, SCORES, EDGES, whole))


def test_the_size_never_gets_a_gradient() -> None:
    blobs = [blob.clone().requires_grad_() for blob in (SCORES, EDGES, SIZES)]
    filtered("DomainTransform", *blobs).sum().backward()
    assert [blob.grad is not None for blob in blobs] == [True, True, False]
    assert not make("DomainTransform", bottoms=3).allows_gradient(2)


def test_forward_only_has_no_bounds_and_no_gradient() -> None:
    blobs = [blob.clone().requires_grad_() for blob in (SCORES, EDGES, SIZES)]
    found = filtered("DomainTransformForwardOnly", *blobs)
    assert not found.requires_grad
    assert torch.equal(found, domain_transform(SCORES, EDGES, SIZES, **OPTIONS, clamp=False))
    assert torch.equal(found, filtered("DomainTransformForwardOnly", *blobs, params=PARAMS.replace("0.1", "0.9")))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3, 4, 5), (2, 3, 4, 5), (2, 1, 1, 2)], r"the edges for scores \(2, 3, 4, 5\) must be \(2, 1, 4, 5\)"),
        ([(2, 3, 4, 5), (2, 1, 4, 5), (1, 1, 1, 2)], r"data_dim for scores \(2, 3, 4, 5\) must be \(2, 1, 1, 2\)"),
        ([(2, 3, 4, 5), (2, 1, 4, 5), (2, 1, 1, 3)], r".*got \(2, 1, 1, 3\)"),
        ([(2, 3, 4), (2, 1, 4), (2, 2)], r"expected a bottom of shape \(N, C, H, W\), got \(2, 3, 4\)"),
        ([(2, 3, 4, 5)], "DomainTransform takes 2 to 3 bottom blobs, got 1"),
    ],
)
def test_shapes_that_do_not_fit(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("DomainTransform", "", shapes)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("num_iter: 0", "num_iter must be from 1 to 100, got 0"),
        ("num_iter: 101", "num_iter must be from 1 to 100, got 101"),
        ("spatial_sigma: 0", "spatial_sigma must be positive and finite, got 0"),
        ("range_sigma: inf", "range_sigma must be positive and finite, got inf"),
        ("range_sigma: nan", ".*got nan"),
        ("min_weight: -1", "min_weight must not be negative, got -1"),
    ],
)
def test_bad_parameters(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("DomainTransform", f"domain_transform_param {{ {params} }}", bottoms=3)


def test_parameters_at_their_bounds() -> None:
    for iterations in (1, 100):
        params = f"num_iter: {iterations} spatial_sigma: 0.5 range_sigma: 0.5 min_weight: 0"
        layer = make("DomainTransform", f"domain_transform_param {{ {params} }}", bottoms=3)
        assert layer.multiply_adds([], [(2, 3, 4, 5)]) == 4 * iterations * 120


def test_a_size_beyond_the_blob_names_the_layer() -> None:
    with pytest.raises(NetError, match="layer 'l': .* the size of item 1 must be within 4 x 5, got height 9"):
        filtered("DomainTransform", SCORES, EDGES, torch.tensor([[4.0, 5.0], [9.0, 2.0]])[:, None, None])


def test_the_input_may_grow_between_two_passes() -> None:
    """The original crashes there, and takes more memory with each pass."""
    text = inputs(x=(1, 2, 3, 4), e=(1, 1, 3, 4), d=(1, 1, 1, 2))
    net = build(text + 'layer { name: "l" type: "DomainTransform" bottom: "x" bottom: "e" bottom: "d" top: "y" }')
    for height, width in ((3, 4), (6, 9), (2, 2)):
        x, edges = noise(1, 2, height, width), noise(1, 1, height, width, seed=1)
        sizes = torch.tensor([float(height), width]).view(1, 1, 1, 2)
        assert torch.equal(net(x, edges, sizes), domain_transform(x, edges))
