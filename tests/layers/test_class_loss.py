from __future__ import annotations

import math

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, :, None, None]


SCORES = rows([2, -3, 0.5], [0.25, -1, 1])
LABELS = rows([0], [2])


def test_hinge_loss_by_hand() -> None:
    # 1 - 2, 1 - 3, 1 + 0.5 and 1 + 0.25, 1 - 1, 1 - 1; what is below 0 counts as 0.
    scores = SCORES.clone().requires_grad_()
    loss = run("HingeLoss", "", scores, LABELS)
    assert loss.item() == pytest.approx((1.5 + 1.25) / 2)
    loss.backward()
    assert scores.grad.flatten().tolist() == [0, 0, 0.5, 0.5, 0, 0]
    squared = run("HingeLoss", "hinge_loss_param { norm: L2 }", SCORES, LABELS)
    assert squared.item() == pytest.approx((1.5**2 + 1.25**2) / 2)


def test_hinge_loss_of_one_item_and_of_none() -> None:
    assert run("HingeLoss", "", SCORES[:1], LABELS[:1]).item() == 1.5
    assert run("HingeLoss", "", SCORES[:0], LABELS[:0]).item() == 0


def test_multinomial_logistic_loss_by_hand() -> None:
    p = rows([0.5, 0.25, 0.25], [0.9, 0.1, 0]).requires_grad_()
    loss = run("MultinomialLogisticLoss", "", p, LABELS)
    # A probability of 0 counts as 1e-20, and so does its slope.
    assert loss.item() == pytest.approx((math.log(2) + 20 * math.log(10)) / 2)
    loss.backward()
    assert p.grad.flatten().tolist() == pytest.approx([-1, 0, 0, 0, 0, -0.5e20])


KINDS = {"HingeLoss": 2, "MultinomialLogisticLoss": 2, "InfogainLoss": 3}


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_all_numbers_of_an_item(kind: str) -> None:
    p, labels = noise(2, 12, 1, 1).softmax(1), rows([11], [3])
    matrix = [torch.eye(12)[None, None]][: KINDS[kind] - 2]
    assert torch.equal(run(kind, "", p.reshape(2, 3, 2, 2), labels, *matrix), run(kind, "", p, labels, *matrix))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [3, -1])
def test_labels_that_are_no_class(kind: str, label: int) -> None:
    matrix = [torch.eye(3)[None, None]][: KINDS[kind] - 2]
    with pytest.raises(NetError, match=f"layer 'l': label {label} of item 1: expected 0 to 2"):
        run(kind, "", SCORES, rows([0], [label]), *matrix)


@pytest.mark.parametrize("kind", KINDS)
def test_label_shapes(kind: str) -> None:
    for labels in [(3, 1, 1, 1), (2, 1, 2, 1), (1, 1, 2, 1)]:
        with pytest.raises(NetError, match=r"layer 'l': labels for \(2, 3, 1, 1\) must be \(2, 1, 1, 1\)"):
            make(kind, "", [(2, 3, 1, 1), labels, (1, 1, 3, 3)][: KINDS[kind]])
    # DeepLab v2 counts the labels.
    for labels in [(2,), (1, 2), (1, 1, 2, 1)]:
        make(kind, "", [(2, 3, 1, 1), labels, (1, 1, 3, 3)][: KINDS[kind]], dialect=V2)
    with pytest.raises(NetError, match=r"layer 'l': labels for \(2, 3, 1, 1\) must be \(2,\), got \(3,\)"):
        make(kind, "", [(2, 3, 1, 1), (3,), (1, 1, 3, 3)][: KINDS[kind]], dialect=V2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind: str) -> None:
    scores = noise(4, 3, 1, 1, dtype=torch.float64).softmax(1).detach().requires_grad_()
    others = [rows([0], [2], [1], [1]), noise(1, 1, 3, 3, seed=1).double()][: KINDS[kind] - 1]
    layer = make(kind, "", bottoms=KINDS[kind])
    assert torch.autograd.gradcheck(lambda x: layer(x, *others)[0], scores)
