from __future__ import annotations

import math

import pytest
import torch

from deeplab_caffe.layers.fillers import fill
from deeplab_caffe.proto import V2, caffe_pb2
from tests.layers.build import make


def filled(shape: tuple[int, ...], **filler: object) -> torch.Tensor:
    tensor = torch.full(shape, math.nan)
    fill(tensor, caffe_pb2.FillerParameter(**filler), generator=torch.Generator().manual_seed(3))
    return tensor


def test_constant_is_the_default_and_zero() -> None:
    assert torch.equal(filled((2, 3)), torch.zeros(2, 3))
    assert torch.equal(filled((2, 3), type="constant", value=0.5), torch.full((2, 3), 0.5))


def test_ranges_and_moments() -> None:
    uniform = filled((100, 100), type="uniform", min=-1, max=3)
    assert -1 <= uniform.min() < -0.9
    assert 2.9 < uniform.max() <= 3
    gaussian = filled((100, 100), type="gaussian", mean=2, std=0.5)
    assert gaussian.mean().item() == pytest.approx(2, abs=0.03)
    assert gaussian.std().item() == pytest.approx(0.5, rel=0.05)
    xavier = filled((100, 75), type="xavier")
    assert xavier.abs().max().item() == pytest.approx(math.sqrt(3 / 75), rel=0.01)
    msra = filled((100, 50), type="msra")
    assert msra.std().item() == pytest.approx(math.sqrt(2 / 50), rel=0.05)


def test_sparse_gaussian_keeps_a_share() -> None:
    kept = (filled((50, 200), type="gaussian", std=1, sparse=5) != 0).double().mean().item()
    assert kept == pytest.approx(5 / 50, abs=0.02)
    assert not filled((5, 4), type="gaussian", std=1, sparse=0).any()


def test_positive_unitball_sums_to_one_per_unit() -> None:
    ball = filled((4, 3, 2, 2), type="positive_unitball")
    assert ball.min() >= 0
    torch.testing.assert_close(ball.sum((1, 2, 3)), torch.ones(4))


def test_inner_product_weights_count_as_one_unit() -> None:
    # Their blob is (1, 1, K, inputs) in 2014 Caffe, and fan_in is count / num = K * inputs.
    params = 'inner_product_param { num_output: 30 weight_filler { type: "xavier" } bias_filler { type: "xavier" } }'
    layer = make("InnerProduct", params, [(1, 40, 1, 1)])
    assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(3 / 1200), rel=0.02)
    assert layer.bias.abs().max().item() == pytest.approx(math.sqrt(3 / 30), rel=0.2)
    ball = make("InnerProduct", params.replace("xavier", "positive_unitball", 1), [(1, 40, 1, 1)])
    assert ball.weight.sum().item() == pytest.approx(1, rel=1e-4)


def test_an_unknown_type() -> None:
    with pytest.raises(ValueError, match="unknown filler type 'xavi'"):
        filled((2,), type="xavi")


def test_variance_norm() -> None:
    for norm, spread in (("FAN_IN", 50), ("FAN_OUT", 200), ("AVERAGE", 125)):
        xavier = filled((200, 50), type="xavier", variance_norm=norm)
        assert xavier.abs().max().item() == pytest.approx(math.sqrt(3 / spread), rel=0.01)


def test_inner_product_weights_of_v2_have_two_axes() -> None:
    params = 'inner_product_param { num_output: 30 weight_filler { type: "xavier" } }'
    layer = make("InnerProduct", params, [(1, 400)], dialect=V2)
    assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(3 / 400), rel=0.02)


def test_bilinear_is_a_tent_along_both_axes() -> None:
    four = filled((2, 1, 4, 4), type="bilinear")
    assert torch.equal(four[0], four[1])
    tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(four[0, 0], tent * tent[:, None])
    tent = torch.tensor([1, 2, 3, 2, 1]) / 3
    torch.testing.assert_close(filled((1, 2, 5, 5), type="bilinear")[0, 1], tent * tent[:, None])
    for shape in ((4, 4), (1, 1, 4, 3)):
        with pytest.raises(ValueError, match="four axes and a square kernel"):
            filled(shape, type="bilinear")


def test_only_gaussian_is_sparse() -> None:
    for kind in ("xavier", "msra", "uniform", "constant", "positive_unitball", "bilinear"):
        with pytest.raises(ValueError, match=f"filler '{kind}' cannot be sparse"):
            filled((1, 1, 4, 4), type=kind, sparse=3)
        with pytest.raises(ValueError, match=f"filler '{kind}' cannot be sparse"):
            filled((1, 1, 4, 4), type=kind, sparse=0)
