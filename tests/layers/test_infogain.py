"""InfogainLoss: of probabilities, as DeepLab's Caffes have it, and of scores, as BVLC's does since 2017."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_caffe import proto
from deeplab_caffe.errors import CaffeModelError, NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, :, None, None]


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
    with pytest.raises(NetError, match="layer 'l': the infogain matrix is missing"):
        make("InfogainLoss", "", bottoms=2)
    with pytest.raises(CaffeModelError, match="H.binaryproto"):
        make("InfogainLoss", params, bottoms=2)
    proto.write_blob(path, np.eye(3, dtype=np.float32)[None, None])
    with pytest.raises(NetError, match=r"layer 'l': .*H.binaryproto: expected a matrix \(1, 1, 4, 4\)"):
        make("InfogainLoss", params, [(2, 4, 1, 1), (2, 1, 1, 1)])
    with pytest.raises(NetError, match=r"layer 'l': the third bottom: expected a matrix \(1, 1, 4, 4\)"):
        make("InfogainLoss", "", [(2, 4, 1, 1), (2, 1, 1, 1), (1, 1, 4, 3)])


def slow(
    scores: np.ndarray, labels: np.ndarray, matrix: np.ndarray, axis: int, ignored: int | None, divisor: str
) -> tuple[float, np.ndarray]:
    """Loss and gradient of BVLC's layer, place by place."""
    scores, labels = scores.astype(float), labels.astype(int)
    rows = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    gradient, loss, count = np.zeros_like(rows), 0.0, 0
    for row, label, diff in zip(rows, labels.ravel(), gradient, strict=True):
        if label == ignored:
            continue
        p = np.exp(row - row.max())
        p /= p.sum()
        loss -= (matrix[label] * np.log(np.maximum(p, 1e-20))).sum()
        diff[:] = p * matrix[label].sum() - matrix[label]
        count += 1
    before = int(np.prod(scores.shape[:axis]))
    number = max({"FULL": len(rows), "VALID": count, "BATCH_SIZE": before, "NONE": 1}[divisor], 1)
    shape = np.moveaxis(scores, axis, -1).shape
    return loss / number, np.moveaxis(gradient.reshape(shape), -1, axis) / number


@pytest.mark.parametrize("divisor", ["FULL", "VALID", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignored", [None, 1, 7])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((4, 3), 1), ((2, 3, 4), 1), ((2, 3, 4, 5), -3), ((2, 4, 3), 2), ((3, 4), 0), ((2, 2, 3, 2, 2), 2)],
)
def test_scores_along_an_axis(shape: tuple[int, ...], axis: int, ignored: int | None, divisor: str) -> None:
    ignore = "" if ignored is None else f"ignore_label: {ignored}"
    params = f"infogain_loss_param {{ axis: {axis} }} loss_param {{ {ignore} normalization: {divisor} }}"
    places = [size for k, size in enumerate(shape) if k != axis % len(shape)]
    labels = torch.randint(3, places, generator=torch.Generator().manual_seed(5)).float()
    if ignored == 7:
        labels.flatten()[::2] = 7
    scores, matrix = (3 * noise(*shape)).requires_grad_(), noise(3, 3, seed=2)
    loss = run("InfogainLoss", params, scores, labels, matrix, dialect=V2)
    expected, gradient = slow(
        scores.detach().numpy(), labels.numpy(), matrix.double().numpy(), axis % len(shape), ignored, divisor
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    np.testing.assert_allclose(scores.grad.numpy(), gradient, rtol=1e-4, atol=1e-6)


def test_scores_that_give_next_to_no_probability() -> None:
    scores = torch.tensor([[0.0, 100.0]]).requires_grad_()
    loss = run("InfogainLoss", "infogain_loss_param { axis: 1 }", scores, torch.zeros(1), torch.eye(2), dialect=V2)
    # The logarithm is cut off at 1e-20; the slope is not.
    assert loss.item() == pytest.approx(20 * math.log(10))
    loss.backward()
    assert scores.grad.tolist() == [[-1, 1]]


def test_the_second_top_is_the_softmax() -> None:
    scores, labels = noise(2, 3, 4), torch.zeros(2, 4)
    loss, softmax = run("InfogainLoss", "", scores, labels, torch.eye(3), tops=2, dialect=V2)
    assert torch.equal(softmax, scores.softmax(1))
    alone = run("InfogainLoss", "infogain_loss_param { axis: 1 }", scores, labels, torch.eye(3), dialect=V2)
    assert torch.equal(loss, alone)


def test_all_labels_ignored() -> None:
    params, scores = "loss_param { ignore_label: 0 }", noise(2, 3).requires_grad_()
    loss = run("InfogainLoss", params, scores, torch.zeros(2), torch.eye(3), dialect=V2)
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_scores_refuse() -> None:
    axis = "infogain_loss_param { axis: 2 }"
    for params, shapes, message in [
        ("infogain_loss_param { axis: 3 }", [(2, 3, 4), (2, 4), (3, 3)], "axis must lie between -3 and 2"),
        (axis, [(2, 4, 3), (2, 3), (3, 3)], r"labels for scores \(2, 4, 3\) must be \(2, 4, 1\) or as many"),
        (axis, [(2, 4, 3), (2, 4), (4, 4)], r"the third bottom: expected a matrix \(1, 1, 3, 3\)"),
        ("loss_param { normalize: true }", [(2, 3), (2,), (3, 3)], "normalize is not for this layer"),
        ("loss_param {}", [(2, 3), (2,), (6,)], r"the third bottom: expected a matrix \(1, 1, 3, 3\).*got \(6,\)"),
    ]:
        with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
            make("InfogainLoss", params, shapes, dialect=V2)
    # As many numbers are enough.
    make("InfogainLoss", "loss_param {}", [(2, 3), (2,), (9,)], dialect=V2)
    with pytest.raises(NetError, match="layer 'l': label 3 of item 1: expected 0 to 2"):
        run("InfogainLoss", "loss_param {}", noise(2, 3), torch.tensor([0.0, 3]), torch.eye(3), dialect=V2)
