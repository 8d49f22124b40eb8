"""Layers over an image plane: CONVOLUTION, IM2COL, POOLING, INTERP, PADDING."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from google.protobuf.message import Message
from torch import Tensor

from deeplab_caffe.layers.base import Layer, Shape, Window, register
from deeplab_caffe.ops.hole import conv2d
from deeplab_caffe.ops.im2col import conv_output_size, im2col
from deeplab_caffe.ops.interp import interp, interp_size
from deeplab_caffe.ops.packed_conv import PackedConv2d, supported
from deeplab_caffe.proto import caffe_pb2


class Geometry(NamedTuple):
    """Kernel, stride, pad and hole as (height, width) pairs."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    hole: tuple[int, int]

    @property
    def effective_kernel(self) -> tuple[int, int]:
        return tuple(k + (k - 1) * (h - 1) for k, h in zip(self.kernel, self.hole, strict=True))

    def window(self) -> Window:
        return Window(self.effective_kernel, self.stride, self.pad)

    def conv_output_size(self, layer: Layer, shape: Shape) -> tuple[int, int]:
        """Height and width of a convolution's top.

        Raises:
            NetError: the bottom is smaller than the kernel.
        """
        try:
            height, width = (
                conv_output_size(shape[2 + i], self.kernel[i], self.stride[i], self.pad[i], self.hole[i])
                for i in (0, 1)
            )
        except ValueError as error:
            raise layer.error(f"bottom {tuple(shape)}: {error}") from None
        return height, width


def _pair(layer: Layer, message: Message, field: str, default: int | None) -> tuple[int, int]:
    """A size given as one number (``kernel_size``) or as a pair (``kernel_h`` and ``kernel_w``), never both."""
    single = {"kernel": "kernel_size"}.get(field, field)
    parts = [f"{field}_h", f"{field}_w"]
    known = {descriptor.name for descriptor in message.DESCRIPTOR.fields}
    given = [part for part in parts if part in known and message.HasField(part)]
    if given and message.HasField(single):
        raise layer.error(f"{single} and {given[0]} exclude each other: set one or the other")
    if given:
        if len(given) == 1:
            missing = next(part for part in parts if part not in given)
            raise layer.error(f"{given[0]} is set but {missing} is not: a pair needs both")
        return getattr(message, parts[0]), getattr(message, parts[1])
    if single not in known or not message.HasField(single):
        if default is None:
            raise layer.error(f"{single}, or {parts[0]} and {parts[1]}, must be set")
        return default, default
    value = getattr(message, single)
    return value, value


def read_geometry(layer: Layer, message: Message) -> Geometry:
    """Kernel, stride, pad and hole of a convolution_param or pooling_param.

    Raises:
        NetError: a size given twice, by half or not at all, or a kernel, stride or hole of 0.
    """
    geometry = Geometry(
        kernel=_pair(layer, message, "kernel", None),
        stride=_pair(layer, message, "stride", 1),
        pad=_pair(layer, message, "pad", 0),
        hole=_pair(layer, message, "hole", 1),
    )
    for name in ("kernel", "stride", "hole"):
        if min(getattr(geometry, name)) < 1:
            raise layer.error(f"{name} must be positive, got {getattr(geometry, name)}")
    return geometry


def _check_image(layer: Layer, shape: Shape) -> None:
    if len(shape) != 4:
        raise layer.error(f"expected a bottom of shape (N, C, H, W), got {tuple(shape)}")


@register
class Convolution(Layer):
    """Convolution with holes ("a trous"; layers/conv_layer.cpp).

    Parameter blobs: weight (O, C / group, kh, kw) and, with ``bias_term``, bias (O,). Output sizes round down. Engine
    CAFFE is hole-im2col and GEMM, the original's arithmetic; CUDNN, and DEFAULT, is torch's dilated convolution.
    """

    TYPE = "CONVOLUTION"
    BOTTOMS = (1, math.inf)
    TOPS = (1, math.inf)
    HALF = True

    def __init__(self, param, context) -> None:
        super().__init__(param, context)
        conv = param.convolution_param
        self.geometry = read_geometry(self, conv)
        self.group = conv.group
        self.num_output = conv.num_output
        if self.group < 1 or self.num_output < 1 or self.num_output % self.group:
            raise self.error(f"num_output must be a positive multiple of group, got {self.num_output} and {self.group}")
        if len(param.bottom) != len(param.top):
            raise self.error(f"as many tops as bottoms are needed, got {len(param.bottom)} and {len(param.top)}")
        engine = context.engine or caffe_pb2.ConvolutionParameter.Engine.Name(conv.engine)
        self.engine = "CUDNN" if engine == "DEFAULT" else engine
        self.packed = PackedConv2d(self.geometry.stride, self.geometry.pad, self.geometry.hole, self.group)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        _check_image(self, bottom_shapes[0])
        channels = bottom_shapes[0][1]
        if channels % self.group:
            raise self.error(f"{channels} input channels cannot be split into {self.group} groups")
        conv = self.param.convolution_param
        shape = (self.num_output, channels // self.group, *self.geometry.kernel)
        self.weight = self.new_blob(shape, conv.weight_filler, math.prod(shape[1:]))
        if conv.bias_term:
            self.bias = self.new_blob((self.num_output,), conv.bias_filler, self.num_output)
        else:
            self.register_parameter("bias", None)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = []
        for shape in bottom_shapes:
            _check_image(self, shape)
            expected = self.weight.shape[1] * self.group
            if shape[1] != expected:
                raise self.error(f"the weights are for {expected} input channels, the bottom has {shape[1]}")
            shapes.append((shape[0], self.num_output, *self.geometry.conv_output_size(self, shape)))
        return shapes

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        g = self.geometry
        if self.engine == "CAFFE":
            return tuple(conv2d(x, self.weight, self.bias, g.stride, g.pad, g.hole, self.group) for x in bottoms)
        if self.can_pack(bottoms):
            return tuple(self.packed(x, self.weight, self.bias, relu=False) for x in bottoms)
        return tuple(F.conv2d(x, self.weight, self.bias, g.stride, g.pad, g.hole, self.group) for x in bottoms)

    def can_pack(self, bottoms: Sequence[Tensor]) -> bool:
        """Whether the bottoms may go through :class:`PackedConv2d`."""
        return (
            self.context.channels_last
            and self.context.packed
            and self.engine == "CUDNN"
            and len(bottoms) == 1
            and supported(bottoms[0], self.weight)
        )

    def _apply(self, *args, **kwargs) -> Convolution:
        # A move may bring other numbers to the old address with the old version count.
        self.packed.clear()
        return super()._apply(*args, **kwargs)

    def forward_relu(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        """:meth:`forward` and the ReLU behind it in one; only where :meth:`can_pack` holds."""
        return (self.packed(bottoms[0], self.weight, self.bias, relu=True),)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return sum(math.prod(shape) for shape in top_shapes) * self.weight[0].numel()

    def window(self) -> Window:
        return self.geometry.window()


@register
class Im2col(Layer):
    """The columns a convolution multiplies: (N, C * kh * kw, OH, OW) (layers/im2col_layer.cpp)."""

    TYPE = "IM2COL"

    def __init__(self, param, context) -> None:
        super().__init__(param, context)
        self.geometry = read_geometry(self, param.convolution_param)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        _check_image(self, shape)
        g = self.geometry
        return [(shape[0], shape[1] * g.kernel[0] * g.kernel[1], *g.conv_output_size(self, shape))]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        g = self.geometry
        return (im2col(bottoms[0], g.kernel, stride=g.stride, pad=g.pad, hole=g.hole),)

    def window(self) -> Window:
        return self.geometry.window()


@register
class Pooling(Layer):
    """Maximum or average over a window (layers/pooling_layer.cpp).

    Output sizes round up, and with padding a last window that would start beyond ``height + pad`` is dropped. MAX takes
    the first maximum in row-major order; its optional second top is that maximum's index within the plane. AVE divides
    by the window clipped to the padded plane, so padding counts.
    """

    TYPE = "POOLING"
    TOPS = (1, 2)
    HALF = True

    def __init__(self, param, context) -> None:
        super().__init__(param, context)
        pool = param.pooling_param
        self.method = caffe_pb2.PoolingParameter.PoolMethod.Name(pool.pool)
        if self.method == "STOCHASTIC":
            raise self.error("STOCHASTIC pooling is not implemented: the original has none on the CPU either")
        if len(param.top) == 2 and self.method != "MAX":
            raise self.error("only MAX pooling has a second top")
        self.geometry = None if pool.global_pooling else read_geometry(self, pool)
        neutral = {"pad": 0, "pad_h": 0, "pad_w": 0, "stride": 1, "stride_h": 1, "stride_w": 1}
        given = [field.name for field, value in pool.ListFields() if value != neutral.get(field.name)]
        refused = [name for name in given if name in neutral or name.startswith("kernel")]
        if pool.global_pooling and refused:
            raise self.error(f"global_pooling and {', '.join(refused)} exclude each other")
        if self.geometry and any(p >= k for p, k in zip(self.geometry.pad, self.geometry.kernel, strict=True)):
            raise self.error(f"pad {self.geometry.pad} must be smaller than the kernel {self.geometry.kernel}")

    def pools_maxima(self) -> bool:
        """Whether the only top is the maximum over windows of one size."""
        return self.method == "MAX" and self.geometry is not None and len(self.param.top) == 1

    def _geometry(self, shape: Shape) -> Geometry:
        return self.geometry or Geometry(kernel=tuple(shape[2:]), stride=(1, 1), pad=(0, 0), hole=(1, 1))

    def _output_size(self, shape: Shape) -> tuple[int, int]:
        g = self._geometry(shape)
        size = []
        for axis in range(2):
            length, k, s, p = shape[2 + axis], g.kernel[axis], g.stride[axis], g.pad[axis]
            count = -((length + 2 * p - k) // -s) + 1
            if any(g.pad) and (count - 1) * s >= length + p:
                count -= 1
            if count < 1:
                raise self.error(f"a bottom of {shape[2]}x{shape[3]} is smaller than the kernel {g.kernel}")
            size.append(count)
        return size[0], size[1]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        _check_image(self, bottom_shapes[0])
        shape = (*bottom_shapes[0][:2], *self._output_size(bottom_shapes[0]))
        return [shape] * len(self.param.top)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x = bottoms[0]
        g, size = self._geometry(x.shape), self._output_size(x.shape)
        if self.method == "MAX":
            return self._max(x, g, size)
        return (self._average(x, g, size),)

    def _max(self, x: Tensor, g: Geometry, size: tuple[int, int]) -> tuple[Tensor, ...]:
        # torch's ceil_mode drops the last window by another rule and limits pad to half the kernel, so whatever differs
        # from the plain case is padded by hand with the lowest float, which Caffe starts its maximum from.
        bottom, right = self._extra(x.shape, g, size)
        simple = (
            bottom <= g.pad[0] and right <= g.pad[1] and all(2 * p <= k for p, k in zip(g.pad, g.kernel, strict=True))
        )
        if simple and len(self.param.top) == 1:
            y = F.max_pool2d(x, g.kernel, g.stride, g.pad)
            if y.shape[2:] == size:
                return (y,)
        lowest = torch.finfo(x.dtype).min
        padded = F.pad(x, (g.pad[1], max(right, 0), g.pad[0], max(bottom, 0)), value=lowest)
        if len(self.param.top) == 1:
            return (F.max_pool2d(padded, g.kernel, g.stride)[:, :, : size[0], : size[1]],)
        y, index = F.max_pool2d(padded, g.kernel, g.stride, return_indices=True)
        y, index = y[:, :, : size[0], : size[1]], index[:, :, : size[0], : size[1]]
        row = torch.div(index, padded.shape[3], rounding_mode="floor") - g.pad[0]
        column = index % padded.shape[3] - g.pad[1]
        mask = (row * x.shape[3] + column).masked_fill(y == lowest, -1)
        # Half precision has no room for large indices.
        return y, mask.to(torch.promote_types(x.dtype, torch.float32))

    def _average(self, x: Tensor, g: Geometry, size: tuple[int, int]) -> Tensor:
        bottom, right = self._extra(x.shape, g, size)
        # avg_pool2d divides by the window clipped to the plane padded by pad on both sides, with ceil_mode beyond that:
        # Caffe's divisor. Pads over half a kernel, which it refuses, are padded by hand.
        if all(2 * p <= k for p, k in zip(g.pad, g.kernel, strict=True)):
            ceil_mode = bottom > g.pad[0] or right > g.pad[1]
            y = F.avg_pool2d(x, g.kernel, g.stride, g.pad, ceil_mode=ceil_mode, count_include_pad=True)
            if y.shape[2:] == size:
                return y
        padded = F.pad(x, (g.pad[1], max(right, 0), g.pad[0], max(bottom, 0)))
        total = F.avg_pool2d(padded, g.kernel, g.stride, divisor_override=1)[:, :, : size[0], : size[1]]
        extents = []
        for axis in range(2):
            start = torch.arange(size[axis], device=x.device) * g.stride[axis] - g.pad[axis]
            end = (start + g.kernel[axis]).clamp(max=x.shape[2 + axis] + g.pad[axis])
            # A window wholly beyond the plane (stride over kernel, no pad) averages nothing: 0, where the original has
            # 0 / 0.
            extents.append((end - start).clamp(min=1).to(x.dtype))
        return total / (extents[0][:, None] * extents[1][None, :])

    @staticmethod
    def _extra(shape: Shape, g: Geometry, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns after the plane that the last windows reach."""
        return tuple(
            (size[axis] - 1) * g.stride[axis] + g.kernel[axis] - g.pad[axis] - shape[2 + axis] for axis in range(2)
        )

    def window(self) -> Window | None:
        return self.geometry.window() if self.geometry else None


@register
class Interp(Layer):
    """Align-corners bilinear resizing (layers/interp_layer.cpp); see :func:`deeplab_caffe.ops.interp.interp`."""

    TYPE = "INTERP"

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

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        _check_image(self, shape)
        options = {name: value for name, value in self.options.items() if name not in ("height", "width")}
        try:
            height = interp_size(shape[2], target=self.options.get("height"), **options)
            width = interp_size(shape[3], target=self.options.get("width"), **options)
        except ValueError as error:
            raise self.error(str(error)) from None
        return [(*shape[:2], height, width)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return (interp(bottoms[0], **self.options),)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return 4 * math.prod(top_shapes[0])

    def window(self) -> Window | None:
        options = self.options
        if "zoom_factor" in options:
            # A pixel between two samples sees both, but stands for a step 1 / zoom as long.
            zoom = options["zoom_factor"]
            return Window((2, 2) if zoom > 1 else (1, 1), (1 / zoom, 1 / zoom), (options["pad_beg"],) * 2)
        if "shrink_factor" in options:
            return Window((1, 1), (options["shrink_factor"],) * 2, (options["pad_beg"],) * 2)
        return None


@register
class Padding(Layer):
    """Adds zeros at the borders, or crops where negative (layers/padding_layer.cpp)."""

    TYPE = "PADDING"
    HALF = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        _check_image(self, shape)
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
