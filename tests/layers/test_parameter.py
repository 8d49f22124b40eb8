from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V1, V2
from tests.layers.build import make, noise
from tests.nets import build

TEXT = """input: "x" input_shape { dim: 2 dim: 3 }
layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 dim: 3 } } }
layer { name: "e" type: "Eltwise" bottom: "x" bottom: "p" top: "y" eltwise_param { operation: PROD } }"""


def test_its_top_is_its_blob_and_learns() -> None:
    net, x = build(TEXT), noise(2, 3)
    net(x).sum().backward()
    assert not net.p.weight.any()  # zeros at first
    torch.testing.assert_close(net.p.weight.grad, x)
    assert list(net.state_dict()) == ["p.weight"]


def test_a_layer_behind_it_does_not_write_to_the_blob() -> None:
    relu = 'layer { name: "r" type: "ReLU" bottom: "p" top: "p" }'
    net = build(TEXT.replace('layer { name: "e"', f'{relu} layer {{ name: "e"'))
    net.p.weight.data.fill_(-1)
    with torch.no_grad():
        assert not net(noise(2, 3)).any()
    assert (net.p.weight == -1).all()


def test_shapes() -> None:
    assert make("Parameter", "", [], dialect=V2).weight.shape == ()
    params = "parameter_param { shape { dim: 3 } }"
    assert make("Parameter", params, [], dialect=V1).top_shapes([]) == [(1, 1, 1, 3)]
    for dims in ("dim: 0", "dim: 2 dim: 0", "dim: -1 dim: 2"):
        with pytest.raises(NetError, match="each dim of shape must be positive"):
            make("Parameter", f"parameter_param {{ shape {{ {dims} }} }}", [], dialect=V2)
