from __future__ import annotations

import math

import pytest
import torch

from deeplab_caffe.errors import NetError
from tests.layers.build import image, make, noise, run


def channels(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


def test_lrn_across_channels_by_hand() -> None:
    x = channels(1, 2, 0, 3)
    # Windows of three channels: squares 5, 5, 13, 9; divided by 3.
    found = run("LRN", "lrn_param { local_size: 3 alpha: 6 beta: 0.5 k: 2 }", x)
    expected = [1 / math.sqrt(12), 2 / math.sqrt(12), 0, 3 / math.sqrt(20)]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_lrn_within_a_channel_by_hand() -> None:
    # The mean square of the whole picture, as the window of three pixels is mostly outside: zeros count.
    x = image([1, 2], [0, 2])[:, [0, 0]] * torch.tensor([1.0, 2])[:, None, None]
    params = "lrn_param { local_size: 3 alpha: 1 beta: 1 k: 7 norm_region: WITHIN_CHANNEL }"
    found = run("LRN", params, x)
    torch.testing.assert_close(found[0, 0], x[0, 0] / (1 + 9 / 9))
    torch.testing.assert_close(found[0, 1], x[0, 1] / (1 + 36 / 9))


def slow_lrn(x: torch.Tensor, size: int, alpha: float, beta: float, k: float) -> torch.Tensor:
    top = torch.empty_like(x)
    for c in range(x.shape[1]):
        window = x[:, max(c - size // 2, 0) : c + size // 2 + 1]
        top[:, c] = x[:, c] * (k + alpha / size * window.square().sum(1)) ** -beta
    return top


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_lrn_agrees_with_a_loop(size: int) -> None:
    x = noise(2, 7, 3, 4)
    found = run("LRN", f"lrn_param {{ local_size: {size} alpha: 0.3 beta: 0.75 k: 2 }}", x)
    torch.testing.assert_close(found, slow_lrn(x, size, 0.3, 0.75, 2))


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_lrn_gradient(region: str) -> None:
    layer = make("LRN", f"lrn_param {{ local_size: 3 alpha: 0.5 norm_region: {region} }}")
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(2, 4, 3, 3, dtype=torch.float64).requires_grad_())


@pytest.mark.parametrize("size", [0, 4])
def test_lrn_refuses_even_sizes(size: int) -> None:
    with pytest.raises(NetError, match=f"layer 'l': local_size must be odd, got {size}"):
        make("LRN", f"lrn_param {{ local_size: {size} }}")


def test_lrn_window() -> None:
    assert make("LRN").receptive_window().kernel == (1, 1)
    within = make("LRN", "lrn_param { local_size: 5 norm_region: WITHIN_CHANNEL }").receptive_window()
    assert (within.kernel, within.pad) == ((5, 5), (2, 2))


def test_mvn_by_hand() -> None:
    assert run("MVN", "", image([1, 3], [1, 3])).flatten().tolist() == [-1, 1, -1, 1]
    mean_only = "mvn_param { normalize_variance: false }"
    assert run("MVN", mean_only, image([1, 3], [1, 7])).flatten().tolist() == [-2, 0, -2, 4]


def test_mvn_normalises_channels_or_items() -> None:
    x = 3 * noise(2, 3, 8, 9) + 5
    each = run("MVN", "", x)
    torch.testing.assert_close(each.mean((2, 3)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(each.square().mean((2, 3)), torch.ones(2, 3))
    whole = run("MVN", "mvn_param { across_channels: true }", x)
    torch.testing.assert_close(whole.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.square().mean((1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(whole, (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), False, keepdim=True))


@pytest.mark.parametrize("across", ["false", "true"])
def test_mvn_gradient(across: str) -> None:
    layer = make("MVN", f"mvn_param {{ across_channels: {across} }}")
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(2, 3, 3, 4, dtype=torch.float64).requires_grad_())


def test_mvn_of_the_mean_alone_passes_gradients_unchanged() -> None:
    x, weight = noise(2, 3, 4, 5).requires_grad_(), noise(2, 3, 4, 5, seed=1)
    (run("MVN", "mvn_param { normalize_variance: false }", x) * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def test_mvn_of_a_constant_is_finite() -> None:
    x = torch.full((1, 1, 2, 2), 7.0).requires_grad_()
    top = run("MVN", "", x)
    top.sum().backward()
    assert top.abs().max() == 0
    assert x.grad.abs().max() == 0
