"""Layers that see an image through a kernel with hole: CONVOLUTION, IM2COL."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.facts import ConvolutionFact
from deeplab_caffe.layers.geometry import check_image, read_geometry
from deeplab_caffe.layers.onnx import OnnxGraph
from deeplab_caffe.ops.hole import conv2d
from deeplab_caffe.ops.im2col import im2col
from deeplab_caffe.ops.packed_conv import Geometry as PackedGeometry
from deeplab_caffe.ops.packed_conv import PackedConv2d, supported
from deeplab_caffe.proto import caffe_pb2


@register
class Convolution(Layer):
    """Convolution with holes ("a trous"; layers/conv_layer.cpp).

    Parameter blobs: weight (O, C / group, kh, kw) and, with ``bias_term``, bias (O,). Output sizes round down. Engine
    CAFFE is hole-im2col and GEMM, the original's arithmetic; CUDNN, and DEFAULT, is torch's dilated convolution.
    """

    TYPE = "Convolution"
    roles = ("weight", "bias")
    capturable = per_item = True
    kind = "weights"
    BOTTOMS = (1, math.inf)
    TOPS = (1, math.inf)
    supports_half = True
    fuses = frozenset({"relu"})

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        conv = param.convolution_param
        self.geometry = read_geometry(self, conv)
        if conv.axis not in (1, -3):
            raise self.error(f"convolution_param: axis {conv.axis} is not implemented, expected 1")
        self.groups = conv.group
        self.num_output = conv.num_output
        if self.groups < 1 or self.num_output < 1 or self.num_output % self.groups:
            raise self.error(
                f"num_output must be a positive multiple of group, got {self.num_output} and {self.groups}"
            )
        if len(param.bottom) != len(param.top):
            raise self.error(f"as many tops as bottoms are needed, got {len(param.bottom)} and {len(param.top)}")
        engine = context.engine or caffe_pb2.ConvolutionParameter.Engine.Name(conv.engine)
        self.engine = "CUDNN" if engine == "DEFAULT" else engine
        g = self.geometry
        self.packed = PackedConv2d(PackedGeometry(g.stride, g.pad, g.hole, self.groups))

    def setup(self, bottom_shapes: list[Shape]) -> None:
        check_image(self, bottom_shapes[0])
        channels = bottom_shapes[0][1]
        if channels % self.groups:
            raise self.error(f"{channels} input channels cannot be split into {self.groups} groups")
        conv = self.param.convolution_param
        shape = (self.num_output, channels // self.groups, *self.geometry.kernel)
        self.weight = self.new_blob(shape, conv.weight_filler)
        if conv.bias_term:
            self.bias = self.new_blob((self.num_output,), conv.bias_filler)
        else:
            self.register_parameter("bias", None)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes: list[Shape] = []
        for shape in bottom_shapes:
            check_image(self, shape)
            expected = self.weight.shape[1] * self.groups
            if shape[1] != expected:
                raise self.error(f"the weights are for {expected} input channels, the bottom has {shape[1]}")
            shapes.append((shape[0], self.num_output, *self.geometry.conv_output_size(self, shape)))
        return shapes

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        g = self.geometry
        if self.engine == "CAFFE":
            return tuple(conv2d(x, self.weight, self.bias, g.stride, g.pad, g.hole, self.groups) for x in bottoms)
        if self.can_pack(bottoms):
            return tuple(self.packed(x, self.weight, self.bias, relu=False) for x in bottoms)
        return tuple(F.conv2d(x, self.weight, self.bias, g.stride, g.pad, g.hole, self.groups) for x in bottoms)

    def can_pack(self, bottoms: Sequence[Tensor]) -> bool:
        """Return whether the bottoms may go through :class:`PackedConv2d`."""
        return (
            self.context.channels_last
            and self.context.packed
            and self.engine == "CUDNN"
            and len(bottoms) == 1
            and supported(bottoms[0], self.weight)
        )

    def _apply(self, *args: Any, **kwargs: Any) -> Convolution:
        # A move may bring other numbers to the old address with the old version count.
        self.packed.clear()
        super()._apply(*args, **kwargs)
        return self

    def forward_fused(self, activation: Layer, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if self.can_pack(bottoms):
            return (self.packed(bottoms[0], self.weight, self.bias, relu=True),)
        return super().forward_fused(activation, *bottoms)

    @property
    def fact(self) -> ConvolutionFact:
        g = self.geometry
        return ConvolutionFact(g.stride, g.pad, g.hole, self.groups, self.engine)

    def release(self) -> None:
        super().release()
        self.packed = copy.deepcopy(self.packed)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return sum(math.prod(shape) for shape in top_shapes) * self.weight[0].numel()

    def receptive_window(self) -> ReceptiveWindow:
        return self.geometry.receptive_window()

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        g = self.geometry
        weights = self.onnx_blobs(graph)
        options: dict[str, Any] = {"kernel_shape": g.kernel, "strides": g.stride, "pads": [*g.pad, *g.pad]}
        options |= {"dilations": g.hole, "group": self.groups}
        return [graph.node("Conv", [x, *weights], top, **options) for x, top in zip(bottoms, tops, strict=True)]


@register
class Im2col(Layer):
    """The columns a convolution multiplies: (N, C * kh * kw, OH, OW) (layers/im2col_layer.cpp)."""

    TYPE = "Im2col"
    capturable = per_item = True
    saves = ()
    kind = "spatial"

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.geometry = read_geometry(self, param.convolution_param)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        check_image(self, shape)
        g = self.geometry
        return [(shape[0], shape[1] * g.kernel[0] * g.kernel[1], *g.conv_output_size(self, shape))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        g = self.geometry
        return (im2col(bottoms[0], g.kernel, stride=g.stride, pad=g.pad, dilation=g.hole),)

    def receptive_window(self) -> ReceptiveWindow:
        return self.geometry.receptive_window()
