"""Tile: by hand, every axis, bad input; golden cases are in tests/test_goldens.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run


def test_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).requires_grad_()
    top = run("Tile", "tile_param { tiles: 2 }", x, dialect=V2)
    assert top.tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]
    (top * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.tolist() == [[101, 1010]] * 2
    assert run("Tile", "tile_param { axis: 0 tiles: 2 }", x, dialect=V2).tolist() == [[1, 2], [3, 4], [1, 2], [3, 4]]


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 2, 2), (0, 3), (2, 0, 3)])
def test_every_axis(shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    for axis in range(-len(shape), len(shape)):
        found = run("Tile", f"tile_param {{ axis: {axis} tiles: 3 }}", x, dialect=V2)
        assert np.array_equal(found.numpy(), np.concatenate([x.numpy()] * 3, axis))
    assert torch.equal(run("Tile", "tile_param { axis: 0 tiles: 1 }", x, dialect=V2), x)


def test_items_stay_apart_unless_they_are_repeated() -> None:
    assert make("Tile", "tile_param { tiles: 2 }", [(2, 3)], dialect=V2).per_item
    assert not make("Tile", "tile_param { axis: 0 tiles: 2 }", [(2, 3)], dialect=V2).per_item


def test_bad_parameters() -> None:
    for params in ("", "tile_param { tiles: 0 }", "tile_param { tiles: -2 }"):
        with pytest.raises(NetError, match="layer 'l': tiles must be positive, got (0|-2)"):
            make("Tile", params)
    with pytest.raises(NetError, match=r"layer 'l': axis must lie between -2 and 1 for \(2, 3\), got 2"):
        make("Tile", "tile_param { axis: 2 tiles: 2 }", [(2, 3)], dialect=V2)
    with pytest.raises(NetError, match="layer 'l': axis is 1, and the bottom, a single number, has no axes"):
        make("Tile", "tile_param { tiles: 2 }", [()], dialect=V2)
