from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.errors import KernelError
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.interp_argmax import _interp_argmax, interp_argmax

NAN, INF = float("nan"), float("inf")
SMALL_FLOATS = [torch.float16, torch.bfloat16]


def unfused(scores: Tensor, height: int, width: int, ties: str, dtype: torch.dtype = torch.uint8) -> Tensor:
    scores = scores.float() if scores.dtype in SMALL_FLOATS else scores
    return argmax_labels(interp(scores, height=height, width=width), ties, dtype)


def blobs(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scores as nets have them: areas of one class, with noise on them."""
    count, channels, height, width = shape
    areas = torch.randn((count, channels, 3, 3), generator=generator)
    noise = torch.randn(shape, generator=generator)
    return (4 * interp(areas, height=height, width=width) + 0.2 * noise).to(dtype)


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    # Channel 0 falls from 4 to 0, channel 1 rises from 0 to 4: in the middle both have 2.
    scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]], dtype=dtype, device=device)
    assert interp_argmax(scores, 1, 5).tolist() == [[[0, 0, 1, 1, 1]]]
    assert interp_argmax(scores, 1, 5, ties="first").tolist() == [[[0, 0, 0, 1, 1]]]
    assert interp_argmax(scores, 1, 5, crop=(1, 3)).tolist() == [[[0, 0, 1]]]
    assert interp_argmax(scores, 1, 5, crop=(1, 2), origin=(0, 3)).tolist() == [[[1, 1]]]
    assert interp_argmax(scores, 1, 5, origin=(0, 1)).tolist() == [[[0, 1, 1, 1]]]
    assert interp_argmax(scores, 3, 2).tolist() == [[[0, 1]] * 3]
    assert interp_argmax(scores, 1, 5).dtype == torch.uint8


@pytest.mark.parametrize(
    ("corners", "first", "last"),
    [
        ([[1.0] * 4, [1.0] * 4], 0, 1),
        ([[NAN] * 4, [-5.0] * 4, [NAN] * 4], 1, 1),
        ([[NAN] * 4, [NAN] * 4], 0, 1),
        ([[-INF] * 4, [-INF] * 4], 0, 1),
        ([[3.0e38] * 4, [3.0e38] * 4], 0, 1),
        ([[1.0] * 4, [-INF] * 4], 0, 0),
        ([[9.0] * 4, [1.0, 1.0, NAN, 1.0]], 0, 0),
        ([[7.0]], 0, 0),
    ],
)
def test_one_cell(corners: list, first: int, last: int, device: str, dtype: torch.dtype) -> None:
    side = 2 if len(corners[0]) == 4 else 1
    scores = torch.tensor(corners, dtype=dtype, device=device).view(1, -1, side, side)
    for ties, expected in (("first", first), ("last", last)):
        assert interp_argmax(scores, 20, 20, ties=ties).unique().tolist() == [expected]


SIZES = [
    ((2, 4, 6, 7), (41, 49)),
    ((1, 21, 9, 11), (65, 81)),
    ((1, 21, 5, 5), (300, 290)),
    ((3, 1, 2, 2), (9, 9)),
    ((2, 5, 1, 1), (7, 30)),
    ((1, 3, 1, 40), (1, 313)),
    ((1, 3, 40, 1), (313, 1)),
    ((2, 6, 12, 13), (12, 13)),
    ((2, 6, 12, 13), (12, 70)),
    ((2, 6, 33, 35), (5, 6)),
    ((1, 4, 64, 64), (67, 66)),
]


@pytest.mark.parametrize(("shape", "size"), SIZES)
@pytest.mark.parametrize("kind", ["noise", "areas", "ties"])
def test_edges_on_edges(shape: tuple, size: tuple, kind: str, device: str, generator: torch.Generator) -> None:
    scores = torch.randn(shape, generator=generator) if kind == "noise" else blobs(shape, generator)
    scores = (scores.round() if kind == "ties" else scores).to(device)
    full = interp(scores, height=size[0], width=size[1], align_corners=False)
    expected = argmax_labels(full, ties="last")
    assert torch.equal(interp_argmax(scores, *size, align_corners=False), expected)
    part = {"crop": (1, size[1]), "origin": (size[0] - 1, 0)}
    assert torch.equal(interp_argmax(scores, *size, align_corners=False, **part), expected[:, -1:])


@pytest.mark.parametrize(("shape", "size"), SIZES)
@pytest.mark.parametrize("kind", ["noise", "areas", "ties"])
@pytest.mark.parametrize("ties", ["first", "last"])
def test_the_bits_of_interp_then_argmax(
    shape: tuple, size: tuple, kind: str, ties: str, device: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    scores = torch.randn(shape, generator=generator) if kind == "noise" else blobs(shape, generator)
    scores = (scores.round() if kind == "ties" else scores).to(device, dtype)
    assert torch.equal(interp_argmax(scores, *size, ties=ties), unfused(scores, *size, ties))


@pytest.mark.parametrize("ties", ["first", "last"])
def test_a_lead_of_next_to_nothing(ties: str, device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Rounding makes ties out of leads of a few units in the last place, and which class then wins depends on ties."""
    base = torch.randn((1, 1, 9, 9), generator=generator, dtype=dtype)
    steps = torch.randint(-3, 4, (1, 6, 9, 9), generator=generator)
    scores = (base * (1 + steps * torch.finfo(dtype).eps)).to(device)
    scores[:, 4] += scores[:, 4].abs() * torch.finfo(dtype).eps * 4
    assert torch.equal(interp_argmax(scores, 65, 65, ties=ties), unfused(scores, 65, 65, ties))


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e30, 3e38])
def test_extreme_scores(scale: float, device: str, generator: torch.Generator) -> None:
    scores = blobs((1, 5, 9, 9), generator)
    scores = (scores / scores.abs().max() * scale).to(device)
    for ties in ("first", "last"):
        assert torch.equal(interp_argmax(scores, 65, 65, ties=ties), unfused(scores, 65, 65, ties))


def test_scores_that_are_not_finite(device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    scores = blobs((2, 6, 17, 17), generator, dtype)
    chance = torch.rand(scores.shape, generator=generator)
    scores[chance < 0.03] = NAN
    scores[chance > 0.97] = INF
    scores[(chance > 0.5) & (chance < 0.53)] = -INF
    scores = scores.to(device)
    for ties in ("first", "last"):
        assert torch.equal(interp_argmax(scores, 129, 129, ties=ties), unfused(scores, 129, 129, ties))


@pytest.mark.parametrize("dtype", SMALL_FLOATS)
def test_16_bit_scores_are_widened(dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)  # NaN and subnormals too
    scores = every[torch.randperm(2**16, generator=generator)].view(1, 16, 64, 64).to(device)
    for size in ((64, 64), (127, 127)):
        assert torch.equal(interp_argmax(scores, *size), unfused(scores, *size, "last"))
    scores = blobs((2, 5, 9, 10), generator, dtype).to(device)
    assert torch.equal(interp_argmax(scores, 65, 73), unfused(scores, 65, 73, "last"))


@pytest.mark.parametrize("window", [(0, 0, 65, 81), (0, 0, 1, 1), (7, 7, 50, 66), (64, 80, 1, 1), (3, 5, 17, 0)])
def test_crop(window: tuple, device: str, generator: torch.Generator) -> None:
    scores = blobs((2, 5, 9, 11), generator).to(device)
    top, left, rows, columns = window
    found = interp_argmax(scores, 65, 81, crop=(rows, columns), origin=(top, left))
    assert torch.equal(found, unfused(scores, 65, 81, "last")[:, top : top + rows, left : left + columns])


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided", "expanded"])
def test_non_contiguous(layout: str, device: str, generator: torch.Generator) -> None:
    scores = blobs((2, 4, 12, 15), generator).to(device)
    scores = {
        "channels_last": scores.contiguous(memory_format=torch.channels_last),
        "transposed": scores.transpose(2, 3),
        "strided": scores[:, ::2, 1:-1, ::3],
        "expanded": scores[:, :, :, :1].expand(2, 4, 12, 9),
    }[layout]
    for dtype in (torch.float32, torch.bfloat16):
        kept = scores.to(dtype)
        assert torch.equal(interp_argmax(kept, 89, 97), interp_argmax(kept.contiguous(), 89, 97))


def test_empty_batch(device: str) -> None:
    assert interp_argmax(torch.zeros((0, 3, 4, 4), device=device), 9, 9).shape == (0, 9, 9)


def test_many_classes(device: str, generator: torch.Generator) -> None:
    scores = torch.randn((1, 300, 3, 3), generator=generator).to(device)
    labels = interp_argmax(scores, 17, 17, dtype=torch.int64)
    assert labels.dtype == torch.int64
    assert torch.equal(labels, unfused(scores, 17, 17, "last", torch.int64))


def test_same_bits_for_any_number_of_threads_and_every_time(device: str, generator: torch.Generator) -> None:
    scores = blobs((2, 7, 20, 23), generator).to(device)
    results = []
    for threads in (1, 2, 5, 1):
        _C.set_num_threads(threads)
        results.append(interp_argmax(scores, 153, 177))
    _C.set_num_threads(0)
    assert all(torch.equal(results[0], again) for again in results[1:])


def test_not_differentiable(device: str) -> None:
    assert not interp_argmax(torch.randn((1, 3, 2, 2), device=device, requires_grad=True), 4, 4).requires_grad


def test_opcheck(device: str) -> None:
    scores = torch.randn(1, 3, 4, 5, device=device)
    torch.library.opcheck(_interp_argmax.torch, (scores, 25, 33, 1, 2, 20, 30, True, torch.uint8))
    torch.library.opcheck(_interp_argmax.torch, (scores, 25, 33, 1, 2, 20, 30, True, torch.uint8, False))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": torch.zeros(3, 2, 2)}, r"expected scores \(N, C, H, W\)"),
        ({"scores": torch.zeros(1, 0, 2, 2)}, "with C, H, W > 0"),
        ({"scores": torch.zeros(1, 3, 0, 2)}, "with C, H, W > 0"),
        (
            {"scores": torch.zeros(1, 3, 2, 2, dtype=torch.int32)},
            "expected scores of float32, float64, float16 or bfloat16",
        ),
        ({"height": 0}, "height and width must be positive, got 0 and 9"),
        ({"crop": (10, 9)}, "a crop of 10 x 9 from row 0, column 0 on is not within 9 x 9"),
        ({"crop": (-1, 9)}, "is not within"),
        ({"origin": (-1, 0)}, "is not within"),
        ({"crop": (5, 5), "origin": (5, 0)}, "a crop of 5 x 5 from row 5, column 0"),
        ({"ties": "middle"}, 'ties must be "first" or "last", got \'middle\''),
        ({"dtype": torch.int32}, "labels: expected uint8 or int64, got int32"),
        ({"scores": torch.zeros(1, 257, 1, 1)}, "257 channels do not fit into uint8"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    arguments = {"scores": torch.zeros(1, 3, 2, 2), "height": 9, "width": 9, **arguments}
    with pytest.raises(ValueError, match=message):
        interp_argmax(**arguments)


@pytest.mark.skipif(_C.with_cuda, reason="the extension was built with CUDA")
def test_without_cuda_and_cupy_a_tensor_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    on_gpu = _C.TensorView(64, (1, 2, 2, 2), (8, 4, 2, 1), "float32", 0)
    labels = _C.TensorView(64, (1, 4, 4), (16, 4, 1), "uint8", 0)
    with pytest.raises(KernelError, match="built without CUDA.*nvcc on PATH.*deeplab-caffe.cupy"):
        _C.interp_argmax(on_gpu, labels, 4, 4, 0, 0, True)


def test_two_devices() -> None:
    scores = _C.TensorView(64, (1, 2, 2, 2), (8, 4, 2, 1), "float32", -1)
    labels = _C.TensorView(64, (1, 4, 4), (16, 4, 1), "uint8", 0)
    with pytest.raises(ValueError, match="scores and labels: expected one device, got .* on cpu and .* on cuda:0"):
        _C.interp_argmax(scores, labels, 4, 4, 0, 0, True)
