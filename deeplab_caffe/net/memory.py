"""Estimate how much memory training takes, from the shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deeplab_caffe.net.net import Net

_FLOAT, _HALF = 4, 2


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that training needs while it runs.

    Attributes:
        parameters: the parameters, float32.
        gradients: their gradients.
        history: the update rule's history, and for all rules but SGD the update too.
        activations: values that the forward pass keeps for the backward pass.
    """

    parameters: int
    gradients: int
    history: int
    activations: int

    @property
    def total(self) -> int:
        """Return the sum; torch's workspaces are not counted."""
        return self.parameters + self.gradients + self.history + self.activations

    def __str__(self) -> str:
        parts = [("parameters", self.parameters), ("gradients", self.gradients)]
        parts += [("history", self.history), ("activations", self.activations)]
        return ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in parts)


def training_memory(net: Net, *, dtype: str = "float32", buffers: int = 1) -> TrainingMemory:
    """Estimate a training net's memory at the sizes of its prototxt.

    Args:
        net: the net, in phase TRAIN.
        dtype: ``"float32"``, or ``"bfloat16"``: two bytes per activation for the layers that support it.
        buffers: float32 copies of the parameters that the update rule keeps: 1 for SGD, 2 for
            Nesterov, AdaGrad and RMSProp, 3 for AdaDelta and Adam.
    """
    learning = 4 * sum(p.numel() for p in net.parameters() if p.requires_grad)
    parameters = 4 * net.parameter_count()
    return TrainingMemory(parameters, learning, buffers * parameters, _activations(net, dtype == "bfloat16"))


def _activations(net: Net, half: bool) -> int:
    sizes: dict[int, int] = {}
    # From the top of an identity layer to the value that it passes on.
    same: dict[int, int] = {}
    flows: set[int] = set()
    kept: set[int] = set()
    extra = 0
    for name, value in net.graph.inputs.items():
        sizes[value] = _FLOAT * math.prod(net.blob_shapes[name])
    for step in net.steps:
        layer = step.layer
        width = _HALF if half and layer.supports_half else _FLOAT
        reads = [same.get(value, value) for value in step.reads]
        learns = layer.differentiable and (
            not flows.isdisjoint(step.reads) or any(blob.requires_grad for blob in layer.blobs)
        )
        if learns:
            flows.update(step.makes)
        for name, value in zip(step.tops, step.makes, strict=True):
            if layer.is_identity:
                same[value] = reads[0]
            else:
                sizes[value] = width * math.prod(net.blob_shapes[name])
        if not learns:
            continue
        if "tops" in layer.saves:
            kept.update(step.makes)
        if "bottoms" in layer.saves:
            kept.update(reads)
        bottoms, tops = ([net.blob_shapes[name] for name in names] for names in (step.bottoms, step.tops))
        extra += layer.saved_bytes(bottoms, tops, width)
        if width == _HALF:
            # Autocast's copies of the weights are kept too.
            extra += _HALF * sum(blob.numel() for blob in layer.blobs)
    return sum(sizes[value] for value in kept) + extra
