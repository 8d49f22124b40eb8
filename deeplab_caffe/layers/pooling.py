"""POOLING: the largest or the mean of each window's numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.layers import onnx
from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.facts import MaxPoolingFact
from deeplab_caffe.layers.geometry import Geometry, check_image, pair, read_geometry
from deeplab_caffe.layers.onnx import OnnxGraph
from deeplab_caffe.proto import caffe_pb2

_INDEX_BYTES = 8  # of a maximum's int64 index, which torch keeps for the backward pass


@register
class Pooling(Layer):
    """Maximum or average over a window (layers/pooling_layer.cpp).

    Output sizes round up, or down with ``round_mode: FLOOR`` (in forks ``ceil_mode: false``). With padding, a last
    window that would start beyond ``height + pad`` is dropped. MAX takes the first maximum in row-major order; an
    optional second top has its index within the plane. AVE divides by the size of the window clipped to the padded
    plane, so padding counts.
    """

    TYPE = "Pooling"
    capturable = per_item = True
    kind = "spatial"
    TOPS = (1, 2)
    supports_half = True

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        pool = param.pooling_param
        self.method = caffe_pb2.PoolingParameter.PoolMethod.Name(pool.pool)
        self.rounds_down = pool.round_mode == pool.FLOOR
        if self.method == "STOCHASTIC":
            raise self.error("STOCHASTIC pooling is not implemented: the original has none on the CPU either")
        if len(param.top) == 2 and self.method != "MAX":
            raise self.error("only MAX pooling has a second top")
        self.geometry = None if pool.global_pooling else read_geometry(self, pool, axes=2)
        neutral = {"pad": 0, "pad_h": 0, "pad_w": 0, "stride": 1, "stride_h": 1, "stride_w": 1}
        given = [field.name for field, value in pool.ListFields() if value != neutral.get(field.name)]
        refused = [name for name in given if name in neutral or name.startswith("kernel")]
        if pool.global_pooling and refused:
            raise self.error(f"global_pooling and {', '.join(refused)} exclude each other")
        if self.geometry and any(p >= k for p, k in zip(self.geometry.pad, self.geometry.kernel, strict=True)):
            raise self.error(f"pad {self.geometry.pad} must be smaller than the kernel {self.geometry.kernel}")

    @property
    def fact(self) -> MaxPoolingFact | None:
        if self.method != "MAX" or self.geometry is None or len(self.param.top) != 1:
            return None
        g = self.geometry
        return MaxPoolingFact(pair(g.kernel), pair(g.stride), pair(g.pad))

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        return _INDEX_BYTES * math.prod(top_shapes[0]) if self.method == "MAX" else 0

    def _geometry(self, shape: Shape) -> Geometry:
        return self.geometry or Geometry(kernel=(shape[2], shape[3]), stride=(1, 1), pad=(0, 0), hole=(1, 1))

    def _output_size(self, shape: Shape) -> tuple[int, int]:
        g = self._geometry(shape)
        size = []
        for axis in range(2):
            length, k, s, p = shape[2 + axis], g.kernel[axis], g.stride[axis], g.pad[axis]
            count = ((length + 2 * p - k) // s if self.rounds_down else -((length + 2 * p - k) // -s)) + 1
            if any(g.pad) and (count - 1) * s >= length + p:
                count -= 1
            if count < 1:
                raise self.error(f"a bottom of {shape[2]}x{shape[3]} is smaller than the kernel {g.kernel}")
            size.append(count)
        return size[0], size[1]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        check_image(self, bottom_shapes[0])
        shape = (*bottom_shapes[0][:2], *self._output_size(bottom_shapes[0]))
        return [shape] * len(self.param.top)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x = bottoms[0]
        g, size = self._geometry(x.shape), self._output_size(x.shape)
        if self.method == "MAX":
            return self._max(x, g, size)
        return (self._average(x, g, size),)

    def _max(self, x: Tensor, g: Geometry, size: tuple[int, int]) -> tuple[Tensor, ...]:
        # torch's ceil_mode drops the last window by another rule, and limits pad to half the kernel. All but the simple
        # case is therefore padded here, with the lowest float, which is where Caffe's maximum starts.
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
        # 16-bit floats cannot represent large indices.
        return y, mask.to(torch.promote_types(x.dtype, torch.float32))

    def _average(self, x: Tensor, g: Geometry, size: tuple[int, int]) -> Tensor:
        bottom, right = self._extra(x.shape, g, size)
        # avg_pool2d divides by the window clipped to the padded plane, also with ceil_mode, as Caffe does. It refuses
        # pads over half the kernel, so these are padded here.
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
            # A window wholly beyond the plane (stride > kernel, no pad) gives 0; the original divides 0 by 0.
            extents.append((end - start).clamp(min=1).to(x.dtype))
        return total / (extents[0][:, None] * extents[1][None, :])

    @staticmethod
    def _extra(shape: Shape, g: Geometry, size: tuple[int, int]) -> tuple[int, int]:
        """Return how many rows and columns the last windows reach beyond the end of the plane."""
        rows, columns = (
            (size[axis] - 1) * g.stride[axis] + g.kernel[axis] - g.pad[axis] - shape[2 + axis] for axis in range(2)
        )
        return rows, columns

    def receptive_window(self) -> ReceptiveWindow | None:
        return self.geometry.receptive_window() if self.geometry else None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        if len(tops) > 1:
            raise graph.unsupported("POOLING with a mask", "no layer of a deploy net reads it: remove the second top")
        g = self.geometry
        if g is None:
            return [graph.node("GlobalMaxPool" if self.method == "MAX" else "GlobalAveragePool", bottoms, tops[0])]
        kernel: dict[str, Any] = {"kernel_shape": g.kernel, "strides": g.stride}
        if self.method == "AVE" and (g.stride == (1, 1) or self.rounds_down):
            # Nothing is rounded up, so no window is clipped by the padded plane.
            return [graph.node("AveragePool", bottoms, tops[0], pads=[*g.pad, *g.pad], count_include_pad=1, **kernel)]
        if self.method == "MAX" and all(s <= k for s, k in zip(g.stride, g.kernel, strict=True)):
            # ONNX rounds up as Caffe does, and drops a last window that starts beyond the plane and its padding. Caffe
            # drops none without padding, but while stride <= kernel there is then no such window.
            mode = int(not self.rounds_down)
            return [graph.node("MaxPool", bottoms, tops[0], pads=[*g.pad, *g.pad], ceil_mode=mode, **kernel)]
        return [self.onnx_of_fixed_size(graph, bottoms[0], graph.shapes[self.param.bottom[0]], tops[0])]

    def onnx_of_fixed_size(self, graph: OnnxGraph, x: str, shape: Shape, top: str | None = None) -> str:
        """Add nodes that pool a bottom of this fixed shape, with all rounding computed; return the top's name."""
        graph.fixed_size = self.name
        g, size = self._geometry(shape), self._output_size(shape)
        after = self._extra(shape, g, size)
        average = self.method == "AVE"
        # Last windows that lie wholly beyond the plane are zeros appended after the pooling, because onnxruntime fuses
        # the padding into the pooling and refuses a padding as large as the kernel.
        beyond = pair([int(average and more >= k) for more, k in zip(after, g.kernel, strict=True)])
        after = pair([max(more - n * s, 0) for more, n, s in zip(after, beyond, g.stride, strict=True)])
        padded = onnx.pad(graph, x, pair(g.pad), after, 0.0 if average else float(np.finfo(np.float32).min))
        kernel: dict[str, Any] = {"kernel_shape": g.kernel, "strides": g.stride}
        pooled = graph.node("AveragePool" if average else "MaxPool", [padded], **kernel)
        inside = [n - m for n, m in zip(size, beyond, strict=True)]
        if self.method == "MAX":
            return onnx.part(graph, pooled, (2, 3), (0, 0), inside, top=top)
        extents = []
        for axis in range(2):
            start = np.arange(size[axis]) * g.stride[axis] - g.pad[axis]
            stop = np.minimum(start + g.kernel[axis], shape[2 + axis] + g.pad[axis])
            extents.append(np.maximum(stop - start, 1))
        factor = g.kernel[0] * g.kernel[1] / (extents[0][:, None] * extents[1][None, :])
        factors = graph.constant("factor", factor.astype(np.float32))
        whole = onnx.part(graph, pooled, (2, 3), (0, 0), inside)
        whole = onnx.pad(graph, whole, (0, 0), beyond, 0.0) if any(beyond) else whole
        return graph.node("Mul", [whole, factors], top)
