"""The parameter blobs that a solver updates, in the order of Caffe's files."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import nn

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer
from deeplab_caffe.net import Net
from deeplab_caffe.proto import caffe_pb2


@dataclass(frozen=True, eq=False)
class ParameterBlob:
    """One parameter blob of one layer, for the update rules.

    Attributes:
        layer: the layer.
        index: number of the blob in the layer.
        parameter: the values. In DeepLab v1, a blob that shares another blob's values has its own Parameter over the
            same memory, so that it has its own gradient.
        lr_mult: factor of the learning rate (in the V1 layout ``blobs_lr``).
        decay_mult: factor of the weight decay (in the V1 layout ``weight_decay``).
        owner: number of the blob whose values this one shares, or None.
    """

    layer: Layer
    index: int
    parameter: nn.Parameter
    lr_mult: float
    decay_mult: float
    owner: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the blob's shape in Caffe's files."""
        return self.layer.blob_shape(self.parameter.shape)

    def __str__(self) -> str:
        return f"layer '{self.layer.name}', parameter blob {self.index}"


def collect_parameters(net: Net) -> list[ParameterBlob]:
    """Return all parameter blobs in net order (net.cpp, AppendParam).

    DeepLab v1 updates a shared parameter once for each layer that uses it: each layer but the first gets its own
    Parameter over the same memory. v2 updates it once, with the sum of the gradients. ``requires_grad`` becomes False
    for blobs with ``lr_mult: 0`` and for those that no loss depends on.

    Raises:
        NetError: an ``lr_mult`` is not finite.
    """
    found: list[ParameterBlob] = []
    owners: dict[int, int] = {}
    trained = _layers_below_losses(net)
    for layer in (step.layer for step in net.steps):
        names = [name for name, _ in layer.named_parameters(recurse=False)]
        specs = list(layer.param.param)
        specs += [caffe_pb2.ParamSpec() for _ in names[len(specs) :]]
        for index, (name, spec) in enumerate(zip(names, specs, strict=True)):
            rate = spec.lr_mult
            # A negative one climbs the loss, as an adversary's layers do.
            if not math.isfinite(rate):
                raise NetError(f"lr_mult (blobs_lr) must be finite, got {rate:g}", layer.name)
            # Not getattr: a layer may see a shared parameter in another shape.
            parameter = layer._parameters[name]
            assert parameter is not None
            owner = owners.setdefault(id(parameter), len(found))
            shares = owner != len(found)
            if shares and layer.context.dialect.updates_shared_once:
                found[owner] = _joined(found[owner], spec)
                learns = parameter.requires_grad or layer.name in trained
                parameter.requires_grad_(learns and found[owner].lr_mult != 0)
                continue
            if shares:
                parameter = nn.Parameter(parameter.detach())
                setattr(layer, name, parameter)
            parameter.requires_grad_(rate != 0 and layer.name in trained)
            found.append(ParameterBlob(layer, index, parameter, rate, spec.decay_mult, owner if shares else None))
    return found


def _joined(owner: ParameterBlob, spec: caffe_pb2.ParamSpec) -> ParameterBlob:
    """Return the owner with the factors that a layer which shares it gives; they equal the owner's or complete them."""
    given = {name: getattr(spec, name) for name in ("lr_mult", "decay_mult") if spec.HasField(name)}
    return replace(owner, **given)


def _layers_below_losses(net: Net) -> set[str]:
    """Return the names of the layers that get a gradient from a loss."""
    needed: set[str] = set()
    trained: set[str] = set()
    for step in reversed(net.steps):
        asked = any(top in needed for top in step.tops) or any(step.loss_weights)
        needed -= set(step.tops)
        if asked and step.layer.differentiable:
            trained.add(step.layer.name)
            stopped = () if net.param.force_backward else step.layer.stopped_bottoms
            needed |= {
                name for i, name in enumerate(step.bottoms) if step.layer.allows_gradient(i) and i not in stopped
            }
    return trained
