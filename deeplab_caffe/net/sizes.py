"""Find image sizes that fit a net: towers of one image at several scales can be combined only at some sizes."""

from __future__ import annotations

from collections.abc import Sequence

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Shape
from deeplab_caffe.net.graph import Graph

# Distance in pixels to search for a fitting size: three towers of stride 8 at scales 1, 1/2 and 3/4 fit at every 32nd.
_FURTHEST = 64


def checked_shapes(graph: Graph, inputs: Sequence[Shape]) -> dict[int, Shape]:
    """Return :meth:`Graph.shapes` for these inputs.

    Raises:
        NetError: the shapes do not fit a layer; the message names the nearest image sides that do.
    """
    try:
        return graph.shapes(inputs)
    except NetError as error:
        if len(inputs) != 1 or len(inputs[0]) != 4:
            raise
        advice = [_advice(graph, inputs[0][:2], side) for side in dict.fromkeys(inputs[0][2:])]
        if not any(advice):
            raise
        raise NetError(f"{error.reason}: {', '.join(filter(None, advice))}", error.layer) from error


def _advice(graph: Graph, items: Shape, side: int) -> str:
    """Return advice on which sides fit instead of this one; ``""`` if this one fits or no nearby one does."""

    def fits(other: int) -> bool:
        try:
            graph.shapes([(*items, other, other)])
        except NetError:
            return False
        return True

    if fits(side):
        return ""
    below = next((other for other in range(side - 1, max(0, side - _FURTHEST), -1) if fits(other)), None)
    above = next((other for other in range(side + 1, side + _FURTHEST + 1) if fits(other)), None)
    found = [str(other) for other in (below, above) if other is not None]
    return f"image sides of {' or '.join(found)} pixels fit in place of {side}" if found else ""
