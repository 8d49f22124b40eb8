"""Embed: by hand, shapes, bad input; golden cases are in tests/test_goldens.py."""

from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run

PARAMS = "embed_param { num_output: 2 input_dim: 3 weight_filler { type: 'gaussian' } }"


def test_by_hand() -> None:
    layer = make("Embed", PARAMS, [(2, 2)], dialect=V2)
    layer.load_blob("weight", torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    layer.load_blob("bias", torch.tensor([10.0, 20.0]))
    (top,) = layer(torch.tensor([[2.0, 0.0], [2.0, 1.0]]))
    assert top.tolist() == [[[15, 26], [11, 22]], [[15, 26], [13, 24]]]
    (top * torch.tensor([1.0, 100.0])).sum().backward()
    assert layer.weight.grad.tolist() == [[1, 100], [1, 100], [2, 200]]
    assert layer.bias.grad.tolist() == [4, 400]


def test_without_bias() -> None:
    layer = make("Embed", PARAMS.replace("weight_filler", "bias_term: false weight_filler"), [(4,)], dialect=V2)
    assert {role: tuple(blob.shape) for role, blob in layer.named_blobs.items()} == {"weight": (3, 2)}
    assert torch.equal(layer(torch.tensor([1.0]))[0], layer.weight[1:2])


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 1), (2, 1, 2, 3), (0, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    index = torch.randint(3, shape, generator=torch.Generator().manual_seed(1)).float()
    assert tuple(run("Embed", PARAMS, index, dialect=V2).shape) == (*shape, 2)


def test_four_axes() -> None:
    assert tuple(run("Embed", PARAMS, torch.ones(5, 1, 1, 1)).shape) == (5, 1, 1, 2)
    with pytest.raises(NetError, match=r"layer 'l': the bottom must be \(A, B, C, 1\), .* got \(5, 1, 1, 2\)"):
        make("Embed", PARAMS, [(5, 1, 1, 2)])


@pytest.mark.parametrize("index", [-1, 3])
def test_indices_without_a_row(index: int) -> None:
    with pytest.raises(NetError, match=f"layer 'l': index {index} at place 2: expected 0 to 2"):
        run("Embed", PARAMS, torch.tensor([[0.0, 1], [index, 2]]), dialect=V2)


def test_bad_parameters() -> None:
    with pytest.raises(NetError, match="layer 'l': num_output must be positive, got 0"):
        make("Embed", "embed_param { input_dim: 3 }")
    with pytest.raises(NetError, match="layer 'l': input_dim must be positive, got 0"):
        make("Embed", "embed_param { num_output: 3 }")
    layer = make("Embed", "embed_param { num_output: 1 input_dim: 1 }", [(4,)], dialect=V2)
    assert tuple(layer.weight.shape) == (1, 1)


def test_indices_get_no_gradient() -> None:
    layer = make("Embed", PARAMS, [(4,)], dialect=V2)
    assert not layer.allows_gradient(0)
    index = (noise(4).abs() % 3).requires_grad_()
    layer(index)[0].sum().backward()
    assert index.grad is None
