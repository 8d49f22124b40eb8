"""Scale and Bias: by hand, against broadcasting written out, bad input; golden cases are in tests/test_goldens.py."""

from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run


def test_each_channel_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    layer = make("Scale", "scale_param { bias_term: true }", [(1, 2, 1, 2)])
    layer.load_blob("weight", torch.tensor([2.0, -1.0]))
    layer.load_blob("bias", torch.tensor([10.0, 0.5]))
    assert layer(x)[0].tolist() == [[[[12, 14]], [[-2.5, -3.5]]]]
    assert list(layer.named_blobs) == ["weight", "bias"]
    bias = make("Bias", "", [(1, 2, 1, 2)])
    bias.load_blob("bias", torch.tensor([10.0, 0.5]))
    assert bias(x)[0].tolist() == [[[[11, 12]], [[3.5, 4.5]]]]


def test_fillers() -> None:
    x = noise(2, 3, 4, 5)
    assert torch.equal(run("Scale", "", x), x)
    assert torch.equal(run("Bias", "", x), x)
    text = 'filler { type: "constant" value: 2 } bias_term: true bias_filler { type: "constant" value: 3 }'
    assert torch.equal(run("Scale", f"scale_param {{ {text} }}", x), 2 * x + 3)
    assert torch.equal(run("Bias", 'bias_param { filler { type: "constant" value: 3 } }', x), x + 3)


@pytest.mark.parametrize(
    ("options", "shape", "view"),
    [
        ("axis: 0 num_axes: 2", (2, 3), (2, 3, 1, 1)),
        ("axis: 2 num_axes: -1", (4, 5), (1, 1, 4, 5)),
        ("axis: -1", (5,), (1, 1, 1, 5)),
        ("num_axes: 0", (), (1, 1, 1, 1)),
        ("axis: 0 num_axes: -1", (2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_axes(kind: str, options: str, shape: tuple[int, ...], view: tuple[int, ...]) -> None:
    x, numbers = noise(2, 3, 4, 5), noise(*shape, seed=1)
    layer = make(kind, f"{kind.lower()}_param {{ {options} }}", [(2, 3, 4, 5)])
    (role,) = layer.named_blobs
    layer.load_blob(role, numbers)
    expected = x * numbers.view(view) if kind == "Scale" else x + numbers.view(view)
    assert torch.equal(layer(x)[0], expected)


@pytest.mark.parametrize(
    ("options", "shape", "view"),
    [
        ("", (3,), (1, 3, 1, 1)),
        ("axis: 0", (2, 3), (2, 3, 1, 1)),
        ("", (), (1, 1, 1, 1)),
        ("axis: 1", (3, 4), (1, 3, 4, 1)),
    ],
)
def test_a_second_bottom(options: str, shape: tuple[int, ...], view: tuple[int, ...]) -> None:
    x, other = noise(2, 3, 4, 5), noise(*shape, seed=1)
    assert torch.equal(run("Scale", f"scale_param {{ {options} }}", x, other, dialect=V2), x * other.view(view))
    assert torch.equal(run("Bias", f"bias_param {{ {options} }}", x, other, dialect=V2), x + other.view(view))
    layer = make("Scale", f"scale_param {{ {options} bias_term: true }}", [(2, 3, 4, 5), shape], dialect=V2)
    assert {role: tuple(blob.shape) for role, blob in layer.named_blobs.items()} == {"bias": shape}


def test_items_that_belong_together_are_not_taken_apart() -> None:
    assert make("Scale", "", [(2, 3, 4, 5)]).per_item
    assert not make("Scale", "scale_param { axis: 0 }", [(2, 3, 4, 5)]).per_item
    assert not make("Scale", "", [(2, 3, 4, 5), (3,)], dialect=V2).per_item


@pytest.mark.parametrize(
    ("options", "shapes", "message"),
    [
        ("num_axes: -2", [(2, 3, 4, 5)], "num_axes must be at least -1, got -2"),
        ("axis: 4", [(2, 3, 4, 5)], "axis must lie between -4 and 3"),
        ("axis: 2 num_axes: 3", [(2, 3, 4, 5)], "axis 2 and the 3 from there on are not all axes"),
        ("", [(2, 3, 4, 5), (4,)], r"bottom 'b1' is \(4,\), expected axes of \(2, 3, 4, 5\) from axis 1 on"),
    ],
)
def test_bad_parameters(options: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("Scale", f"scale_param {{ {options} }}", shapes, dialect=V2)


def test_a_bottom_of_other_channels() -> None:
    layer = make("Scale", "", [(2, 3, 4, 5)])
    with pytest.raises(NetError, match=r"layer 'l': the weight is for \(3,\), the bottom \(2, 4, 4, 5\) needs \(4,\)"):
        layer.top_shapes([(2, 4, 4, 5)])


@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_single_numbers(kind: str) -> None:
    """A bottom without axes, as Reduction's top of axis 0: two of them fit at any axis, as in Caffe."""
    x, y = torch.tensor(3.0), torch.tensor(5.0)
    expected = 15 if kind == "Scale" else 8
    (found,) = make(kind, "", [(), ()], layout="V2")(x, y)
    assert found.shape == ()
    assert found.item() == expected
    layer = make(kind, f"{kind.lower()}_param {{ num_axes: 0 }}", [()], layout="V2")
    layer.load_blob(layer.roles[0], y)
    assert layer(x.clone())[0].item() == expected
