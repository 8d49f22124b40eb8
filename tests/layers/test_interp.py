from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import ReceptiveWindow
from deeplab_caffe.proto import V1, V2, Dialect
from tests.layers.build import image, make, noise, run


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("zoom_factor: 2", [[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]]),
        ("height: 3 width: 2", [[1, 2], [2, 3], [3, 4]]),
        ("height: 1 width: 1", [[1]]),
        ("height: 2 width: 2", [[1, 2], [3, 4]]),
        ("shrink_factor: 2", [[1]]),
        ("zoom_factor: 3 pad_beg: -1", [[4]]),
        ("height: 1 width: 2 pad_end: -1", [[1, 1]]),
    ],
)
def test_interp_by_hand(params: str, expected: list[list[float]]) -> None:
    assert run("Interp", f"interp_param {{ {params} }}", image([1, 2], [3, 4])).tolist() == [[expected]]


@pytest.mark.parametrize("dialect", [V1, V2])
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("params", ["zoom_factor: 8", "height: 9 width: 4", "shrink_factor: 2", "height: 5 width: 6"])
def test_interp_agrees_with_torch(params: str, corners: bool, dialect: Dialect) -> None:
    x = noise(2, 3, 5, 7)
    params += f" align_corners: {str(corners).lower()}"
    y = run("Interp", f"interp_param {{ {params} }}", x, dialect=dialect)
    expected = F.interpolate(x, y.shape[2:], mode="bilinear", align_corners=corners)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("params", ["zoom_factor: 2 pad_beg: -1", "height: 3 width: 9", "shrink_factor: 2 pad_end: -1"])
def test_interp_gradient(params: str) -> None:
    layer = make("Interp", f"interp_param {{ {params} }}")
    x = noise(1, 2, 5, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


@pytest.mark.parametrize("dialect", [V1, V2])
@pytest.mark.parametrize("params", ["", "align_corners: false", "pad_beg: -1 align_corners: false"])
@pytest.mark.parametrize("size", [(9, 4), (1, 1), (5, 6), (2, 3)])
def test_the_size_of_a_second_bottom(size: tuple[int, int], params: str, dialect: Dialect) -> None:
    x, like = noise(2, 3, 5, 6, dtype=torch.float64).requires_grad_(), noise(2, 1, *size, dtype=torch.float64)
    like.requires_grad_()
    y = run("Interp", f"interp_param {{ {params} }}", x, like, dialect=dialect)
    fixed = f"height: {size[0]} width: {size[1]} {params}"
    assert torch.equal(y, run("Interp", f"interp_param {{ {fixed} }}", x, dialect=dialect))
    y.sum().backward()
    assert like.grad is None
    layer = make("Interp", f"interp_param {{ {params} }}", [(2, 3, 5, 6), (2, 1, *size)], dialect=dialect)
    assert torch.autograd.gradcheck(lambda x: layer(x, like.detach())[0], x)
    assert not layer.allows_gradient(1)
    assert layer.receptive_window() is None


def test_receptive_window() -> None:
    for params, window in (
        ("zoom_factor: 4", ReceptiveWindow((2, 2), (0.25, 0.25), (0, 0))),
        ("shrink_factor: 2 pad_beg: -1", ReceptiveWindow((1, 1), (2, 2), (-1, -1))),
        ("zoom_factor: 1", ReceptiveWindow()),
        ("height: 3 width: 2", None),
    ):
        assert make("Interp", f"interp_param {{ {params} }}", [(1, 1, 9, 9)]).receptive_window() == window


def test_what_a_second_bottom_excludes() -> None:
    with pytest.raises(NetError, match="its second bottom gives the size: leave out zoom_factor, or the bottom"):
        make("Interp", "interp_param { zoom_factor: 2 }", [(1, 1, 4, 4), (1, 3, 9, 9)])
    with pytest.raises(NetError, match=r"expected a bottom of shape \(N, C, H, W\), got \(1, 3\)"):
        make("Interp", "", [(1, 1, 4, 4), (1, 3)])


@pytest.mark.parametrize("dialect", [V1, V2])
@pytest.mark.parametrize(
    ("params", "size"), [("zoom_factor: 2 height: 3", (7, 9)), ("shrink_factor: 2 width: 9", (2, 3))]
)
def test_half_a_size_beside_a_factor_counts_for_nothing(params: str, size: tuple[int, int], dialect: Dialect) -> None:
    layer = make("Interp", f"interp_param {{ {params} }}", [(1, 1, 4, 5)], dialect=dialect)
    assert layer.top_shapes([(1, 1, 4, 5)]) == [(1, 1, *size)]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("", "exactly one of zoom_factor, shrink_factor, or height and width must be set, got none"),
        ("zoom_factor: 2 shrink_factor: 2", "exactly one"),
        ("zoom_factor: 2 height: 3 width: 3", "exactly one"),
        ("height: 3", "height and width go together"),
        ("zoom_factor: 0", "zoom_factor must be positive"),
        ("zoom_factor: 2 pad_beg: 1", "must not be positive"),
        ("zoom_factor: 2 pad_beg: -2 pad_end: -2", "leaves nothing"),
    ],
)
def test_interp_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
        make("Interp", f"interp_param {{ {params} }}", [(1, 1, 4, 5)])


def test_padding() -> None:
    x = image([1, 2], [3, 4])
    assert run("Padding", "padding_param { pad_beg: 1 pad_end: 0 }", x).tolist() == [
        [[[0, 0, 0], [0, 1, 2], [0, 3, 4]]]
    ]
    assert run("Padding", "padding_param { pad_beg: -1 pad_end: 1 }", x).tolist() == [[[[4, 0], [0, 0]]]]
    same = run("Padding", "padding_param { pad_beg: 0 pad_end: 0 }", x)
    assert torch.equal(same, x)
    assert same.data_ptr() != x.data_ptr()
    with pytest.raises(NetError, match="layer 'l': padding -1 and -1 leaves nothing of 2x2"):
        make("Padding", "padding_param { pad_beg: -1 pad_end: -1 }", [(1, 1, 2, 2)])
    layer = make("Padding", "padding_param { pad_beg: -1 pad_end: 2 }")
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(1, 2, 3, 4, dtype=torch.float64).requires_grad_())
