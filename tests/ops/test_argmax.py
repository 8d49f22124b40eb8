from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeplab_caffe import _C, reference
from deeplab_caffe.ops.argmax import _argmax, _argmax_labels, argmax, argmax_labels
from tests.goldens import case_names
from tests.ops.golden_op import golden_op

NAN = float("nan")


def column(values: list[float], dtype: torch.dtype, device: str) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1)


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    scores = column([3.0, 7.0, 1.0, 7.0], dtype, device)
    assert argmax(scores).flatten().tolist() == [3.0]
    assert argmax(scores, out_max_val=True).flatten().tolist() == [3.0, 7.0]
    assert argmax(scores, 3).flatten().tolist() == [3.0, 1.0, 0.0]
    assert argmax(scores, 4, out_max_val=True).flatten().tolist() == [3.0, 1.0, 0.0, 2.0, 7.0, 7.0, 3.0, 1.0]
    assert argmax_labels(scores).tolist() == [[[1]]]
    assert argmax_labels(scores, ties="last").tolist() == [[[3]]]
    assert argmax(scores).dtype == dtype


@pytest.mark.parametrize(
    ("values", "first", "last"),
    [
        ([NAN, 1.0, 2.0], 2, 2),
        ([1.0, NAN, 0.0], 0, 0),
        ([NAN, float("-inf"), NAN], 1, 1),
        ([NAN, NAN, NAN], 0, 2),
        ([float("-inf"), float("-inf")], 0, 1),
        ([float("inf"), NAN, float("inf")], 0, 2),
        ([0.0, -0.0], 0, 1),
        ([5.0], 0, 0),
    ],
)
def test_nan_and_infinity(values: list, first: int, last: int, device: str, dtype: torch.dtype) -> None:
    scores = column(values, dtype, device)
    assert argmax_labels(scores).item() == first
    assert argmax_labels(scores, ties="last").item() == last
    assert argmax(scores).item() == last
    assert argmax(scores, len(values))[0, 0].item() == last


SHAPES = [(2, 4, 6, 7), (1, 21, 33, 35), (3, 1, 2, 2), (5, 9, 1, 1), (1, 2, 1, 1025)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ties", [False, True])
def test_against_slow_reference(
    shape: tuple, ties: bool, device: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    scores = torch.randn(shape, generator=generator, dtype=dtype)
    if ties:
        scores = scores.round()
        scores[torch.rand(shape, generator=generator) < 0.2] = NAN
    for top_k in {1, min(3, shape[1]), shape[1]}:
        indices, values = map(torch.from_numpy, reference.argmax(scores.numpy(), top_k))
        assert torch.equal(argmax(scores.to(device), top_k).cpu(), indices)
        both = argmax(scores.to(device), top_k, out_max_val=True).cpu()
        torch.testing.assert_close(both, torch.cat([indices, values], 1), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("label_dtype", [torch.uint8, torch.int64])
def test_labels(shape: tuple, label_dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    scores = torch.randn(shape, generator=generator).round()
    for ties in ("first", "last"):
        expected = torch.from_numpy(reference.argmax_labels(scores.numpy(), ties))
        labels = argmax_labels(scores.to(device), ties, label_dtype)
        assert labels.dtype == label_dtype
        assert torch.equal(labels.cpu(), expected.to(label_dtype))


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided"])
def test_non_contiguous(layout: str, device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 4, 6, 10), generator=generator).to(device)
    scores = {
        "channels_last": scores.contiguous(memory_format=torch.channels_last),
        "transposed": scores.transpose(2, 3),
        "strided": scores[:, ::2, :, 1::3],
    }[layout]
    assert torch.equal(argmax(scores, 2, True), argmax(scores.contiguous(), 2, True))
    assert torch.equal(argmax_labels(scores), argmax_labels(scores.contiguous()))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4)])
def test_empty(shape: tuple, device: str) -> None:
    assert argmax(torch.zeros(shape, device=device), 2, True).shape == (shape[0], 4, *shape[2:])
    assert argmax_labels(torch.zeros(shape, device=device)).shape == (shape[0], *shape[2:])


def test_bit_equal_for_any_number_of_threads(device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 5, 67, 59), generator=generator).to(device)
    results = []
    for threads in (1, 2, 5):
        _C.set_num_threads(threads)
        results.append((argmax(scores), argmax(scores, 3, True), argmax_labels(scores)))
    _C.set_num_threads(0)
    for again in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(again, results[0], strict=True))


def test_not_differentiable(device: str) -> None:
    scores = torch.randn((1, 3, 2, 2), device=device, requires_grad=True)
    assert not argmax(scores, 2, True).requires_grad
    assert not argmax_labels(scores).requires_grad


def test_opcheck(device: str) -> None:
    scores = torch.randn(1, 3, 4, 5, device=device)
    torch.library.opcheck(_argmax.torch, (scores, 2, True))
    torch.library.opcheck(_argmax_labels.torch, (scores, True, torch.int64))


def test_bad_arguments() -> None:
    scores = torch.zeros(1, 3, 2, 2)
    for top_k in (0, 4, -1):
        with pytest.raises(ValueError, match=f"top_k must be between 1 and the 3 channels, got {top_k}"):
            argmax(scores, top_k)
    with pytest.raises(ValueError, match='ties must be "first" or "last", got \'middle\''):
        argmax_labels(scores, ties="middle")
    with pytest.raises(ValueError, match="labels: expected uint8 or int64, got int32"):
        argmax_labels(scores, dtype=torch.int32)
    with pytest.raises(ValueError, match="257 channels do not fit into uint8"):
        argmax_labels(torch.zeros(1, 257, 1, 1))
    assert argmax_labels(torch.zeros(1, 257, 1, 1), "last", torch.int64).item() == 256


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 0, 2, 2)])
def test_bad_shapes(shape: tuple) -> None:
    with pytest.raises(ValueError, match=r"expected scores \(N, C, H, W\) with C > 0"):
        argmax(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"expected scores \(N, C, H, W\) with C > 0"):
        argmax_labels(torch.zeros(shape))


def test_bad_dtype() -> None:
    with pytest.raises(ValueError, match="expected float32 or float64, got int32"):
        argmax(torch.zeros((1, 3, 2, 2), dtype=torch.int32))


@pytest.mark.parametrize("name", case_names("argmax_"))
def test_golden(name: str, device: str) -> None:
    golden = golden_op(name)
    scores = torch.from_numpy(golden.data["x"]).to(device)
    top_k = int(golden.parameters.get("top_k", ["1"])[0])
    out_max_val = golden.parameters.get("out_max_val", ["false"])[0] == "true"
    actual = argmax(scores, top_k, out_max_val)
    assert torch.equal(actual.cpu(), torch.from_numpy(golden.expected_data["y"]))
    if top_k == 1:
        assert torch.equal(argmax_labels(scores, ties="last"), actual[:, 0].to(torch.uint8))
