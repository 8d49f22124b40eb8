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
    """Each channel minus its mean, divided by its standard deviation (Ioffe and Szegedy 2015, section 3).

    With ``use_global_stats``, the default in phase TEST, mean and variance are the stored ones. Otherwise they are the
    batch's, and are added to the stored ones, in phase TEST too. With ``use_global_stats`` and ``update_global_stats``
    (a field of the DeepLab authors), phase TRAIN uses the stored mean and the batch's variance around it, and stores
    both; the gradient treats them as constants.

    Parameter blobs: the running sums of means and of variances, (C,) each, which decay by ``moving_average_fraction``
    with each batch, and the sum of their weights (1,), which divides them; where it is 0, mean and variance are 0.
    Solvers do not change them, whatever ``lr_mult`` says (upgrade_proto.cpp, UpgradeNetBatchNorm). They stay float32 in
    a net of 16-bit numbers. Each of the processes that share a batch normalises its own part and keeps its own sums;
    the first process's are written to files, as with torch's buffers.

    Source: layers/batch_norm_layer.cpp. Batch statistics follow BVLC's Caffe, because DeepLab v2's are broken.
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
        # The message is written to files, so it is changed as BVLC's Caffe changes it.
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
        stored = options.use_global_stats if options.HasField("use_global_stats") else not self.in_training
        updates = options.update_global_stats and self.in_training
        self.uses_batch = not stored
        self.updates = updates and stored
        # With stored statistics the layer is a factor and a summand for each number, and keeps no state.
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

        # In half precision a long sum would soon stop growing.
        return super()._apply(keep_width, recurse)

    def frozen(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Layer:
        half = dtype is not None and dtype.itemsize <= 2
        return super().frozen(device, None if half else dtype)

    def statistics(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return the stored mean and variance, (C,) each, computed in ``dtype``; None: in the blobs' dtype."""
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
        one_dtype = x.dtype == blobs["weight"].dtype == self.mean.dtype  # in a 16-bit net the sums are still float32
        if watched or not one_dtype or x.numel() == x.shape[1]:
            return super().forward_affine(layer, *bottoms)
        return (self._by_batch(x, blobs["weight"], blobs.get("bias")),)

    @staticmethod
    def _along_channels(numbers: Tensor, x: Tensor) -> Tensor:
        return numbers.to(x.dtype).view(-1, *(1,) * (x.dim() - 2))

    def _by_batch(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        if x.numel() == x.shape[1]:
            # A single number per channel is its own mean.
            self._store(x.detach().flatten().to(self.mean.dtype), torch.zeros_like(self.variance))
            return x - x
        # With a momentum of 1, torch stores the batch's mean, and its variance times m / (m - 1) for m numbers.
        mean, variance = self.mean.new_zeros((2, len(self.mean)))
        # Not F.batch_norm, which refuses an eps of 0.
        eps, cudnn = self.param.batch_norm_param.eps, torch.backends.cudnn.enabled
        top = torch.batch_norm(x, weight, bias, mean, variance, True, 1.0, eps, cudnn)
        self._store(mean, variance)
        return top

    @torch.no_grad()
    def _store(self, mean: Tensor, variance: Tensor) -> None:
        """Add a batch's statistics to the decayed sums."""
        # One call for several blobs: on a GPU the number of calls decides the time.
        fraction = self.param.batch_norm_param.moving_average_fraction
        torch._foreach_mul_([self.mean, self.variance, self.factor], fraction)
        torch._foreach_add_([self.mean, self.variance], [mean, variance])
        self.factor.add_(1)

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Return the factors and summands of the stored statistics, (C,) each, in float64."""
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
            advice = "its numbers depend on all images of a batch: build the net in phase TEST, with stored statistics"
            raise graph.unsupported("BatchNorm with the statistics of the batch", advice)
        stored = [numbers.detach().float().cpu().numpy() for numbers in self.statistics()]
        ones, zeros = np.ones_like(stored[0]), np.zeros_like(stored[0])
        roles = zip(("scale", "bias", *self.roles), (ones, zeros, *stored), strict=False)
        inputs = [*bottoms, *(graph.constant(role, numbers) for role, numbers in roles)]
        return [graph.node("BatchNormalization", inputs, tops[0], epsilon=self.param.batch_norm_param.eps)]
