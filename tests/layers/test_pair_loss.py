from __future__ import annotations

import math

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import LAYERS
from deeplab_caffe.proto import V2
from tests.layers.build import image, make, noise, run

ROOT = "euclidean_loss_param { type: L2sqrt }"


def vectors(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[:, :, None, None]


def test_euclidean_loss_by_hand() -> None:
    a, b = image([1, 2], [3, 4]).requires_grad_(), image([1, 0], [3, 0]).requires_grad_()
    loss = run("EuclideanLoss", "", a, b)
    assert loss.shape == (1, 1, 1, 1)
    assert loss.item() == 2.5  # (4 + 16) / 2 / 4
    loss.backward()
    assert a.grad.flatten().tolist() == [0, 0.5, 0, 1]
    assert torch.equal(b.grad, -a.grad)
    assert run("EuclideanLoss", ROOT, a, b).item() == pytest.approx(math.sqrt(5))


@pytest.mark.parametrize("params", ["", ROOT])
def test_euclidean_loss_gradient(params: str) -> None:
    layer = make("EuclideanLoss", params, bottoms=2)
    blobs = [noise(2, 3, 2, 2, seed=i, dtype=torch.float64).requires_grad_() for i in range(2)]
    assert torch.autograd.gradcheck(lambda *blobs: layer(*blobs)[0], blobs)


def test_euclidean_root_of_next_to_nothing() -> None:
    # The slope is d / (count * max(root, 1e-6)), so 0 for equal blobs.
    a, b = image([1e-7, 0]).requires_grad_(), image([0, 0])
    run("EuclideanLoss", ROOT, a, b).backward()
    assert a.grad.flatten().tolist() == pytest.approx([0.05, 0])
    a.grad = None
    run("EuclideanLoss", ROOT, a, a.detach()).backward()
    assert a.grad.flatten().tolist() == [0, 0]


def test_relative_error() -> None:
    assert run("RelativeError", "", image([3, 5]), image([3, 4])).item() == pytest.approx(1 / 5)
    # The reference's mean square counts as 1e-6 at least.
    assert run("RelativeError", "", image([1e-3, 1e-3]), image([0, 0])).item() == pytest.approx(1)
    assert run("RelativeError", "", image([0]), image([0])).item() == 0


@pytest.mark.parametrize("kind", ["EuclideanLoss", "RelativeError"])
def test_blobs_of_two_shapes(kind: str) -> None:
    with pytest.raises(
        NetError, match=r"layer 'l': both bottoms must have one shape, got \(1, 1, 2, 3\) and \(1, 1, 3, 2\)"
    ):
        make(kind, "", [(1, 1, 2, 3), (1, 1, 3, 2)])


@pytest.mark.parametrize("kind", ["EuclideanLoss", "RelativeError"])
def test_v2_counts_the_numbers_of_an_item(kind: str) -> None:
    make(kind, "", [(2, 2, 3), (2, 6)], dialect=V2)
    for shapes in ([(2, 3), (2, 4)], [(2, 3), (3, 2)]):
        with pytest.raises(NetError, match="layer 'l': both bottoms must have one shape"):
            make(kind, "", shapes, dialect=V2)
    with pytest.raises(NetError, match="layer 'l': both bottoms must have items, a first axis"):
        make(kind, "", [(), ()], dialect=V2)


def test_contrastive_loss_by_hand() -> None:
    a, b = vectors([1, 2], [0, 0], [0, 0]).requires_grad_(), vectors([1, 0], [1, 0], [0, 2])
    similar = vectors([1], [0], [0])
    # Squared distances 4 (similar), 1 and 4 (not): 4, 3 - 1 and 0, over 6.
    loss = run("ContrastiveLoss", "contrastive_loss_param { margin: 3 }", a, b, similar)
    assert loss.item() == pytest.approx(1)
    loss.backward()
    assert a.grad.flatten().tolist() == pytest.approx([0, 2 / 3, 1 / 3, 0, 0, 0])


def test_contrastive_loss_refuses() -> None:
    for shapes, message in [
        ([(2, 3, 1, 1), (2, 4, 1, 1), (2, 1, 1, 1)], "both bottoms must have one shape"),
        ([(2, 3, 2, 1), (2, 3, 2, 1), (2, 1, 1, 1)], r"the vectors must be \(2, 3, 1, 1\), got \(2, 3, 2, 1\)"),
        ([(2, 3, 1, 1), (2, 3, 1, 1), (1, 1, 1, 1)], r"the similarity for .* must be \(2, 1, 1, 1\)"),
        ([(2, 3, 1, 1), (2, 3, 1, 1), (1, 2, 1, 1)], r"the similarity for .*, got \(1, 2, 1, 1\)"),
        ([(2, 3, 1, 1), (2, 3, 1, 1), (2, 2, 1, 1)], r"the similarity for .*, got \(2, 2, 1, 1\)"),
    ]:
        with pytest.raises(NetError, match=f"layer 'l': {message}"):
            make("ContrastiveLoss", "", shapes)


def test_sigmoid_cross_entropy_by_hand() -> None:
    scores, targets = vectors([0, math.log(3)], [500, -500]).requires_grad_(), vectors([1, 0], [1, 0.5])
    loss = run("SigmoidCrossEntropyLoss", "", scores, targets)
    # -log(1/2) - log(1/4), and 0 + 0.5 * 500; two items.
    assert loss.item() == pytest.approx((math.log(8) + 250) / 2)
    loss.backward()
    assert scores.grad.flatten().tolist() == pytest.approx([-0.25, 0.375, 0, -0.25])


def test_sigmoid_cross_entropy_leaves_targets_without_gradient() -> None:
    scores, targets = noise(2, 3, 1, 1).requires_grad_(), noise(2, 3, 1, 1, seed=1).sigmoid().requires_grad_()
    run("SigmoidCrossEntropyLoss", "", scores, targets).backward()
    assert targets.grad is None


def test_sigmoid_cross_entropy_takes_targets_in_another_shape() -> None:
    scores, targets = noise(2, 6, 1, 1), noise(2, 3, 2, 1).sigmoid()
    found = run("SigmoidCrossEntropyLoss", "", scores, targets)
    assert torch.equal(found, run("SigmoidCrossEntropyLoss", "", scores, targets.reshape(2, 6, 1, 1)))
    for shape in [(2, 3, 1, 1), (4, 3, 1, 1)]:
        with pytest.raises(NetError, match=r"layer 'l': scores \(2, 6, 1, 1\) need as many targets"):
            make("SigmoidCrossEntropyLoss", "", [(2, 6, 1, 1), shape])


@pytest.mark.parametrize(
    "divisor", [None, "FULL", "VALID", "BATCH_SIZE", "NONE", "normalize: true", "normalize: false"]
)
@pytest.mark.parametrize("ignored", [None, 1, 0, 255])
def test_sigmoid_cross_entropy_divisors(divisor: str | None, ignored: int | None) -> None:
    scores, targets = (
        (2 * noise(3, 4)).requires_grad_(),
        torch.tensor([0, 1, 0.3, 1, 1, 1, 0.9, 0, 255, 0, 1, 1.5]).reshape(3, 4),
    )
    if ignored != 255:
        targets[2, 0] = 0.25
    ignore = "" if ignored is None else f"ignore_label: {ignored}"
    asked = divisor if divisor and ":" in divisor else f"normalization: {divisor}" if divisor else ""
    loss = run("SigmoidCrossEntropyLoss", f"loss_param {{ {ignore} {asked} }}", scores, targets, dialect=V2)
    x, t = scores.detach().double(), targets.double()
    # Cut off, not rounded: 0.9 is 0, 1.5 is 1.
    counted = torch.ones_like(t) if ignored is None else (t.trunc() != ignored).double()
    sums = (counted * ((1 + x.exp()).log() - x * t)).sum()
    valid = max(counted.sum().item(), 1)
    numbers = {"FULL": 12, "VALID": valid, "BATCH_SIZE": 3, "NONE": 1, "normalize: true": valid, "normalize: false": 3}
    number = numbers.get(divisor, 3)
    assert loss.item() == pytest.approx(sums.item() / number, rel=1e-5)
    loss.backward()
    torch.testing.assert_close(scores.grad.double(), counted * (x.sigmoid() - t) / number, rtol=1e-5, atol=1e-6)


def test_sigmoid_cross_entropy_of_nothing() -> None:
    scores = noise(2, 3).requires_grad_()
    params = "loss_param { ignore_label: 0 normalization: VALID }"
    loss = run("SigmoidCrossEntropyLoss", params, scores, torch.zeros(2, 3), dialect=V2)
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_sigmoid_cross_entropy_normalizer() -> None:
    targets = torch.tensor([[0.0, 1, 255], [255, 255, 1]])
    layer = make("SigmoidCrossEntropyLoss", "loss_param { ignore_label: 255 normalization: VALID }", bottoms=2)
    assert layer.normalizer(targets, targets).item() == 3
    for params in ("", "loss_param { ignore_label: 255 }", "loss_param { normalization: VALID }"):
        assert make("SigmoidCrossEntropyLoss", params, bottoms=2).normalizer(targets, targets) is None


@pytest.mark.parametrize(
    "kind",
    [
        "ContrastiveLoss",
        "EuclideanLoss",
        "HingeLoss",
        "InfogainLoss",
        "MultinomialLogisticLoss",
        "SigmoidCrossEntropyLoss",
        "SoftmaxWithLoss",
    ],
)
def test_losses_count_by_themselves(kind: str) -> None:
    assert LAYERS[kind].default_loss_weight == 1
    assert LAYERS[kind].auto_top
