"""BatchNorm: by hand, its sums, gradients with every kind of statistics, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import deeplab_caffe as dc
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer
from deeplab_caffe.proto import V2, parse_net
from deeplab_caffe.solver.parameters import collect_parameters
from tests.layers.build import make, noise

STORED = "batch_norm_param { use_global_stats: true }"
BATCH = "batch_norm_param { use_global_stats: false }"
UPDATES = "batch_norm_param { use_global_stats: true update_global_stats: true }"
NET = """input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" %s }
layer { name: "more" type: "BatchNorm" bottom: "y" top: "z" %s }"""


def batch_norm(options: str, shape: tuple[int, ...], *, train: bool = False, factor: float = 2.0) -> Layer:
    layer = make("BatchNorm", options, [shape], train=train, dialect=V2)
    layer.load_blob("mean", noise(shape[1], seed=1))
    layer.load_blob("variance", 1 + noise(shape[1], seed=2).abs())
    layer.load_blob("factor", torch.tensor([factor]))
    return layer


def state(layer: Layer) -> list[list[float]]:
    return [blob.tolist() for blob in layer.blobs]


def test_stored_statistics_by_hand() -> None:
    layer = make("BatchNorm", "batch_norm_param { eps: 1 }", [(1, 2, 1, 2)])
    for role, values in (("mean", [2.0, 4.0]), ("variance", [6.0, 16.0]), ("factor", [2.0])):
        layer.load_blob(role, torch.tensor(values))
    assert layer(torch.tensor([[[[1.0, 3.0]], [[2.0, 5.0]]]]))[0].tolist() == [[[[0, 1]], [[0, 1]]]]
    assert list(layer.named_blobs) == ["mean", "variance", "factor"]
    assert state(layer) == [[2, 4], [6, 16], [2]]


def test_the_batchs_statistics_by_hand() -> None:
    layer = make(
        "BatchNorm", "batch_norm_param { eps: 0 moving_average_fraction: 0.5 }", [(2, 1)], train=True, dialect=V2
    )
    for _ in range(2):
        assert layer(torch.tensor([[1.0], [5.0]]))[0].tolist() == [[-1], [1]]
    # Mean 3 and variance 4 * 2 / (2 - 1), then half of them and once more.
    assert state(layer) == [[4.5], [12], [1.5]]


@pytest.mark.parametrize("train", [False, True])
def test_a_weight_of_zero_counts_as_no_mean_and_no_variance(train: bool) -> None:
    x = noise(2, 3, 4, 5)
    layer = batch_norm(STORED, (2, 3, 4, 5), train=train, factor=0.0)
    torch.testing.assert_close(layer(x)[0], x / 1e-5**0.5)


def test_the_authors_update_takes_the_batchs_variance_around_the_stored_mean() -> None:
    layer, x = batch_norm(UPDATES, (2, 3, 4, 5), train=True), noise(2, 3, 4, 5)
    mean = (layer.mean / 2)[:, None, None].clone()
    before = state(layer)
    variance = (x - mean).square().mean((0, 2, 3))
    torch.testing.assert_close(layer(x)[0], (x - mean) / (variance + 1e-5).sqrt()[:, None, None])
    expected = [0.999 * torch.tensor(old) for old in before]
    expected = [expected[0] + mean.flatten(), expected[1] + 40 / 39 * variance, expected[2] + 1]
    torch.testing.assert_close([blob.data for blob in layer.blobs], expected)
    # In phase TEST nothing moves.
    assert batch_norm(UPDATES, (2, 3, 4, 5)).capturable


@pytest.mark.parametrize("options", [STORED, BATCH])
@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2), (2, 3, 1, 1), (1, 3, 2, 2)])
@pytest.mark.parametrize("train", [False, True])
def test_gradient(options: str, shape: tuple[int, ...], train: bool) -> None:
    layer, x = batch_norm(options, shape, train=train).double(), noise(*shape, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    assert not any(blob.requires_grad for blob in layer.blobs)


def test_one_number_a_channel() -> None:
    layer, x = batch_norm(BATCH, (1, 3, 1, 1), train=True), noise(1, 3, 1, 1).requires_grad_()
    top = layer(x)[0]
    top.sum().backward()
    assert not top.any()
    assert not x.grad.any()
    torch.testing.assert_close(layer.mean.data, 0.999 * noise(3, seed=1) + x.detach().flatten())
    torch.testing.assert_close(layer.variance.data, 0.999 * (1 + noise(3, seed=2).abs()))


def test_empty_bottoms() -> None:
    layer = batch_norm(STORED, (2, 3, 4, 5))
    assert layer(torch.empty(0, 3, 4, 5))[0].shape == (0, 3, 4, 5)
    layer = batch_norm(BATCH, (2, 3, 4, 5))
    with pytest.raises(NetError, match=r"layer 'l': the bottom \(2, 3, 0, 5\) is empty: it has no mean"):
        layer.top_shapes([(2, 3, 0, 5)])


def test_bad_bottoms_and_parameters() -> None:
    with pytest.raises(NetError, match=r"the bottom \(3,\) has no axis 1"):
        make("BatchNorm", "", [(3,)], dialect=V2)
    with pytest.raises(NetError, match=r"the mean is for 3 channels, the bottom \(2, 4\) has 4"):
        batch_norm(STORED, (2, 3)).top_shapes([(2, 4)])
    with pytest.raises(NetError, match="eps must be at least 0, got -1"):
        make("BatchNorm", "batch_norm_param { eps: -1 }")


def test_traits_follow_the_statistics() -> None:
    stored, batch = batch_norm(STORED, (2, 3)), batch_norm(BATCH, (2, 3))
    assert (stored.capturable, stored.per_item, stored.saves) == (True, True, ())
    assert (batch.capturable, batch.per_item, batch.saves) == (False, False, ("bottoms",))


@pytest.mark.parametrize("text", ["", "param { lr_mult: 0 }" * 3, "param { lr_mult: 1 decay_mult: 1 }" * 3])
def test_solvers_leave_the_blobs_alone(text: str) -> None:
    net = dc.Net(parse_net(NET % (text, "")), phase="TRAIN")
    blobs = collect_parameters(net)
    assert [blob.lr_mult for blob in blobs] == [0] * 6
    assert not any(blob.parameter.requires_grad for blob in blobs)
    assert [str(spec) for spec in net.param.layer[0].param] == ["lr_mult: 0\n"] * 3


def test_shared_sums_are_one() -> None:
    names = "".join(f'param {{ name: "s{i}" lr_mult: 1 }}' for i in range(3))
    net = dc.Net(parse_net(NET % (names, names)), phase="TRAIN")
    assert net.by_name["bn"].mean is net.by_name["more"].mean
    net(noise(2, 3, 4, 5))
    assert net.by_name["bn"].factor.item() == pytest.approx(0.999 + 1)


def test_files_hold_the_sums(tmp_path: Path) -> None:
    net, x = dc.Net(parse_net(NET % (BATCH, BATCH))), noise(2, 3, 4, 5)
    net(x)
    assert "bn.mean" in net.state_dict()
    for suffix in ("caffemodel", "h5", "safetensors", "pth"):
        net.save(tmp_path / f"x.{suffix}")
        again = dc.Net(parse_net(NET % (STORED, STORED)), weights=tmp_path / f"x.{suffix}")
        for blob, other in zip(net.by_name["bn"].blobs, again.by_name["bn"].blobs, strict=True):
            assert torch.equal(blob, other)
    v1 = dc.Net(parse_net(NET % ("", "")), dialect="v1")
    assert [v1.by_name["bn"].blob_shape(tuple(b.shape)) for b in v1.by_name["bn"].blobs] == [
        (1, 1, 1, 3),
        (1, 1, 1, 3),
        (1, 1, 1, 1),
    ]


def test_sums_stay_float32_in_a_net_of_less_precision() -> None:
    net = dc.Net(parse_net(NET % (STORED, STORED)), dtype="bfloat16")
    assert {blob.dtype for blob in net.by_name["bn"].blobs} == {torch.float32}
    assert net.double().by_name["bn"].mean.dtype == torch.float64
    assert batch_norm(STORED, (2, 3)).frozen("cpu", torch.bfloat16).mean.dtype == torch.float32
    layer, x = batch_norm(BATCH, (2, 3, 4, 5), train=True), noise(2, 3, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.bfloat16())[0].dtype == torch.bfloat16


def test_memory_is_reused_in_place() -> None:
    layer, x = batch_norm(STORED, (2, 3, 4, 5)), noise(2, 3, 4, 5)
    expected = layer(x)[0]
    layer.inplace = layer.bottom_is_spare = True
    found: Tensor = layer(x)[0]
    assert found.data_ptr() == x.data_ptr()
    assert np.array_equal(found, expected)


SCALED = """input: "x" input_shape { dim: 3 dim: 4 dim: 5 dim: 6 }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" param { lr_mult: 1 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "s" type: "Scale" bottom: "c" top: "c"
  scale_param { filler { type: "gaussian" std: 1 } %s } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }"""


def both_ways(net: dc.Net, x: Tensor) -> list[Tensor]:
    net.zero_grad()
    y = net(x)
    (y * noise(*y.shape, seed=5)).sum().backward()
    return [y.detach(), *(p.grad for p in net.parameters() if p.grad is not None), *net.by_name["bn"].parameters()]


@pytest.mark.parametrize("bias", ["", 'bias_term: true bias_filler { type: "gaussian" std: 1 }'])
def test_it_takes_a_scale_along(bias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one pass over memory, forward and backward; who listens to one of the two layers hears it."""
    fused, plain = (dc.Net(parse_net(SCALED % bias), phase="TRAIN", seed=1) for _ in range(2))
    heard: list[object] = []
    plain.by_name["s"].register_forward_hook(lambda *given: heard.append(given))
    monkeypatch.setattr(fused.by_name["s"], "forward", lambda *bottoms: pytest.fail("a pass of its own"))
    x = noise(3, 4, 5, 6)
    for a, b in zip(both_ways(fused, x), both_ways(plain, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert len(heard) == 1


def test_what_it_does_not_take_along() -> None:
    def taken(text: str, phase: str = "TRAIN") -> list[str]:
        net = dc.Net(parse_net(text), phase=phase)
        return [layer.name for step in net._for_training.steps for layer in step.affine]

    plain = SCALED % ""
    assert taken(plain) == taken(SCALED % "bias_term: true") == ["s"]
    assert taken(plain, "TEST") == []  # the stored statistics
    assert taken(plain.replace("scale_param {", "scale_param { axis: 2 num_axes: 2")) == []
    # The normalised blob is one of its own, which may be asked for.
    assert (
        taken(
            plain.replace('"Scale" bottom: "c" top: "c"', '"Scale" bottom: "c" top: "d"').partition(
                'layer { name: "r"'
            )[0]
        )
        == []
    )


def test_nets_of_half_precision_take_the_scale_apart() -> None:
    net = dc.Net(parse_net(SCALED % "bias_term: true"), phase="TRAIN", seed=1).to(torch.bfloat16)
    assert all(each.isfinite().all() for each in both_ways(net, noise(3, 4, 5, 6).to(torch.bfloat16)))
