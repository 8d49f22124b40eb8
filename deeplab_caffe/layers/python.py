"""The layer type Python: a class that the user wrote, as a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.blob import ParameterBlob
from deeplab_caffe.layers.lock import ForkSafeLock
from deeplab_caffe.layers.user_code import UserCode
from deeplab_caffe.proto import caffe_pb2

# A user's class has one set of blobs, so threads that share a net must run it one at a time.
_LOCK = ForkSafeLock()


class _OwnBlob(ParameterBlob):
    """A parameter blob that always refers to its layer's present parameter, even after the parameter is replaced."""

    def __init__(self, layer: Layer, role: str) -> None:
        self._layer, self._role = layer, role
        super().__init__(self.parameter, tuple(self.parameter.shape))

    @property
    def parameter(self) -> Tensor:
        """Return the parameter."""
        found: Tensor = getattr(self._layer, self._role)
        return found

    @parameter.setter
    def parameter(self, value: Tensor) -> None:
        setattr(self._layer, self._role, value)


@register
class PythonLayer(Layer):
    """A layer that the class ``layer`` of the Python module ``module`` computes, on the CPU (layers/python_layer.hpp).

    It runs the user's code, so it is refused unless the net is built with ``python_layers``. Without bottoms it is a
    data layer. The class finds ``param_str`` as ``self.param_str``; ``share_in_parallel`` does nothing.
    """

    TYPE = "Python"
    BOTTOMS = (0, math.inf)
    TOPS = (0, math.inf)
    capturable = per_item = False
    saves = ("bottoms", "tops")
    onnx_advice = "its class runs in Python alone: export a prototxt without it, and do its part outside of the model"
    code: UserCode

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        python = param.python_param
        if not context.python_layers:
            raise self.error(
                f"class '{python.layer}' of module '{python.module}' is code that the net would run: if you trust it, "
                "allow it by python_layers=True, or --python-layers"
            )
        self.is_source = not param.bottom
        if self.is_source and context.shard[1] > 1:
            raise self.error(f"{context.shard[1]} processes would all read the same data: a Python layer is not shared")
        self.code = UserCode(param, self.phase, self._add_parameter, unchanged=context.python_layers == "unchanged")

    def _add_parameter(self, shape: Shape) -> ParameterBlob:
        role = f"blob{len(self.roles)}"
        self.roles = (*self.roles, role)
        setattr(self, role, nn.Parameter(torch.zeros(shape)))
        return _OwnBlob(self, role)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self._reshape_bottoms(bottom_shapes)
        self.code.setup()

    def _reshape_bottoms(self, shapes: Sequence[Shape]) -> None:
        for blob, shape in zip(self.code.bottoms, shapes, strict=True):
            blob.reshape(*shape)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        # Under the lock too: a reshape between another thread's reshape and forward would replace that thread's arrays.
        with _LOCK:
            if [tuple(shape) for shape in bottom_shapes] != [blob.shape for blob in self.code.bottoms]:
                self._reshape_bottoms(bottom_shapes)
                self.code.reshape()
            return [blob.shape for blob in self.code.tops]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        tensors = (*bottoms, *self.blobs)
        if self.param.top and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            tops: tuple[Tensor, ...] = _Call.apply(self, *tensors)
            return tops
        return self.run(bottoms)

    def run(self, bottoms: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the tops that the user's class computes from these bottoms; autograd does not record it."""
        # Copy in and out: the class may change its arrays later, and torch would not notice.
        like = bottoms[0] if bottoms else torch.empty(0)
        with _LOCK:
            for blob, bottom in zip(self.code.bottoms, bottoms, strict=True):
                blob.write_data(bottom)
            self.code.forward()
            return tuple(blob.tensor().clone().to(like) for blob in self.code.tops)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None

    def release(self) -> None:
        """Keep the weights: the user's class reads them."""


class _Call(torch.autograd.Function):
    """The forward and backward pass of a user's class, for autograd."""

    @staticmethod
    def forward(ctx: Any, layer: PythonLayer, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.layer = layer
        bottoms = tensors[: len(layer.code.bottoms)]
        tops = layer.run(bottoms)
        ctx.save_for_backward(*bottoms, *tops)
        return tops

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        code: UserCode = ctx.layer.code
        inputs, needed = [*code.bottoms, *code.layer.blobs], ctx.needs_input_grad[1:]
        with _LOCK:
            for blob, value in zip([*code.bottoms, *code.tops], ctx.saved_tensors, strict=True):
                blob.write_data(value)
            for blob in inputs:
                blob.diff[...] = 0
            for blob, gradient in zip(code.tops, gradients, strict=True):
                blob.write_diff(gradient)
            code.backward(needed[: len(code.bottoms)])
            found = zip(inputs, needed, strict=True)
            return None, *(blob.diff_tensor().clone().to(gradients[0]) if asked else None for blob, asked in found)
