"""pycaffe's ``caffe.draw``: drawing a NetParameter, with or without Graphviz.

Graphviz's text (``raw``, ``dot``, ``gv``) is written here. Other formats are drawn by Graphviz's program ``dot`` if it
is found; else this package's own layout is written as SVG, or as PNG, JPEG, PDF, ... by Pillow. Only
:func:`get_pydot_graph` needs pydot. Labels, colours and the choice of nodes are those of python/caffe/draw.py of 2018.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from deeplab_caffe.data import atomic_write
from deeplab_caffe.errors import DeepLabCaffeError, NetError, how_to_install
from deeplab_caffe.files.text import text_bytes
from deeplab_caffe.net.draw import Edge, Layout, graph_svg, quoted
from deeplab_caffe.proto import caffe_pb2, upgrade_net
from deeplab_caffe.pycaffe.paths import AnyPath, text_path
from deeplab_caffe.pycaffe.picture import graph_picture

LAYER_STYLE_DEFAULT = LAYER_STYLE = {"shape": "box", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "box", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_COLOURS = {
    "Convolution": "#FF5050",
    "Deconvolution": "#FF5050",
    "Pooling": "#FF9900",
    "InnerProduct": "#CC33FF",
}
_TEXT = ("raw", "dot", "gv")
_DIRECTIONS = ("TB", "BT", "LR", "RL")


class _Node(NamedTuple):
    lines: list[str]
    style: dict[str, str]


def get_pooling_types_dict() -> dict[int, str]:
    """Return the names of the pooling methods by their numbers."""
    return {number: name for name, number in caffe_pb2.PoolingParameter.PoolMethod.items()}


def get_enum_name_by_value() -> dict[int, str]:
    """Return the names of the layer types of 2014 (``net.layers``) by their numbers."""
    return {number: name for name, number in caffe_pb2.V1LayerParameter.LayerType.items()}


def choose_color_by_layertype(layertype: str) -> str:
    """Return a layer type's colour."""
    return _COLOURS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def get_edge_label(layer: caffe_pb2.LayerParameter) -> str:
    """Return the label of the edge out of a layer: its batch size or number of outputs, else ``""`` in quotes."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


def determine_edge_label_by_layertype(layer: caffe_pb2.LayerParameter, layertype: str) -> str:
    """Call :func:`get_edge_label`: this is its name of early 2015, whose ``layertype`` is ``layer.type``."""
    return get_edge_label(layer)


def determine_node_label_by_layertype(layer: caffe_pb2.LayerParameter, layertype: str, rankdir: str) -> str:
    """Call :func:`get_layer_label`: this is its name of early 2015, whose ``layertype`` is ``layer.type``."""
    return get_layer_label(layer, rankdir)


def get_layer_lr_mult(layer: caffe_pb2.LayerParameter) -> tuple[float, float]:
    """Return the ``lr_mult`` of a layer's weights and bias.

    Raises:
        NetError: the layer is not a convolution or inner product, or has more than two ``lr_mult``.
    """
    if layer.type not in ("Convolution", "Deconvolution", "InnerProduct"):
        raise NetError(f"a {layer.type} has no lr_mult to draw", layer.name)
    rates = [spec.lr_mult for spec in layer.param]
    if len(rates) > 2:
        raise NetError(f"expected at most two lr_mult, of weights and bias, got {rates}", layer.name)
    weights, bias = rates + [1.0] * (2 - len(rates))
    return weights, bias


def get_layer_label(layer: caffe_pb2.LayerParameter, rankdir: str, display_lrm: bool = False) -> str:
    """Return a layer's label, in quotes: name, type, kernel, and with ``display_lrm`` its ``lr_mult``.

    Its parts are side by side if the graph is vertical, else one below the other.
    """
    return _joined(_layer_lines(layer, display_lrm), rankdir)


def get_pydot_graph(
    caffe_net: caffe_pb2.NetParameter,
    rankdir: str = "BT",
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Any:
    """Return a pydot graph of a net; see :func:`draw_net` for the arguments.

    Raises:
        DeepLabCaffeError: neither pydot nor pydotplus is installed.
    """
    text = _dot(*_graph(caffe_net, label_edges, phase, display_lrm), caffe_net.name, rankdir)
    for name in ("pydot", "pydotplus"):
        try:
            found = import_module(name).graph_from_dot_data(text)
        except ImportError:
            continue
        return found[0] if isinstance(found, list) else found
    raise DeepLabCaffeError(
        f"get_pydot_graph needs pydot: {how_to_install('pydot')} (draw_net and draw_net_to_file do not)"
    )


def draw_net(
    caffe_net: caffe_pb2.NetParameter,
    rankdir: str = "BT",
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """Draw a net.

    Args:
        caffe_net: the net, in any layout and with any layer types.
        rankdir: direction of the edges: ``"TB"``, ``"BT"``, ``"LR"`` or ``"RL"``. The releases of 2014 have ``ext`` in
            this position, which is accepted too.
        ext: the format: ``raw``, ``dot`` and ``gv`` for Graphviz's text, or ``svg``, ``png``, ``jpg``, ``pdf``, ...
        phase: TRAIN or TEST for the layers of that phase, None for all.
        display_lrm: show the ``lr_mult``.

    Returns:
        The file's bytes.

    Raises:
        NetError: the direction, the format or the net cannot be drawn.
        DeepLabCaffeError: Graphviz fails.
    """
    if rankdir not in _DIRECTIONS and rankdir.islower():
        rankdir, ext = "BT", rankdir
    if rankdir not in _DIRECTIONS:
        raise NetError(f"rankdir must be one of {', '.join(_DIRECTIONS)}, got {rankdir!r}")
    if not re.fullmatch("[A-Za-z0-9]+", ext):
        raise NetError(f"expected a picture's format such as 'png', got {ext!r}")
    nodes, edges = _graph(caffe_net, True, phase, display_lrm)
    text = _dot(nodes, edges, caffe_net.name, rankdir)
    if ext in _TEXT:
        return text_bytes(text)
    program = shutil.which("dot")
    if program:
        run = subprocess.run([program, f"-T{ext}"], input=text_bytes(text), capture_output=True, check=False)
        if run.returncode:
            raise DeepLabCaffeError(f"Graphviz: {run.stderr.decode(errors='replace').strip().partition(chr(10))[0]}")
        return run.stdout
    rows = [(key, lines[0], "  ".join(lines[1:]), style["fillcolor"]) for key, (lines, style) in nodes.items()]
    width = max([100, *(6 * max(len(second), len(name) + len(name) // 5) for _, name, second, _ in rows)]) + 16
    layout = Layout(list(nodes), edges, rankdir, width)
    return text_bytes(graph_svg(rows, edges, layout)) if ext == "svg" else graph_picture(rows, edges, layout, ext)


def draw_net_to_file(
    caffe_net: caffe_pb2.NetParameter,
    filename: AnyPath,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write a drawing of a net in the format of the file's extension; see :func:`draw_net`.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(text_path(filename))
    content = draw_net(caffe_net, rankdir, path.suffix[1:], phase, display_lrm)
    with atomic_write(path) as file:
        file.write(content)


def _graph(
    net: caffe_pb2.NetParameter, label_edges: bool, phase: int | None, display_lrm: bool
) -> tuple[dict[str, _Node], list[Edge]]:
    """Return the nodes (layers and blobs) by id, and the edges with their labels."""
    nodes: dict[str, _Node] = {}
    edges: list[Edge] = []
    for layer in (upgrade_net(net) if net.layers else net).layer:
        if phase is not None and not _included(layer, phase):
            continue
        key = f"{layer.name}_{layer.type}"
        in_place = len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top)
        colour = {} if in_place else {"fillcolor": choose_color_by_layertype(layer.type)}
        style = NEURON_LAYER_STYLE if in_place else LAYER_STYLE_DEFAULT
        for blob in layer.bottom:
            nodes.setdefault(f"{blob}_blob", _Node([blob], BLOB_STYLE))
            edges.append((f"{blob}_blob", key, ""))
        nodes[key] = _Node(_layer_lines(layer, display_lrm), style | colour)
        for blob in layer.top:
            nodes.setdefault(f"{blob}_blob", _Node([blob], BLOB_STYLE))
            edges.append((key, f"{blob}_blob", get_edge_label(layer).strip('"') if label_edges else ""))
    return nodes, edges


def _included(layer: caffe_pb2.LayerParameter, phase: int) -> bool:
    """Return whether a layer's rules include a phase, or do not exclude it."""
    if layer.include and layer.exclude:
        raise NetError("has both include and exclude rules", layer.name)
    if layer.include:
        return any(rule.phase == phase for rule in layer.include)
    return all(rule.phase != phase for rule in layer.exclude)


def _layer_lines(layer: caffe_pb2.LayerParameter, display_lrm: bool) -> list[str]:
    """Return the parts of a layer's label."""
    kind, window = layer.type, None
    if kind == "Pooling":
        pool = layer.pooling_param
        kind = f"{kind} {get_pooling_types_dict()[pool.pool]}"
        window = (pool.kernel_size, pool.stride, pool.pad)
    elif kind in ("Convolution", "Deconvolution"):
        conv = layer.convolution_param
        window = ([*conv.kernel_size, 1][0], [*conv.stride, 1][0], [*conv.pad, 0][0])
    lines = [layer.name, f"({kind})"]
    if window is not None:
        lines += [f"{name}: {size}" for name, size in zip(("kernel size", "stride", "pad"), window, strict=True)]
    if display_lrm and layer.type in ("Convolution", "Deconvolution", "InnerProduct"):
        rates = get_layer_lr_mult(layer)
        if any(rates):
            lines.append("lr mult: {:.1f}, {:.1f}".format(*rates))
    return lines


def _joined(lines: list[str], rankdir: str) -> str:
    between = " " if rankdir in ("TB", "BT") else "\\n"
    return '"' + between.join(quoted(line)[1:-1] for line in lines) + '"'


def _dot(nodes: dict[str, _Node], edges: list[Edge], name: str, rankdir: str) -> str:
    """Return the graph in Graphviz's language."""
    text = [f"digraph {quoted(name or 'Net')} {{", f"  rankdir={rankdir};"]
    for key, (lines, style) in nodes.items():
        look = ", ".join(f"{field}={quoted(value)}" for field, value in style.items())
        text.append(f"  {quoted(key)} [label={_joined(lines, rankdir)}, {look}];")
    text += [f"  {quoted(source)} -> {quoted(target)} [label={quoted(label)}];" for source, target, label in edges]
    return "\n".join([*text, "}", ""])
