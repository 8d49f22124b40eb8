"""Each layer type's nodes in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from deeplab_caffe.convert.onnx import Graph
    from deeplab_caffe.layers import Layer
    from deeplab_caffe.net_building import Step

Converter = Callable[["Graph", "Step", list[str]], list[str]]
CONVERTERS: dict[str, Converter] = {}
_END = np.iinfo(np.int64).max


def _register(*types: str) -> Callable[[Converter], Converter]:
    def add(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(types, converter))
        return converter

    return add


def _weights(graph: Graph, layer: Layer) -> list[str]:
    return [
        graph.constant(name, blob.detach().float().cpu().numpy())
        for name, blob in layer.named_parameters(recurse=False)
    ]


def _int64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@_register("Convolution")
def _convolution(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    g = step.layer.geometry
    weights = _weights(graph, step.layer)
    options = {
        "kernel_shape": g.kernel,
        "strides": g.stride,
        "pads": [*g.pad, *g.pad],
        "dilations": g.hole,
        "group": step.layer.group,
    }
    return [graph.node("Conv", [x, *weights], top, **options) for x, top in zip(bottoms, step.tops, strict=True)]


@_register("InnerProduct")
def _inner_product(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    graph.fixed_size = step.layer.name
    inner = step.layer.param.inner_product_param
    if inner.axis not in (1, -3):
        raise graph.unsupported("INNER_PRODUCT with another axis than 1")
    flat = graph.node("Flatten", bottoms, axis=1)
    inputs = [flat, *_weights(graph, step.layer)]
    if len(graph.shapes[step.tops[0]]) == 2:
        return [graph.node("Gemm", inputs, step.tops[0], transB=int(not inner.transpose))]
    product = graph.node("Gemm", inputs, transB=int(not inner.transpose))
    return [graph.node("Unsqueeze", [product, graph.constant("axes", _int64(2, 3))], step.tops[0])]


@_register("ReLU")
def _relu(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    slope = step.layer.param.relu_param.negative_slope
    if slope == 0:
        return [graph.node("Relu", bottoms, step.tops[0])]
    return [graph.node("LeakyRelu", bottoms, step.tops[0], alpha=slope)]


@_register("Sigmoid")
def _sigmoid(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    return [graph.node("Sigmoid", bottoms, step.tops[0])]


@_register("TanH")
def _tanh(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    return [graph.node("Tanh", bottoms, step.tops[0])]


@_register("AbsVal")
def _absval(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    return [graph.node("Abs", bottoms, step.tops[0])]


@_register("Power")
def _power(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    param = step.layer.param.power_param
    x = bottoms[0]
    for op, value, neutral in (("Mul", param.scale, 1), ("Add", param.shift, 0), ("Pow", param.power, 1)):
        if value != neutral:
            x = graph.node(op, [x, graph.constant(op, np.float32(value))])
    return [x]


@_register("Dropout", "Split")
def _same(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    # A net for deployment drops nothing, and a tensor may have any number of readers.
    if step.layer.TYPE == "Dropout" and step.layer.context.training:
        raise graph.unsupported("DROPOUT in phase TRAIN")
    return bottoms * len(step.tops)


@_register("Silence")
def _silence(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    return []


@_register("Softmax")
def _softmax(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    return [graph.node("Softmax", bottoms, step.tops[0], axis=step.layer.param.softmax_param.axis)]


@_register("ArgMax")
def _argmax(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    if not step.layer.gives_labels:
        raise graph.unsupported("ARGMAX with top_k over 1, with out_max_val, or of another axis than the channels,")
    index = graph.node("ArgMax", bottoms, axis=1, keepdims=1, select_last_index=1)
    return [graph.node("Cast", [index], step.tops[0], to=1)]


@_register("LRN")
def _lrn(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    if step.layer.within:
        raise graph.unsupported("LRN WITHIN_CHANNEL")
    p = step.layer.param.lrn_param
    return [graph.node("LRN", bottoms, step.tops[0], alpha=p.alpha, beta=p.beta, bias=p.k, size=p.local_size)]


@_register("Flatten")
def _flatten(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    graph.fixed_size = step.layer.name
    shape = graph.shapes[step.tops[0]]
    if len(shape) != 2 and shape[2:] != (1, 1):
        raise graph.unsupported("FLATTEN of other axes than 1 to the last")
    if len(shape) == 2:
        return [graph.node("Flatten", bottoms, step.tops[0], axis=1)]
    flat = graph.node("Flatten", bottoms, axis=1)
    return [graph.node("Unsqueeze", [flat, graph.constant("axes", _int64(2, 3))], step.tops[0])]


@_register("Concat")
def _concat(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    return [graph.node("Concat", bottoms, step.tops[0], axis=step.layer.param.concat_param.axis)]


@_register("Slice")
def _slice(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    axis = step.layer.param.slice_param.axis
    if axis % len(graph.shapes[step.bottoms[0]]) == 0:
        raise graph.unsupported("SLICE of the batch, whose size is to vary,")
    sizes = [graph.shapes[top][axis] for top in step.tops]
    tops = [graph.top(top) for top in step.tops]
    graph.nodes("Split", [bottoms[0], graph.constant("sizes", _int64(*sizes))], tops, axis=axis)
    return tops


@_register("Eltwise")
def _eltwise(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    layer = step.layer
    if layer.operation == "PROD":
        product = bottoms[0]
        for x in bottoms[1:-1]:
            product = graph.node("Mul", [product, x])
        return [graph.node("Mul", [product, bottoms[-1]], step.tops[0])]
    terms = [
        x if coeff == 1 else graph.node("Mul", [x, graph.constant("coeff", np.float32(coeff))])
        for x, coeff in zip(bottoms, layer.coeff or [1.0] * len(bottoms), strict=True)
    ]
    return [graph.node({"SUM": "Sum", "MAX": "Max"}[layer.operation], terms, step.tops[0])]


@_register("Padding")
def _padding(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    param = step.layer.param.padding_param
    x = _crop(graph, bottoms[0], min(param.pad_beg, 0), min(param.pad_end, 0))
    beg, end = max(param.pad_beg, 0), max(param.pad_end, 0)
    return [_pad(graph, x, (beg, beg), (end, end)) if beg or end else x]


def _crop(graph: Graph, x: str, beg: int, end: int) -> str:
    """Without the first -beg and the last -end rows and columns."""
    if beg == end == 0:
        return x
    last = end or _END
    bounds = [("starts", (-beg, -beg)), ("ends", (last, last)), ("axes", (2, 3))]
    return graph.node("Slice", [x, *(graph.constant(name, _int64(*values)) for name, values in bounds)])


def _pad(graph: Graph, x: str, beg: tuple[int, int], end: tuple[int, int], value: float = 0.0) -> str:
    pads = graph.constant("pads", _int64(0, 0, *beg, 0, 0, *end))
    return graph.node("Pad", [x, pads, graph.constant("value", np.float32(value))])


@_register("Interp")
def _interp(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    options = step.layer.options
    x = _crop(graph, bottoms[0], options["pad_beg"], options["pad_end"])
    if "height" in options:
        sizes = graph.constant("sizes", _int64(options["height"], options["width"]))
    else:
        # n pixels become (n - 1) * zoom + 1, or (n - 1) // shrink + 1, at whatever size comes.
        one = graph.constant("one", _int64(1))
        side = graph.node("Shape", [x], start=2, end=4)
        steps = graph.node("Sub", [side, one])
        for op, name in (("Div", "shrink_factor"), ("Mul", "zoom_factor")):
            if name in options:
                steps = graph.node(op, [steps, graph.constant("factor", _int64(options[name]))])
        sizes = graph.node("Add", [steps, one])
    resized = graph.node(
        "Resize",
        [x, "", "", sizes],
        step.tops[0],
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    return [resized]


@_register("Pooling")
def _pooling(graph: Graph, step: Step, bottoms: list[str]) -> list[str]:
    layer = step.layer
    if len(step.tops) > 1:
        raise graph.unsupported("POOLING with a mask")
    if layer.geometry is None:
        op = "GlobalMaxPool" if layer.method == "MAX" else "GlobalAveragePool"
        return [graph.node(op, bottoms, step.tops[0])]
    g = layer.geometry
    kernel = {"kernel_shape": g.kernel, "strides": g.stride}
    if layer.method == "AVE" and g.stride == (1, 1):
        # Nothing to round, and the window clipped to the padded plane is a whole one.
        return [graph.node("AveragePool", bottoms, step.tops[0], pads=[*g.pad, *g.pad], count_include_pad=1, **kernel)]
    if layer.method == "MAX" and all(s <= k for s, k in zip(g.stride, g.kernel, strict=True)):
        # ONNX rounds up as Caffe does and drops a last window that starts beyond the plane and its padding; without
        # padding, where Caffe drops none, there can be none while the stride is no larger than the kernel.
        return [graph.node("MaxPool", bottoms, step.tops[0], pads=[*g.pad, *g.pad], ceil_mode=1, **kernel)]
    return [_pool_of_fixed_size(graph, step, bottoms[0])]


def _pool_of_fixed_size(graph: Graph, step: Step, x: str) -> str:
    """Pooling with all its rounding and divisors worked out for the prototxt's sizes."""
    graph.fixed_size = step.layer.name
    layer, g = step.layer, step.layer.geometry
    shape, size = graph.shapes[step.bottoms[0]], graph.shapes[step.tops[0]][2:]
    end = tuple(
        (n - 1) * s + k - p - length
        for n, s, k, p, length in zip(size, g.stride, g.kernel, g.pad, shape[2:], strict=True)
    )
    lowest = float(np.finfo(np.float32).min)
    padded = _pad(graph, x, g.pad, (max(end[0], 0), max(end[1], 0)), lowest if layer.method == "MAX" else 0.0)
    kernel = {"kernel_shape": g.kernel, "strides": g.stride}
    pooled = graph.node("MaxPool" if layer.method == "MAX" else "AveragePool", [padded], **kernel)
    bounds = [("starts", (0, 0)), ("ends", size), ("axes", (2, 3))]
    inputs = [pooled, *(graph.constant(name, _int64(*values)) for name, values in bounds)]
    if layer.method == "MAX":
        return graph.node("Slice", inputs, step.tops[0])
    extents = []
    for axis in range(2):
        start = np.arange(size[axis]) * g.stride[axis] - g.pad[axis]
        stop = np.minimum(start + g.kernel[axis], shape[2 + axis] + g.pad[axis])
        extents.append(np.maximum(stop - start, 1))
    factor = g.kernel[0] * g.kernel[1] / (extents[0][:, None] * extents[1][None, :])
    return graph.node(
        "Mul", [graph.node("Slice", inputs), graph.constant("factor", factor.astype(np.float32))], step.tops[0]
    )
