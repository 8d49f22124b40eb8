"""Convolutions on the CPU with gradients of our own: the layer Convolution uses them in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from deeplab_caffe.layers.base import is_channels_last
from deeplab_caffe.ops.depthwise import depthwise_conv2d
from deeplab_caffe.ops.hole_gradient import hole_weight_gradient, is_faster
from deeplab_caffe.ops.operator import is_batched, transforms_are_active
from deeplab_caffe.ops.packed_conv import Geometry as PackedGeometry
from deeplab_caffe.ops.packed_conv import packed_conv2d
from deeplab_caffe.ops.winograd import winograd_conv2d, winograd_weight

# Winograd's tile in training: a small one, because larger ones round more.
TILE = 2


class _ChannelsLastGradient(torch.autograd.Function):
    """The identity; its gradient is in channels-last memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return a view of x."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the gradient in channels-last memory."""
        return grad.contiguous(memory_format=torch.channels_last)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: tuple[int, int]) -> Tensor:
    """Convolve each channel with its own kernel; the result and the gradient are channels-last if x is.

    The operation itself returns planes, and planes in a channels-last net made BatchNorm's backward pass seven times as
    slow.
    """
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return depthwise_conv2d(x, weight, bias, *geometry)
    seen: Tensor = _ChannelsLastGradient.apply(x)
    return depthwise_conv2d(seen, weight, bias, *geometry).contiguous(memory_format=torch.channels_last)


def needs_gradient(x: Tensor, weight: Tensor) -> bool:
    """Return whether autograd records a convolution of x with the weight."""
    return torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)


def fits_own_kernels(x: Tensor, weight: Tensor) -> bool:
    """Return whether our own CPU operations can take these tensors: one dtype, and no compiling, autocast or vmap."""
    if x.dtype != weight.dtype or x.numel() == 0:
        return False
    return not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or transforms_are_active())


class DirectConvolution(torch.autograd.Function):
    """A convolution of channels-last images; the kernel's taps give the gradient of the weights where that is faster.

    With ``relu`` the result is rectified before it is written: a pass over memory less than a ReLU behind it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: PackedGeometry, relu: bool
    ) -> Tensor:
        """Return the convolution (N, O, OH, OW), or with ``relu`` max(y, 0) of it, channels-last."""
        y = packed_conv2d(x, weight, bias, geometry, relu=True) if relu else conv2d(x, weight, bias, *geometry)
        ctx.save_for_backward(x, weight, *([y] if relu else []))
        ctx.geometry, ctx.biases = geometry, None if bias is None else list(bias.shape)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight, *rectified = ctx.saved_tensors
        grad = _before_rectifier(grad, *rectified) if rectified else grad
        return (*_gradients(grad, x, weight, ctx.biases, ctx.geometry, ctx.needs_input_grad[:3]), None, None)


def _is_for_torch(grad: Tensor) -> bool:
    """Return whether the backward pass is differentiated again, or is of several gradients: torch computes it then."""
    return torch.is_grad_enabled() or transforms_are_active() or is_batched(grad)


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, biases: list[int] | None, geometry: PackedGeometry, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x, weight and bias that are wanted; torch computes them for double backward or vmap."""
    stride, pad, dilation, groups = geometry
    numbers = (biases, stride, pad, dilation, False, [0, 0], groups)
    of_x, of_weight, of_bias = wanted
    if not of_weight or _is_for_torch(grad) or not is_faster(x, weight, grad.shape[2:], geometry):
        found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(grad, x, weight, *numbers, list(wanted))
        return found
    grad_x, _, _ = torch.ops.aten.convolution_backward(grad, x, weight, *numbers, [of_x, False, False])
    grad_weight = hole_weight_gradient(x, grad, weight.shape[2:], geometry)
    return grad_x if of_x else None, grad_weight, grad.sum((0, 2, 3)) if of_bias else None


def _before_rectifier(grad: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of what a ReLU made y of, by the gradient of y."""
    found: Tensor = torch.ops.aten.threshold_backward(grad, y, 0)
    return found


class WinogradConvolution(torch.autograd.Function):
    """A 3x3 convolution of stride 1; Winograd's algorithm computes the result and the gradient of the input.

    The weights change in every training step, so they are transformed anew in every step.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        pad: tuple[int, int],
        dilation: tuple[int, int],
        relu: bool,
    ) -> Tensor:
        """Return the convolution (N, O, OH, OW), or with ``relu`` max(y, 0) of it, channels-last if x is."""
        y = winograd_conv2d(x, winograd_weight(weight, TILE), weight.shape[0], bias, pad, dilation, relu=relu)
        y = y if is_channels_last(x) else y.contiguous()
        ctx.save_for_backward(x, weight, *([y] if relu else []))
        ctx.geometry, ctx.biases = (pad, dilation), None if bias is None else list(bias.shape)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias; torch computes them for double backward and under vmap."""
        x, weight, *rectified = ctx.saved_tensors
        pad, dilation = ctx.geometry
        grad = _before_rectifier(grad, *rectified) if rectified else grad
        wanted = list(ctx.needs_input_grad[:3])
        rest = (ctx.biases, [1, 1], pad, dilation, False, [0, 0], 1)
        if not wanted[0] or _is_for_torch(grad):
            return (*torch.ops.aten.convolution_backward(grad, x, weight, *rest, wanted), None, None, None)
        # The input's gradient is a convolution of the output's gradient, with mirrored kernels, and with input and
        # output channels exchanged.
        mirrored = winograd_weight(weight.flip(2, 3).transpose(0, 1), TILE)
        within = tuple(2 * h - p for h, p in zip(dilation, pad, strict=True))
        grad_x = winograd_conv2d(grad, mirrored, weight.shape[1], None, within, dilation)
        grad_x = grad_x if is_channels_last(x) else grad_x.contiguous()
        _, grad_weight, grad_bias = torch.ops.aten.convolution_backward(grad, x, weight, *rest, [False, *wanted[1:]])
        return grad_x, grad_weight, grad_bias, None, None, None
