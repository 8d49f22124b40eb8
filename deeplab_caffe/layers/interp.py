"""Layers that change an image plane's size: INTERP, PADDING."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers import onnx
from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.facts import CropFact, ResizeFact
from deeplab_caffe.layers.geometry import check_image
from deeplab_caffe.layers.onnx import OnnxGraph
from deeplab_caffe.ops.interp import interp, interp_size
from deeplab_caffe.proto import caffe_pb2


@register
class Interp(Layer):
    """Bilinear resizing (layers/interp_layer.cpp); see :func:`deeplab_caffe.ops.interp.interp`.

    DeepLab v1 takes ``shrink_factor``, ``zoom_factor``, or ``height`` and ``width``. In v2 several may be given: a
    single factor takes precedence over ``height`` and ``width``, and these take precedence over two factors. Two
    factors alone first shrink and then zoom.

    Two things are this package's own: ``align_corners: false``, which is torch's rule, and a second bottom (N, C, H, W)
    with any number of channels, whose height and width the top gets; it has no gradient.

    Attributes:
        options: the fields that take effect, by name.
        align_corners: as for the function.
    """

    TYPE = "Interp"
    BOTTOMS = (1, 2)
    label_bottoms = (1,)
    capturable = per_item = True
    saves = ()
    kind = "spatial"

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        message = param.interp_param
        self.options = {
            name: getattr(message, name)
            for name in ("height", "width", "zoom_factor", "shrink_factor")
            if message.HasField(name)
        }
        if len(param.bottom) == 2 and self.options:
            raise self.error(f"its second bottom gives the size: leave out {', '.join(self.options)}, or the bottom")
        self.options |= {"pad_beg": message.pad_beg, "pad_end": message.pad_end}
        self.align_corners = message.align_corners
        self._drop_half_size()
        if not context.dialect.interp_takes_one_form:
            self._drop_overridden()

    def _drop_half_size(self) -> None:
        """Drop a height without a width, or the reverse: the original looks at both or at a factor."""
        half = {"height", "width"} & self.options.keys()
        if len(half) == 1:
            if not {"zoom_factor", "shrink_factor"} & self.options.keys():
                raise self.error("height and width go together: one of them is not set")
            del self.options[half.pop()]

    def _drop_overridden(self) -> None:
        factors = [name for name in ("shrink_factor", "zoom_factor") if name in self.options]
        overridden = ("height", "width") if len(factors) == 1 else factors if "height" in self.options else ()
        for name in overridden:
            self.options.pop(name, None)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for shape in bottom_shapes:
            check_image(self, shape)
        shape, *like = bottom_shapes
        targets = like[0][2:] if like else (self.options.get("height"), self.options.get("width"))
        try:
            height, width = (self._size(size, target) for size, target in zip(shape[2:], targets, strict=True))
        except ValueError as error:
            raise self.error(str(error)) from None
        return [(*shape[:2], height, width)]

    def _size(self, size: int, target: int | None) -> int:
        options = {name: value for name, value in self.options.items() if name not in ("height", "width")}
        if self.context.dialect.interp_takes_one_form or not {"shrink_factor", "zoom_factor"} <= set(options):
            return interp_size(size, target=target, **options)
        zoom = options.pop("zoom_factor")
        return interp_size(interp_size(size, **options), zoom_factor=zoom)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        height, width = self.top_shapes([tuple(x.shape) for x in bottoms])[0][2:]
        pads = {name: self.options[name] for name in ("pad_beg", "pad_end")}
        return (interp(bottoms[0], height=height, width=width, align_corners=self.align_corners, **pads),)

    @property
    def fact(self) -> ResizeFact:
        return ResizeFact(-self.options["pad_beg"], -self.options["pad_end"], self.align_corners)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return 4 * math.prod(top_shapes[0])

    def receptive_window(self) -> ReceptiveWindow | None:
        options = self.options
        if "height" in options or len(self.param.bottom) == 2:
            return None
        # A pixel between two samples sees both, but its stride is only 1 / zoom of theirs.
        zoom, shrink = options.get("zoom_factor", 1), options.get("shrink_factor", 1)
        return ReceptiveWindow((2, 2) if zoom > 1 else (1, 1), (shrink / zoom,) * 2, (options["pad_beg"],) * 2)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        options = self.options
        x = onnx.crop(graph, bottoms[0], options["pad_beg"], options["pad_end"])
        if len(bottoms) == 2:
            sizes = graph.node("Shape", [bottoms[1]], start=2, end=4)
        elif "height" in options:
            sizes = graph.constant("sizes", onnx.int64(options["height"], options["width"]))
        else:
            # n pixels become (n - 1) * zoom + 1, or (n - 1) // shrink + 1; computed in the graph, for any image size.
            one = graph.constant("one", onnx.int64(1))
            steps = graph.node("Sub", [graph.node("Shape", [x], start=2, end=4), one])
            for op, name in (("Div", "shrink_factor"), ("Mul", "zoom_factor")):
                if name in options:
                    steps = graph.node(op, [steps, graph.constant("factor", onnx.int64(options[name]))])
            sizes = graph.node("Add", [steps, one])
        mode = "align_corners" if self.align_corners else "half_pixel"
        modes = {"mode": "linear", "coordinate_transformation_mode": mode}
        return [graph.node("Resize", [x, "", "", sizes], tops[0], axes=[2, 3], **modes)]


@register
class Padding(Layer):
    """Adds zeros at the borders, or crops where negative (layers/padding_layer.cpp)."""

    TYPE = "Padding"
    capturable = per_item = True
    saves = ()
    kind = "spatial"
    supports_half = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        check_image(self, shape)
        param = self.param.padding_param
        size = [length + param.pad_beg + param.pad_end for length in shape[2:]]
        if min(size) < 1:
            raise self.error(f"padding {param.pad_beg} and {param.pad_end} leaves nothing of {shape[2]}x{shape[3]}")
        return [(*shape[:2], *size)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        param = self.param.padding_param
        return (F.pad(bottoms[0], (param.pad_beg, param.pad_end, param.pad_beg, param.pad_end)),)

    @property
    def fact(self) -> CropFact | None:
        param = self.param.padding_param
        return CropFact(-param.pad_beg, -param.pad_end) if max(param.pad_beg, param.pad_end) <= 0 else None

    def receptive_window(self) -> ReceptiveWindow:
        return ReceptiveWindow(pad=(self.param.padding_param.pad_beg,) * 2)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        param = self.param.padding_param
        x = onnx.crop(graph, bottoms[0], min(param.pad_beg, 0), min(param.pad_end, 0))
        begin, end = max(param.pad_beg, 0), max(param.pad_end, 0)
        return [onnx.pad(graph, x, (begin, begin), (end, end)) if begin or end else x]
