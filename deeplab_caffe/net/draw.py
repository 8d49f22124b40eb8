"""A net as a drawing: Graphviz text, or SVG without Graphviz."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from deeplab_caffe.errors import printable
from deeplab_caffe.net.net import Net

# Colours tell apart what has weights, what looks around, what reads or writes, what compares, and the rest.
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


def _rows(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, str, str, str]]:
    """Return (id, name, second line, colour) of every input and layer."""
    rows = [(f"input:{name}", name, " x ".join(map(str, shapes[name])), _COLOURS["data"]) for name in net.inputs]
    for step in net.steps:
        shape = " x ".join(map(str, shapes[step.tops[0]])) if step.tops else ""
        second = f"{step.layer.TYPE}  {shape}".rstrip()
        rows.append((f"layer:{step.layer.name}", step.layer.name, second, _COLOURS[step.layer.kind]))
    return rows


def _edges(net: Net) -> list[tuple[str, str, str]]:
    """Return (from id, to id, blob): a blob comes from the layer that wrote it last."""
    writer = {name: f"input:{name}" for name in net.inputs}
    edges = []
    for step in net.steps:
        here = f"layer:{step.layer.name}"
        edges += [(writer[blob], here, blob) for blob in step.bottoms]
        writer.update(dict.fromkeys(step.tops, here))
    return edges


def net_dot(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the net in Graphviz's language."""

    def quoted(text: str) -> str:
        return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = [
        f"digraph {quoted(net.name or 'net')} {{",
        '  node [shape=box, style="filled,rounded", fontname=Helvetica];',
    ]
    for key, name, second, colour in _rows(net, shapes):
        label = quoted(name)[:-1] + "\\n" + quoted(second)[1:]
        lines.append(f'  {quoted(key)} [label={label}, fillcolor="{colour}"];')
    lines += [f"  {quoted(a)} -> {quoted(b)} [tooltip={quoted(blob)}];" for a, b, blob in _edges(net)]
    return "\n".join([*lines, "}", ""])


def net_svg(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the net as an SVG picture: each layer stands below all that it reads from."""
    rows, edges = _rows(net, shapes), _edges(net)
    depth = {key: 0 for key, *_ in rows}
    for source, target, _ in edges:
        depth[target] = max(depth[target], depth[source] + 1)
    columns: dict[str, int] = {}
    taken: dict[int, int] = {}
    for key, *_ in rows:
        columns[key] = taken.get(depth[key], 0)
        taken[depth[key]] = columns[key] + 1

    def corner(key: str) -> tuple[int, int]:
        return 10 + columns[key] * (_BOX_WIDTH + _GAP_X), 10 + depth[key] * (_BOX_HEIGHT + _GAP_Y)

    width = 20 + max(taken.values(), default=1) * (_BOX_WIDTH + _GAP_X)
    height = 20 + (max(depth.values(), default=0) + 1) * (_BOX_HEIGHT + _GAP_Y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="Helvetica, sans-serif">',
        '<defs><marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for source, target, blob in edges:
        (x1, y1), (x2, y2) = corner(source), corner(target)
        parts.append(
            f'<path d="M{x1 + _BOX_WIDTH / 2:g},{y1 + _BOX_HEIGHT} L{x2 + _BOX_WIDTH / 2:g},{y2}" stroke="#666" '
            f'fill="none" marker-end="url(#arrow)"><title>{_escaped(blob)}</title></path>'
        )
    for key, name, second, colour in rows:
        x, y = corner(key)
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="5" fill="{colour}" stroke="#999"/>'
            f'<text x="{x + 8}" y="{y + 15}" font-size="12" font-weight="bold">{_escaped(name)}</text>'
            f'<text x="{x + 8}" y="{y + 29}" font-size="10" fill="#444">{_escaped(second)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _escaped(text: str) -> str:
    """Return a text for XML, which has no control characters."""
    return escape(printable(text))
