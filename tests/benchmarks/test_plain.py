from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tests.inference.narrow import error, narrow, photo_like

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from contenders import network, random_weights
from plain import HEADS, PlainDeepLab
from plain_resnet import TOWERS, PlainResNet


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("side", [66, 65])
@torch.no_grad()
def test_it_is_the_network_of_the_prototxt(name: str, side: int) -> None:
    if "msc" in name and side % 8 != 1:
        pytest.skip("multi-scale networks take sides of 8 k + 1 alone")
    net, plain = narrow(name, width=16), PlainDeepLab(name, width=16).eval()
    plain.copy_weights(net)
    x = photo_like(2, 3, side, side)
    assert error(plain(x), net(x)) < 2e-6


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_it_is_the_resnet_of_the_prototxt(name: str) -> None:
    net, plain = random_weights(name), PlainResNet(name).eval()
    assert any("_res05" in layer.name for layer in network(name).layer) == (TOWERS[name] == 3)
    assert net.parameter_count() == 44_153_980
    plain.copy_weights(net)
    x = photo_like(1, 3, 33, 65)
    wanted = net(x)
    assert error(plain(x), wanted) < 1e-5
    assert error(net.optimize()(x), wanted) < 1e-5


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"expected one of deeplab_largefov, .*, got 'vgg'"):
        PlainDeepLab("vgg")
