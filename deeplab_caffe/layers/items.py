"""Layers that select items of a batch by another blob: BATCH_REINDEX, FILTER."""

from __future__ import annotations

import math

from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.onnx import BOOL, INT64, OnnxGraph, int64
from deeplab_caffe.proto import caffe_pb2


@register
class BatchReindex(Layer):
    """Selects items of the batch: item i of the top is item ``indices[i]``; items may be repeated or left out.

    Bottoms: items (N, ...), indices (M,), from 0 to N - 1. Source: layers/batch_reindex_layer.cpp.
    """

    TYPE = "BatchReindex"
    BOTTOMS = (2, 2)
    label_bottoms = (1,)
    # Checking the indices waits for the device.
    capturable = per_item = False
    saves = ()
    supports_half = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        items, indices = (tuple(shape) for shape in bottom_shapes)
        if not items or not indices or max(indices[1:], default=1) > 1:
            raise self.error(f"expected items (N, ...) and indices (M,), got {items} and {indices}")
        return [(*indices[:1], *items[1:])]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        items, indices = bottoms[0], bottoms[1].flatten()
        wrong = ~((indices >= 0) & (indices < items.shape[0]))
        if bool(wrong.any()):
            raise self.error(f"indices must lie between 0 and {items.shape[0] - 1}, got {indices[wrong][0].item():g}")
        return (items.index_select(0, indices.long()),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        items, count = (graph.shapes[blob][0] for blob in self.param.bottom)
        if items == count:  # by chance: the indices must not get the items' name for their number
            graph.fixed_batch = self.name
        # In DeepLab v1's nets the indices have four axes.
        flat = graph.node("Reshape", [bottoms[1], graph.constant("shape", int64(-1))])
        indices = graph.node("Cast", [flat], to=INT64)
        return [graph.node("Gather", [bottoms[0], indices], tops[0], axis=0)]


@register
class Filter(Layer):
    """Keeps those items of the other bottoms for which the last bottom, the selector, is not 0.

    The selector is (N, 1, ...). If nothing is selected, the tops have no items and the bottoms' gradients are 0; the
    original aborts then. Source: layers/filter_layer.cpp.
    """

    TYPE = "Filter"
    BOTTOMS = (2, math.inf)
    TOPS = (1, math.inf)
    # The number of items of a top depends on the selector's values, so it waits for the device.
    capturable = per_item = False
    saves = ()
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        if len(param.top) != len(param.bottom) - 1:
            raise self.error(
                f"needs a top for each bottom but the last, the selector: "
                f"got {len(param.top)} tops for {len(param.bottom)} bottoms"
            )
        self.label_bottoms = (len(param.bottom) - 1,)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        *shapes, selector = (tuple(shape) for shape in bottom_shapes)
        if not selector or max(selector[1:], default=1) > 1:
            raise self.error(f"the selector must be (N, 1, ...), got {selector}")
        for blob, shape in zip(self.param.bottom, shapes, strict=False):
            if shape[:1] != selector[:1]:
                raise self.error(f"bottom '{blob}' is {shape}, the selector is for {selector[0]} items")
        return shapes

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        chosen = bottoms[-1].flatten().nonzero().flatten()
        return tuple(x.index_select(0, chosen) for x in bottoms[:-1])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        graph.selects = True
        flat = graph.node("Reshape", [bottoms[-1], graph.constant("shape", int64(-1))])
        chosen = graph.node("Cast", [flat], to=BOOL)
        return [graph.node("Compress", [x, chosen], top, axis=0) for x, top in zip(bottoms, tops, strict=False)]
