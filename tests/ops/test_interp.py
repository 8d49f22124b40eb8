from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from deeplab_caffe import reference
from deeplab_caffe.ops.interp import _interp, _interp_backward, interp, interp_backward, interp_size
from tests.goldens import RELATIVE_TOLERANCE, case_names, relative_error
from tests.replay import replay


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]], dtype=dtype, device=device)
    expected = torch.tensor([[[[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]]], dtype=dtype, device=device)
    assert torch.equal(interp(x, zoom_factor=2), expected)
    assert torch.equal(interp(expected, shrink_factor=2), x)
    assert torch.equal(interp(x, height=1, width=1), x[:, :, :1, :1])
    assert torch.equal(interp(expected, height=2, width=2, pad_beg=-1), expected[:, :, 1:, 1:])


def test_edges_on_edges_by_hand(device: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[[[0.0, 4.0]]]], dtype=dtype, device=device)
    expected = torch.tensor([[[[0.0, 1.0, 3.0, 4.0]]]], dtype=dtype, device=device)
    assert torch.equal(interp(x, height=1, width=4, align_corners=False), expected)
    assert torch.equal(interp(expected, height=1, width=2, align_corners=False), x + expected.new_tensor([0.5, -0.5]))
    assert interp(x, height=1, width=1, align_corners=False).item() == 2
    assert torch.equal(interp(expected, height=1, width=2, pad_beg=0, align_corners=True), x)


@pytest.mark.parametrize(
    ("size", "ways", "expected"),
    [
        (41, {"zoom_factor": 8}, 321),
        (321, {"shrink_factor": 8}, 41),
        (40, {"shrink_factor": 8}, 5),
        (9, {"target": 20}, 20),
        (9, {"zoom_factor": 4, "pad_beg": -1, "pad_end": -2}, 21),
        (1, {"zoom_factor": 8}, 1),
    ],
)
def test_size(size: int, ways: dict, expected: int) -> None:
    assert interp_size(size, **ways) == expected


SIZES = [
    ((2, 3, 5, 7), 9, 13, 0, 0),
    ((1, 2, 9, 8), 4, 3, 0, 0),
    ((1, 1, 6, 6), 6, 6, -1, 0),
    ((1, 2, 7, 9), 12, 5, -2, -1),
    ((2, 1, 1, 1), 5, 6, 0, 0),
    ((1, 1, 4, 6), 1, 1, 0, 0),
    ((1, 1, 4, 6), 1, 9, 0, -1),
]


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("case", SIZES)
def test_against_slow_reference(
    case: tuple, corners: bool, device: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    shape, height, width, pad_beg, pad_end = case
    x = torch.randn(shape, generator=generator, dtype=dtype)
    ways = {"height": height, "width": width, "pad_beg": pad_beg, "pad_end": pad_end, "align_corners": corners}
    actual = interp(x.to(device), **ways).cpu()
    expected = torch.from_numpy(reference.interp(x.numpy(), height, width, pad_beg, pad_end, corners))
    # The ratio is held in float whatever the dtype, as in the original.
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize(
    "size", [(5, 7, 9, 13), (9, 8, 4, 3), (1, 1, 5, 6), (4, 6, 1, 1), (33, 65, 513, 500), (6, 6, 6, 6)]
)
def test_against_torch(size: tuple, corners: bool, device: str, generator: torch.Generator) -> None:
    x = torch.randn((1, 2, *size[:2]), generator=generator).to(device).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    found = interp(x, height=size[2], width=size[3], align_corners=corners)
    expected = F.interpolate(twin, size[2:], mode="bilinear", align_corners=corners)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)
    grad = torch.randn(found.shape, generator=generator).to(device)
    found.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("case", SIZES)
def test_backward_is_the_adjoint(case: tuple, corners: bool, device: str, generator: torch.Generator) -> None:
    shape, height, width, pad_beg, pad_end = case
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
    y = torch.randn((*shape[:2], height, width), generator=generator, dtype=torch.float64).to(device)
    forward = (_interp(x, height, width, pad_beg, pad_end, corners) * y).sum()
    backward = (_interp_backward(y, shape[2], shape[3], pad_beg, pad_end, corners) * x).sum()
    torch.testing.assert_close(forward, backward, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("width", "resized", "corners"), [(4_456_456, 8_912_904, False), (8_650_785, 17_301_537, True)]
)
def test_last_pixels_of_an_axis_of_millions(width: int, resized: int, corners: bool, device: str) -> None:
    """A float32 rounds their positions to whole pixels, and up: no output reads or writes beyond the last pixel."""
    row = torch.full((1, 1, 1, width + 8), float("nan"), device=device)
    row[..., :width] = 1
    assert bool((interp(row[..., :width], height=1, width=resized, align_corners=corners) == 1).all())
    grad = torch.zeros((1, 1, 1, resized), device=device)
    grad[..., -1] = 1
    assert interp_backward(grad, (1, width), align_corners=corners)[..., -1].item() == 1


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided"])
def test_non_contiguous(layout: str, device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    x = torch.randn((2, 4, 6, 10), generator=generator, dtype=dtype).to(device)
    x = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3),
        "strided": x[:, ::2, :, 1::3],
    }[layout]
    assert not x.is_contiguous()
    assert torch.equal(interp(x, height=11, width=7), interp(x.contiguous(), height=11, width=7))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)])
def test_empty(shape: tuple, device: str) -> None:
    assert interp(torch.zeros(shape, device=device), zoom_factor=2).shape == (*shape[:2], 7, 7)


def test_bit_equal_from_run_to_run_and_for_any_number_of_threads(device: str, generator: torch.Generator) -> None:
    from deeplab_caffe import _C

    x = torch.randn((2, 5, 17, 19), generator=generator).to(device)
    grad = torch.randn((2, 5, 65, 73), generator=generator).to(device)
    results = []
    for threads in (1, 2, 5):
        _C.set_num_threads(threads)
        results.append((_interp(x, 65, 73, 0, 0), _interp_backward(grad, 17, 19, 0, 0)))
    _C.set_num_threads(0)
    for forward, backward in results[1:]:
        assert torch.equal(forward, results[0][0])
        assert torch.equal(backward, results[0][1])


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("ways", [{"zoom_factor": 3}, {"shrink_factor": 2}, {"height": 3, "width": 8, "pad_end": -1}])
def test_gradcheck(ways: dict, corners: bool, device: str, generator: torch.Generator) -> None:
    ways = {**ways, "align_corners": corners}
    x = torch.randn((2, 2, 5, 4), generator=generator, dtype=torch.float64).to(device).requires_grad_()
    assert gradcheck(lambda t: interp(t, **ways), (x,))
    assert gradgradcheck(lambda t: interp(t, **ways), (x,))


def test_opcheck(device: str) -> None:
    x = torch.randn(1, 2, 4, 5, device=device, requires_grad=True)
    torch.library.opcheck(_interp.torch, (x, 7, 9, 0, 0))
    torch.library.opcheck(_interp_backward.torch, (x, 3, 2, 0, 0))
    torch.library.opcheck(_interp.torch, (x, 7, 9, 0, -1, False))
    torch.library.opcheck(_interp_backward.torch, (x, 6, 7, -1, 0, False))


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        ({}, "exactly one of"),
        ({"zoom_factor": 2, "shrink_factor": 2}, "zoom_factor, shrink_factor"),
        ({"height": 4}, "height and width go together"),
        ({"zoom_factor": 0}, "zoom_factor must be positive, got 0"),
        ({"zoom_factor": 2, "pad_beg": 1}, "must not be positive"),
        ({"zoom_factor": 2, "pad_beg": -3, "pad_end": -2}, "leaves nothing"),
    ],
)
def test_bad_arguments(ways: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interp(torch.zeros(1, 1, 5, 5), **ways)


def test_bad_tensors() -> None:
    with pytest.raises(ValueError, match=r"expected x \(N, C, H, W\)"):
        interp(torch.zeros(5, 5), zoom_factor=2)
    with pytest.raises(ValueError, match="expected x of float32 or float64"):
        interp(torch.zeros(1, 1, 5, 5, dtype=torch.int32), zoom_factor=2)
    with pytest.raises(ValueError, match="on cpu or cuda, got one on meta"):
        _interp.torch._init_fn(torch.zeros(1, 1, 5, 5, device="meta"), 3, 3, 0, 0)


@pytest.mark.parametrize("name", case_names("interp_"))
def test_golden(name: str, device: str) -> None:
    for kind, blob, actual, expected in replay(name, device=device):
        assert relative_error(actual, expected) < RELATIVE_TOLERANCE, f"{kind} of {blob}"


def test_an_empty_batch_costs_nothing(device: str) -> None:
    """Of no images no row is computed, nor the taps of 2^31 rows and columns, which would take 100 GB."""
    x = torch.empty((0, 1, 2, 2), device=device)
    assert interp(x, height=2**31, width=2**31).shape == (0, 1, 2**31, 2**31)
    assert interp_backward(torch.empty((0, 1, 4, 4), device=device), (2**31, 2**31)).shape == (0, 1, 2**31, 2**31)
    grad = interp_backward(torch.empty((1, 1, 0, 2**31), device=device), (2, 2))
    assert grad.flatten().tolist() == [0, 0, 0, 0]
