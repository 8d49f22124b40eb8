"""Spatial pyramid pooling: SPP."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.geometry import check_image
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.layers.pooling import Pooling
from deeplab_caffe.proto import caffe_pb2


@register
class SPP(Layer):
    """Pools an image into 1x1, 2x2, 4x4 and finer bins and concatenates them: (N, sum of C * bins).

    With ``pyramid_height: 1`` the top is (N, C, 1, 1). Level l has adjacent windows of ``ceil(size / 2^l)``; half of
    what they cover beyond the image lies before it, as padding. Sizes whose padding would be as large as a window are
    refused, and small images may have fewer bins than a level asks for. Source: layers/spp_layer.cpp.
    """

    TYPE = "SPP"
    capturable = per_item = True
    kind = "spatial"
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        if param.spp_param.pyramid_height < 1:
            raise self.error(f"pyramid_height must be positive, got {param.spp_param.pyramid_height}")

    def _levels(self, shape: Shape) -> list[Pooling]:
        """Return the poolings for a bottom (N, C, H, W).

        Raises:
            NetError: the bottom is too small for a level.
        """
        check_image(self, shape)
        levels = []
        for level in range(self.param.spp_param.pyramid_height):
            bins = 2**level
            kernel_h, kernel_w = (-(size // -bins) for size in shape[2:])
            pad_h, pad_w = ((k * bins - size + 1) // 2 for k, size in zip((kernel_h, kernel_w), shape[2:], strict=True))
            if pad_h >= kernel_h or pad_w >= kernel_w:
                raise self.error(
                    f"a bottom of {shape[2]}x{shape[3]} cannot be cut into {bins}x{bins} bins (level {level}): "
                    "take a smaller pyramid_height"
                )
            pooling = caffe_pb2.PoolingParameter(
                pool=self.param.spp_param.pool,
                kernel_h=kernel_h,
                kernel_w=kernel_w,
                stride_h=kernel_h,
                stride_w=kernel_w,
                pad_h=pad_h,
                pad_w=pad_w,
            )
            param = caffe_pb2.LayerParameter(name=self.name, bottom=["x"], top=["y"], pooling_param=pooling)
            levels.append(Pooling(param, self.context))
        return levels

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = [level.top_shapes(bottom_shapes)[0] for level in self._levels(bottom_shapes[0])]
        if len(shapes) == 1:
            return shapes
        return [self.filled_up((shapes[0][0], sum(c * h * w for _, c, h, w in shapes)))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        tops = [level(*bottoms)[0] for level in self._levels(tuple(bottoms[0].shape))]
        if len(tops) == 1:
            return (tops[0],)
        top = torch.cat([top.flatten(1) for top in tops], dim=1)
        return (top[..., None, None] if self.context.dialect.four_axes else top,)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        shape = graph.shapes[self.param.bottom[0]]
        levels = self._levels(shape)
        if len(levels) == 1:
            return [levels[0].onnx_of_fixed_size(graph, bottoms[0], shape, tops[0])]
        pooled = [level.onnx_of_fixed_size(graph, bottoms[0], shape) for level in levels]
        top = graph.node("Concat", [graph.node("Flatten", [name], axis=1) for name in pooled], axis=1)
        target = graph.constant("shape", int64(0, -1, *graph.shapes[tops[0]][2:]))
        return [graph.node("Reshape", [top, target], tops[0])]

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        levels = self._levels(bottom_shapes[0])
        return sum(level.saved_bytes(bottom_shapes, level.top_shapes(bottom_shapes), width) for level in levels)

    def receptive_window(self) -> None:
        return None
