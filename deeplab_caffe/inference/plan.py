"""What a net computes, reduced to what inference needs: device independent, and executable by anyone.

Blobs become values that are written once, so in-place layers copy nothing; DROPOUT and SPLIT vanish; a ReLU is taken
along by the convolution before it; layers that no wanted blob depends on are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer, Shape
from deeplab_caffe.layers.convolution import Convolution
from deeplab_caffe.layers.neuron import ReLU

if TYPE_CHECKING:
    from deeplab_caffe.net import Net

# Layers that ask the device nothing, wait for nothing and keep no state: what a CUDA graph can hold.
# fmt: off
CAPTURABLE = frozenset((
    "AbsVal", "ArgMax", "BNLL", "Concat", "Convolution", "Eltwise", "Exp", "Flatten", "Im2col", "InnerProduct",
    "Interp", "LRN", "MVN", "Padding", "Pooling", "Power", "ReLU", "Sigmoid", "Slice", "Softmax", "TanH",
    "Threshold",
))
# fmt: on


@dataclass(frozen=True)
class Operation:
    """One layer that is run.

    Attributes:
        layer: the layer.
        bottoms: numbers of the values it reads.
        tops: numbers of the values it makes.
        relu: its top passes through max(x, 0).
        dead: numbers of the values that nobody reads after it.
    """

    layer: Layer
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    relu: bool = False
    dead: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Operations in order.

    Attributes:
        operations: what is run.
        inputs: numbers of the input blobs' values, by name in the net's order.
        outputs: numbers of the wanted blobs' values, by name.
    """

    operations: tuple[Operation, ...]
    inputs: dict[str, int]
    outputs: dict[str, int]

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can hold the plan."""
        return all(operation.layer.TYPE in CAPTURABLE for operation in self.operations)

    @property
    def per_item(self) -> bool:
        """Whether each batch item is worked on by itself, so that a batch may be taken in pieces."""
        for operation in self.operations:
            layer = operation.layer
            if layer.TYPE not in CAPTURABLE:
                return False
            if layer.TYPE == "Concat" and layer.param.concat_param.axis == 0:
                return False
            if layer.TYPE == "Slice" and layer.param.slice_param.axis == 0:
                return False
        return True

    def shapes(self, inputs: Sequence[Shape]) -> dict[int, Shape]:
        """Shapes of all values for these input shapes.

        Raises:
            NetError: they do not fit a layer.
        """
        known = dict(zip(self.inputs.values(), map(tuple, inputs), strict=True))
        for operation in self.operations:
            tops = operation.layer.top_shapes([known[number] for number in operation.bottoms])
            known.update(zip(operation.tops, map(tuple, tops), strict=True))
        return known

    def execute(self, inputs: Sequence[Tensor], run: Callable[[Operation, list[Tensor]], Sequence[Tensor]]) -> dict:
        """The wanted blobs by name.

        Args:
            inputs: the input blobs in order.
            run: gives the tops of an operation for its bottoms.
        """
        values = dict(zip(self.inputs.values(), inputs, strict=True))
        for operation in self.operations:
            tops = run(operation, [values[number] for number in operation.bottoms])
            values.update(zip(operation.tops, tops, strict=True))
            for number in operation.dead:
                values.pop(number, None)
        return {name: values[number] for name, number in self.outputs.items()}


def _vanishes(layer: Layer) -> bool:
    return layer.TYPE == "Split" or (layer.TYPE == "Dropout" and not layer.training)


def build_plan(net: Net, blobs: Iterable[str]) -> Plan:
    """The plan that computes these blobs of a net.

    Raises:
        NetError: the net is of phase TRAIN, has data layers, or has no such blob.
    """
    if net.context.training:
        raise NetError(f"net '{net.name}' is of phase TRAIN: optimize is for inference, build it with phase TEST")
    for step in net.steps:
        if step.layer.IS_SOURCE:
            raise step.layer.error("data layers cannot be optimized: use a deploy prototxt, with inputs")
    blobs = list(blobs)
    unknown = [name for name in blobs if name not in net.blob_shapes]
    if unknown:
        raise NetError(f"the net has no blob {unknown[0]!r}; it has {', '.join(net.blob_shapes)}")
    current = {name: number for number, name in enumerate(net.inputs)}
    inputs, count = dict(current), len(current)
    operations = []
    for step in net.steps:
        bottoms = tuple(current[blob] for blob in step.bottoms)
        if _vanishes(step.layer):
            current.update(dict.fromkeys(step.tops, bottoms[0]))
            continue
        tops = tuple(range(count, count + len(step.tops)))
        count += len(tops)
        current.update(zip(step.tops, tops, strict=True))
        operations.append(Operation(step.layer, bottoms, tops))
    outputs = {name: current[name] for name in blobs}
    operations = _fuse_relus(_needed(operations, outputs), outputs)
    return Plan(tuple(_mark_dead(operations, outputs)), inputs, outputs)


def _needed(operations: list[Operation], outputs: dict[str, int]) -> list[Operation]:
    wanted, kept = set(outputs.values()), []
    for operation in reversed(operations):
        if wanted.intersection(operation.tops):
            wanted.update(operation.bottoms)
            kept.append(operation)
    return kept[::-1]


def _fuse_relus(operations: list[Operation], outputs: dict[str, int]) -> list[Operation]:
    uses: dict[int, int] = {}
    for number in (*outputs.values(), *(number for operation in operations for number in operation.bottoms)):
        uses[number] = uses.get(number, 0) + 1
    makers: dict[int, int] = {}
    found: list[Operation] = []
    for operation in operations:
        source = makers.get(operation.bottoms[0]) if operation.bottoms else None
        fits = (
            source is not None
            and isinstance(operation.layer, ReLU)
            and operation.layer.param.relu_param.negative_slope == 0
            and isinstance(found[source].layer, Convolution)
            and len(found[source].tops) == 1
            and uses[operation.bottoms[0]] == 1
        )
        if fits:
            found[source] = replace(found[source], tops=operation.tops, relu=True)
        else:
            source = len(found)
            found.append(operation)
        makers.update(dict.fromkeys(operation.tops, source))
    return found


def _mark_dead(operations: list[Operation], outputs: dict[str, int]) -> list[Operation]:
    seen, marked = set(outputs.values()), []
    for operation in reversed(operations):
        dead = tuple(sorted({*operation.bottoms, *operation.tops} - seen))
        seen.update(dead)
        marked.append(replace(operation, dead=dead))
    return marked[::-1]


def run_layer(operation: Operation, bottoms: list[Tensor]) -> Sequence[Tensor]:
    """The reference for :meth:`Plan.execute`: the layers themselves, one by one."""
    layer = operation.layer
    tops = layer(*bottoms)
    return tuple(torch.relu(top) for top in tops) if operation.relu else tops
