"""Caffe's update rules: SGD with momentum, Nesterov's momentum, AdaGrad (solver.cpp, ComputeUpdateValue)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.errors import SolverError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver.parameters import ParameterBlob

REGULARIZATIONS = ("L2", "L1", "L2sqrt")
# Below this a blob's norm counts as this much in L2sqrt.
_LEAST_NORM = 1e-6


class UpdateRule:
    """How gradients become changes of the parameters.

    Args:
        param: the solver's parameters.
        blobs: the parameter blobs, from :func:`deeplab_caffe.solver.parameters.collect_parameters`.

    Attributes:
        history: one tensor per blob, what a ``.solverstate`` holds: for SGD and Nesterov the momentum, which has the
            learning rate in it; for AdaGrad the sum of the squared gradients.
        values: what the last update took off each blob (Caffe leaves it in the blob's diff), or None before the first.

    Raises:
        SolverError: parameters that do not go together; its ``field`` is to blame.
    """

    TYPE: ClassVar[str]
    # A blob with learning rate 0 and an empty history is left out: it stays as it is.
    skips_frozen: ClassVar[bool] = True
    # Float32 copies of the parameters that an update keeps: its history, and the update where it is another array.
    buffers: ClassVar[int] = 2

    def __init__(self, param: caffe_pb2.SolverParameter, blobs: list[ParameterBlob]) -> None:
        if param.regularization_type not in REGULARIZATIONS:
            raise SolverError(
                f"regularization_type: unknown type {param.regularization_type!r}: "
                f"expected one of {', '.join(REGULARIZATIONS)}",
                field="regularization_type",
            )
        self.blobs = blobs
        self.momentum = param.momentum
        self.weight_decay = param.weight_decay
        self.regularization = param.regularization_type
        with torch.no_grad():
            self.history = [torch.zeros_like(blob.parameter) for blob in blobs]
        self.values: list[Tensor] | None = None
        self._groups: list[list[int]] = []
        self._owners = sorted({blob.owner for blob in blobs if blob.owner is not None})
        self.regroup()

    def regroup(self) -> None:
        """Find the blobs that are updated together; to be called when :attr:`history` was written to."""
        groups: dict[object, list[int]] = {}
        for i, blob in enumerate(self.blobs):
            if self.skips_frozen and blob.lr_mult == 0 and not self.history[i].any():
                continue
            # One call for all on a GPU, where calls are expensive; blob by blob on the CPU, where caches are small.
            together = (blob.lr_mult, blob.decay_mult) if blob.parameter.is_cuda else i
            groups.setdefault(together, []).append(i)
        self._groups = list(groups.values())

    def to(self, device: torch.device) -> None:
        """Follow the parameters to a device."""
        self.history = [history.to(device) for history in self.history]
        self.values = None
        self.regroup()

    @torch.no_grad()
    def apply(self, gradients: list[Tensor | None], rate: float) -> None:
        """Update the parameters; the gradients are overwritten.

        Args:
            gradients: one per blob, of its shape; None counts as zeros.
            rate: the learning rate.
        """
        values = list(self.history if self.values is None else self.values)
        for group in self._groups:
            first = self.blobs[group[0]]
            parameters: list[Tensor] = [self.blobs[i].parameter for i in group]
            given = [gradients[i] for i in group]
            diffs = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, given, strict=True)]
            history = [self.history[i] for i in group]
            # The product of two floats, as the original has it.
            local_rate = float(np.float32(rate) * np.float32(first.lr_mult))
            self._regularize(parameters, diffs, float(np.float32(self.weight_decay) * np.float32(first.decay_mult)))
            for i, value in zip(group, self._step(group, history, diffs, local_rate), strict=True):
                values[i] = value
        self.values = values
        self._add_up_shared()
        for group in self._groups:
            own = [i for i in group if self.blobs[i].owner is None]
            if own:
                torch._foreach_sub_([self.blobs[i].parameter for i in own], [self.values[i] for i in own])

    def _add_up_shared(self) -> None:
        """Add up the changes of blobs that share memory in their owner's (net.cpp, Update)."""
        assert self.values is not None
        for owner in self._owners:
            total = self.values[owner].clone()
            for i, blob in enumerate(self.blobs):
                if blob.owner == owner:
                    total += self.values[i]
            self.values[owner] = total

    def _regularize(self, parameters: list[Tensor], diffs: list[Tensor], decay: float) -> None:
        if decay == 0:
            return
        if self.regularization == "L2":
            torch._foreach_add_(diffs, parameters, alpha=decay)
        elif self.regularization == "L1":
            torch._foreach_add_(diffs, torch._foreach_sign(parameters), alpha=decay)
        else:
            for p, diff in zip(parameters, diffs, strict=True):
                diff.addcdiv_(p, torch.linalg.vector_norm(p).clamp(min=_LEAST_NORM), value=decay)

    def _step(self, group: list[int], history: list[Tensor], diffs: list[Tensor], rate: float) -> Sequence[Tensor]:
        """Bring the history forward; return what is to be taken off the parameters."""
        raise NotImplementedError


class SGD(UpdateRule):
    """``V = momentum * V + rate * (gradient + decay * W); W -= V``."""

    TYPE = "SGD"
    buffers = 1

    def _step(self, group: list[int], history: list[Tensor], diffs: list[Tensor], rate: float) -> list[Tensor]:
        torch._foreach_mul_(history, self.momentum)
        torch._foreach_add_(history, diffs, alpha=rate)
        return history


class Nesterov(UpdateRule):
    """``V' = momentum * V + rate * (gradient + decay * W); W -= (1 + momentum) * V' - momentum * V``."""

    TYPE = "Nesterov"

    def _step(self, group: list[int], history: list[Tensor], diffs: list[Tensor], rate: float) -> Sequence[Tensor]:
        steps = torch._foreach_mul(history, -self.momentum)
        torch._foreach_mul_(history, self.momentum)
        torch._foreach_add_(history, diffs, alpha=rate)
        torch._foreach_add_(steps, history, alpha=1 + self.momentum)
        return steps


class AdaGrad(UpdateRule):
    """``H += g * g; W -= rate * g / (sqrt(H) + delta)`` with ``g = gradient + decay * W``; no momentum."""

    TYPE = "AdaGrad"
    skips_frozen = False

    def __init__(self, param: caffe_pb2.SolverParameter, blobs: list[ParameterBlob]) -> None:
        if param.momentum != 0:
            raise SolverError(f"momentum must be 0 for AdaGrad, got {param.momentum:g}", field="momentum")
        super().__init__(param, blobs)
        self.delta = param.delta

    def _step(self, group: list[int], history: list[Tensor], diffs: list[Tensor], rate: float) -> Sequence[Tensor]:
        torch._foreach_addcmul_(history, diffs, diffs)
        scales = torch._foreach_sqrt(history)
        torch._foreach_add_(scales, self.delta)
        steps = torch._foreach_div(diffs, scales)
        torch._foreach_mul_(steps, rate)
        return steps


RULES: dict[str, type[UpdateRule]] = {rule.TYPE: rule for rule in (SGD, Nesterov, AdaGrad)}


def rule_class(param: caffe_pb2.SolverParameter) -> type[UpdateRule]:
    """Return the class of the update rule that ``type`` names.

    Raises:
        SolverError: there is no such rule.
    """
    if param.type not in RULES:
        known = ", ".join(RULES)
        raise SolverError(f"solver type '{param.type}' is not implemented: expected one of {known}", field="type")
    return RULES[param.type]


def create_rule(param: caffe_pb2.SolverParameter, blobs: list[ParameterBlob]) -> UpdateRule:
    """Return the update rule that ``type`` names.

    Raises:
        SolverError: there is no such rule, or its parameters do not go together.
    """
    return rule_class(param)(param, blobs)
