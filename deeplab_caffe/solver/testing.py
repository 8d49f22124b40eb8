"""The test nets of a solver (solver.cpp, Test)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deeplab_caffe.net import Net

# Outputs with more numbers are not shown: they are blobs that no layer reads, and not results.
MOST_SHOWN = 64


@dataclass(frozen=True)
class Averages:
    """Means over the batches of a test.

    Attributes:
        loss: the net's weighted loss.
        outputs: the numbers of each output blob.
    """

    loss: float
    outputs: dict[str, list[float]]


def share_parameters(test: Net, train: Net) -> None:
    """Give layers of the test net the parameters of the training net's layers with the same name (net.cpp,
    ShareTrainedLayersWith).

    Raises:
        NetError: a layer's parameters differ in number or shape.
    """
    for layer in test.layers:
        source = train.by_name.get(layer.name)
        if source is None or not source.blobs or not layer.blobs:
            continue
        shapes = [[tuple(blob.shape) for blob in side.blobs] for side in (source, layer)]
        if shapes[0] != shapes[1]:
            raise layer.error(f"its parameters are {shapes[1]} in the test net and {shapes[0]} in the training net")
        for role, blob in source.named_blobs.items():
            setattr(layer, role, blob)


@torch.no_grad()
def run_test(
    forward: Callable[[], dict[str, Tensor]], net: Net, batches: int, asked_to_stop: Callable[[], bool]
) -> Averages | None:
    """Run a net for some batches and average its outputs.

    Args:
        forward: function that runs the net for one batch and returns its outputs and losses.
        net: the net.
        batches: number of batches; for 0 there are no outputs, and the loss is NaN, as in Caffe.
        asked_to_stop: function that is called before each batch and returns whether to stop.

    Returns:
        The means; None if it was stopped.
    """
    loss = 0.0
    sums: dict[str, Tensor] = {}
    for _ in range(batches):
        if asked_to_stop():
            return None
        found = forward()
        loss += float(net.loss(found))
        for name in net.outputs:
            if found[name].numel() <= MOST_SHOWN:
                numbers = found[name].double().flatten()
                sums[name] = sums[name] + numbers if name in sums else numbers.clone()
    return Averages(
        loss / batches if batches else math.nan, {name: (total / batches).tolist() for name, total in sums.items()}
    )
