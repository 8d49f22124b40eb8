"""Passes over a net's graph: each takes a graph and gives another one; the layers are shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from deeplab_caffe.layers import AffineFact, ConvolutionFact, RectifierFact, SumFact
from deeplab_caffe.net.graph import Graph, Step


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


Fusion = Callable[[Step, Step], Step | None]


def with_activation(maker: Step, step: Step) -> Step | None:
    """Return a step that takes an activation along, or None."""
    fits = maker.activation is None and maker.layer.fuses_rectifier and isinstance(step.layer.fact, RectifierFact)
    return replace(maker, activation=step.layer) if fits else None


def with_affine(maker: Step, step: Step) -> Step | None:
    """Return a step that takes a factor and a summand of each channel along, or None."""
    bare = maker.activation is None and maker.addition is None
    fits = (
        bare and isinstance(step.layer.fact, AffineFact) and isinstance(maker.layer.fact, ConvolutionFact | AffineFact)
    )
    return replace(maker, affine=(*maker.affine, step.layer)) if fits else None


def with_scale(maker: Step, step: Step) -> Step | None:
    """Return the batch's normalisation that takes factors and summands that are learned along, or None."""
    bare = maker.activation is None and maker.addition is None and not maker.affine
    fits = bare and len(step.reads) == 1 and maker.layer.takes_affine(step.layer)
    return replace(maker, affine=(step.layer,)) if fits else None


def with_addition(maker: Step, step: Step) -> Step | None:
    """Return a convolution that adds another blob to its top, or None."""
    bare = maker.activation is None and maker.addition is None
    if not (bare and isinstance(step.layer.fact, SumFact) and isinstance(maker.layer.fact, ConvolutionFact)):
        return None
    (other,) = (number for number in step.reads if number not in maker.makes)
    return replace(maker, reads=(*maker.reads, other), addition=step.layer)


def fuse(graph: Graph, fusions: Sequence[Fusion], visible: Iterable[int] = ()) -> Graph:
    """Fuse steps into those that make what they read, if no other step reads it.

    Of several that do the last one counts: all that the fused step reads is made before it.

    Args:
        graph: the graph.
        fusions: each gives the fused step of a maker and a reader, or None; the first that fits counts.
        visible: numbers of values, besides its outputs, that may be asked for.
    """
    seen = {*graph.outputs.values(), *visible}
    uses: dict[int, int] = dict.fromkeys(seen, 1)
    for number in (number for step in graph.steps for number in step.reads):
        uses[number] = uses.get(number, 0) + 1
    makers: dict[int, int] = {}
    found: list[Step] = []
    for step in graph.steps:
        place, number = max(((makers.get(number, -1), number) for number in step.reads), default=(-1, -1))
        fused = None
        if place >= 0 and len(found[place].makes) == len(step.makes) == 1 and uses[number] == 1:
            fused = next((new for way in fusions if (new := way(found[place], step)) is not None), None)
        if fused is not None:
            found[place] = replace(fused, makes=step.makes, tops=step.tops)
        else:
            place = len(found)
            found.append(step)
        makers.update(dict.fromkeys(step.makes, place))
    return mark_dead(replace(graph, steps=tuple(found)))


def fuse_activations(graph: Graph, visible: Iterable[int] = ()) -> Graph:
    """Fuse activations alone into the layers before them; see :func:`fuse`."""
    return fuse(graph, (with_activation,), visible)


def fuse_for_training(graph: Graph, visible: Iterable[int] = ()) -> Graph:
    """Fuse what a layer's forward and backward pass can take along; see :func:`fuse`."""
    return fuse(graph, (with_scale,), visible)


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
    # What a layer that fuses an activation puts out, its gradient does not need; the activation's may.
    for step in fuse_activations(graph, graph.blobs.values()).steps:
        if step.activation is not None and "bottoms" not in step.activation.saves:
            step.activation.bottom_is_spare = True


def mark_spare(graph: Graph) -> Graph:
    """Say of steps that add whether they may overwrite what they add.

    They may where no other step reads it later, nor they themselves as what they convolve, it is no caller's, and no
    other value lies in its memory.
    """
    shared = set(graph.inputs.values())
    for step in graph.steps:
        if any(layer.may_alias for layer in step.layers):
            shared.update(step.reads, step.makes)

    def may_overwrite(step: Step) -> bool:
        *convolved, added = step.reads
        return added in step.dead and added not in {*convolved} | shared

    adds = (replace(s, spare=s.addition is not None and may_overwrite(s)) for s in graph.steps)
    return replace(graph, steps=tuple(adds))


ALL_FUSIONS: tuple[Fusion, ...] = (with_affine, with_addition, with_activation)


def lower(graph: Graph, outputs: Mapping[str, int], fusions: Sequence[Fusion] = ALL_FUSIONS) -> Graph:
    """Return what inference needs for these values: no identities, nothing unused, and few steps.

    Args:
        graph: the graph.
        outputs: numbers of the values, by name.
        fusions: those that whoever runs it can do with; see :func:`fuse`.
    """
    graph = drop_identities(replace(graph, outputs=dict(outputs)))
    return mark_spare(fuse(keep_wanted(graph, graph.outputs), fusions))
