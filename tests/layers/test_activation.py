"""PReLU, ELU, Clip, Swish: by hand, any number of axes, in place; golden cases are in tests/test_goldens.py."""

from __future__ import annotations

import math

import pytest
import torch

from deeplab_caffe.errors import NetError, PrototxtError
from deeplab_caffe.layers import RectifierFact
from deeplab_caffe.proto import V1, V2
from tests.layers.build import image, make, noise, run, slopes, values
from tests.nets import build

KINDS = {
    "PReLU": "",
    "ELU": "elu_param { alpha: 0.7 }",
    "Clip": "clip_param { min: -0.5 max: 0.8 }",
    "Swish": "swish_param { beta: 1.5 }",
    "Log": "log_param { base: 2 shift: 9 }",
    "Exp": "exp_param { base: 2 }",
    "BNLL": "",
    "Power": "power_param { power: 2 scale: 3 }",
    "ReLU": "relu_param { negative_slope: -0.5 }",
    "Sigmoid": "",
    "TanH": "",
    "AbsVal": "",
}


def test_prelu_by_hand() -> None:
    layer = make("PReLU", "", [(1, 2, 1, 2)])
    assert layer.weight.tolist() == [0.25, 0.25]
    layer.load_blob("weight", torch.tensor([0.5, -1.0]))
    x = torch.tensor([[[[-2.0, 1.0]], [[-3.0, 0.0]]]]).requires_grad_()
    (top,) = layer(x)
    assert top.tolist() == [[[[-1, 1]], [[3, 0]]]]
    (top * torch.tensor([[[[1.0, 10.0]], [[100.0, 1000.0]]]])).sum().backward()
    # Where the bottom is 0 the slope is that of the numbers below it.
    assert x.grad.tolist() == [[[[0.5, 10]], [[-100, -1000]]]]
    assert layer.weight.grad.tolist() == [-2, -300]


def test_prelu_with_one_slope() -> None:
    layer = make("PReLU", "prelu_param { channel_shared: true filler { type: 'constant' value: 2 } }", [(2, 3)])
    assert layer.weight.shape == ()
    assert layer.blob_shape(()) == (1, 1, 1, 1)
    x = noise(2, 3)
    assert torch.equal(layer(x)[0], torch.where(x > 0, x, 2 * x))
    layer(x)[0].sum().backward()
    assert layer.weight.grad.item() == pytest.approx(x.clamp(max=0).sum().item())


def test_prelu_needs_channels() -> None:
    with pytest.raises(NetError, match=r"layer 'l': the bottom must have channels, a second axis, got \(3,\)"):
        make("PReLU", "", [(3,)], dialect=V2)
    layer = make("PReLU", "", [(2, 3, 4, 5)])
    with pytest.raises(NetError, match=r"layer 'l': the weight is for \(3,\), the bottom \(2, 4, 4, 5\) needs \(4,\)"):
        layer.top_shapes([(2, 4, 4, 5)])


def test_elu_by_hand() -> None:
    assert values("ELU") == pytest.approx([math.exp(-2) - 1, 0, 0.5, 3])
    assert values("ELU", "elu_param { alpha: 3 }") == pytest.approx([3 * (math.exp(-2) - 1), 0, 0.5, 3])
    assert slopes("ELU", "elu_param { alpha: 3 }") == pytest.approx([3 * math.exp(-2), 3, 1, 1])


def test_clip_by_hand() -> None:
    assert values("Clip", "clip_param { min: -1 max: 0.5 }") == [-1, 0, 0.5, 0.5]
    # The bounds themselves are not clipped.
    assert slopes("Clip", "clip_param { min: 0 max: 0.5 }") == [0, 1, 1, 0]
    assert values("Clip", "clip_param { min: 2 max: 2 }") == [2] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 6), (-1, 6), (0.1, 0.3), (-3.4028234663852886e38, 3.4028234663852886e38)]
)
def test_clip_has_the_slopes_of_torchs_clamp(dtype: torch.dtype, low: float, high: float) -> None:
    """The bounds themselves, as the dtype has them, and the numbers beside them too."""
    bounds = torch.tensor([low, high], dtype=dtype)
    beside = [torch.nextafter(bounds, torch.tensor(way, dtype=dtype)) for way in (-math.inf, math.inf)]
    x = torch.cat([bounds, *beside, torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1, 9, -9], dtype=dtype)]).requires_grad_()
    layer = make("Clip", f"clip_param {{ min: {low} max: {high} }}", [(1, len(x))])
    low, high = layer.param.clip_param.min, layer.param.clip_param.max
    (y,), expected = layer(x), x.clamp(low, high)
    assert torch.equal(y, expected)
    grad = torch.arange(1.0, len(x) + 1, dtype=dtype)
    assert torch.equal(*(torch.autograd.grad(each, x, grad)[0] for each in (y, expected)))


def test_clip_needs_bounds() -> None:
    with pytest.raises(NetError, match="layer 'l': min must not be above max, got 2 and 1"):
        make("Clip", "clip_param { min: 2 max: 1 }")
    with pytest.raises(NetError, match="layer 'l': min must not be above max, got nan and 1"):
        make("Clip", "clip_param { min: nan max: 1 }")
    with pytest.raises(PrototxtError, match=r"required field is not set: layer\[0\].clip_param.max"):
        make("Clip", "clip_param { min: 2 }")
    with pytest.raises(NetError, match="layer 'l': clip_param must give min and max"):
        make("Clip", "")


def test_swish_by_hand() -> None:
    def swish(x: float, beta: float) -> float:
        return x / (1 + math.exp(-beta * x))

    assert values("Swish") == pytest.approx([swish(x, 1) for x in (-2, 0, 0.5, 3)])
    assert values("Swish", "swish_param { beta: -0.5 }") == pytest.approx([swish(x, -0.5) for x in (-2, 0, 0.5, 3)])
    assert values("Swish", "swish_param { beta: 0 }") == [-1, 0, 0.25, 1.5]
    assert slopes("Swish", "swish_param { beta: 4 }")[1] == 0.5
    assert values("Swish", x=image([-1000, 1000])) == [0, 1000]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 1, 2, 2), (0, 3, 2), (2, 3, 0, 5)])
def test_any_number_of_axes(kind: str, shape: tuple[int, ...]) -> None:
    if kind == "PReLU" and len(shape) < 2:
        return
    x = noise(*shape)
    flat = run(kind, KINDS[kind], x.reshape(-1, 3, 1, 1) if len(shape) < 3 and x.numel() % 3 == 0 else x, dialect=V2)
    assert torch.equal(run(kind, KINDS[kind], x, dialect=V2), flat.reshape(shape))
    if len(shape) == 4:
        assert torch.equal(run(kind, KINDS[kind], x, dialect=V1), flat)


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_gives_the_same_numbers_and_gradients(kind: str) -> None:
    if kind == "Log":  # its bottoms are to be above 0
        before = "scale_param { filler { type: 'constant' value: 0.5 } }"
    else:
        before = "scale_param { filler { type: 'constant' value: 2 } }"
    found = []
    for top in ("x", "y"):
        net = build(
            'input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 } '
            f'layer {{ name: "s" type: "Scale" bottom: "data" top: "x" {before} }}'
            f'layer {{ name: "l" type: "{kind}" bottom: "x" top: "{top}" {KINDS[kind]} }}',
            phase="TRAIN",
        )
        x = noise(2, 3, 4, 5).requires_grad_()
        y = net(x)
        (y * noise(2, 3, 4, 5, seed=1)).sum().backward()
        with torch.no_grad():
            without_gradient = net(x)
        found.append([y, without_gradient, x.grad, *(blob.grad for blob in net.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("kind", ["ELU", "Clip", "Swish"])
def test_in_place_saves_memory_where_no_gradient_is_asked_for(kind: str) -> None:
    layer, x = make(kind, KINDS[kind].replace("1.5", "1")), noise(2, 3)
    expected = layer(x)[0]
    layer.inplace = True
    (top,) = layer(x)
    assert top.data_ptr() == x.data_ptr()
    assert torch.equal(top, expected)


def test_which_activations_are_rectifiers() -> None:
    """A layer before takes them along; any other lower bound or slope is a layer of its own."""
    assert make("Clip", "clip_param { min: 0 max: 6 }").fact == RectifierFact(6)
    for low in (-1, -0.5, 0.5):
        assert make("Clip", f"clip_param {{ min: {low} max: 6 }}").fact is None
    assert make("ReLU").fact == RectifierFact()
    assert make("ReLU", "relu_param { negative_slope: 0.1 }").fact is None


def test_what_swish_keeps_for_the_backward_pass() -> None:
    for beta, expected in ((1, 0), (2, 4 * 6)):
        layer = make("Swish", f"swish_param {{ beta: {beta} }}")
        assert layer.saved_bytes([(1, 2, 3)], [(1, 2, 3)], 4) == expected
