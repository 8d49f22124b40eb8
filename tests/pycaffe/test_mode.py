from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe import NetError
from deeplab_caffe.pycaffe import mode
from tests.goldens import relative_error
from tests.nets import SMALL, noise, parse


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = mode._device, mode._gpu_index, mode._seed
    yield
    mode._device, mode._gpu_index, mode._seed = before


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    caffe.set_mode_cpu()
    caffe.set_device(0)
    with pytest.raises(NetError, match="set_mode_gpu: torch sees no CUDA device"):
        caffe.set_mode_gpu()
    assert mode.current_device() == torch.device("cpu")


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    caffe.set_device(2)
    with pytest.raises(NetError, match="there are 2 GPUs, device 2 was asked for"):
        caffe.set_mode_gpu()
    caffe.set_device(1)
    caffe.set_mode_gpu()
    assert mode.current_device() == torch.device("cuda", 1)
    with pytest.raises(NetError, match="device 7"):
        caffe.set_device(7)
    with pytest.raises(NetError, match="expected an index from 0, got -1"):
        caffe.set_device(-1)


def test_the_seed_settles_initial_values_and_dropout() -> None:
    outs = []
    for seed in (3, 3, 4):
        caffe.set_random_seed(seed)
        net = caffe.Net(parse(SMALL), caffe.TRAIN)
        outs.append(net.forward(data=noise(1, 3, 9, 11).numpy())["score"].copy())
    assert np.array_equal(outs[0], outs[1])
    assert not np.array_equal(outs[0], outs[2])
    assert mode.current_seed() == 4


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.usefixtures("no_tf32")
def test_on_the_gpu() -> None:
    text, x = "force_backward: true " + SMALL, noise(1, 3, 9, 11).numpy()
    cpu, gpu, sharer = (caffe.Net(parse(text), caffe.TEST, seed=1) for _ in range(3))
    sharer.share_with(gpu)
    cpu.forward(data=x)
    cpu.backward(score=np.ones((1, 5, 5, 6)))
    caffe.set_mode_gpu()
    gpu.blobs["data"].data[...] = x
    assert relative_error(gpu.forward()["score"], cpu.blobs["score"].data) < 1e-4
    gpu.backward(score=np.ones((1, 5, 5, 6)))
    assert gpu.params["fc"][0].parameter.is_cuda
    assert relative_error(gpu.params["fc"][0].diff, cpu.params["fc"][0].diff) < 1e-4
    gpu.params["score"][0].data[...] = 0
    gpu.params["score"][1].data[...] = 7
    assert set(gpu.forward()["score"].ravel()) == {7}
    assert set(sharer.forward(data=x)["score"].ravel()) == {7}
    caffe.set_mode_cpu()
    assert set(gpu.forward()["score"].ravel()) == {7}
    assert gpu.params["fc"][0].parameter.device.type == "cpu"
