"""Passes over a net's graph: each takes a graph and returns a new one, which shares the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from deeplab_caffe.layers import AffineFact, ConvolutionFact, RectifierFact, SumFact
from deeplab_caffe.net.graph import Graph, Step


def drop_identities(graph: Graph) -> Graph:
    """Drop the layers whose tops are their bottom: SPLIT, and DROPOUT in phase TEST."""
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
    """Drop the layers that none of these values depends on."""
    wanted, kept = set(outputs.values()), []
    for step in reversed(graph.steps):
        if wanted.intersection(step.makes):
            wanted.update(step.reads)
            kept.append(step)
    return mark_dead(replace(graph, steps=tuple(kept[::-1]), outputs=dict(outputs)))


def mark_dead(graph: Graph) -> Graph:
    """Set :attr:`Step.dead`: the values that are not needed after the step."""
    seen, marked = set(graph.outputs.values()), []
    for step in reversed(graph.steps):
        dead = tuple(sorted({*step.reads, *step.makes} - seen))
        seen.update(dead)
        marked.append(replace(step, dead=dead))
    return replace(graph, steps=tuple(marked[::-1]))


Fusion = Callable[[Step, Step], Step | None]


def with_activation(maker: Step, step: Step) -> Step | None:
    """Return the maker with the activation fused into it; None: it does not fit."""
    fits = maker.activation is None and maker.layer.fuses_rectifier and isinstance(step.layer.fact, RectifierFact)
    return replace(maker, activation=step.layer) if fits else None


def with_affine(maker: Step, step: Step) -> Step | None:
    """Return the maker with an affine layer (factors and summands of channels) fused into it; None: it does not fit."""
    bare = maker.activation is None and maker.addition is None
    fits = (
        bare and isinstance(step.layer.fact, AffineFact) and isinstance(maker.layer.fact, ConvolutionFact | AffineFact)
    )
    return replace(maker, affine=(*maker.affine, step.layer)) if fits else None


def with_scale(maker: Step, step: Step) -> Step | None:
    """Return BatchNorm with batch statistics and the learned Scale behind it fused; None: it does not fit."""
    bare = maker.activation is None and maker.addition is None and not maker.affine
    fits = bare and len(step.reads) == 1 and maker.layer.takes_affine(step.layer)
    return replace(maker, affine=(step.layer,)) if fits else None


def with_addition(maker: Step, step: Step) -> Step | None:
    """Return the convolution with the sum of its top and another blob fused into it; None: it does not fit."""
    bare = maker.activation is None and maker.addition is None
    if not (bare and isinstance(step.layer.fact, SumFact) and isinstance(maker.layer.fact, ConvolutionFact)):
        return None
    (other,) = (number for number in step.reads if number not in maker.makes)
    return replace(maker, reads=(*maker.reads, other), addition=step.layer)


def fuse(graph: Graph, fusions: Sequence[Fusion], visible: Iterable[int] = ()) -> Graph:
    """Fuse each step into the step that makes its bottom, if no other step reads that bottom.

    If several steps make its bottoms, it is fused into the last one, so that all that the fused step reads exists.

    Args:
        graph: the graph.
        fusions: functions of a maker and a reader that return the fused step or None; the first that fits is used.
        visible: numbers of values, besides the graph's outputs, that must stay available.
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
    """Fuse only activations into the layers before them; see :func:`fuse`."""
    return fuse(graph, (with_activation,), visible)


def fuse_for_training(graph: Graph, visible: Iterable[int] = ()) -> Graph:
    """Fuse the layers that training can fuse, forward and backward: see :func:`with_scale` and :func:`fuse`."""
    return fuse(graph, (with_scale, with_activation), visible)


def mark_inplace(graph: Graph) -> None:
    """Set ``inplace`` of layers whose top has their bottom's name: whether they may overwrite the bottom's memory.

    Only memory that an earlier layer allocated may be overwritten, and not the caller's or a split's.
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
    # A layer that can fuse an activation does not need its own top for its gradient; the activation itself may.
    for step in fuse_activations(graph, graph.blobs.values()).steps:
        if step.activation is not None and "bottoms" not in step.activation.saves:
            step.activation.bottom_is_spare = True


def mark_spare(graph: Graph) -> Graph:
    """Set :attr:`Step.spare`: whether a step with an addition may overwrite the value that it adds.

    It may if no later step reads the value, the step does not convolve it too, it is not an input of the caller, and no
    other value shares its memory.
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
    """Return the graph that inference needs for these values: no identities, no unused steps, and fused ones.

    Args:
        graph: the graph.
        outputs: numbers of the values, by name.
        fusions: the fusions that the code which runs the graph supports; see :func:`fuse`.
    """
    graph = drop_identities(replace(graph, outputs=dict(outputs)))
    return mark_spare(fuse(keep_wanted(graph, graph.outputs), fusions))
