"""Prepare the steps of a graph to run: prepare weights, choose algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.inference.autotune import Autotuner
from deeplab_caffe.inference.convolution import spec_of
from deeplab_caffe.layers import AffineFact, ConvolutionFact, Layer, MaxPoolingFact, RectifierFact, Shape
from deeplab_caffe.net.graph import Step
from deeplab_caffe.net.optimized import Precision
from deeplab_caffe.ops.max_pool import max_pool
from deeplab_caffe.ops.onednn_limits import HALF

Kernel = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def prepare(
    step: Step,
    shapes: Sequence[Shape],
    device: torch.device,
    precision: Precision,
    autotuner: Autotuner,
    *,
    release: bool,
) -> Kernel:
    """Prepare a step to run; the result has no reference to the layer's weights.

    Args:
        step: the step; its layer is not changed, except by ``release``.
        shapes: shapes of the most frequent bottoms.
        device: device to run on.
        precision: precision to compute in.
        autotuner: chooses among the algorithms for a convolution.
        release: free the memory of the layer's own weights.

    Raises:
        NetError: the layer cannot be computed; the message names it.
    """
    layer = step.layer
    try:
        match layer.fact:
            case ConvolutionFact() as fact:
                kernel = _convolution(step, fact, shapes[0], device, precision, autotuner, copy=not release)
            case AffineFact() if len(shapes[0]) > 1:
                kernel = _affine(step, shapes[0], device)
            case MaxPoolingFact() as fact:
                kernel = _max_pooling(layer, fact)
            case _:
                kernel = _layers(step, device, precision)
    except (DeepLabCaffeError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError) as error:
        raise layer.error(f"{type(error).__name__}: {error}") from error
    if release:
        for each in step.layers:
            each.release()
    return kernel


def _convolution(
    step: Step,
    fact: ConvolutionFact,
    shape: Shape,
    device: torch.device,
    precision: Precision,
    autotuner: Autotuner,
    *,
    copy: bool,
) -> Kernel:
    layer, addition, spare = step.layer, step.addition, step.spare
    dtype = torch.float32 if fact.engine == "CAFFE" else precision.dtype
    blobs = layer.named_blobs
    sources, numbers = list(blobs.values()), b""
    if step.affine:
        factor, summand = composed(step.affine)
        blobs = folded(blobs, factor, summand)
        numbers = factor.numpy().tobytes() + summand.numpy().tobytes()
    options = {"adds": addition is not None, "fast": precision.fast, "copy": copy}
    spec = spec_of(fact, blobs, step.activation, device, dtype, **options)
    run = autotuner.choose(layer.name, fact.engine, spec, shape, sources, numbers)

    def cast(x: Tensor) -> Tensor:
        return x.to(dtype, memory_format=torch.channels_last)

    if addition is None:
        return lambda given: [run(cast(x)) for x in given]
    shapes = step.without_weights().top_shapes

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        x, other = given
        shapes([tuple(x.shape), tuple(other.shape)])
        return [run(cast(x), cast(other), spare)]

    return kernel


def composed(affine: Sequence[Layer]) -> tuple[Tensor, Tensor]:
    """Return factors and summands of consecutive layers with an :class:`AffineFact`, combined in float64.

    Returns:
        Factors and summands, (C,) or (1,) each.
    """
    factor, summand = torch.ones(1).double(), torch.zeros(1).double()
    for layer in affine:
        fact = layer.fact
        assert isinstance(fact, AffineFact)
        more, plus = (numbers.to("cpu") for numbers in fact.numbers())
        factor, summand = factor * more, summand * more + plus
    return factor, summand


def folded(blobs: Mapping[str, Tensor], factor: Tensor, summand: Tensor) -> dict[str, Tensor]:
    """Return a convolution's ``weight`` (O, ...) and ``bias`` (O,) with factors and summands folded in, in float64."""
    weight = blobs["weight"].detach().double()
    factor, summand = factor.to(weight.device), summand.to(weight.device)
    bias = blobs["bias"].detach().double() * factor if "bias" in blobs else torch.zeros_like(weight[:, 0, 0, 0])
    return {"weight": weight * factor.view(-1, 1, 1, 1), "bias": bias + summand}


def _affine(step: Step, shape: Shape, device: torch.device) -> Kernel:
    """Run affine layers and a ReLU in one pass, by torch's batch normalisation.

    Its factors and summands are float32 for bottoms of any dtype.
    """
    layers = (step.layer, *step.affine)
    factor, summand = (numbers.expand(shape[1]).to(device, torch.float32) for numbers in composed(layers))
    zeros, ones = torch.zeros_like(factor), torch.ones_like(factor)
    rectifier = None if step.activation is None else step.activation.fact
    half = all(layer.supports_half for layer in layers)

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        x = given[0] if half else given[0].float()
        y = F.batch_norm(x, zeros, ones, factor, summand, eps=0.0)
        return [rectifier.apply_(y) if isinstance(rectifier, RectifierFact) else y]

    return kernel


def _max_pooling(layer: Layer, fact: MaxPoolingFact) -> Kernel:
    """Use this package's pooling; torch's also writes the index of each maximum, which multiplies memory traffic."""

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        height, width = layer.top_shapes([tuple(given[0].shape)])[0][2:]
        return [max_pool(given[0], fact.kernel, fact.stride, fact.pad, (height, width))]

    return kernel


def _layers(step: Step, device: torch.device, precision: Precision) -> Kernel:
    """Run the layers themselves, one after the other."""
    first, *others = (_layer(layer, device, precision) for layer in step.layers)

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        tops = first(given)
        for each in others:
            tops = each(tops)
        return tops

    return kernel if others else first


def _layer(layer: Layer, device: torch.device, precision: Precision) -> Kernel:
    dtype = precision.dtype if layer.supports_half else torch.float32
    twin = layer.frozen(device, dtype)
    weighted = bool(twin.blobs)

    def kernel(given: Sequence[Tensor]) -> Sequence[Tensor]:
        if not twin.supports_half:
            given = [x.float() if x.dtype in HALF else x for x in given]
        elif weighted:
            given = [x.to(dtype) for x in given]
        tops: Sequence[Tensor] = twin(*given)
        return tops

    return kernel
