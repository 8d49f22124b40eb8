"""How much memory training takes, from the shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deeplab_caffe.net import Net
from deeplab_caffe.net.build import Step

# What autograd keeps of a layer for its backward pass. Layers that are not named here keep their bottoms.
_KEEPS_TOP = {"ReLU", "Sigmoid", "TanH", "Softmax", "Exp"}
_KEEPS_NOTHING = {"Split", "Concat", "Slice", "Flatten", "Interp", "Padding", "Silence", "Im2col"}
_FLOAT, _HALF, _INDEX = 4, 2, 8


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that training needs while it runs.

    Attributes:
        parameters: the parameters, float32.
        gradients: their gradients.
        history: the update rule's history, and for Nesterov and AdaGrad as much again for the update.
        activations: what the forward pass keeps for the backward pass.
    """

    parameters: int
    gradients: int
    history: int
    activations: int

    @property
    def total(self) -> int:
        """All of it; torch's workspaces come on top."""
        return self.parameters + self.gradients + self.history + self.activations

    def __str__(self) -> str:
        parts = (("parameters", self.parameters), ("gradients", self.gradients))
        parts += (("history", self.history), ("activations", self.activations))
        return ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in parts)


def training_memory(net: Net, *, bfloat16: bool = False, buffers: int = 1) -> TrainingMemory:
    """An estimate of a training net's memory at the sizes of its prototxt.

    Args:
        net: the net, in phase TRAIN.
        bfloat16: with autocast: activations of the layers that can do with it take two bytes a number.
        buffers: float32 copies of the parameters that the update rule keeps: 1 for SGD, 2 for Nesterov and AdaGrad.
    """
    learning = 4 * sum(p.numel() for p in net.parameters() if p.requires_grad)
    parameters = 4 * net.parameter_count()
    return TrainingMemory(parameters, learning, buffers * parameters, _activations(net, bfloat16))


def _activations(net: Net, bfloat16: bool) -> int:
    # Tensors by number: a layer in place puts another tensor under a blob's old name.
    current: dict[str, int] = {}
    sizes: list[int] = []
    flows: dict[str, bool] = {}
    kept: set[int] = set()
    extra = 0

    def new_tensor(name: str, width: int) -> int:
        sizes.append(width * math.prod(net.blob_shapes[name]))
        return len(sizes) - 1

    for name in net.inputs:
        current[name] = new_tensor(name, _FLOAT)
    for step in net.steps:
        layer = step.layer
        width = _HALF if bfloat16 and layer.HALF else _FLOAT
        bottoms = [current[name] for name in step.bottoms]
        passes = any(flows.get(name, False) for name in step.bottoms)
        learns = layer.DIFFERENTIABLE and (passes or any(blob.requires_grad for blob in layer.blobs))
        for name in step.tops:
            current[name] = bottoms[0] if layer.TYPE == "Split" else new_tensor(name, width)
            flows[name] = learns
        if not learns:
            continue
        if layer.TYPE in _KEEPS_TOP:
            kept |= {current[name] for name in step.tops}
        elif layer.TYPE == "Dropout":
            # The mask: as wide as the numbers on the CPU, a byte on a GPU; the wider one counts.
            extra += sizes[current[step.tops[0]]]
        elif layer.TYPE not in _KEEPS_NOTHING:
            kept |= set(bottoms)
        extra += _extra(net, step)
        if width == _HALF:
            # Autocast's copies of the weights are kept too.
            extra += _HALF * sum(blob.numel() for blob in layer.blobs)
    return sum(sizes[tensor] for tensor in kept) + extra


def _extra(net: Net, step: Step) -> int:
    """What a layer keeps besides blobs."""
    if step.layer.TYPE == "Pooling" and step.layer.method == "MAX":
        return _INDEX * math.prod(net.blob_shapes[step.tops[0]])
    if step.layer.TYPE == "SoftmaxWithLoss":
        count, _, height, width = net.blob_shapes[step.bottoms[0]]
        return 2 * _FLOAT * count * height * width
    return 0
