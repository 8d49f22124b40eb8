from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe import proto
from deeplab_caffe.errors import CaffeModelError, NetError
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


def test_multinomial_logistic_loss_by_hand() -> None:
    p = rows([0.5, 0.25, 0.25], [0.9, 0.1, 0]).requires_grad_()
    loss = run("MultinomialLogisticLoss", "", p, LABELS)
    # A probability of 0 counts as 1e-20, and so does its slope.
    assert loss.item() == pytest.approx((math.log(2) + 20 * math.log(10)) / 2)
    loss.backward()
    assert p.grad.flatten().tolist() == pytest.approx([-1, 0, 0, 0, 0, -0.5e20])


def test_infogain_loss_by_hand() -> None:
    p, matrix = rows([0.5, 0.25], [0.25, 0.75]).requires_grad_(), torch.tensor([[1.0, 0], [2, 3]])[None, None]
    loss = run("InfogainLoss", "", p, rows([0], [1]), matrix)
    assert loss.item() == pytest.approx((math.log(2) + 2 * math.log(4) - 3 * math.log(0.75)) / 2)
    loss.backward()
    assert p.grad.flatten().tolist() == pytest.approx([-1, 0, -4, -2])


def test_infogain_with_the_identity_is_the_multinomial_loss() -> None:
    p, labels = noise(4, 5, 1, 1).softmax(1), rows([0], [4], [2], [2])
    found = run("InfogainLoss", "", p, labels, torch.eye(5)[None, None])
    torch.testing.assert_close(found, run("MultinomialLogisticLoss", "", p, labels))


def test_infogain_matrix_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "H.binaryproto"
    matrix = noise(1, 1, 3, 3).abs()
    proto.write_blob(path, matrix.numpy())
    p, labels = noise(2, 3, 1, 1).softmax(1), rows([0], [2])
    params = f'infogain_loss_param {{ source: "{path}" }}'
    assert torch.equal(run("InfogainLoss", params, p, labels), run("InfogainLoss", "", p, labels, matrix))
    layer = make("InfogainLoss", params, bottoms=2)
    assert layer.blobs == []
    assert layer.state_dict() == {}


def test_infogain_refuses(tmp_path: Path) -> None:
    path = tmp_path / "H.binaryproto"
    params = f'infogain_loss_param {{ source: "{path}" }}'
    with pytest.raises(NetError, match="layer 'l': axis must lie between -4 and 3"):
        make("InfogainLoss", "infogain_loss_param { axis: 4 }", [(2, 4, 1, 1), (2, 1, 1, 1), (1, 1, 4, 4)])
    with pytest.raises(NetError, match=r"labels for scores \(2, 4, 3, 1\) along axis 1 must be one for each place"):
        make("InfogainLoss", "infogain_loss_param { axis: 1 }", [(2, 4, 3, 1), (2, 1, 1, 1), (1, 1, 4, 4)])
    with pytest.raises(NetError, match="layer 'l': the infogain matrix is missing"):
        make("InfogainLoss", "", bottoms=2)
    with pytest.raises(CaffeModelError, match="H.binaryproto"):
        make("InfogainLoss", params, bottoms=2)
    proto.write_blob(path, np.eye(3, dtype=np.float32)[None, None])
    with pytest.raises(NetError, match=r"layer 'l': .*H.binaryproto: expected a matrix \(1, 1, 4, 4\)"):
        make("InfogainLoss", params, [(2, 4, 1, 1), (2, 1, 1, 1)])
    with pytest.raises(NetError, match=r"layer 'l': the third bottom: expected a matrix \(1, 1, 4, 4\)"):
        make("InfogainLoss", "", [(2, 4, 1, 1), (2, 1, 1, 1), (1, 1, 4, 3)])


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
    for labels in [(3, 1, 1, 1), (2, 1, 2, 1)]:
        with pytest.raises(NetError, match=r"layer 'l': labels for \(2, 3, 1, 1\) must be \(2, 1, 1, 1\)"):
            make(kind, "", [(2, 3, 1, 1), labels, (1, 1, 3, 3)][: KINDS[kind]])


@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind: str) -> None:
    scores = noise(4, 3, 1, 1, dtype=torch.float64).softmax(1).detach().requires_grad_()
    others = [rows([0], [2], [1], [1]), noise(1, 1, 3, 3, seed=1).double()][: KINDS[kind] - 1]
    layer = make(kind, "", bottoms=KINDS[kind])
    assert torch.autograd.gradcheck(lambda x: layer(x, *others)[0], scores)
