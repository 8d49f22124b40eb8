"""The operations of a plan made ready to run: weights prepared, ways chosen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.inference.autotune import Chooser
from deeplab_caffe.inference.convolution import spec_of
from deeplab_caffe.inference.precision import Precision
from deeplab_caffe.layers import Layer, Shape
from deeplab_caffe.layers.convolution import Convolution
from deeplab_caffe.layers.pooling import Pooling
from deeplab_caffe.net.graph import Operation
from deeplab_caffe.ops.max_pool import max_pool

Kernel = Callable[[Sequence[Tensor]], Sequence[Tensor]]

_HALF = (torch.bfloat16, torch.float16)


def prepare(
    operation: Operation,
    shapes: Sequence[Shape],
    device: torch.device,
    precision: Precision,
    chooser: Chooser,
    *,
    release: bool,
) -> Kernel:
    """Makes an operation ready. It refers to nothing of the layer's weights then.

    Args:
        operation: what to run; its layer is left as it is, but for ``release``.
        shapes: of the bottoms that it will mostly see.
        device: where it will run.
        precision: what to compute in.
        chooser: chooses among the ways to compute a convolution.
        release: the layer's own weights are given up.

    Raises:
        NetError: the layer cannot be computed; the message names it.
    """
    layer = operation.layer
    try:
        if isinstance(layer, Convolution):
            kernel = _convolution(layer, operation.relu, shapes[0], device, precision, chooser)
        elif isinstance(layer, Pooling) and layer.pools_maxima():
            kernel = _max_pooling(layer)
        else:
            kernel = _layer(layer, device, precision)
    except (DeepLabCaffeError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError) as error:
        raise layer.error(f"{type(error).__name__}: {error}") from error
    if release:
        _release(layer)
    return kernel


def _convolution(
    layer: Convolution, relu: bool, shape: Shape, device: torch.device, precision: Precision, chooser: Chooser
) -> Kernel:
    dtype = torch.float32 if layer.engine == "CAFFE" else precision.dtype
    run = chooser.choose(layer.name, layer.engine, spec_of(layer, relu, device, dtype), shape)
    return lambda given: [run(x.to(dtype, memory_format=torch.channels_last)) for x in given]


def _max_pooling(layer: Pooling) -> Kernel:
    """Torch's pooling writes, beside each maximum, where it was: several times the memory traffic."""
    g = layer.geometry

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        size = layer.top_shapes([tuple(given[0].shape)])[0][2:]
        return [max_pool(given[0], g.kernel, g.stride, g.pad, size)]

    return kernel


def _layer(layer: Layer, device: torch.device, precision: Precision) -> Kernel:
    twin = copy.copy(layer)
    dtype = precision.dtype if layer.HALF else torch.float32
    twin._parameters = {
        name: None if p is None else nn.Parameter(p.detach().to(device, dtype), requires_grad=False)
        for name, p in layer._parameters.items()
    }
    weighted = any(p is not None for p in twin._parameters.values())

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        if not twin.HALF:
            given = [x.float() if x.dtype in _HALF else x for x in given]
        elif weighted:
            given = [x.to(dtype) for x in given]
        return twin(*given)

    return kernel


def without_weights(layer: Layer) -> Layer:
    """A layer that knows the shapes of its weights and not their numbers."""
    twin = copy.copy(layer)
    twin._parameters = dict(layer._parameters)
    _release(twin)
    return twin


def _release(layer: Layer) -> None:
    """Lets go of a layer's weights, packed ones too: their shapes stay, their numbers do not."""
    for name, parameter in layer._parameters.items():
        if parameter is not None:
            layer._parameters[name] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    if isinstance(layer, Convolution):
        layer.packed = copy.deepcopy(layer.packed)
