"""The parameter blobs that a solver updates, in the order in which Caffe's files have them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer, legacy_shape
from deeplab_caffe.net import Net


@dataclass(frozen=True, eq=False)
class ParameterBlob:
    """One parameter blob of one layer, as an update sees it.

    Attributes:
        layer: the layer.
        index: number of the blob in the layer.
        parameter: its values; a blob that shares another's has a Parameter of its own over the same memory, so that
            each has a gradient of its own.
        lr_mult: factor on the learning rate (``blobs_lr``).
        decay_mult: factor on the weight decay (``weight_decay``).
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
        """The shape in 2014 Caffe's four dimensions."""
        return legacy_shape(tuple(self.parameter.shape))

    def __str__(self) -> str:
        return f"layer '{self.layer.name}', parameter blob {self.index}"


def collect_parameters(net: Net) -> list[ParameterBlob]:
    """All parameter blobs in net order, shared ones as often as layers use them (net.cpp, AppendParam).

    Where layers share a parameter, all but the first get a Parameter of their own over the same memory. Blobs with
    ``blobs_lr: 0``, and those that no loss depends on, no longer ask for a gradient.

    Raises:
        NetError: a negative or not finite ``blobs_lr``.
    """
    found: list[ParameterBlob] = []
    owners: dict[int, int] = {}
    trained = _layers_below_losses(net)
    for layer in net.layers:
        names = list(layer.named_blobs)
        rates = list(layer.param.blobs_lr) or [1.0] * len(names)
        decays = list(layer.param.weight_decay) or [1.0] * len(names)
        for index, name in enumerate(names):
            if not 0 <= rates[index] < float("inf"):
                raise NetError(f"blobs_lr must be finite and not negative, got {rates[index]:g}", layer.name)
            parameter = getattr(layer, name)
            owner = owners.setdefault(id(parameter), len(found))
            shares = owner != len(found)
            if shares:
                parameter = nn.Parameter(parameter.detach())
                setattr(layer, name, parameter)
            parameter.requires_grad_(rates[index] > 0 and layer.name in trained)
            found.append(ParameterBlob(layer, index, parameter, rates[index], decays[index], owner if shares else None))
    return found


def _layers_below_losses(net: Net) -> set[str]:
    """Names of the layers that a loss depends on in a way that can be differentiated."""
    needed: set[str] = set()
    trained: set[str] = set()
    for step in reversed(net.steps):
        asked = any(top in needed for top in step.tops) or any(step.loss_weights)
        needed -= set(step.tops)
        if asked and step.layer.differentiable:
            trained.add(step.layer.name)
            needed |= {name for i, name in enumerate(step.bottoms) if step.layer.allows_gradient(i)}
    return trained
