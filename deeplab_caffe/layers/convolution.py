"""Layers that see an image through a kernel with hole: CONVOLUTION, IM2COL."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, is_channels_last, register
from deeplab_caffe.layers.convolution_gradients import (
    TILE,
    DirectConvolution,
    WinogradConvolution,
    depthwise,
    fits_own_kernels,
    needs_gradient,
)
from deeplab_caffe.layers.facts import ConvolutionFact, RectifierFact
from deeplab_caffe.layers.geometry import Geometry, pair, place_geometry, read_convolution
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.ops.hole import conv2d
from deeplab_caffe.ops.hole_gradient import is_faster
from deeplab_caffe.ops.im2col import im2col
from deeplab_caffe.ops.onednn_limits import computed_in_half, is_narrow, is_usual, pads_beyond_kernel
from deeplab_caffe.ops.packed_conv import Geometry as PackedGeometry
from deeplab_caffe.ops.packed_conv import PackedConv2d, supported, takes_dtype
from deeplab_caffe.ops.sizes import channels_last_advice
from deeplab_caffe.ops.winograd import LARGEST_HOLES, fits
from deeplab_caffe.proto import caffe_pb2

# torch's convolutions by their number of spatial axes.
_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

# Of Winograd's algorithm in training: with fewer channels, or fewer pixels in a batch, transforming the weights takes
# longer than the algorithm saves.
_LEAST_CHANNELS, _LEAST_PIXELS = 32, 1024

_Y = TypeVar("_Y")


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast is off on the tensor's device, so that operations keep their dtype."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class BaseConvolution(Layer):
    """What convolution and deconvolution share (layers/base_conv_layer.cpp).

    Axes before ``axis`` are the batch, ``axis`` is the channels, and the axes behind it, zero to three, are spatial.

    Attributes:
        geometry: kernel, stride, pad and hole along the spatial axes.
        channel_axis: the channels' axis.
        groups: number of groups.
        engine: ``"CAFFE"`` or ``"CUDNN"``.
    """

    # The operator's name in ONNX.
    ONNX: ClassVar[str]
    roles = ("weight", "bias")
    capturable = per_item = True
    kind = "weights"
    BOTTOMS = (1, math.inf)
    TOPS = (1, math.inf)
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        conv = param.convolution_param
        self.geometry = read_convolution(self, conv)
        self.channel_axis = 1
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

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape, conv = bottom_shapes[0], self.param.convolution_param
        self.channel_axis, self.geometry = place_geometry(self, conv, shape)
        self.per_item = self.channel_axis > 0
        self.supports_half = not self.by_columns
        channels = shape[self.channel_axis]
        if channels % self.groups:
            raise self.error(f"{channels} input channels cannot be split into {self.groups} groups")
        self.weight = self.new_blob(self.weight_shape(channels), conv.weight_filler)
        if conv.bias_term:
            self.bias = self.new_blob((self.num_output,), conv.bias_filler)
        else:
            self.register_parameter("bias", None)

    def weight_shape(self, channels: int) -> Shape:
        """Return the weight's shape for a bottom's number of channels."""
        raise NotImplementedError

    @property
    def input_channels(self) -> int:
        """Return the number of channels that the weight is for."""
        raise NotImplementedError

    def output_sizes(self, shape: Shape) -> Shape:
        """Return the top's sizes along the spatial axes, the bottom's last ones.

        Raises:
            NetError: the bottom is too small.
        """
        raise NotImplementedError

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes: list[Shape] = []
        axis, axes = self.channel_axis, self.channel_axis + 1 + self.geometry.axes
        for shape in bottom_shapes:
            if len(shape) != axes:
                wanted = "shape (N, C, H, W)" if (axes, axis) == (4, 1) else f"{axes} axes"
                raise self.error(f"expected a bottom of {wanted}, got {tuple(shape)}")
            if shape[axis] != self.input_channels:
                raise self.error(
                    f"the weights are for {self.input_channels} input channels, the bottom has {shape[axis]}"
                    f"{channels_last_advice(shape, self.input_channels)}"
                )
            shapes.append((*shape[:axis], self.num_output, *self.output_sizes(shape)))
        return shapes

    @property
    def by_columns(self) -> bool:
        """Return whether to compute by im2col and GEMM, as the original does; columns are float32 or float64 only."""
        return self.engine == "CAFFE" and self.geometry.axes == 2

    def for_columns(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return bottom, weight and bias in one dtype that columns can have: float64 if the weight is, else float32."""
        weight, bias = self.weight, self.bias
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)

    def batched(self, x: Tensor) -> Tensor:
        """Return a bottom with one batch axis, and with a spatial axis of length 1 if it has no spatial axis."""
        axis = self.channel_axis
        if axis != 1:
            x = x.reshape(math.prod(x.shape[:axis]), *x.shape[axis:])
        return x if self.geometry.axes else x[..., None]

    def unbatched(self, y: Tensor, x: Tensor) -> Tensor:
        """Return a top with the bottom's batch axes; the inverse of :meth:`batched`."""
        if not self.geometry.axes:
            y = y[..., 0]
        axis = self.channel_axis
        return y if axis == 1 else y.reshape(*x.shape[:axis], *y.shape[1:])

    def torch_geometry(self) -> tuple[Tensor, Geometry]:
        """Return the weight and the geometry for torch, which needs at least one spatial axis."""
        if self.geometry.axes:
            return self.weight, self.geometry
        return self.weight[..., None], Geometry((1,), (1,), (0,), (1,))

    def receptive_window(self) -> ReceptiveWindow | None:
        return self.geometry.receptive_window()

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        weight, *bias = self.onnx_blobs(graph)
        _, g = self.torch_geometry()
        if not self.geometry.axes:
            weight = graph.node("Unsqueeze", [weight, graph.constant("axis", int64(2))])
        options: dict[str, Any] = {"kernel_shape": g.kernel, "strides": g.stride, "pads": [*g.pad, *g.pad]}
        options |= {"dilations": g.hole, "group": self.groups}
        found = []
        for x, top, blob in zip(bottoms, tops, self.param.bottom, strict=True):
            if self.channel_axis == 1 and self.geometry.axes:
                found.append(graph.node(self.ONNX, [x, weight, *bias], top, **options))
                continue
            graph.fixed_size = self.name
            if self.channel_axis == 0:
                graph.fixed_batch = self.name
            # As :meth:`batched` and :meth:`unbatched` do.
            shape = int64(-1, *graph.shapes[blob][self.channel_axis :], *(1,) * (not self.geometry.axes))
            batch = graph.node("Reshape", [x, graph.constant("batched", shape)])
            y = graph.node(self.ONNX, [batch, weight, *bias], **options)
            found.append(
                graph.node("Reshape", [y, graph.constant("unbatched", int64(-1, *graph.shapes[top][1:]))], top)
            )
        return found


@register
class Convolution(BaseConvolution):
    """Convolution with holes ("a trous"; layers/conv_layer.cpp).

    Parameter blobs: weight (O, C / group, kh, kw), with one kernel size per spatial axis, and, with ``bias_term``, bias
    (O,). Output sizes round down. With two spatial axes, engine CAFFE computes by hole-im2col and GEMM as the original
    does, in float32 even in a net of bfloat16. CUDNN and DEFAULT use torch's dilated convolution, or on a CPU, where
    they are faster, this package's depthwise and Winograd convolutions. With one or three spatial axes, all engines use
    torch's convolution.
    """

    TYPE = "Convolution"
    ONNX = "Conv"
    fuses_rectifier = True
    # The weight packed for inference; only with two spatial axes.
    packed: PackedConv2d | None = None

    def setup(self, bottom_shapes: list[Shape]) -> None:
        super().setup(bottom_shapes)
        if self.fact is not None:
            self.packed = PackedConv2d(self._packed_geometry())

    def weight_shape(self, channels: int) -> Shape:
        return (self.num_output, channels // self.groups, *self.geometry.kernel)

    @property
    def input_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    def output_sizes(self, shape: Shape) -> Shape:
        return self.geometry.conv_output_size(self, shape)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        packed = self.packing(bottoms)
        if packed is not None:
            return (packed(bottoms[0], self.weight, self.bias, relu=False),)
        return tuple(self.unbatched(self._convolve(self.batched(x)), x) for x in bottoms)

    def _convolve(self, x: Tensor) -> Tensor:
        if self.by_columns:
            _, stride, pad, hole = (pair(numbers) for numbers in self.geometry)
            with without_autocast(x):
                return conv2d(*self.for_columns(x), stride, pad, hole, self.groups)
        (weight, g), bias = self.torch_geometry(), self.bias
        half = self._unsafe_half(x)
        if half is None and self._trains_holes(x) and torch.is_autocast_enabled("cpu"):
            return self._in_autocast_dtype(x, lambda x, weight, bias: self._compute(x, weight, g, bias))
        if half is None:
            return self._compute(x, weight, g, bias)
        with without_autocast(x):
            return self._compute(x.float(), weight.float(), g, None if bias is None else bias.float()).to(half)

    def _trains_holes(self, x: Tensor) -> bool:
        """Return whether this is a training step on the CPU, outside of a compiler, of a 2-D convolution with holes."""
        if self.geometry.axes != 2 or max(self.geometry.hole) == 1 or x.device.type != "cpu":
            return False
        return torch.is_grad_enabled() and self.weight.requires_grad and not torch.compiler.is_compiling()

    def _in_autocast_dtype(self, x: Tensor, compute: Callable[[Tensor, Tensor, Tensor | None], _Y]) -> _Y:
        """Call ``compute`` with x, weight and bias in the CPU's autocast dtype, and with autocast off."""
        dtype, bias = torch.get_autocast_dtype("cpu"), self.bias
        with without_autocast(x):
            return compute(x.to(dtype), self.weight.to(dtype), None if bias is None else bias.to(dtype))

    def _unsafe_half(self, x: Tensor) -> torch.dtype | None:
        """Return the 16-bit dtype that torch would compute in, if its result could be wrong; see ops.onednn_limits."""
        half, g = computed_in_half(x), self.geometry
        if half is None or g.axes != 2:
            return None
        kernel, stride, pad, hole = (pair(numbers) for numbers in g)
        narrow = is_narrow(stride, self.output_sizes(tuple(x.shape)))
        by_channel = 1 < self.groups == x.shape[1] and max(hole) > 1 and not x.is_contiguous()
        return half if narrow or by_channel or not is_usual(kernel, stride, pad, hole) else None

    def _compute(self, x: Tensor, weight: Tensor, g: Geometry, bias: Tensor | None) -> Tensor:
        algorithm = self._algorithm(x, weight)
        if algorithm == "depthwise":
            return depthwise(x, weight, bias, pair(g.stride), pair(g.pad), pair(g.hole))
        if algorithm == "winograd":
            y: Tensor = WinogradConvolution.apply(x, weight, bias, pair(g.pad), pair(g.hole), False)
            return y
        if algorithm == "windows":
            y = DirectConvolution.apply(x, weight, bias, self._packed_geometry(), False)
            return y
        if x.device.type == "cpu" and self._pads_beyond_kernel():
            x, weight = x.contiguous(), weight.contiguous()
        return _CONVOLUTIONS[g.axes](x, weight, bias, g.stride, g.pad, g.hole, self.groups)

    def _algorithm(self, x: Tensor, weight: Tensor) -> Literal["depthwise", "winograd", "windows", "torch"]:
        """Return the fastest convolution for tensors of the dtype to compute in: one of our own, or torch's."""
        if self.geometry.axes != 2:
            return "torch"
        if self._is_for_depthwise(x, weight):
            return "depthwise"
        if self._is_for_winograd(x, weight):
            return "winograd"
        return "windows" if self._is_for_windows(x, weight) else "torch"

    def _pads_beyond_kernel(self) -> bool:
        g = self.geometry
        return g.axes == 2 and pads_beyond_kernel(pair(g.kernel), pair(g.pad), pair(g.hole))

    def _is_for_depthwise(self, x: Tensor, weight: Tensor) -> bool:
        """Return whether our own depthwise convolution is faster than torch's (``benchmarks/depthwise.py``).

        With a gradient ours is faster by far; without one, torch's is faster for channels-last memory.
        """
        if not 1 < self.groups == x.shape[1] == weight.shape[0] or x.device.type != "cpu":
            return False
        if x.dtype not in (torch.float32, torch.float64) or not fits_own_kernels(x, weight):
            return False
        return needs_gradient(x, weight) or x.is_contiguous()

    def _is_for_winograd(self, x: Tensor, weight: Tensor) -> bool:
        """Return whether Winograd's algorithm is faster for this training step (``benchmarks/winograd.py``)."""
        g = self.geometry
        if x.device.type != "cpu" or x.dtype != torch.float32 or not fits(weight, pair(g.stride), self.groups):
            return False
        if min(weight.shape[:2]) < _LEAST_CHANNELS or math.prod((x.shape[0], *x.shape[2:])) < _LEAST_PIXELS:
            return False
        if max(g.hole) > LARGEST_HOLES[TILE] or any(p > 2 * h for p, h in zip(g.pad, g.hole, strict=True)):
            return False
        return needs_gradient(x, weight) and fits_own_kernels(x, weight)

    def _is_for_windows(self, x: Tensor, weight: Tensor) -> bool:
        """Return whether the weights' gradient of this training step is faster by the windows of the taps."""
        if not self._trains_holes(x) or self._pads_beyond_kernel() or not is_channels_last(x):
            return False
        if not fits_own_kernels(x, weight):
            return False
        return is_faster(x, weight, self.output_sizes(tuple(x.shape)), self._packed_geometry())

    def _packed_geometry(self) -> PackedGeometry:
        """Return the geometry over two axes for ops, which have pairs."""
        g = self.geometry
        return PackedGeometry(pair(g.stride), pair(g.pad), pair(g.hole), self.groups)

    def packing(self, bottoms: Sequence[Tensor]) -> PackedConv2d | None:
        """Return the packed convolution to use for these bottoms; None: compute without packed weights."""
        if (
            self.context.channels_last
            and self.context.packed
            and self.engine == "CUDNN"
            and len(bottoms) == 1
            and supported(bottoms[0], self.weight)
            and self._unsafe_half(bottoms[0]) is None
            and not self._pads_beyond_kernel()
        ):
            return self.packed
        return None

    def _apply(self, *args: Any, **kwargs: Any) -> Convolution:
        # After a move, other numbers may be at the old address with the old version count: the packed copy is stale.
        if self.packed is not None:
            self.packed.clear()
        super()._apply(*args, **kwargs)
        return self

    def forward_fused(self, activation: Layer, *bottoms: Tensor) -> tuple[Tensor, ...]:
        packed = self.packing(bottoms)
        if packed is not None and isinstance(activation.fact, RectifierFact):
            return (packed(bottoms[0], self.weight, self.bias, relu=True, ceiling=activation.fact.ceiling),)
        if activation.fact == RectifierFact() and len(bottoms) == 1 and (y := self._rectified(bottoms[0])) is not None:
            return (y,)
        return super().forward_fused(activation, *bottoms)

    def _rectified(self, x: Tensor) -> Tensor | None:
        """Return the rectified top of a training step, computed by one operation; None: there is none for it."""
        if self.fact is None or self.by_columns or x.device.type != "cpu" or self._unsafe_half(x) is not None:
            return None
        if torch.is_autocast_enabled("cpu"):
            return self._in_autocast_dtype(x, self._compute_rectified)
        return self._compute_rectified(x, self.weight, self.bias)

    def _compute_rectified(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        if not needs_gradient(x, weight) or not fits_own_kernels(x, weight):
            return None
        algorithm, g = self._algorithm(x, weight), self.geometry
        if algorithm == "winograd":
            y: Tensor = WinogradConvolution.apply(x, weight, bias, pair(g.pad), pair(g.hole), True)
            return y
        if algorithm == "depthwise" or not is_channels_last(x) or not takes_dtype(x) or self._pads_beyond_kernel():
            return None
        y = DirectConvolution.apply(x, weight, bias, self._packed_geometry(), True)
        return y

    @property
    def fact(self) -> ConvolutionFact | None:
        g = self.geometry
        if g.axes != 2 or self.channel_axis != 1:
            return None
        return ConvolutionFact(pair(g.stride), pair(g.pad), pair(g.hole), self.groups, self.engine)

    def release(self) -> None:
        super().release()
        self.packed = copy.deepcopy(self.packed)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return sum(math.prod(shape) for shape in top_shapes) * self.weight[0].numel()


@register
class Im2col(Layer):
    """The columns a convolution multiplies: (N, C * kh * kw, OH, OW), or over other axes (layers/im2col_layer.cpp)."""

    TYPE = "Im2col"
    capturable = per_item = True
    saves = ()
    onnx_advice = "a Convolution, which needs no columns, has one"
    kind = "spatial"

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.geometry = read_convolution(self, param.convolution_param)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.convolution_param
        self.channel_axis, self.geometry = place_geometry(self, param, bottom_shapes[0])
        self.per_item = self.channel_axis > 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, axis, g = bottom_shapes[0], self.channel_axis, self.geometry
        if len(shape) != axis + 1 + g.axes or not g.axes:
            raise self.error(f"expected a bottom of {axis + 1 + max(g.axes, 1)} axes, got {tuple(shape)}")
        sizes = g.conv_output_size(self, shape)
        return [(*shape[:axis], shape[axis] * math.prod(g.kernel), *sizes)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, g, axis = bottoms[0], self.geometry, self.channel_axis
        if g.axes == 2 and axis == 1:
            kernel, stride, pad, hole = (pair(numbers) for numbers in g)
            return (im2col(x, kernel, stride=stride, pad=pad, dilation=hole),)
        (top,) = self.top_shapes([tuple(x.shape)])
        x = F.pad(x, [p for p in reversed(g.pad) for _ in range(2)])
        for i in range(g.axes):
            # The spatial axis becomes (outputs, taps); then the taps are moved behind the channels and earlier taps.
            starts = torch.arange(top[axis + 1 + i], device=x.device) * g.stride[i]
            places = starts[:, None] + torch.arange(g.kernel[i], device=x.device) * g.hole[i]
            dim = axis + 1 + 2 * i
            x = x.index_select(dim, places.flatten()).unflatten(dim, places.shape).movedim(dim + 1, axis + 1 + i)
        return (x.reshape(top),)

    def receptive_window(self) -> ReceptiveWindow | None:
        return self.geometry.receptive_window()
