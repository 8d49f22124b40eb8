from __future__ import annotations

from itertools import count

import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.proto import parse_net
from deeplab_caffe.pycaffe import timing
from deeplab_caffe.pycaffe.timing import LayerTime, time_layers
from tests.nets import conv, inputs, layer


def test_timer() -> None:
    timer = caffe.Timer()
    assert timer.ms == 0
    timer.start()
    first = timer.ms
    timer.stop()
    stopped = timer.ms
    timer.stop()
    assert 0 <= first <= stopped == timer.ms
    timer.start()
    assert timer.ms < 60_000


@pytest.mark.parametrize("backward", [True, False])
def test_layers_are_timed_one_by_one(monkeypatch: pytest.MonkeyPatch, backward: bool) -> None:
    clock = count()
    monkeypatch.setattr(timing, "perf_counter", lambda: 0.25 * next(clock))
    net = caffe.Net(parse_net(inputs(data=(1, 2, 5, 5)) + conv("c", "data") + layer("RELU", "r", "c", "c")))
    passes = count()
    times = time_layers(net, 2, backward=backward, advance=lambda: next(passes))
    back = 250 if backward else None
    assert times == [LayerTime("c", "Convolution", 250, back), LayerTime("r", "ReLU", 250, back)]
    assert next(passes) == 3
