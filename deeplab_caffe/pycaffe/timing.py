"""What time computations take: ``caffe.Timer``, and a net's layers one by one, as in ``caffe time``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch

from deeplab_caffe.pycaffe import mode
from deeplab_caffe.pycaffe.net import Net


class Timer:
    """``caffe.Timer``: milliseconds between :meth:`start` and :meth:`stop`, or until now while it runs.

    On a GPU, both methods first wait for pending work.
    """

    def __init__(self) -> None:
        self._begin: float | None = None
        self._end: float | None = None

    def start(self) -> None:
        """Start, or restart if it runs."""
        self._begin, self._end = _now(), None

    def stop(self) -> None:
        """Stop, if it runs."""
        if self._begin is not None and self._end is None:
            self._end = _now()

    @property
    def ms(self) -> float:
        """Return the milliseconds; 0 if it was never started."""
        if self._begin is None:
            return 0.0
        return 1000 * ((_now() if self._end is None else self._end) - self._begin)


class LayerTime(NamedTuple):
    """What a layer takes, in milliseconds.

    Attributes:
        name: the layer's.
        type: the layer's.
        forward: of a forward pass.
        backward: of a backward pass; None: it was not measured.
    """

    name: str
    type: str
    forward: float
    backward: float | None


def time_layers(net: Net, iterations: int, *, backward: bool = True, advance: Callable[[], object]) -> list[LayerTime]:
    """Run a net's layers one by one, each waited for, and return the medians of their times.

    Args:
        net: the net, its inputs filled.
        iterations: how many passes count; one before them does not.
        backward: measure the backward passes too.
        advance: called after each pass, ``iterations + 1`` times.
    """
    count = len(net.layers)
    # Else the first backward pass would run the layers again.
    net._record = net._record or backward
    forward_times: list[list[float]] = [[] for _ in range(count)]
    backward_times: list[list[float]] = [[] for _ in range(count)]
    for iteration in range(iterations + 1):
        for index in range(count):
            forward_times[index].append(_timed(partial(net._forward, index, index)))
        if backward:
            for index in range(count - 1, -1, -1):
                backward_times[index].append(_timed(partial(net._backward, index, index)))
        if iteration == 0:
            # The first pass allocates memory and selects kernels.
            for times in (*forward_times, *backward_times):
                times.clear()
        advance()
    return [
        LayerTime(name, layer.type, median(forward), median(back) if backward else None)
        for name, layer, forward, back in zip(net._layer_names, net.layers, forward_times, backward_times, strict=True)
    ]


def _timed(work: Callable[[], object]) -> float:
    timer = Timer()
    timer.start()
    work()
    timer.stop()
    return timer.ms


def _now() -> float:
    if mode.current_device().type == "cuda":
        torch.cuda.synchronize(mode.current_device())
    return perf_counter()
