"""The transposed convolution: DECONVOLUTION."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers.base import ReceptiveWindow, Shape, register
from deeplab_caffe.layers.convolution import BaseConvolution, without_autocast
from deeplab_caffe.layers.geometry import pair
from deeplab_caffe.ops.im2col import col2im

# torch's transposed convolutions by their number of spatial axes.
_DECONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


@register
class Deconvolution(BaseConvolution):
    """The gradient of a convolution with respect to its input, as a layer: upsampling (layers/deconv_layer.cpp).

    Parameter blobs: weight (C, O / group, kh, kw), with one kernel size per spatial axis, and, with ``bias_term``, bias
    (O,). A size n becomes ``stride * (n - 1) + kernel extent - 2 * pad``. With two spatial axes, engine CAFFE computes
    by GEMM and col2im as the original does, in float32 even in a net of bfloat16. CUDNN and DEFAULT use torch's
    transposed convolution.
    """

    TYPE = "Deconvolution"
    ONNX = "ConvTranspose"

    def weight_shape(self, channels: int) -> Shape:
        return (channels, self.num_output // self.groups, *self.geometry.kernel)

    @property
    def input_channels(self) -> int:
        return self.weight.shape[0]

    def output_sizes(self, shape: Shape) -> Shape:
        g = self.geometry
        numbers = zip(shape[len(shape) - g.axes :], g.stride, g.effective_kernel, g.pad, strict=True)
        sizes = tuple(stride * (size - 1) + extent - 2 * pad for size, stride, extent, pad in numbers)
        if min(sizes, default=1) < 1:
            raise self.error(
                f"bottom {tuple(shape)}: pad {g.pad} leaves nothing of the top: its sizes would be {sizes}"
            )
        return sizes

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.unbatched(self._deconvolve(self.batched(x)), x) for x in bottoms)

    def _deconvolve(self, x: Tensor) -> Tensor:
        if self.by_columns:
            with without_autocast(x):
                x, weight, bias = self.for_columns(x)
                # One image at a time, as in the original: the columns have kernel height * width values for each pixel.
                top = torch.cat([self._add_columns(image, weight) for image in x.split(1)])
                return top if bias is None else top + bias[:, None, None]
        weight, g = self.torch_geometry()
        return _DECONVOLUTIONS[g.axes](x, weight, self.bias, g.stride, g.pad, 0, self.groups, g.hole)

    def _add_columns(self, x: Tensor, weight: Tensor) -> Tensor:
        kernel, stride, pad, hole = (pair(numbers) for numbers in self.geometry)
        matrix = weight.reshape(self.groups, x.shape[1] // self.groups, -1).transpose(1, 2)
        columns = matrix @ x.reshape(-1, self.groups, x.shape[1] // self.groups, x.shape[2] * x.shape[3])
        columns = columns.reshape(x.shape[0], matrix.shape[0] * matrix.shape[1], *x.shape[2:])
        return col2im(columns, pair(self.output_sizes(x.shape)), kernel, stride=stride, pad=pad, dilation=hole)

    def receptive_window(self) -> ReceptiveWindow | None:
        g = self.geometry
        if g.axes != 2:
            return None
        # Pixel o of the top sees the bottom's pixels from (o + pad - extent + 1) / stride to (o + pad) / stride.
        reach = [extent - 1 for extent in g.effective_kernel]
        kernel = [before // stride + 1 for before, stride in zip(reach, g.stride, strict=True)]
        pad = [(before - p) / stride for before, p, stride in zip(reach, g.pad, g.stride, strict=True)]
        return ReceptiveWindow((kernel[0], kernel[1]), (1 / g.stride[0], 1 / g.stride[1]), (pad[0], pad[1]))

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return sum(math.prod(shape) for shape in bottom_shapes) * self.weight[0].numel()
