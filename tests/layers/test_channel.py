from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.errors import DataError, NetError
from deeplab_caffe.layers.channel import read_label_map
from tests.layers.build import make, noise, run


@pytest.fixture
def label_map(tmp_path: Path) -> str:
    """Three new labels of five old ones; label 2 is in two of them."""
    path = tmp_path / "map.txt"
    path.write_text("0\n1 2\n3 4 2\n")
    return f'channel_aggregator_param {{ label_map_file: "{path}" }}'


def test_channel_aggregator_by_hand(label_map: str) -> None:
    x = torch.tensor([7.0, math.log(2), math.log(3), math.log(5), -math.inf]).reshape(1, 5, 1, 1)
    found = run("ChannelAggregator", label_map, x)
    assert found.flatten().tolist() == pytest.approx([7, math.log(5), math.log(8)])


def test_channel_aggregator_does_not_overflow(label_map: str) -> None:
    found = run("ChannelAggregator", label_map, torch.full((1, 5, 1, 1), 500.0))
    assert found.flatten().tolist() == pytest.approx([500, 500 + math.log(2), 500 + math.log(3)])


def test_channel_aggregator_gradient(label_map: str) -> None:
    layer = make("ChannelAggregator", label_map)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(2, 5, 2, 3, dtype=torch.float64).requires_grad_())


def test_channel_aggregator_refuses(label_map: str) -> None:
    with pytest.raises(NetError, match=r"layer 'l': .*map.txt:3: label 4 is none of the bottom's 4 channels"):
        make("ChannelAggregator", label_map, [(1, 4, 2, 2)])
    with pytest.raises(NetError, match="layer 'l': channel_aggregator_param needs a label_map_file"):
        make("ChannelAggregator")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the label map"),
        ("", "the label map is empty"),
        ("0\n\n1\n", r"map.txt:2: expected at least one label, got none"),
        ("0\n1 cat\n", r"map.txt:2: expected labels, got '1 cat'"),
        ("0 1.5", r"map.txt:1: expected labels, got '0 1.5'"),
    ],
)
def test_label_maps_that_are_none(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_label_map(str(path))


def test_dominant_channel_by_hand() -> None:
    # Four pixels; ranks from the best: (2, 0), (2, 1), (0, 1), (0, 1).
    scores = torch.tensor([[2.0, 1, 3, 3], [1, 2, 2, 2], [3, 3, 1, 0]]).reshape(1, 3, 2, 2)
    assert run("DominantChannel", "dominant_channel_param { top_k: 1 }", scores).item() == 0
    # 0 and 2 are both first twice; 0 is second once, 2 never.
    both = run("DominantChannel", "dominant_channel_param { top_k: 2 }", scores)
    assert both.shape == (1, 2, 1, 1)
    assert both.flatten().tolist() == [0, 2]


def slow_dominant(scores: torch.Tensor, top_k: int) -> list[int]:
    counts = [[0] * top_k for _ in range(scores.shape[0])]
    for pixel in scores.flatten(1).T.tolist():
        for rank, channel in enumerate(sorted(range(len(pixel)), key=lambda c: -pixel[c])[:top_k]):
            counts[channel][rank] += 1
    return sorted(range(len(counts)), key=lambda c: [-count for count in counts[c]])[:top_k]


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_dominant_channel_agrees_with_a_loop(top_k: int) -> None:
    scores = noise(3, 5, 4, 6)
    found = run("DominantChannel", f"dominant_channel_param {{ top_k: {top_k} }}", scores)
    assert found.squeeze((2, 3)).tolist() == [slow_dominant(item, top_k) for item in scores]


@pytest.mark.parametrize("top_k", [0, 4, -1])
def test_dominant_channel_refuses(top_k: int) -> None:
    with pytest.raises(NetError, match=f"layer 'l': top_k must lie between 1 and the 3 channels, got {top_k}"):
        make("DominantChannel", f"dominant_channel_param {{ top_k: {top_k} }}", [(1, 3, 2, 2)])


ONES = 'gain_filler { type: "constant" value: 1 }'


def gain_layer(gains: list[float], params: str, **options: object) -> torch.nn.Module:
    text = f"gain_channel_param {{ {ONES} {params} }}"
    layer = make("GainChannel", text, [(1, len(gains), 1, 1)], **options)
    layer.gain.data[...] = torch.tensor(gains).reshape(1, -1, 1, 1)
    return layer


def gain_gradient(layer: torch.nn.Module, *weights: float) -> list[float]:
    """The gains' gradient where the true derivative is ``weights``."""
    weight = torch.tensor(weights).reshape(1, -1, 1, 1)
    (layer(torch.ones_like(weight))[0] * weight).sum().backward()
    return layer.gain.grad.flatten().tolist()


def test_gain_channel_changes_its_gains() -> None:
    layer = gain_layer([0.2, 3, 1], "num_output_nz: 1 thresh: 0.5")
    x = torch.tensor([10.0, 20, 30]).reshape(1, 3, 1, 1)
    # Raised to 0.5, then times 3 / 4.5.
    assert layer(x)[0].flatten().tolist() == pytest.approx([10 / 3, 40, 20])
    assert layer.gain.flatten().tolist() == pytest.approx([1 / 3, 2, 2 / 3])
    assert layer.blobs[0].shape == (1, 3, 1, 1)
    assert layer.multiply_adds([(2, 3, 4, 5)], [(2, 3, 4, 5)]) == 120


def test_gain_channel_without_norm_mean() -> None:
    layer = gain_layer([0.2, 3, 1], "num_output_nz: 1 thresh: 0.5 norm_mean: false")
    x = noise(2, 3, 4, 5)
    torch.testing.assert_close(layer(x)[0], x * torch.tensor([0.5, 3, 1]).reshape(1, 3, 1, 1))
    assert gain_gradient(layer, 1, 2, 3) == [1, 2, 3]


def test_gain_channel_gradient_has_no_mean() -> None:
    assert gain_gradient(gain_layer([1, 1, 1], "num_output_nz: 1"), 1, 2, 6) == pytest.approx([-2, -1, 3])


def test_gain_channel_drift_is_for_the_small() -> None:
    params = "num_output_nz: 2 drift: 0.25 norm_mean: false"
    # Three channels at most are simply sorted, so the bound is the second largest gain.
    assert gain_gradient(gain_layer([1, 3, 2], params), 1, 1, 1) == [1.25, 1, 1]
    # Here std::nth_element leaves the larger of the two largest at the bound's place.
    gains = [9.88, 3.44, 9.14, 4.25, 2.93]
    assert gain_gradient(gain_layer(gains, params), *([1] * 5)) == [1, 1.25, 1.25, 1.25, 1.25]


def test_gain_channel_noise() -> None:
    params = "num_output_nz: 1 stdev: 2 norm_mean: false"
    gradients = [gain_gradient(gain_layer([1.0] * 500, params), *([0.0] * 500)) for _ in range(2)]
    assert gradients[0] == gradients[1]
    assert torch.tensor(gradients[0]).std().item() == pytest.approx(2, rel=0.1)


def test_gain_channel_noise_is_the_nets_own() -> None:
    params = "num_output_nz: 1 stdev: 0.5 norm_mean: false"
    found = [gain_gradient(gain_layer([1.0] * 3, params, rng=CaffeRNG(seed)), 0.0, 0.0, 0.0) for seed in (1, 2)]
    for seed, gradient in zip((1, 2), found, strict=True):
        numbers = torch.randn(1, 3, 1, 1, generator=torch.Generator().manual_seed(CaffeRNG(seed).word()))
        assert gradient == (0.5 * numbers).flatten().tolist()
    assert found[0] != found[1]


def test_gain_channel_gradient_of_its_bottom() -> None:
    layer = gain_layer([0.5, 2, 1], "num_output_nz: 1 drift: 1").double()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(2, 3, 2, 2, dtype=torch.float64).requires_grad_())


def test_gain_channel_two_passes_before_the_gradient() -> None:
    layer = gain_layer([1, 2], "num_output_nz: 1 norm_mean: false")
    x = torch.ones(1, 2, 1, 1, requires_grad=True)
    total = layer(x)[0].sum() + 3 * layer(x)[0].sum()
    total.backward()
    assert layer.gain.grad.flatten().tolist() == [4, 4]
    assert x.grad.flatten().tolist() == [4, 8]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (f"{ONES} num_output_nz: 0", "num_output_nz must lie between 1 and the 3 channels, got 0"),
        (f"{ONES} num_output_nz: 4", "num_output_nz must lie between 1 and the 3 channels, got 4"),
        ("num_output_nz: 1", "needs a gain_filler"),
        (f"{ONES} num_output_nz: 1 drift: -1", "drift and stdev must not be negative"),
        (f"{ONES} num_output_nz: 1 stdev: -1", "drift and stdev must not be negative"),
        (f"{ONES} num_output_nz: 1 thresh: 0", "thresh must be positive, got 0, 0 and 0"),
    ],
)
def test_gain_channel_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
        make("GainChannel", f"gain_channel_param {{ {params} }}", [(1, 3, 2, 2)])


def test_gain_channel_refuses_another_number_of_channels() -> None:
    with pytest.raises(NetError, match="layer 'l': the gains are for 2 channels"):
        gain_layer([1, 1], "num_output_nz: 1").top_shapes([(1, 3, 2, 2)])
