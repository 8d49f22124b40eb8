from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from deeplab_caffe import _C, reference
from deeplab_caffe.ops.softmax_loss import _softmax_loss, _softmax_loss_backward, softmax_loss, softmax_probability
from tests.goldens import RELATIVE_TOLERANCE, case_dir, case_names, relative_error
from tests.ops.golden_op import golden_op

FLT_MIN = float(np.finfo(np.float32).tiny)


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    # p = (1/4, 3/4) at both pixels, and a third, ignored one.
    scores = torch.tensor([[[[0.0, 0.0, 9.0]], [[math.log(3)] * 2 + [float("nan")]]]], dtype=dtype, device=device)
    scores.requires_grad_()
    labels = torch.tensor([[[[0.0, 1.9, 255.0]]]], device=device)
    loss = softmax_loss(scores, labels)
    assert loss.shape == ()
    assert loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)
    loss.backward()
    expected = torch.tensor([[[[-0.375, 0.125, 0.0]], [[0.375, -0.125, 0.0]]]], dtype=dtype)
    torch.testing.assert_close(scores.grad.cpu(), expected)

    weighted = softmax_loss(scores, labels, class_weights=[3.0, 1.0])
    assert weighted.item() == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4, rel=1e-6)
    assert softmax_loss(scores, labels, (255, 1)).item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_logarithm_is_clamped_at_flt_min(device: str, dtype: torch.dtype) -> None:
    scores = torch.tensor([[[[0.0]], [[1000.0]]]], dtype=dtype, device=device, requires_grad=True)
    loss = softmax_loss(scores, torch.zeros((1, 1, 1, 1), device=device))
    assert loss.item() == pytest.approx(-math.log(FLT_MIN), rel=1e-6)
    loss.backward()
    assert scores.grad.flatten().tolist() == [-1.0, 1.0]


SHAPES = [(2, 5, 9, 8), (1, 1, 3, 4), (3, 21, 17, 19), (40, 6, 1, 1), (1, 3, 1, 777)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_against_slow_reference(
    shape: tuple, weighted: bool, device: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    scores = (torch.randn(shape, generator=generator, dtype=dtype) * 5).to(device).requires_grad_()
    labels = torch.randint(0, shape[1], (shape[0], 1, *shape[2:]), generator=generator).float()
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    weights = [0.5 + 0.25 * c for c in range(shape[1])] if weighted else None
    loss = softmax_loss(scores, labels.to(device), class_weights=weights)
    loss.backward()
    expected_loss, expected_grad = reference.softmax_loss(
        scores.detach().cpu().numpy(), labels.numpy(), (255,), weights
    )
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    assert loss.item() == pytest.approx(expected_loss, rel=tolerance)
    assert relative_error(scores.grad.cpu(), torch.from_numpy(expected_grad)) < tolerance


@pytest.mark.parametrize(
    "label_dtype",
    [torch.float32, torch.float64, torch.float16, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64],
)
@pytest.mark.parametrize("with_channel", [True, False])
def test_label_types(label_dtype: torch.dtype, with_channel: bool, device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 4, 3, 5), generator=generator).to(device)
    labels = torch.randint(0, 4, (2, 1, 3, 5), generator=generator)
    expected = softmax_loss(scores, labels.to(device), (2,))
    labels = labels.to(device, label_dtype)
    assert torch.equal(softmax_loss(scores, labels if with_channel else labels[:, 0], (2,)), expected)


def test_labels_are_truncated_toward_zero(device: str) -> None:
    scores = torch.tensor([[[[0.0, 0.0]], [[2.0, 2.0]]]], device=device)
    labels = torch.tensor([[[[-0.9, 0.9]]]], device=device)
    assert torch.equal(softmax_loss(scores, labels), softmax_loss(scores, torch.zeros_like(labels)))


def test_a_negative_label_can_be_ignored(device: str) -> None:
    scores = torch.tensor([[[[0.0, 7.0]], [[2.0, 2.0]]]], device=device)
    labels = torch.tensor([[[[0, -1]]]], device=device)
    assert torch.equal(softmax_loss(scores, labels, (-1,)), softmax_loss(scores[..., :1], labels[..., :1]))


def test_a_class_of_weight_zero_has_no_gradient(device: str) -> None:
    scores = torch.tensor([[[[1.0, 7.0, 0.0]], [[2.0, 3.0, 0.0]]]], device=device, requires_grad=True)
    loss = softmax_loss(scores, torch.tensor([[[[0, 0, 1]]]], device=device), class_weights=[0.0, 2.0])
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)
    assert scores.grad.flatten().tolist() == [0.0, 0.0, 0.5, 0.0, 0.0, -0.5]


@pytest.mark.parametrize("weights", [None, [0.0, 1.0, 1.0]])
def test_nothing_valid_gives_zero_and_a_warning(weights: list | None, device: str) -> None:
    scores = torch.randn((1, 3, 4, 5), device=device, requires_grad=True)
    labels = torch.full((1, 1, 4, 5), 255.0 if weights is None else 0.0, device=device)
    with pytest.warns(UserWarning, match="every label is ignored or of weight 0"):
        loss = softmax_loss(scores, labels, class_weights=weights, check_labels=True)
    loss.backward()
    assert loss.item() == 0.0
    assert not scores.grad.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        softmax_loss(scores, labels, class_weights=weights, check_labels=False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (4.0, r"label 4 at item 1 of 2, row 2, column 3 is neither a class \(0 to 3\) nor ignored \(255, 254\)"),
        (-1.0, "label -1 at"),
        (float("nan"), "label nan at"),
        (float("inf"), "label inf at"),
        (-1e30, r"label -1e\+30 at"),
    ],
)
def test_unexpected_label(value: float, message: str, device: str) -> None:
    scores = torch.zeros((2, 4, 3, 5), device=device, requires_grad=True)
    labels = torch.zeros((2, 1, 3, 5), device=device)
    labels[1, 0, 2, 3:] = value
    with pytest.raises(ValueError, match=message):
        softmax_loss(scores, labels, (255, 254), check_labels=True)
    unchecked = softmax_loss(scores, labels, (255, 254), check_labels=False)
    unchecked.backward()
    assert unchecked.isnan()
    assert scores.grad.isnan().any()


def test_the_first_unexpected_label_is_named(device: str) -> None:
    labels = torch.zeros((1, 1, 40, 50), device=device)
    labels[0, 0, 30:] = 9
    labels[0, 0, 21, 7] = 8
    with pytest.raises(ValueError, match="label 8 at item 0 of 1, row 21, column 7 "):
        softmax_loss(torch.zeros((1, 2, 40, 50), device=device), labels, check_labels=True)


def test_labels_are_checked_on_the_cpu_without_asking() -> None:
    with pytest.raises(ValueError, match="neither a class"):
        softmax_loss(torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1, 1), 2))


def test_non_contiguous(device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    scores = torch.randn((2, 4, 6, 10), generator=generator, dtype=dtype).to(device)
    labels = torch.randint(0, 4, (2, 1, 10, 6), generator=generator).to(device).transpose(2, 3)
    results = []
    for layout in (scores, scores.contiguous(memory_format=torch.channels_last)):
        layout = layout.detach().requires_grad_()
        loss = softmax_loss(layout, labels)
        results.append((loss, *torch.autograd.grad(loss, layout)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4)])
def test_empty(shape: tuple, device: str) -> None:
    scores = torch.zeros(shape, device=device, requires_grad=True)
    loss = softmax_loss(scores, torch.zeros((shape[0], 1, *shape[2:]), device=device), check_labels=False)
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad.shape == shape


def test_bit_equal_from_run_to_run_and_for_any_number_of_threads(device: str, generator: torch.Generator) -> None:
    scores = torch.randn((3, 7, 61, 67), generator=generator).to(device).requires_grad_()
    labels = torch.randint(0, 7, (3, 1, 61, 67), generator=generator).to(device)
    results = []
    for threads in (1, 2, 5):
        _C.set_num_threads(threads)
        loss = softmax_loss(scores, labels)
        results.append((loss, *torch.autograd.grad(loss, scores)))
    _C.set_num_threads(0)
    for loss, grad in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert torch.equal(grad, results[0][1])


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.0, 2.0]])
def test_gradcheck(weights: list | None, device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 4, 3, 2), generator=generator, dtype=torch.float64).to(device).requires_grad_()
    labels = torch.tensor([0, 3, 255, 2, 1, 254, 3, 3, 0, 2, 2, 1], device=device).view(2, 1, 3, 2)
    assert gradcheck(lambda t: softmax_loss(t, labels, (255, 254), weights), (scores,))
    assert gradgradcheck(lambda t: softmax_loss(t, labels, (255, 254), weights), (scores,))


def test_opcheck(device: str, generator: torch.Generator) -> None:
    scores = torch.randn((2, 4, 3, 2), generator=generator).to(device).requires_grad_()
    labels = torch.randint(0, 4, (2, 3, 2), generator=generator).to(device)
    weights = torch.ones(4, device=device)
    torch.library.opcheck(_softmax_loss.torch, (scores, labels, weights, [255], False))
    loss, stats, totals = _softmax_loss(scores, labels, weights, [255], True)
    assert not stats.requires_grad
    assert not totals.requires_grad
    grad = torch.ones_like(loss).requires_grad_()
    torch.library.opcheck(_softmax_loss_backward.torch, (grad, scores, labels, weights, stats, totals, [255]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": torch.zeros(2, 4)}, r"expected scores \(N, C, H, W\), got shape \(2, 4\)"),
        ({"scores": torch.zeros(2, 0, 3, 5)}, r"got shape \(2, 0, 3, 5\)"),
        ({"scores": torch.zeros(2, 4, 3, 5).half()}, "expected scores of float32 or float64, got float16"),
        ({"labels": torch.zeros(2, 1, 5, 3)}, r"expected labels \(2, 1, 3, 5\) for scores \(2, 4, 3, 5\)"),
        ({"labels": torch.zeros(2, 2, 3, 5)}, r"got shape \(2, 2, 3, 5\)"),
        ({"class_weights": [1.0, 1.0]}, r"one weight for each of 4 classes, got shape \(2,\)"),
        ({"class_weights": [1.0, 1.0, -0.5, 1.0]}, "weights cannot be negative, got -0.5 for class 2"),
        ({"class_weights": [1.0, float("nan"), 1.0, 1.0]}, "got nan for class 1"),
        ({"ignore_labels": range(1000, 1257)}, "at most 256 labels can be ignored, got 257"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    good = {"scores": torch.zeros(2, 4, 3, 5), "labels": torch.zeros(2, 1, 3, 5)}
    with pytest.raises(ValueError, match=message):
        softmax_loss(**{**good, **arguments})


def test_probability(device: str) -> None:
    scores = torch.tensor([[[[0.0]], [[math.log(3)]]]], device=device, requires_grad=True)
    p = softmax_probability(scores)
    torch.testing.assert_close(p.flatten().cpu(), torch.tensor([0.25, 0.75]))
    assert not p.requires_grad


@pytest.mark.parametrize("name", case_names("softmaxloss_"))
def test_golden(name: str, device: str) -> None:
    golden = golden_op(name)
    weights = None
    if "weight_source" in golden.parameters:
        weights = np.loadtxt(case_dir(name) / golden.parameters["weight_source"][0].strip('"')).tolist()
    scores = torch.from_numpy(golden.data["x"]).to(device).requires_grad_()
    labels = torch.from_numpy(golden.data["label"]).to(device)
    ignored = [int(label) for label in golden.parameters.get("ignore_label", [])]
    loss = softmax_loss(scores, labels, ignored, weights, check_labels=False)
    (loss * float(golden.parameters.get("loss_weight", ["1"])[0])).backward()
    expected_loss, expected_grad = golden.expected_data["loss"].item(), golden.expected_diff["x"]
    if name == "softmaxloss_all_ignored":  # the original's 0 / 0 is 0 here
        assert math.isnan(expected_loss)
        assert loss.item() == 0.0
        assert not scores.grad.any()
        return
    assert loss.item() == pytest.approx(expected_loss, rel=RELATIVE_TOLERANCE)
    if name == "softmaxloss_ignore_sentinel":
        # The original leaves what was in an ignored pixel's diff and rescales it; here it is 0.
        expected_grad = np.where(np.isin(golden.data["label"], ignored), 0.0, expected_grad)
    assert relative_error(scores.grad.cpu(), torch.from_numpy(expected_grad)) < RELATIVE_TOLERANCE
