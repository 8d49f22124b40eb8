from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_caffe.data.rng import CaffeRNG
from deeplab_caffe.errors import NetError
from tests.goldens import case_dir
from tests.layers.build import image, make, noise, run


def test_relu() -> None:
    x = image([-2, 0], [1, -0.5])
    assert run("RELU", "", x).tolist() == [[[[0, 0], [1, 0]]]]
    assert run("RELU", "relu_param { negative_slope: 0.5 }", x).tolist() == [[[[-1, 0], [1, -0.25]]]]
    assert x.tolist() == [[[[-2, 0], [1, -0.5]]]]


@pytest.mark.parametrize("slope", [0, 0.2])
def test_relu_in_place(slope: float) -> None:
    layer, x = make("RELU", f"relu_param {{ negative_slope: {slope} }}"), image([-1, 2])
    layer.inplace = True
    (top,) = layer(x)
    assert top.data_ptr() == x.data_ptr()
    assert x.tolist()[0][0][0] == pytest.approx([-slope, 2])


@pytest.mark.parametrize("slope", [0, 0.2])
def test_relu_gradient(slope: float) -> None:
    layer = make("RELU", f"relu_param {{ negative_slope: {slope} }}")
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(2, 3, 4, 5, dtype=torch.float64).requires_grad_())


def test_dropout_in_phase_test_is_its_bottom() -> None:
    x = noise(1, 2, 3, 3)
    assert run("DROPOUT", "", x) is x


def test_dropout_drops_its_share_and_scales_the_rest() -> None:
    x = torch.ones(1, 1, 200, 200)
    y = run("DROPOUT", "dropout_param { dropout_ratio: 0.25 }", x, train=True)
    assert y.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert (y == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(run("DROPOUT", "dropout_param { dropout_ratio: 0 }", x, train=True), x)


def test_dropout_follows_train_and_eval() -> None:
    layer, x = make("DROPOUT", train=True), torch.ones(1, 1, 50, 50)
    assert (layer(x)[0] == 0).any()
    assert torch.equal(layer.eval()(x)[0], x)


def test_seeded_dropout_draws_the_originals_numbers() -> None:
    folder = case_dir("dropout_train_seeded")
    x, expected = (torch.from_numpy(np.load(folder / name)) for name in ("01_in_x.npy", "02_out_y.npy"))
    assert torch.equal(run("DROPOUT", "", x, train=True, rng=CaffeRNG(123), seeded=True), expected)


def test_seeded_dropout_by_hand() -> None:
    # The first words of mt19937 with seed 5489 are 3499211612, 581869302, 3890346734, 3586334585 (the C++ standard's
    # reference generator); below 0.75 * (2**32 - 1) a value is kept.
    x = torch.ones(1, 1, 2, 2)
    y = run("DROPOUT", "dropout_param { dropout_ratio: 0.25 }", x, train=True, rng=CaffeRNG(5489), seeded=True)
    assert y.flatten().tolist() == [0, pytest.approx(4 / 3), 0, 0]


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5])
def test_dropout_refuses_senseless_ratios(ratio: float) -> None:
    with pytest.raises(NetError, match="layer 'l': dropout_ratio"):
        make("DROPOUT", f"dropout_param {{ dropout_ratio: {ratio} }}")
