"""A net as a graph in SSA form: layers read and write numbered values, each written once.

:mod:`deeplab_caffe.net.build` makes the graph of a prototxt. :class:`deeplab_caffe.Net` runs it as it is,
:func:`deeplab_caffe.optimize` lowers it by the passes of :mod:`deeplab_caffe.net.passes`, and the ONNX export, the
drawing, the memory estimates and the segmentation head read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer, Shape


@dataclass(frozen=True)
class Step:
    """One layer's place in a net.

    Attributes:
        layer: the layer.
        bottoms: names of the blobs it reads.
        tops: names of the blobs it writes; a name that is also a bottom is overwritten (in-place layers).
        loss_weights: weight of each top in the net's loss.
        reads: numbers of the values of the bottoms; with an ``addition``, its other summand comes last.
        makes: numbers of the values of the tops.
        dead: numbers of the values that no later step reads.
        affine: fused layers with an :class:`deeplab_caffe.layers.AffineFact`, which the only top goes through in order.
        addition: a fused layer after these, which adds the last value of ``reads`` to the top.
        activation: a fused layer after that; see :func:`deeplab_caffe.net.passes.fuse`.
        spare: the top may overwrite the value that ``addition`` adds.
    """

    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    loss_weights: tuple[float, ...]
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    dead: tuple[int, ...] = ()
    affine: tuple[Layer, ...] = ()
    addition: Layer | None = None
    activation: Layer | None = None
    spare: bool = False

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return the layer and all layers fused into it, in order."""
        behind = [layer for layer in (self.addition, self.activation) if layer is not None]
        return (self.layer, *self.affine, *behind)

    @property
    def aliased(self) -> int:
        """Return the number of the value whose memory the tops may use, without gradients; -1: they use their own."""
        if self.spare:
            return self.reads[-1]
        return self.reads[0] if self.reads and (self.layer.may_alias or self.layer.inplace) else -1

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        """Return the shapes of the tops for the shapes of all values in ``reads``.

        Raises:
            NetError: the shapes do not fit one of the layers.
        """
        if self.addition is None:
            return self.layer.top_shapes(bottom_shapes)
        return self.addition.top_shapes([*self.layer.top_shapes(bottom_shapes[:-1]), bottom_shapes[-1]])

    def without_weights(self) -> Step:
        """Return the step with layers whose blobs have shapes and no numbers."""
        first, *affine = (layer.frozen("meta") for layer in (self.layer, *self.affine))
        return replace(self, layer=first, affine=tuple(affine))


def blob_names(names: Iterable[str]) -> list[str]:
    """Return names of blobs as a list.

    Raises:
        NetError: it is one name, whose letters would be names.
    """
    if isinstance(names, str):
        raise NetError(f"blobs must be a list of names, got {names!r}: take [{names!r}]")
    return list(names)


@dataclass(frozen=True)
class Graph:
    """Steps in order.

    Attributes:
        steps: the steps to run.
        inputs: numbers of the input blobs' values, by name in the net's order.
        outputs: numbers of the requested blobs' values, by name.
        blobs: number of each blob's last value, by name.
    """

    steps: tuple[Step, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    blobs: Mapping[str, int] = field(repr=False)

    @property
    def graph_break_reason(self) -> str | None:
        """Return why the graph cannot be captured as a CUDA graph, naming the first such layer; None: it can."""
        for step in self.steps:
            for layer in step.layers:
                if not layer.capturable:
                    return f"layer '{layer.name}' ({layer.TYPE}) may wait for the GPU or keep a state"
        return None

    @property
    def per_item(self) -> bool:
        """Return whether each batch item is computed by itself, so that a batch may be split."""
        return all(layer.per_item for step in self.steps for layer in step.layers)

    @cached_property
    def returned(self) -> frozenset[int]:
        """Return the numbers of the outputs' values, and of those whose memory an output may have."""
        found = set(self.outputs.values())
        for step in reversed(self.steps):
            if found.intersection(step.makes):
                found.add(step.aliased)
        return frozenset(found)

    def wanted(self, names: Iterable[str]) -> dict[str, int]:
        """Return the numbers of blobs' last values, by name.

        Raises:
            NetError: there is no such blob.
        """
        names = blob_names(names)
        unknown = [name for name in names if name not in self.blobs]
        if unknown:
            raise NetError(f"the net has no blob {unknown[0]!r}; it has {', '.join(self.blobs)}")
        return {name: self.blobs[name] for name in names}

    def shapes(self, inputs: Sequence[Shape]) -> dict[int, Shape]:
        """Return the shapes of all values for these input shapes.

        Raises:
            NetError: the shapes do not fit a layer.
        """
        known: dict[int, Shape] = dict(zip(self.inputs.values(), map(tuple, inputs), strict=True))
        for step in self.steps:
            tops = step.top_shapes([known[number] for number in step.reads])
            known.update(zip(step.makes, map(tuple, tops), strict=True))
        return known

    def activation_bytes(self, shapes: Mapping[int, Shape]) -> int:
        """Return the most bytes of float32 activations alive at one time, without gradients (an estimate).

        Args:
            shapes: the shapes of all values, from :meth:`shapes`.
        """
        # For each value, the first value in the same memory; and for each memory, how many of its values are alive.
        first = {number: number for number in self.inputs.values()}
        users = dict.fromkeys(first, 1)
        now = peak = sum(math.prod(shapes[number]) for number in first)
        for step in self.steps:
            for number in step.makes:
                first[number] = first.get(step.aliased, number)
                users[first[number]] = users.get(first[number], 0) + 1
                now += math.prod(shapes[number]) if first[number] == number else 0
            peak = max(peak, now)
            for number in (first[each] for each in step.dead):
                users[number] -= 1
                now -= 0 if users[number] else math.prod(shapes[number])
        return 4 * peak

    def execute(
        self,
        inputs: Iterable[Tensor],
        run: Callable[[Step, list[Tensor]], Sequence[Tensor]],
        outputs: Mapping[str, int] | None = None,
    ) -> dict[str, Tensor]:
        """Run the graph; values are freed after their last reader.

        Args:
            inputs: the input blobs in order.
            run: returns the tops of a step for its bottoms.
            outputs: the values to return, by name; None: :attr:`outputs`.

        Returns:
            The requested blobs by name.
        """
        outputs = self.outputs if outputs is None else outputs
        keep = set(outputs.values())
        values = dict(zip(self.inputs.values(), inputs, strict=True))
        for step in self.steps:
            tops = run(step, [values[number] for number in step.reads])
            values.update(zip(step.makes, tops, strict=True))
            del tops
            for number in step.dead:
                if number not in keep:
                    values.pop(number, None)
        return {name: values[number] for name, number in outputs.items()}

    def before(self, layer: str) -> Graph | None:
        """Return the part of the graph that computes a layer's bottoms; None: there is no such layer."""
        for index, step in enumerate(self.steps):
            if step.layer.name == layer:
                outputs = dict(zip(step.bottoms, step.reads, strict=True))
                return replace(self, steps=self.steps[:index], outputs=outputs)
        return None


def run_layer(step: Step, bottoms: list[Tensor]) -> Sequence[Tensor]:
    """Run the step's own layers: the reference for other functions given to :meth:`Graph.execute`."""
    added = bottoms[-1:] if step.addition is not None else []
    tops: Sequence[Tensor] = step.layer(*bottoms[: len(bottoms) - len(added)])
    for layer in step.affine:
        tops = layer(*tops)
    if step.addition is not None:
        tops = step.addition(*tops, *added)
    if step.activation is not None:
        tops = step.activation(*tops)
    return tops
