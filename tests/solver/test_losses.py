from __future__ import annotations

import numpy as np
import torch

from deeplab_caffe.solver.losses import LossReader, SmoothedLoss


def test_a_moving_mean() -> None:
    smoothed = SmoothedLoss(2)
    assert [smoothed.add(loss) for loss in (4.0, 2.0, 6.0, 0.0)] == [4, 3, 4, 3]


def test_one_is_the_loss_itself() -> None:
    smoothed = SmoothedLoss(1)
    assert [smoothed.add(loss) for loss in (4.0, 2.0, 6.0)] == [4, 2, 6]


def test_goes_on_from_its_state() -> None:
    losses = np.random.default_rng(0).random(30)
    whole = SmoothedLoss(7)
    expected = [whole.add(loss) for loss in losses]
    first, second = SmoothedLoss(7), SmoothedLoss(7)
    for loss in losses[:17]:
        first.add(loss)
    second.load_state_dict(first.state_dict())
    assert [second.add(loss) for loss in losses[17:]] == expected[17:]


def test_another_count_begins_anew() -> None:
    first, second = SmoothedLoss(7), SmoothedLoss(3)
    for _ in range(10):
        first.add(1.0)
    second.load_state_dict(first.state_dict())
    assert second.add(5.0) == 5


def test_losses_are_summed_once() -> None:
    reader = LossReader(torch.device("cpu"))
    reader.add(torch.tensor(1.5))
    reader.add(torch.tensor(2.5))
    assert reader.read() == 4
    assert reader.read() == 0


def test_the_losses_of_an_iteration_that_was_broken_off_are_dropped() -> None:
    reader = LossReader(torch.device("cpu"))
    reader.add(torch.tensor(4.0))
    reader.clear()
    reader.add(torch.tensor(1.0))
    assert reader.read() == 1
