from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Blob, ParameterBlob
from deeplab_caffe.layers.blob import Memory


def test_sizes() -> None:
    blob = Blob((2, 3, 4, 5))
    assert blob.shape == blob.data.shape == blob.diff.shape == (2, 3, 4, 5)
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 4, 5, 120)
    assert blob.data.dtype == blob.diff.dtype == np.float32
    assert Blob((7, 2)).height == Blob((7, 2)).width == 1


def test_arrays_are_the_memory_itself() -> None:
    blob = Blob((1, 1, 2, 2))
    data, diff = blob.data, blob.diff
    data[...] = 3
    diff[0, 0, 0, 1] = 4
    assert blob.data.tolist() == [[[[3, 3], [3, 3]]]]
    assert blob.diff.tolist() == [[[[0, 4], [0, 0]]]]
    blob.write_data(torch.full((1, 1, 2, 2), 5.0))
    blob.write_diff(torch.full((1, 1, 2, 2), 6.0, requires_grad=True))
    assert set(data.ravel()) == {5}
    assert set(diff.ravel()) == {6}
    assert np.shares_memory(data, blob.data)


class Far:
    """A tensor elsewhere, as on a GPU: its numbers come and go in copies."""

    device = torch.device("cuda")

    def __init__(self, *numbers: float) -> None:
        self.there = torch.tensor(numbers)

    def cpu(self) -> torch.Tensor:
        return self.there.clone()

    def copy_(self, here: torch.Tensor) -> None:
        self.there.copy_(here)


def test_arrays_of_another_devices_memory_go_back_before_the_next_computation() -> None:
    far = Far(1, 2)
    memory = Memory(lambda: far)
    array = memory.array()
    array[0] = 5
    assert memory.array() is array
    assert (array.tolist(), far.there.tolist()) == ([5, 2], [1, 2])
    assert memory.tensor() is far
    assert far.there.tolist() == [5, 2]
    # What is computed comes into the array that the script holds.
    far.there *= 2
    memory.tensor()
    assert memory.array() is array
    assert array.tolist() == [10, 4]
    # A value that has just been written there wins over the array.
    array[0] = 7
    memory.forget_host()
    memory.tensor()
    assert far.there.tolist() == [10, 4]
    far.there = torch.zeros(3)
    assert memory.array().tolist() == [0, 0, 0]


def test_moved_blobs() -> None:
    parameter = nn.Parameter(torch.ones(2, 3))
    for blob in (Blob((2, 3)), ParameterBlob(parameter, (1, 1, 2, 3))):
        shape = blob.shape
        blob.to(torch.device("meta"))
        assert (blob.diff_tensor().device.type, blob.diff_tensor().shape) == ("meta", shape)
        assert blob.tensor().device.type == ("cpu" if isinstance(blob, ParameterBlob) else "meta")


def test_reshape_keeps_the_numbers_where_the_count_stays() -> None:
    blob = Blob((1, 2, 3, 4))
    blob.data[...] = np.arange(24).reshape(1, 2, 3, 4)
    before = blob.data
    blob.reshape(1, 1, 4, 6)
    assert blob.data.ravel().tolist() == list(range(24))
    assert np.shares_memory(before, blob.data)
    blob.reshape(2, 2, 3, 4)
    assert blob.data.shape == blob.diff.shape == (2, 2, 3, 4)
    assert not blob.data.any()
    blob.reshape((1, 1, 1, 2))
    assert blob.shape == (1, 1, 1, 2)
    # A loss of DeepLab v2 is a blob without axes.
    blob.reshape()
    assert blob.shape == blob.data.shape == ()
    with pytest.raises(ValueError, match="must not be negative"):
        blob.reshape(1, -1, 2, 2)


def test_written_values_bring_their_shape() -> None:
    blob = Blob((1, 1, 2, 2))
    blob.write_data(torch.ones(1, 1, 3, 3))
    assert blob.shape == blob.diff.shape == (1, 1, 3, 3)


def test_parameter_blobs_show_the_parameter() -> None:
    parameter = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    blob = ParameterBlob(parameter, (1, 1, 2, 3))
    assert blob.shape == (1, 1, 2, 3)
    blob.data[0, 0, 1, 2] = 9
    assert parameter[1, 2] == 9
    with torch.no_grad():
        parameter.mul_(2)
    assert blob.data[0, 0, 1].tolist() == [6, 8, 18]
    parameter.data = torch.zeros(2, 3)
    assert not blob.data.any()
    blob.write_diff(torch.ones(2, 3))
    assert blob.diff.shape == (1, 1, 2, 3)
    assert blob.diff.all()
    blob.reshape(1, 1, 2, 3)
    blob.reshape((1, 1, 2, 3))
    blob.held_by = "somebody counts on it"
    with pytest.raises(NetError, match=r"of shape \(1, 1, 2, 3\) cannot become \(1, 1, 3, 2\): somebody counts on it"):
        blob.reshape(1, 1, 3, 2)


def test_a_reshaped_parameter_blob_keeps_what_fits_as_caffe_does() -> None:
    parameter = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    blob = ParameterBlob(parameter, (2, 3))
    blob.diff[...] = 7
    parameter.grad = torch.ones(2, 3)
    blob.reshape(3, 1, 1)
    assert blob.data.tolist() == [[[0]], [[1]], [[2]]]
    assert blob.diff.tolist() == [[[7]], [[7]], [[7]]]
    assert (blob.shape, tuple(parameter.shape), parameter.grad, blob.fits()) == ((3, 1, 1), (3, 1, 1), None, False)
    blob.data[0] = 9
    assert parameter[0].item() == 9
    # More than there were are zeros.
    blob.reshape(4, 2)
    assert blob.data.tolist() == blob.diff.tolist() == [[0, 0]] * 4
    blob.write_diff(torch.ones(4, 2))
    blob.add_diff(torch.ones(4, 2))
    assert blob.diff.tolist() == [[2, 2]] * 4
    blob.reshape((2, 3))
    assert blob.fits()
    with pytest.raises(ValueError, match="must not be negative"):
        blob.reshape(-1, 3)


def test_a_reshaped_parameter_of_v1_keeps_its_own_axes() -> None:
    parameter = nn.Parameter(torch.arange(3.0))
    blob = ParameterBlob(parameter, (1, 1, 1, 3))
    blob.reshape(1, 1, 1, 2)
    assert (tuple(parameter.shape), blob.shape, blob.diff.shape) == ((2,), (1, 1, 1, 2), (1, 1, 1, 2))
    blob.reshape(5)
    assert (tuple(parameter.shape), blob.shape) == ((5,), (1, 1, 1, 5))


def test_blobs_that_share_a_parameter_follow_its_shape() -> None:
    parameter = nn.Parameter(torch.arange(6.0))
    one, two = ParameterBlob(parameter, (6,)), ParameterBlob(parameter, (6,))
    one.reshape(4)
    assert two.shape == two.data.shape == two.diff.shape == (4,)
    assert one.seen_as((4,)) is one
    three = one.seen_as((2, 2))
    three.data[0] = 8
    three.diff[1] = 9
    assert (one.data.tolist(), one.diff.tolist()) == ([8, 8, 2, 3], [0, 0, 9, 9])
    for blob in (one, three):
        with pytest.raises(NetError, match="see it in several shapes"):
            blob.reshape(3)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1,), ()])
def test_an_array_of_one_number_converts_to_it(shape: tuple[int, ...]) -> None:
    """As `train_loss[it] = solver.net.blobs["loss"].data` has it: (1, 1, 1, 1) in DeepLab v1, (1,) of Python layers."""
    loss = Blob(shape)
    loss.data[...] = 2.5
    total, kept = 0, np.zeros(4)
    for _ in range(2):
        total += loss.data
    kept[0], kept[1], kept[2], kept[3] = loss.data, total / 2, loss.data.copy(), np.float64(2) * loss.data
    assert kept.tolist() == [2.5, 2.5, 2.5, 5]
    assert (float(loss.data), int(loss.data), math.isnan(loss.data)) == (2.5, 2, False)
    assert ("%.2f %d" % (loss.data, loss.data), f"{loss.data:.3f}") == ("2.50 2", "2.500")  # noqa: UP031
    # It is the blob's memory still, and looks like any array.
    loss.data[...] = 7
    assert float(loss.data) == 7
    assert repr(loss.data) == repr(np.full(shape, 7, np.float32))
    assert type(loss.data.sum()) is type(np.ones(2, np.float32).sum())
    assert type(loss.data + np.ones((2, 1, 1, 1))) is np.ndarray


def test_an_array_of_several_numbers_is_none() -> None:
    several = Blob((2, 1)).data
    assert type(several) is np.ndarray
    with pytest.raises(TypeError):
        float(several)
