"""The layer that gives a blob's numbers other axes: RESHAPE."""

from __future__ import annotations

import math

from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.proto import caffe_pb2


@register
class Reshape(Layer):
    """Replaces ``num_axes`` axes (-1: all that follow) from ``axis`` on by the axes of ``shape``.

    A dim of 0 copies the length of the bottom's axis at its place; one dim may be -1: its length follows from the
    count. A negative ``axis`` counts from the end: -1 is behind the last axis. Source: layers/reshape_layer.cpp.
    """

    TYPE = "Reshape"
    capturable = per_item = True
    saves = ()
    supports_half = True
    may_alias = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        options = param.reshape_param
        self.dims = list(options.shape.dim)
        if self.dims.count(-1) > 1 or min(self.dims, default=0) < -1:
            raise self.error(f"shape may have one dim of -1 and no other negative one, got {self.dims}")
        if options.num_axes < -1:
            raise self.error(f"num_axes must be at least -1, got {options.num_axes}")
        if param.top[0] == param.bottom[0]:
            raise self.error(f"top '{param.top[0]}' must not be the bottom: Reshape does not work in place")

    def setup(self, bottom_shapes: list[Shape]) -> None:
        start, end = self._replaced(bottom_shapes[0])
        # The batch axis stays if it is not replaced, or if the first new axis copies it.
        self.per_item = start > 0 or (end > 0 and self.dims[:1] == [0])

    def _replaced(self, shape: Shape) -> tuple[int, int]:
        """Return the begin and end of the axes that are replaced."""
        options, count = self.param.reshape_param, len(shape)
        start = options.axis if options.axis >= 0 else options.axis + count + 1
        end = count if options.num_axes == -1 else start + options.num_axes
        if not 0 <= start <= end <= count:
            raise self.error(
                f"axis {options.axis} and the {options.num_axes} from there on (num_axes) are not in {tuple(shape)}"
            )
        return start, end

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = tuple(bottom_shapes[0])
        start, end = self._replaced(shape)
        if any(dim == 0 and start + i >= len(shape) for i, dim in enumerate(self.dims)):
            raise self.error(f"a dim of 0 in {self.dims} has no axis to copy: the bottom is {shape}")
        new = [shape[start + i] if dim == 0 else dim for i, dim in enumerate(self.dims)]
        top = [*shape[:start], *new, *shape[end:]]
        if -1 in new:
            known = [size for size in top if size != -1]
            # In an empty blob, count axes of length 0 as 1: otherwise nothing could be said about the others.
            parts = (shape, known) if math.prod(known) else ([n or 1 for n in shape], [n or 1 for n in known])
            top[start + new.index(-1)] = math.prod(parts[0]) // math.prod(parts[1])
        if math.prod(top) != math.prod(shape):
            raise self.error(
                f"{math.prod(shape)} numbers of {shape} do not fit into shape {self.dims} from axis {start} to {end}"
            )
        if self.context.dialect.four_axes and len(top) > 4:
            raise self.error(f"DeepLab v1's blobs have four axes, got {tuple(top)}")
        return [self.filled_up(tuple(top))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (bottoms[0].reshape(self.top_shapes([tuple(bottoms[0].shape)])[0]),)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        top = list(graph.shapes[tops[0]])
        if self.per_item:
            top[0] = 0  # ONNX copies the bottom's length
        else:
            graph.fixed_batch = self.name
        graph.fixed_size = self.name
        return [graph.node("Reshape", [bottoms[0], graph.constant("shape", int64(*top))], tops[0])]

    def receptive_window(self) -> None:
        return None
