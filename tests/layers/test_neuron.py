from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.errors import NetError
from tests.goldens import case_dir
from tests.layers.build import image, make, noise, run, slopes, values


def test_relu() -> None:
    x = image([-2, 0], [1, -0.5])
    assert run("ReLU", "", x).tolist() == [[[[0, 0], [1, 0]]]]
    assert run("ReLU", "relu_param { negative_slope: 0.5 }", x).tolist() == [[[[-1, 0], [1, -0.25]]]]
    assert x.tolist() == [[[[-2, 0], [1, -0.5]]]]


@pytest.mark.parametrize("slope", [0, 0.2])
def test_relu_in_place(slope: float) -> None:
    layer, x = make("ReLU", f"relu_param {{ negative_slope: {slope} }}"), image([-1, 2])
    layer.inplace = True
    (top,) = layer(x)
    assert top.data_ptr() == x.data_ptr()
    assert x.tolist()[0][0][0] == pytest.approx([-slope, 2])


@pytest.mark.parametrize("slope", [0, 0.2])
def test_relu_gradient(slope: float) -> None:
    layer = make("ReLU", f"relu_param {{ negative_slope: {slope} }}")
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(2, 3, 4, 5, dtype=torch.float64).requires_grad_())


def test_dropout_in_phase_test_is_its_bottom() -> None:
    x = noise(1, 2, 3, 3)
    assert run("Dropout", "", x) is x


def test_dropout_drops_its_share_and_scales_the_rest() -> None:
    x = torch.ones(1, 1, 200, 200)
    y = run("Dropout", "dropout_param { dropout_ratio: 0.25 }", x, train=True)
    assert y.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert (y == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(run("Dropout", "dropout_param { dropout_ratio: 0 }", x, train=True), x)


@pytest.mark.parametrize("ratio", [0.5, 0.25, 0.0078125, 0.3])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_at_random_and_its_gradient_is_what_it_multiplied_with(
    ratio: float, memory: torch.memory_format
) -> None:
    torch.manual_seed(7)
    x = torch.ones(2, 16, 101, 99).contiguous(memory_format=memory).requires_grad_()
    y = run("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}", x, train=True)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert y.is_contiguous(memory_format=memory)
    torch.testing.assert_close(y.unique(), torch.tensor([0, 1 / (1 - ratio)]))
    # Five standard deviations of a share of so many draws.
    off = 5 * (ratio * (1 - ratio) / x.numel()) ** 0.5
    assert abs((y == 0).double().mean().item() - ratio) < off
    neighbours = ((y[..., 1:] == 0) & (y[..., :-1] == 0)).double().mean().item()
    assert abs(neighbours - ratio**2) < 2 * off
    torch.manual_seed(7)
    again = run("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}", x, train=True)
    assert torch.equal(again, y)


def test_dropout_follows_train_and_eval() -> None:
    layer, x = make("Dropout", train=True), torch.ones(1, 1, 50, 50)
    assert (layer(x)[0] == 0).any()
    assert torch.equal(layer.eval()(x)[0], x)


def test_seeded_dropout_draws_the_originals_numbers() -> None:
    folder = case_dir("dropout_train_seeded")
    x, expected = (torch.from_numpy(np.load(folder / name)) for name in ("01_in_x.npy", "02_out_y.npy"))
    assert torch.equal(run("Dropout", "", x, train=True, rng=CaffeRNG(123), seeded=True), expected)


def test_seeded_dropout_by_hand() -> None:
    # The first words of mt19937 with seed 5489 are 3499211612, 581869302, 3890346734, 3586334585 (the C++ standard's
    # reference generator); below 0.75 * (2**32 - 1) a value is kept.
    x = torch.ones(1, 1, 2, 2)
    y = run("Dropout", "dropout_param { dropout_ratio: 0.25 }", x, train=True, rng=CaffeRNG(5489), seeded=True)
    assert y.flatten().tolist() == [0, pytest.approx(4 / 3), 0, 0]


@pytest.mark.parametrize(("ratio", "train"), [(-0.1, False), (1.5, False), (-0.1, True), (1, True), (1.5, True)])
def test_dropout_refuses_senseless_ratios(ratio: float, train: bool) -> None:
    with pytest.raises(NetError, match="layer 'l': dropout_ratio"):
        make("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}", train=train)


def test_dropout_of_all_is_its_bottom_in_phase_test() -> None:
    x = noise(1, 2, 3, 4)
    assert run("Dropout", "dropout_param { dropout_ratio: 1 }", x) is x
    for options in ({}, {"seeded": True}):
        layer = make("Dropout", "dropout_param { dropout_ratio: 1 }", [tuple(x.shape)], **options).train()
        with pytest.raises(NetError, match=r"layer 'l': dropout_ratio .* \(1 in phase TEST alone\), got 1"):
            layer(x)


def test_absval() -> None:
    assert values("AbsVal") == [2, 0, 0.5, 3]
    assert slopes("AbsVal") == [-1, 0, 1, 1]


def test_bnll() -> None:
    assert values("BNLL") == pytest.approx([math.log(1 + math.exp(x)) for x in (-2, 0, 0.5, 3)])
    # exp(500) is no float.
    assert values("BNLL", x=image([-500, 500])) == [0, 500]
    assert slopes("BNLL", x=image([-500, 0, 500])) == [0, 0.5, 1]


def test_exp() -> None:
    assert values("Exp") == pytest.approx([math.exp(x) for x in (-2, 0, 0.5, 3)])
    assert values("Exp", "exp_param { base: 2 }") == pytest.approx([1 / 4, 1, math.sqrt(2), 8])
    assert values("Exp", "exp_param { base: 2 scale: 2 shift: -1 }") == pytest.approx([1 / 32, 1 / 2, 1, 32])
    assert slopes("Exp", "exp_param { base: 2 scale: 2 }")[1] == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("base", ["0", "-2", "inf", "nan"])
def test_exp_refuses_bases(base: str) -> None:
    with pytest.raises(NetError, match="layer 'l': base must be positive, or -1 for e, got"):
        make("Exp", f"exp_param {{ base: {base} }}")


def test_log() -> None:
    x = image([1, 0.5], [8, 100])
    assert values("Log", x=x) == pytest.approx([0, -math.log(2), math.log(8), math.log(100)])
    assert values("Log", "log_param { base: 2 }", x) == pytest.approx([0, -1, 3, math.log2(100)])
    assert values("Log", "log_param { base: 10 scale: 9 shift: 10 }", image([10])) == pytest.approx([2])
    assert slopes("Log", "log_param { base: 2 scale: 3 shift: 1 }", x)[0] == pytest.approx(3 / 4 / math.log(2))
    assert values("Log", x=image([0])) == [-math.inf]


@pytest.mark.parametrize("base", ["0", "-2", "inf", "nan", "1"])
def test_log_refuses_bases(base: str) -> None:
    with pytest.raises(NetError, match="layer 'l': base must (be positive, or -1 for e, got|not be 1)"):
        make("Log", f"log_param {{ base: {base} }}")


def test_power() -> None:
    assert values("Power", "power_param { scale: 2 shift: 1 }") == [-3, 1, 2, 7]
    assert values("Power", "power_param { power: 2 }") == [4, 0, 0.25, 9]
    assert values("Power", "power_param { power: -1 shift: 3 }") == pytest.approx([1, 1 / 3, 1 / 3.5, 1 / 6])
    assert slopes("Power", "power_param { power: 3 scale: 2 }") == [96, 0, 6, 216]


def test_power_that_is_constant() -> None:
    x = image([-math.inf, 0, math.nan, 3])
    for params, constant in [
        ("power: 0", 1),
        ("power: 0 shift: 0 scale: 5", 1),
        ("power: 2 scale: 0 shift: 3", 9),
        ("power: 0.5 scale: 0 shift: 4", 2),
    ]:
        assert values("Power", f"power_param {{ {params} }}", x) == [constant] * 4
        assert slopes("Power", f"power_param {{ {params} }}", x) == [0] * 4


def test_power_without_effect_leaves_its_bottom() -> None:
    assert values("Power") == [-2, 0, 0.5, 3]
    assert slopes("Power") == [1] * 4


def test_sigmoid_and_tanh() -> None:
    x = image([-1000, 0, 1000])
    assert values("Sigmoid", x=x) == [0, 0.5, 1]
    assert slopes("Sigmoid", x=x) == [0, 0.25, 0]
    assert values("Sigmoid", x=image([1])) == pytest.approx([1 / (1 + math.exp(-1))])
    assert values("TanH", x=x) == [-1, 0, 1]
    assert slopes("TanH", x=x) == [0, 1, 0]
    assert values("TanH", x=image([1])) == pytest.approx([math.tanh(1)])


def test_threshold() -> None:
    assert values("Threshold") == [0, 0, 1, 1]
    assert values("Threshold", "threshold_param { threshold: 0.5 }") == [0, 0, 0, 1]
