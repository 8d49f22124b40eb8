"""The layer that cuts a blob to the size of another: CROP."""

from __future__ import annotations

from torch import Tensor

from deeplab_caffe.layers.base import Layer, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, int64


@register
class Crop(Layer):
    """Crops the first bottom to the second one's sizes along all axes from ``axis`` on (layers/crop_layer.cpp).

    ``offset``, one number or one per axis, says where the crop begins. Only the second bottom's sizes are used.
    """

    TYPE = "Crop"
    BOTTOMS = (2, 2)
    capturable = per_item = True
    saves = ()
    supports_half = True
    may_alias = True
    label_bottoms = (1,)
    kind = "spatial"

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self.per_item = self.axis(self.param.crop_param.axis, bottom_shapes[0]) > 0
        self.offsets = {axis: offset for axis, offset, _ in self._cuts(bottom_shapes)}

    def _cuts(self, bottom_shapes: list[Shape]) -> list[tuple[int, int, int]]:
        """Return (axis, begin, length) of the crop for each axis that it cuts."""
        x, other = (tuple(shape) for shape in bottom_shapes)
        first = self.axis(self.param.crop_param.axis, x)
        offsets = list(self.param.crop_param.offset) or [0]
        if len(offsets) not in (1, len(x) - first):
            raise self.error(f"offset must be given once or for each of {len(x) - first} axes, got {offsets}")
        if len(other) < len(x):
            raise self.error(f"bottom '{self.param.bottom[1]}' is {other}: it needs the {len(x)} axes of {x}")
        axes = range(first, len(x))
        cuts = [(axis, offset, other[axis]) for axis, offset in zip(axes, offsets * len(axes), strict=False)]
        for axis, offset, size in cuts:
            if offset + size > x[axis]:
                raise self.error(
                    f"offset {offset} and the size {size} of bottom '{self.param.bottom[1]}' "
                    f"reach beyond axis {axis} of {x}"
                )
        return cuts

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        top = list(bottom_shapes[0])
        for axis, _, size in self._cuts(bottom_shapes):
            top[axis] = size
        return [tuple(top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        top = bottoms[0]
        for axis, offset, size in self._cuts([tuple(x.shape) for x in bottoms]):
            top = top.narrow(axis, offset, size)
        return (top,)

    def receptive_window(self) -> ReceptiveWindow:
        return ReceptiveWindow(pad=(-self.offsets.get(2, 0), -self.offsets.get(3, 0)))

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        cuts = self._cuts([graph.shapes[blob] for blob in self.param.bottom])
        axes, offsets, _ = zip(*cuts, strict=True)
        starts = graph.constant("starts", int64(*offsets))
        sizes = graph.node("Shape", [bottoms[1]], start=axes[0], end=axes[-1] + 1)
        ends = graph.node("Add", [starts, sizes])
        return [graph.node("Slice", [bottoms[0], starts, ends, graph.constant("axes", int64(*axes))], tops[0])]
