from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.arrays import nvrtc
from deeplab_caffe.crf import dense_crf
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.interp_softmax import _interp_softmax, interp_softmax

NAN, INF = float("nan"), float("inf")
SMALL_FLOATS = [torch.float16, torch.bfloat16]
# Sums of 21 numbers below 1, an exponential to 1.5 units in the last place, a division.
ABSOLUTE = {torch.float32: 4e-7, torch.float64: 1e-15}


def unfused(scores: Tensor, height: int, width: int) -> Tensor:
    """In double, so that what is left over is the operation's own error; the scores are interp's as they are."""
    scores = scores.float() if scores.dtype in SMALL_FLOATS else scores
    return torch.softmax(interp(scores, height=height, width=width).double(), 1)


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    # The two channels differ by ln 3 at the left, by 0 at the right, and by half of ln 3 in the middle.
    scores = torch.tensor([[[[math.log(3.0), 0.0]], [[0.0, 0.0]]]], dtype=dtype, device=device)
    half = math.sqrt(3.0)
    expected = torch.tensor([[[[0.75, half / (half + 1), 0.5]], [[0.25, 1 / (half + 1), 0.5]]]], dtype=dtype)
    found = interp_softmax(scores, 1, 3)
    assert found.dtype == dtype
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=ABSOLUTE[dtype])
    assert torch.equal(interp_softmax(scores, 1, 3, crop=(1, 2)), found[..., :2])
    assert torch.equal(interp_softmax(scores, 1, 3, crop=(1, 1), origin=(0, 1)), found[..., 1:2])
    # What is equal has equal shares, and what is alone has all.
    assert torch.equal(
        interp_softmax(torch.zeros((1, 4, 2, 2), dtype=dtype, device=device), 5, 5).unique().cpu(),
        torch.tensor([0.25], dtype=dtype),
    )
    assert torch.equal(interp_softmax(scores[:, :1], 3, 3).unique().cpu(), torch.ones(1, dtype=dtype))


def test_edges_on_edges(device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    for shape, size in (((2, 4, 6, 7), (41, 49)), ((1, 40, 5, 6), (33, 41)), ((1, 3, 33, 35), (5, 6))):
        scores = torch.randn(shape, generator=generator).to(device, dtype)
        full = interp(scores, height=size[0], width=size[1], align_corners=False)
        found = interp_softmax(scores, *size, align_corners=False)
        torch.testing.assert_close(found.double(), torch.softmax(full.double(), 1), rtol=0, atol=ABSOLUTE[dtype])
        part = interp_softmax(scores, *size, crop=(2, 3), origin=(1, 2), align_corners=False)
        assert torch.equal(part, found[:, :, 1:3, 2:5])


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 4, 6, 7), (41, 49)),
        ((1, 21, 9, 11), (65, 81)),
        ((1, 40, 5, 6), (33, 41)),
        ((3, 1, 2, 2), (9, 9)),
        ((2, 5, 1, 1), (7, 30)),
        ((1, 3, 2, 40), (1, 313)),
        ((2, 6, 12, 13), (12, 13)),
        ((2, 6, 33, 35), (5, 6)),
        ((1, 2, 3, 3), (3, 600)),
    ],
)
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_against_interp_then_softmax(
    shape: tuple, size: tuple, spread: float, device: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    scores = (spread * torch.randn(shape, generator=generator)).to(device, dtype)
    found = interp_softmax(scores, *size)
    expected = unfused(scores, *size)
    assert found.is_contiguous()
    assert (found - expected).abs().max() < ABSOLUTE[dtype]
    # Small probabilities have as many right digits as the difference from the largest score has.
    normal = expected > torch.finfo(dtype).tiny
    assert ((found - expected) / expected)[normal].abs().max() < 100 * ABSOLUTE[dtype]
    assert ((found.sum(1) - 1).abs() < 21 * ABSOLUTE[dtype]).all()


def test_the_exponential_down_to_nothing(device: str) -> None:
    """Probabilities of two channels d apart are exp(-d) and almost 1 where d is large."""
    d = torch.cat([torch.linspace(16, 110, 20001, dtype=torch.float64), torch.tensor([200.0, 3e38])]).float()
    scores = torch.stack([torch.zeros_like(d), -d]).view(1, 2, 1, -1).to(device)
    found = interp_softmax(scores, 1, len(d))[0, :, 0].double().cpu()
    expected = torch.exp(-d.double())
    assert (found[0] - 1).abs().max() < 3e-7
    # CuPy compiles with -ftz=true: what is below FLT_MIN is 0.
    least = torch.finfo(torch.float32).tiny if device == "cuda" and nvrtc.enabled() else 2.0**-149
    normal = expected > torch.finfo(torch.float32).tiny
    assert ((found[1] - expected) / expected)[normal].abs().max() < 2.5e-7
    assert ((found[1] - expected).abs()[~normal] <= 1.01 * least).all()
    assert found[1, -1] == found[1, -2] == 0


def test_scores_that_are_not_finite(device: str, dtype: torch.dtype) -> None:
    columns = [[0.0, NAN, 1.0], [INF, 0.0, 1.0], [-INF, 0.0, 0.0], [3.0, 2.0, 1.0], [3.0, 2.0, 2.0]]
    scores = torch.tensor(columns, dtype=dtype, device=device).t().reshape(1, 3, 1, 5)
    for width in (5, 33):
        found, expected = interp_softmax(scores, 1, width).double(), unfused(scores, 1, width)
        assert found.isnan().any()
        assert not found.isnan().all(1).all()
        torch.testing.assert_close(found, expected, rtol=0, atol=ABSOLUTE[dtype], equal_nan=True)


def test_what_the_crf_starts_from(device: str, generator: torch.Generator) -> None:
    """dense_crf without an iteration, but for its exponential, which is 0 below exp(-20)."""
    scores = 2 * torch.randn((21, 9, 9), generator=generator).to(device)
    start = dense_crf(interp(scores[None], height=65, width=65)[0], None, iterations=0)
    assert (start - interp_softmax(scores[None], 65, 65)[0]).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", SMALL_FLOATS)
def test_16_bit_scores_are_widened(dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 5, 9, 10), generator=generator).to(device, dtype)
    found = interp_softmax(scores, 65, 73)
    assert found.dtype == torch.float32
    assert torch.equal(found, interp_softmax(scores.float(), 65, 73))


@pytest.mark.parametrize("window", [(0, 0, 65, 81), (0, 0, 1, 1), (7, 7, 50, 66), (64, 80, 1, 1), (3, 5, 17, 0)])
def test_crop(window: tuple, device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 5, 9, 11), generator=generator).to(device)
    top, left, rows, columns = window
    found = interp_softmax(scores, 65, 81, crop=(rows, columns), origin=(top, left))
    assert torch.equal(found, interp_softmax(scores, 65, 81)[:, :, top : top + rows, left : left + columns])


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided", "expanded"])
def test_non_contiguous(layout: str, device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 4, 12, 15), generator=generator).to(device)
    scores = {
        "channels_last": scores.contiguous(memory_format=torch.channels_last),
        "transposed": scores.transpose(2, 3),
        "strided": scores[:, ::2, 1:-1, ::3],
        "expanded": scores[:, :, :, :1].expand(2, 4, 12, 9),
    }[layout]
    assert torch.equal(interp_softmax(scores, 89, 97), interp_softmax(scores.contiguous(), 89, 97))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_scores_of_the_results_size(dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 5, 37, 150), generator=generator).to(device, dtype)
    part = {"crop": (30, 140), "origin": (3, 7)}
    for layout in (scores, scores.to(memory_format=torch.channels_last)):
        found = interp_softmax(layout, 37, 150, **part)
        expected = torch.softmax(scores.to(found.dtype), 1)[:, :, 3:33, 7:147]
        torch.testing.assert_close(found, expected, atol=4e-7, rtol=0)


def test_empty_batch(device: str) -> None:
    assert interp_softmax(torch.zeros((0, 3, 4, 4), device=device), 9, 9).shape == (0, 3, 9, 9)


def test_same_bits_for_any_number_of_threads_and_every_time(device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 7, 20, 23), generator=generator).to(device)
    results = []
    for threads in (1, 2, 5, 1):
        _C.set_num_threads(threads)
        results.append(interp_softmax(scores, 153, 177))
    _C.set_num_threads(0)
    assert all(torch.equal(results[0], again) for again in results[1:])


@pytest.mark.cuda
def test_cpu_and_cuda_give_the_same_bits(generator: torch.Generator) -> None:
    if not _C.with_cuda or not torch.cuda.is_available():
        pytest.skip("no CUDA")
    for channels in (21, 40):
        scores = 5 * torch.randn((2, channels, 9, 11), generator=generator)
        assert torch.equal(interp_softmax(scores, 65, 81), interp_softmax(scores.cuda(), 65, 81).cpu())


def test_not_differentiable(device: str) -> None:
    assert not interp_softmax(torch.randn((1, 3, 2, 2), device=device, requires_grad=True), 4, 4).requires_grad


def test_opcheck(device: str) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        scores = torch.randn(1, 3, 4, 5, device=device).to(dtype)
        torch.library.opcheck(_interp_softmax.torch, (scores, 25, 33, 1, 2, 20, 30))
        torch.library.opcheck(_interp_softmax.torch, (scores, 25, 33, 1, 2, 20, 30, False))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": torch.zeros(3, 2, 2)}, r"expected scores \(N, C, H, W\)"),
        ({"scores": torch.zeros(1, 0, 2, 2)}, "with C, H, W > 0"),
        (
            {"scores": torch.zeros(1, 3, 2, 2, dtype=torch.int32)},
            "expected scores of float32, float64, float16 or bfloat16",
        ),
        ({"width": -3}, "height and width must be positive, got 9 and -3"),
        ({"crop": (10, 9)}, "a crop of 10 x 9 from row 0, column 0 on is not within 9 x 9"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    arguments = {"scores": torch.zeros(1, 3, 2, 2), "height": 9, "width": 9, **arguments}
    with pytest.raises(ValueError, match=message):
        interp_softmax(**arguments)


def test_views_that_do_not_fit_together() -> None:
    scores = _C.TensorView(64, (1, 2, 2, 2), (8, 4, 2, 1), "float32", -1)
    for shape, dtype, device, message in (
        ((1, 2, 4, 4), "float32", 0, "expected one device"),
        ((1, 2, 4, 4), "float64", -1, "expected float32"),
        ((1, 3, 4, 4), "float32", -1, "expected equal N and C"),
        ((1, 2, 5, 4), "float32", -1, "not within 4 x 4"),
    ):
        target = _C.TensorView(64, shape, (48, 16, 4, 1), dtype, device)
        with pytest.raises(ValueError, match=message):
            _C.interp_softmax(scores, target, 4, 4, 0, 0)
