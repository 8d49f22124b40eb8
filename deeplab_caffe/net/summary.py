"""A table of a network's layers: shapes, parameters, multiply-adds, receptive fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from deeplab_caffe.layers import ReceptiveWindow, Shape
from deeplab_caffe.net.net import Net
from deeplab_caffe.net.tensors import blob_key


@dataclass(frozen=True)
class ReceptiveField:
    """The theoretical receptive field of a blob's pixel, in input pixels, as (height, width).

    Attributes:
        size: rows and columns of the input that can change one pixel.
        step: distance in input pixels between neighbouring pixels.
        start: first row and column of the first pixel's field; negative if the field begins in the padding.
    """

    size: tuple[Fraction, Fraction]
    step: tuple[Fraction, Fraction]
    start: tuple[Fraction, Fraction]


_INPUT = ReceptiveField((Fraction(1),) * 2, (Fraction(1),) * 2, (Fraction(0),) * 2)


@dataclass(frozen=True)
class LayerSummary:
    """One layer's row of the table.

    Attributes:
        name: the layer's name.
        type: the modern name of its type.
        bottoms: names of the blobs it reads.
        tops: names of the blobs it writes.
        top_shapes: shapes of the tops.
        parameters: number of values in its parameter blobs; blobs shared with an earlier layer count 0.
        multiply_adds: multiply-adds of one forward pass.
        field: receptive field of its first top; None if a pixel may depend on the whole input, or on no input.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    top_shapes: tuple[Shape, ...]
    parameters: int
    multiply_adds: int
    field: ReceptiveField | None


def receptive_fields(net: Net) -> dict[str, ReceptiveField | None]:
    """Return the receptive field of every blob, with respect to the net's inputs or its data layers' tops.

    A window of k pixels over a blob whose pixels have fields of size r at a distance of s has a field of
    r + (k - 1) s. Zero padding moves the start of a field and does not shrink it, so sizes hold for pixels far from the
    border. Where branches join, the field is the bounding box of theirs.
    """
    fields: dict[str, ReceptiveField | None] = dict.fromkeys(net.inputs, _INPUT)
    for step in net.steps:
        if step.layer.is_source:
            fields.update(dict.fromkeys(step.tops, _INPUT))
            continue
        seen = [fields[blob] for blob in step.bottoms]
        window = step.layer.receptive_window()
        if window is None or not seen or None in seen:
            found = None
        else:
            found = _seen_through(window, _around([field for field in seen if field is not None]))
        fields.update(dict.fromkeys(step.tops, found))
    return fields


def _seen_through(window: ReceptiveWindow, below: ReceptiveField) -> ReceptiveField:
    kernel, stride, pad = (tuple(Fraction(value).limit_denominator() for value in part) for part in window)
    return ReceptiveField(
        size=_pair(lambda i: below.size[i] + (math.ceil(kernel[i]) - 1) * below.step[i]),
        step=_pair(lambda i: below.step[i] * stride[i]),
        start=_pair(lambda i: below.start[i] - pad[i] * below.step[i]),
    )


def _around(fields: list[ReceptiveField]) -> ReceptiveField:
    starts = _pair(lambda i: min(field.start[i] for field in fields))
    size = _pair(lambda i: max(field.start[i] + field.size[i] for field in fields) - starts[i])
    return ReceptiveField(size, fields[0].step, starts)


def _pair(of: Callable[[int], Fraction]) -> tuple[Fraction, Fraction]:
    return of(0), of(1)


def summarize(net: Net, shapes: Mapping[str, Shape] | None = None) -> list[LayerSummary]:
    """Return one row per layer, in order.

    Args:
        net: the net.
        shapes: result of :meth:`deeplab_caffe.Net.infer_shapes`; None: the prototxt's sizes.
    """
    shapes = net.blob_shapes if shapes is None else shapes
    fields = receptive_fields(net)
    rows = []
    counted: set[Hashable] = set()
    for step in net.steps:
        keyed = {blob_key(step.layer, role): blob for role, blob in step.layer.named_blobs.items()}
        own = [blob for key, blob in keyed.items() if key not in counted]
        counted |= keyed.keys()
        tops = tuple(shapes[top] for top in step.tops)
        rows.append(
            LayerSummary(
                name=step.layer.name,
                type=step.layer.TYPE,
                bottoms=step.bottoms,
                tops=step.tops,
                top_shapes=tops,
                parameters=sum(blob.numel() for blob in own),
                multiply_adds=step.layer.multiply_adds([shapes[b] for b in step.bottoms], list(tops)),
                field=fields[step.tops[0]] if step.tops else None,
            )
        )
    return rows
