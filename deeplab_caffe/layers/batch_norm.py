"""Batch normalisation: BATCHNORM."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.facts import AffineFact
from deeplab_caffe.layers.onnx import OnnxGraph
from deeplab_caffe.proto import caffe_pb2


@register
class BatchNorm(Layer):
    """Each channel minus its mean, over its standard deviation (Ioffe and Szegedy 2015, section 3).

    Mean and variance are the stored ones with ``use_global_stats``, which phase TEST has unless the prototxt says
    otherwise; else the batch's, which then go into the stored ones, in phase TEST too. With ``update_global_stats``,
    the DeepLab authors' own, phase TRAIN takes the stored mean and the batch's variance around it, and stores both; to
    the gradient they are constants.

    Parameter blobs: sums of means and of variances (C,) that fade by ``moving_average_fraction`` a batch, and the sum
    of their weights (1,), which divides them; where that is 0 mean and variance are 0. Solvers leave them alone,
    whatever ``lr_mult`` says (upgrade_proto.cpp, UpgradeNetBatchNorm). They stay float32 in a net of less precision.
    Of processes that share a batch each normalises by its own part, and keeps its own sums: the first one's are written
    to files, as with torch's buffers.

    Source: layers/batch_norm_layer.cpp; batch statistics are BVLC's, for DeepLab v2's are broken.
    """

    TYPE = "BatchNorm"
    roles = ("mean", "variance", "factor")
    kind = "weights"
    supports_half = True
    fuses_rectifier = True
    capturable = per_item = False
    mean: nn.Parameter
    variance: nn.Parameter
    factor: nn.Parameter

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        # In the message, which is written to files: what BVLC's Caffe makes of it.
        while len(param.param) < len(self.roles):
            param.param.add()
        for spec in param.param:
            if spec.lr_mult:
                spec.ClearField("decay_mult")
                spec.lr_mult = 0
        super().__init__(param, context)
        options = param.batch_norm_param
        if not options.eps >= 0:
            raise self.error(f"eps must be at least 0, got {options.eps:g}")
        stored = options.use_global_stats if options.HasField("use_global_stats") else not context.training
        updates = options.update_global_stats and context.training
        self.uses_batch = not stored
        self.updates = updates and stored
        # With stored statistics it is a factor and a summand to each number, and keeps no state.
        self.capturable = self.per_item = stored and not updates
        self.saves = () if self.per_item else ("bottoms",)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        channels = self._channels(bottom_shapes[0])
        zero = caffe_pb2.FillerParameter(type="constant", value=0)
        for role, size in zip(self.roles, (channels, channels, 1), strict=True):
            blob = self.new_blob((size,), zero)
            blob.requires_grad = False
            self.register_parameter(role, blob)

    def _channels(self, x: Shape) -> int:
        if len(x) < 2:
            raise self.error(f"the bottom {tuple(x)} has no axis 1, its channels")
        return x[1]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        x = tuple(bottom_shapes[0])
        if self._channels(x) != len(self.mean):
            raise self.error(f"the mean is for {len(self.mean)} channels, the bottom {x} has {x[1]}")
        if not self.per_item and math.prod(x) == 0:
            raise self.error(f"the bottom {x} is empty: it has no mean")
        return [x]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def keep_width(x: Tensor) -> Tensor:
            moved = fn(x)
            return moved if moved.dtype.itemsize > 2 else x.to(moved.device)

        # A long sum in half precision would soon grow no more.
        return super()._apply(keep_width, recurse)

    def frozen(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Layer:
        half = dtype is not None and dtype.itemsize <= 2
        return super().frozen(device, None if half else dtype)

    def statistics(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return the stored mean and variance, (C,) each; ``dtype`` is what they are computed in, None: the blobs'."""
        mean, variance, weight = (blob.to(dtype or blob.dtype) for blob in (self.mean, self.variance, self.factor))
        scale = torch.where(weight == 0, 0.0, 1 / weight)
        return mean * scale, variance * scale

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x = bottoms[0]
        if self.uses_batch:
            return (self._by_batch(x),)
        mean, variance = self.statistics()
        if self.updates:
            with torch.no_grad():
                axes = [axis for axis in range(x.dim()) if axis != 1]
                variance = (x - self._along_channels(mean, x)).square().mean(axes, dtype=mean.dtype)
                count = x.numel() // x.shape[1]
                self._store(mean, variance * (count / max(count - 1, 1)))
        divisor = self._along_channels((variance + self.param.batch_norm_param.eps).sqrt(), x)
        mean = self._along_channels(mean, x)
        return ((x.sub_(mean) if self.overwrites(x) else x - mean).div_(divisor),)

    def takes_affine(self, layer: Layer) -> bool:
        blobs = layer.named_blobs
        return (
            self.uses_batch
            and isinstance(layer.fact, AffineFact)
            and {"weight"} <= set(blobs) <= {"weight", "bias"}
            and all(blob.shape == self.mean.shape for blob in blobs.values())
        )

    def forward_affine(self, layer: Layer, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x, blobs = bottoms[0], layer.named_blobs
        watched = any((*one._forward_hooks, *one._forward_pre_hooks) for one in (self, layer))
        one_dtype = x.dtype == blobs["weight"].dtype == self.mean.dtype  # the sums stay wide in a net of half precision
        if watched or not one_dtype or x.numel() == x.shape[1]:
            return super().forward_affine(layer, *bottoms)
        return (self._by_batch(x, blobs["weight"], blobs.get("bias")),)

    @staticmethod
    def _along_channels(numbers: Tensor, x: Tensor) -> Tensor:
        return numbers.to(x.dtype).view(-1, *(1,) * (x.dim() - 2))

    def _by_batch(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        if x.numel() == x.shape[1]:
            # One number a channel is its own mean.
            self._store(x.detach().flatten().to(self.mean.dtype), torch.zeros_like(self.variance))
            return x - x
        # Moments of weight 1: what torch stores is the batch's mean and its variance times m / (m - 1).
        mean, variance = self.mean.new_zeros((2, len(self.mean)))
        # Past F.batch_norm, which wants eps to be positive.
        eps, cudnn = self.param.batch_norm_param.eps, torch.backends.cudnn.enabled
        top = torch.batch_norm(x, weight, bias, mean, variance, True, 1.0, eps, cudnn)
        self._store(mean, variance)
        return top

    @torch.no_grad()
    def _store(self, mean: Tensor, variance: Tensor) -> None:
        """Add a batch's statistics to the sums, which fade a little."""
        # A call for several: on a GPU calls are what it costs.
        fraction = self.param.batch_norm_param.moving_average_fraction
        torch._foreach_mul_([self.mean, self.variance, self.factor], fraction)
        torch._foreach_add_([self.mean, self.variance], [mean, variance])
        self.factor.add_(1)

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Return what stored statistics make of the channels: factors and summands, (C,) each, in float64."""
        with torch.no_grad():
            mean, variance = self.statistics(torch.float64)
        factor = (variance + self.param.batch_norm_param.eps).rsqrt()
        return factor, -mean * factor

    @property
    def fact(self) -> AffineFact | None:
        return AffineFact(self.numbers) if self.per_item else None

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(top_shapes[0])

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        if not self.per_item:
            raise graph.unsupported("BatchNorm with the statistics of the batch")
        stored = [numbers.detach().float().cpu().numpy() for numbers in self.statistics()]
        ones, zeros = np.ones_like(stored[0]), np.zeros_like(stored[0])
        roles = zip(("scale", "bias", *self.roles), (ones, zeros, *stored), strict=False)
        inputs = [*bottoms, *(graph.constant(role, numbers) for role, numbers in roles)]
        return [graph.node("BatchNormalization", inputs, tops[0], epsilon=self.param.batch_norm_param.eps)]
