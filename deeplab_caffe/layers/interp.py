"""Layers that change an image plane's size: INTERP, PADDING."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, Shape, Window, register
from deeplab_caffe.layers.geometry import check_image
from deeplab_caffe.ops.interp import interp, interp_size


@register
class Interp(Layer):
    """Align-corners bilinear resizing (layers/interp_layer.cpp); see :func:`deeplab_caffe.ops.interp.interp`.

    DeepLab v1 takes one of ``shrink_factor``, ``zoom_factor``, ``height`` and ``width``. In v2 a factor alone counts
    before ``height`` and ``width``, which count before both factors: the shrunk size is zoomed.

    Attributes:
        options: what counts, by the names of the fields.
    """

    TYPE = "Interp"

    def __init__(self, param, context) -> None:
        super().__init__(param, context)
        message = param.interp_param
        self.options = {
            name: getattr(message, name)
            for name in ("height", "width", "zoom_factor", "shrink_factor")
            if message.HasField(name)
        }
        self.options |= {"pad_beg": message.pad_beg, "pad_end": message.pad_end}
        if ("height" in self.options) != ("width" in self.options):
            raise self.error("height and width go together: one of them is not set")
        if not context.dialect.interp_takes_one_form:
            self._drop_what_loses()

    def _drop_what_loses(self) -> None:
        factors = [name for name in ("shrink_factor", "zoom_factor") if name in self.options]
        losing = ("height", "width") if len(factors) == 1 else factors if "height" in self.options else ()
        for name in losing:
            self.options.pop(name, None)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        check_image(self, shape)
        try:
            return [(*shape[:2], self._size(shape[2], "height"), self._size(shape[3], "width"))]
        except ValueError as error:
            raise self.error(str(error)) from None

    def _size(self, size: int, side: str) -> int:
        options = {name: value for name, value in self.options.items() if name not in ("height", "width")}
        if self.context.dialect.interp_takes_one_form or not {"shrink_factor", "zoom_factor"} <= set(options):
            return interp_size(size, target=self.options.get(side), **options)
        zoom = options.pop("zoom_factor")
        return interp_size(interp_size(size, **options), zoom_factor=zoom)

    def resize(self, x: Tensor) -> Tensor:
        """Return a blob (N, C, H, W) resized."""
        height, width = self.top_shapes([tuple(x.shape)])[0][2:]
        return interp(x, height=height, width=width, pad_beg=self.options["pad_beg"], pad_end=self.options["pad_end"])

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (self.resize(bottoms[0]),)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return 4 * math.prod(top_shapes[0])

    def window(self) -> Window | None:
        options = self.options
        if "height" in options:
            return None
        # A pixel between two samples sees both, but stands for a step 1 / zoom as long.
        zoom, shrink = options.get("zoom_factor", 1), options.get("shrink_factor", 1)
        return Window((2, 2) if zoom > 1 else (1, 1), (shrink / zoom,) * 2, (options["pad_beg"],) * 2)


@register
class Padding(Layer):
    """Adds zeros at the borders, or crops where negative (layers/padding_layer.cpp)."""

    TYPE = "Padding"
    HALF = True

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

    def window(self) -> Window:
        return Window(pad=(self.param.padding_param.pad_beg,) * 2)
