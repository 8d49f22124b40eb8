"""The parameter blobs that a solver updates, in the order in which Caffe's files have them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer
from deeplab_caffe.net import Net
from deeplab_caffe.proto import caffe_pb2


@dataclass(frozen=True, eq=False)
class ParameterBlob:
    """One parameter blob of one layer, as an update sees it.

    Attributes:
        layer: the layer.
        index: number of the blob in the layer.
        parameter: its values; a blob that shares another's has a Parameter of its own over the same memory, so that
            each has a gradient of its own.
        lr_mult: factor on the learning rate (in the V1 layout ``blobs_lr``).
        decay_mult: factor on the weight decay (in the V1 layout ``weight_decay``).
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
        """Return the shape that Caffe's files give it."""
        return self.layer.blob_shape(self.parameter.shape)

    def __str__(self) -> str:
        return f"layer '{self.layer.name}', parameter blob {self.index}"


def collect_parameters(net: Net) -> list[ParameterBlob]:
    """Return all parameter blobs in net order (net.cpp, AppendParam).

    DeepLab v1 updates a shared parameter as often as layers use it: all but the first get a Parameter of their own over
    the same memory. In v2 the first layer's blob is updated with the sum of the gradients. Blobs with ``lr_mult: 0``,
    and those that no loss depends on, no longer ask for a gradient.

    Raises:
        NetError: an ``lr_mult`` is negative or not finite.
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
            if not 0 <= rate < float("inf"):
                raise NetError(f"lr_mult (blobs_lr) must be finite and not negative, got {rate:g}", layer.name)
            # Not the attribute: a layer may see a shared parameter in another shape.
            parameter = layer._parameters[name]
            assert parameter is not None
            owner = owners.setdefault(id(parameter), len(found))
            shares = owner != len(found)
            if shares and layer.context.dialect.updates_shared_once:
                found[owner] = _joined(found[owner], spec)
                learns = parameter.requires_grad or layer.name in trained
                parameter.requires_grad_(learns and found[owner].lr_mult > 0)
                continue
            if shares:
                parameter = nn.Parameter(parameter.detach())
                setattr(layer, name, parameter)
            parameter.requires_grad_(rate > 0 and layer.name in trained)
            found.append(ParameterBlob(layer, index, parameter, rate, spec.decay_mult, owner if shares else None))
    return found


def _joined(owner: ParameterBlob, spec: caffe_pb2.ParamSpec) -> ParameterBlob:
    """Return the owner with the factors that a layer which shares it gives: the same, or such as it leaves out."""
    given = {name: getattr(spec, name) for name in ("lr_mult", "decay_mult") if spec.HasField(name)}
    return replace(owner, **given)


def _layers_below_losses(net: Net) -> set[str]:
    """Return the names of the layers that a loss depends on in a way that can be differentiated."""
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
