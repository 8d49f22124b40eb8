"""Reduction: by hand, every axis, bad input; golden cases are in tests/test_goldens.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run

SLOW = {
    "SUM": lambda rows: rows.sum(1),
    "MEAN": lambda rows: rows.mean(1),
    "ASUM": lambda rows: np.abs(rows).sum(1),
    "SUMSQ": lambda rows: (rows * rows).sum(1),
}


def test_by_hand() -> None:
    x = torch.tensor([[1.0, -2.0, 0.0], [4.0, 5.0, -6.0]])
    for operation, expected in (
        ("SUM", [-1, 3]),
        ("MEAN", [-1 / 3, 1]),
        ("ASUM", [3, 15]),
        ("SUMSQ", [5, 77]),
    ):
        found = run("Reduction", f"reduction_param {{ operation: {operation} axis: 1 }}", x, dialect=V2)
        assert found.tolist() == pytest.approx(expected)
    assert run("Reduction", "", x, dialect=V2).item() == 2
    assert run("Reduction", "reduction_param { coeff: -0.5 }", x, dialect=V2).item() == -1


def test_slopes_by_hand() -> None:
    x = torch.tensor([[1.0, -2.0, 0.0, 3.0]])
    for operation, expected in (
        ("SUM", [2, 2, 2, 2]),
        ("MEAN", [0.5] * 4),
        ("ASUM", [2, -2, 0, 2]),
        ("SUMSQ", [4, -8, 0, 12]),
    ):
        one = x.clone().requires_grad_()
        run("Reduction", f"reduction_param {{ operation: {operation} coeff: 2 }}", one, dialect=V2).backward()
        assert one.grad.tolist() == [expected]


@pytest.mark.parametrize("operation", SLOW)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 2, 2), (0, 3), (2, 0, 3)])
def test_every_axis(operation: str, shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    for axis in range(-len(shape), len(shape)):
        params = f"reduction_param {{ operation: {operation} axis: {axis} coeff: 1.5 }}"
        found = run("Reduction", params, x, dialect=V2)
        kept = shape[: axis % len(shape)]
        rows = x.numpy().reshape(int(np.prod(kept)), int(np.prod(shape[len(kept) :])))
        assert tuple(found.shape) == kept
        if rows.shape[1]:
            np.testing.assert_allclose(found.numpy().ravel(), 1.5 * SLOW[operation](rows), rtol=1e-5, atol=1e-5)
        if len(shape) == 4:
            padded = run("Reduction", params, x)
            assert tuple(padded.shape) == kept + (1,) * (4 - len(kept))
            assert torch.equal(padded.flatten(), found.flatten())


def test_items_stay_apart_where_the_batch_is_no_part_of_the_sum() -> None:
    assert make("Reduction", "reduction_param { axis: 1 }", [(2, 3)], dialect=V2).per_item
    assert not make("Reduction", "", [(2, 3)], dialect=V2).per_item


def test_bad_axes() -> None:
    with pytest.raises(NetError, match=r"layer 'l': axis must lie between -2 and 1 for \(2, 3\), got 2"):
        make("Reduction", "reduction_param { axis: 2 }", [(2, 3)], dialect=V2)
    with pytest.raises(NetError, match="layer 'l': axis is 0, and the bottom, a single number, has no axes"):
        make("Reduction", "", [()], dialect=V2)
