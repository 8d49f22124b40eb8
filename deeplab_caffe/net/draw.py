"""A net as a drawing: Graphviz text, or SVG without Graphviz."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape

from deeplab_caffe.errors import printable
from deeplab_caffe.net.net import Net

# Colours of layers by Layer.kind.
_COLOURS = {
    "weights": "#cfe2f3",
    "spatial": "#d9ead3",
    "data": "#fff2cc",
    "compare": "#f4cccc",
    "crf": "#d9d2e9",
    "plain": "#eeeeee",
}
_BOX_WIDTH, _BOX_HEIGHT = 210, 36
_GAP_X, _GAP_Y = 30, 22


# A box: its id, name, second line and colour. An arrow: id of its source, id of its target, and its blob.
Row = tuple[str, str, str, str]
Edge = tuple[str, str, str]


def _rows(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> list[Row]:
    """Return (id, name, second line, colour) of every input and layer."""
    rows = [(f"input:{name}", name, " x ".join(map(str, shapes[name])), _COLOURS["data"]) for name in net.inputs]
    for step in net.steps:
        shape = " x ".join(map(str, shapes[step.tops[0]])) if step.tops else ""
        second = f"{step.layer.TYPE}  {shape}".rstrip()
        rows.append((f"layer:{step.layer.name}", step.layer.name, second, _COLOURS[step.layer.kind]))
    return rows


def _edges(net: Net) -> list[Edge]:
    """Return (source id, target id, blob) of every arrow; an arrow starts at the last layer that wrote the blob."""
    writer = {name: f"input:{name}" for name in net.inputs}
    edges = []
    for step in net.steps:
        here = f"layer:{step.layer.name}"
        edges += [(writer[blob], here, blob) for blob in step.bottoms]
        writer.update(dict.fromkeys(step.tops, here))
    return edges


def quoted(text: str) -> str:
    """Return a text as a quoted string of Graphviz's DOT language."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def net_dot(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the net in Graphviz's DOT language."""
    lines = [
        f"digraph {quoted(net.name or 'net')} {{",
        '  node [shape=box, style="filled,rounded", fontname=Helvetica];',
    ]
    for key, name, second, colour in _rows(net, shapes):
        label = quoted(name)[:-1] + "\\n" + quoted(second)[1:]
        lines.append(f'  {quoted(key)} [label={label}, fillcolor="{colour}"];')
    lines += [f"  {quoted(a)} -> {quoted(b)} [tooltip={quoted(blob)}];" for a, b, blob in _edges(net)]
    return "\n".join([*lines, "}", ""])


class Layout:
    """Positions of boxes: each box lies behind all boxes that have arrows to it.

    Args:
        keys: the boxes' ids, in order.
        edges: the arrows between them, in order.
        rankdir: the direction of the arrows, as in Graphviz: ``"TB"`` (down), ``"BT"``, ``"LR"`` or ``"RL"``.
        box_width: the boxes' width in pixels.

    Attributes:
        corners: each box's left and upper edge.
        box: the boxes' width and height.
        size: the picture's width and height.
    """

    def __init__(
        self, keys: Sequence[str], edges: Iterable[Edge], rankdir: str = "TB", box_width: int = _BOX_WIDTH
    ) -> None:
        depth = dict.fromkeys(keys, 0)
        for source, target, _ in edges:
            depth[target] = max(depth[target], depth[source] + 1)
        columns: dict[str, int] = {}
        taken: dict[int, int] = {}
        for key in keys:
            columns[key] = taken.get(depth[key], 0)
            taken[depth[key]] = columns[key] + 1
        levels, across = max(depth.values(), default=0) + 1, max(taken.values(), default=1)
        if rankdir in ("BT", "RL"):
            depth = {key: levels - 1 - level for key, level in depth.items()}
        self.rankdir = rankdir
        self.box = box_width, _BOX_HEIGHT
        lying = rankdir in ("LR", "RL")
        step_x, step_y = box_width + _GAP_X, _BOX_HEIGHT + _GAP_Y
        places = {key: (depth[key], columns[key]) if lying else (columns[key], depth[key]) for key in keys}
        self.corners = {key: (10 + x * step_x, 10 + y * step_y) for key, (x, y) in places.items()}
        count_x, count_y = (levels, across) if lying else (across, levels)
        self.size = 20 + count_x * step_x, 20 + count_y * step_y

    def ends(self, source: str, target: str) -> tuple[float, float, float, float]:
        """Return where an arrow begins and ends: x, y, x, y."""
        # Where the arrow begins, as fractions of the box's width and height.
        out = {"TB": (0.5, 1), "BT": (0.5, 0), "LR": (1, 0.5), "RL": (0, 0.5)}[self.rankdir]
        (x1, y1), (x2, y2) = self.corners[source], self.corners[target]
        width, height = self.box
        return (x1 + out[0] * width, y1 + out[1] * height, x2 + (1 - out[0]) * width, y2 + (1 - out[1]) * height)


def net_svg(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the net as an SVG picture; each layer lies below all layers that it reads from."""
    rows, edges = _rows(net, shapes), _edges(net)
    return graph_svg(rows, edges, Layout([key for key, *_ in rows], edges))


def graph_svg(rows: Iterable[Row], edges: Iterable[Edge], layout: Layout) -> str:
    """Return boxes and arrows as an SVG picture."""
    (width, height), (box_width, box_height) = layout.size, layout.box
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="Helvetica, sans-serif">',
        '<defs><marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for source, target, blob in edges:
        x1, y1, x2, y2 = layout.ends(source, target)
        parts.append(
            f'<path d="M{x1:.10g},{y1:.10g} L{x2:.10g},{y2:.10g}" stroke="#666" '
            f'fill="none" marker-end="url(#arrow)"><title>{_escaped(blob)}</title></path>'
        )
    for key, name, second, colour in rows:
        x, y = layout.corners[key]
        parts.append(
            f'<rect x="{x}" y="{y}" width="{box_width}" height="{box_height}" rx="5" fill="{colour}" stroke="#999"/>'
            f'<text x="{x + 8}" y="{y + 15}" font-size="12" font-weight="bold">{_escaped(name)}</text>'
            f'<text x="{x + 8}" y="{y + 29}" font-size="10" fill="#444">{_escaped(second)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _escaped(text: str) -> str:
    """Return a text escaped for XML, without control characters, which XML cannot have."""
    return escape(printable(text))
