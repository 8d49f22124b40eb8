"""A net as a graph: layers that read and make values, each value made once; and the passes over it.

:mod:`deeplab_caffe.net.build` makes the graph of a prototxt. :class:`deeplab_caffe.Net` runs it as it is,
:func:`deeplab_caffe.optimize` lowers it, ONNX, drawing, memory estimates and the segmentation head read it. A pass
takes a graph and gives another one; the layers are shared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer, Shape


@dataclass(frozen=True)
class Step:
    """One layer's place in a net.

    Attributes:
        layer: the layer.
        bottoms: names of the blobs it reads.
        tops: names of the blobs it makes; a name that is also a bottom is overwritten (in-place layers).
        loss_weights: weight of each top in the net's loss.
        reads: numbers of the values that the bottoms are.
        makes: numbers of the values that the tops are.
        dead: numbers of the values that no later step reads.
        activation: the layer that its only top passes through, fused into this step; see :func:`fuse_activations`.
    """

    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    loss_weights: tuple[float, ...]
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    dead: tuple[int, ...] = ()
    activation: Layer | None = None


@dataclass(frozen=True)
class Graph:
    """Steps in order.

    Attributes:
        steps: what is run.
        inputs: numbers of the input blobs' values, by name in the net's order.
        outputs: numbers of the wanted blobs' values, by name.
        blobs: number of each blob's last value, by name.
    """

    steps: tuple[Step, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    blobs: Mapping[str, int] = field(repr=False)

    @property
    def graph_break_reason(self) -> str | None:
        """Return why no CUDA graph can hold it: the first layer that none can hold; None: one can."""
        for step in self.steps:
            if not step.layer.capturable:
                return f"layer '{step.layer.name}' ({step.layer.TYPE}) may wait for the GPU or keep a state"
        return None

    @property
    def per_item(self) -> bool:
        """Return whether each batch item is computed by itself, so that a batch may be split."""
        return all(step.layer.per_item for step in self.steps)

    def wanted(self, names: Iterable[str]) -> dict[str, int]:
        """Return the numbers of blobs' last values, by name.

        Raises:
            NetError: there is no such blob.
        """
        names = list(names)
        unknown = [name for name in names if name not in self.blobs]
        if unknown:
            raise NetError(f"the net has no blob {unknown[0]!r}; it has {', '.join(self.blobs)}")
        return {name: self.blobs[name] for name in names}

    def shapes(self, inputs: Sequence[Shape]) -> dict[int, Shape]:
        """Return the shapes of all values for these input shapes.

        Raises:
            NetError: they do not fit a layer.
        """
        known: dict[int, Shape] = dict(zip(self.inputs.values(), map(tuple, inputs), strict=True))
        for step in self.steps:
            tops = step.layer.top_shapes([known[number] for number in step.reads])
            known.update(zip(step.makes, map(tuple, tops), strict=True))
        return known

    def activation_bytes(self, shapes: Mapping[int, Shape]) -> int:
        """Return the most bytes of float32 activations alive at one time, without gradients (an estimate).

        Args:
            shapes: of all values, from :meth:`shapes`.
        """
        # By name: a layer in place puts another value into a blob's memory.
        alive = {name: (number, math.prod(shapes[number])) for name, number in self.inputs.items()}
        peak = sum(size for _, size in alive.values())
        names = {number: name for name, number in self.inputs.items()}
        for step in self.steps:
            names.update(zip(step.makes, step.tops, strict=True))
            alive.update((top, (n, math.prod(shapes[n]))) for top, n in zip(step.tops, step.makes, strict=True))
            peak = max(peak, sum(size for _, size in alive.values()))
            for number in step.dead:
                if alive.get(names[number], (None,))[0] == number:
                    del alive[names[number]]
        return 4 * peak

    def execute(
        self,
        inputs: Iterable[Tensor],
        run: Callable[[Step, list[Tensor]], Sequence[Tensor]],
        outputs: Mapping[str, int] | None = None,
    ) -> dict[str, Tensor]:
        """Run it; values are freed after their last reader.

        Args:
            inputs: the input blobs in order.
            run: gives the tops of a step for its bottoms.
            outputs: the values to return, by name; None: :attr:`outputs`.

        Returns:
            The wanted blobs by name.
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
        """Return the part that gives what a layer would read; None: there is no such layer."""
        for index, step in enumerate(self.steps):
            if step.layer.name == layer:
                outputs = dict(zip(step.bottoms, step.reads, strict=True))
                return replace(self, steps=self.steps[:index], outputs=outputs)
        return None


def run_layer(step: Step, bottoms: list[Tensor]) -> Sequence[Tensor]:
    """Run the layer itself: the reference for whatever :meth:`Graph.execute` is given."""
    tops: Sequence[Tensor] = step.layer(*bottoms)
    if step.activation is not None:
        tops = step.activation(*tops)
    return tops


def drop_identities(graph: Graph) -> Graph:
    """Leave out the layers whose tops are their bottom: SPLIT, and in phase TEST DROPOUT."""
    same: dict[int, int] = {}
    steps = []
    for step in graph.steps:
        reads = tuple(same.get(number, number) for number in step.reads)
        if step.layer.is_identity:
            same.update(dict.fromkeys(step.makes, reads[0]))
        else:
            steps.append(replace(step, reads=reads))
    outputs, blobs = (
        {name: same.get(number, number) for name, number in names.items()} for names in (graph.outputs, graph.blobs)
    )
    return mark_dead(replace(graph, steps=tuple(steps), outputs=outputs, blobs=blobs))


def keep_wanted(graph: Graph, outputs: Mapping[str, int]) -> Graph:
    """Leave out the layers that none of these values depends on."""
    wanted, kept = set(outputs.values()), []
    for step in reversed(graph.steps):
        if wanted.intersection(step.makes):
            wanted.update(step.reads)
            kept.append(step)
    return mark_dead(replace(graph, steps=tuple(kept[::-1]), outputs=dict(outputs)))


def mark_dead(graph: Graph) -> Graph:
    """Say after each step which values are not needed any more."""
    seen, marked = set(graph.outputs.values()), []
    for step in reversed(graph.steps):
        dead = tuple(sorted({*step.reads, *step.makes} - seen))
        seen.update(dead)
        marked.append(replace(step, dead=dead))
    return replace(graph, steps=tuple(marked[::-1]))


def fuse_activations(graph: Graph, visible: Iterable[int] = ()) -> Graph:
    """Fuse activations into the layers before them, if no other step reads what lies between.

    Args:
        graph: the graph.
        visible: numbers of values, besides its outputs, that may be asked for.
    """
    seen = {*graph.outputs.values(), *visible}
    uses: dict[int, int] = dict.fromkeys(seen, 1)
    for number in (number for step in graph.steps for number in step.reads):
        uses[number] = uses.get(number, 0) + 1
    makers: dict[int, int] = {}
    found: list[Step] = []
    for step in graph.steps:
        place = makers.get(step.reads[0]) if len(step.reads) == 1 else None
        maker = None if place is None else found[place]
        if (
            place is not None
            and maker is not None
            and step.layer.activation in maker.layer.fuses
            and maker.activation is None
            and len(maker.makes) == 1
            and uses[step.reads[0]] == 1
        ):
            found[place] = replace(maker, makes=step.makes, tops=step.tops, activation=step.layer)
        else:
            place = len(found)
            found.append(step)
        makers.update(dict.fromkeys(step.makes, place))
    return mark_dead(replace(graph, steps=tuple(found)))


def mark_inplace(graph: Graph) -> None:
    """Tell layers which write to their bottom's name whether they may write to its memory.

    Only memory that an earlier layer made for itself may be overwritten: not a caller's, nor a split's.
    """
    owned: set[int] = set()
    for step in graph.steps:
        in_place = [top in step.bottoms and step.reads[step.bottoms.index(top)] in owned for top in step.tops]
        step.layer.inplace = bool(in_place) and in_place[0]
        owned |= {
            number
            for number, inherits in zip(step.makes, in_place, strict=True)
            if inherits or not step.layer.may_alias
        }
    # What a layer that fuses an activation puts out, its gradient does not need.
    for step in fuse_activations(graph, graph.blobs.values()).steps:
        if step.activation is not None:
            step.activation.bottom_is_spare = True


def lower(graph: Graph, outputs: Mapping[str, int]) -> Graph:
    """Return what inference needs for these values: no identities, nothing unused, activations fused."""
    graph = drop_identities(replace(graph, outputs=dict(outputs)))
    return fuse_activations(keep_wanted(graph, graph.outputs))
