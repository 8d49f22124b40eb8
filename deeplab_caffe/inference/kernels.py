"""The steps of a graph made ready to run: weights prepared, algorithms chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.inference.autotune import Autotuner
from deeplab_caffe.inference.convolution import spec_of
from deeplab_caffe.inference.precision import Precision
from deeplab_caffe.layers import ConvolutionFact, Layer, MaxPoolingFact, Shape
from deeplab_caffe.net.graph import Step
from deeplab_caffe.ops.max_pool import max_pool

Kernel = Callable[[Sequence[Tensor]], Sequence[Tensor]]

_HALF = (torch.bfloat16, torch.float16)


def prepare(
    step: Step,
    shapes: Sequence[Shape],
    device: torch.device,
    precision: Precision,
    autotuner: Autotuner,
    *,
    release: bool,
) -> Kernel:
    """Make a step ready. It refers to nothing of the layer's weights then.

    Args:
        step: what to run; its layer is left as it is, but for ``release``.
        shapes: of the bottoms that it will mostly see.
        device: where it will run.
        precision: what to compute in.
        autotuner: chooses among the algorithms for a convolution.
        release: the layer's own weights are given up.

    Raises:
        NetError: the layer cannot be computed; the message names it.
    """
    layer = step.layer
    try:
        match layer.fact:
            case ConvolutionFact() as fact:
                kernel = _convolution(layer, fact, step.activation, shapes[0], device, precision, autotuner)
            case MaxPoolingFact() as fact:
                kernel = _max_pooling(layer, fact)
            case _:
                kernel = _layer(layer, step.activation, device, precision)
    except (DeepLabCaffeError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError) as error:
        raise layer.error(f"{type(error).__name__}: {error}") from error
    if release:
        layer.release()
    return kernel


def _convolution(
    layer: Layer,
    fact: ConvolutionFact,
    activation: Layer | None,
    shape: Shape,
    device: torch.device,
    precision: Precision,
    autotuner: Autotuner,
) -> Kernel:
    dtype = torch.float32 if fact.engine == "CAFFE" else precision.dtype
    spec = spec_of(fact, layer.named_blobs, activation is not None, device, dtype)
    run = autotuner.choose(layer.name, fact.engine, spec, shape)
    return lambda given: [run(x.to(dtype, memory_format=torch.channels_last)) for x in given]


def _max_pooling(layer: Layer, fact: MaxPoolingFact) -> Kernel:
    """Use our own pooling: torch's writes, beside each maximum, where it was: several times the memory traffic."""

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        height, width = layer.top_shapes([tuple(given[0].shape)])[0][2:]
        return [max_pool(given[0], fact.kernel, fact.stride, fact.pad, (height, width))]

    return kernel


def _layer(layer: Layer, activation: Layer | None, device: torch.device, precision: Precision) -> Kernel:
    dtype = precision.dtype if layer.supports_half else torch.float32
    twin = layer.frozen(device, dtype)
    behind = None if activation is None else activation.frozen(device, dtype)
    weighted = bool(twin.blobs)

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        if not twin.supports_half:
            given = [x.float() if x.dtype in _HALF else x for x in given]
        elif weighted:
            given = [x.to(dtype) for x in given]
        tops: Sequence[Tensor] = twin(*given) if behind is None else twin.forward_fused(behind, *given)
        return tops

    return kernel
