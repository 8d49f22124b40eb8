"""Caffe's update rules: SGD with momentum, Nesterov's momentum, AdaGrad, RMSProp, AdaDelta, Adam.

Source: ``ComputeUpdateValue`` of DeepLab v1's solver.cpp and of BVLC's solvers/*_solver.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.errors import SolverError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver.parameters import ParameterBlob

REGULARIZATIONS = ("L2", "L1", "L2sqrt")
_Tensors = list[Tensor] | tuple[Tensor, ...]
# Lower bound of a blob's norm in the regularization L2sqrt.
_LEAST_NORM = 1e-6


class UpdateRule:
    """An update rule: computes the changes of the parameters from their gradients.

    Args:
        param: the solver's parameters.
        blobs: the parameter blobs, from :func:`deeplab_caffe.solver.parameters.collect_parameters`.

    Attributes:
        history: the history of a ``.solverstate``, one tensor per blob: for SGD and Nesterov the momentum, which
            includes the learning rate; for AdaGrad the sum of the squared gradients; for RMSProp their running mean.
            AdaDelta (running means of squared gradients and of squared updates) and Adam (running means of gradients
            and of squared gradients) have two per blob: the first ones of all blobs, then the second ones.
        values: what the last update subtracted from each blob (Caffe leaves it in the blob's diff); None before the
            first update.

    Raises:
        SolverError: the solver's parameters are not consistent; the error's ``field`` names the wrong field.
    """

    TYPE: ClassVar[str]
    # Skip blobs with learning rate 0 and a history of zeros: the rule would not change them.
    skips_frozen: ClassVar[bool] = True
    # Number of history tensors per blob.
    histories: ClassVar[int] = 1
    # Number of float32 copies of the parameters that an update needs: the history, and the update if it is separate.
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
        self.clip_gradients = param.clip_gradients
        self.weight_decay = param.weight_decay
        self.regularization = param.regularization_type
        with torch.no_grad():
            self.history = [torch.zeros_like(blob.parameter) for blob in blobs * self.histories]
        self.values: list[Tensor] | None = None
        self._groups: list[list[int]] = []
        self._owners = sorted({blob.owner for blob in blobs if blob.owner is not None})
        self.regroup()

    def regroup(self) -> None:
        """Find the blobs that are updated together; call it after :attr:`history` was changed from outside."""
        groups: dict[object, list[int]] = {}
        # Owners of updated shared blobs cannot be skipped: the changes of the other blobs are added to their update.
        owners = {blob.owner for blob in self.blobs if blob.lr_mult != 0}
        for i, blob in enumerate(self.blobs):
            if self.skips_frozen and blob.lr_mult == 0 and i not in owners and not self.history[i].any():
                continue
            # One call for all on a GPU, where calls are expensive; blob by blob on the CPU, where caches are small.
            together = (blob.lr_mult, blob.decay_mult) if blob.parameter.is_cuda else i
            groups.setdefault(together, []).append(i)
        self._groups = list(groups.values())

    def to(self, device: torch.device) -> None:
        """Move the history to the parameters' device."""
        self.history = [history.to(device) for history in self.history]
        self.values = None
        self.regroup()

    @torch.no_grad()
    def clip(self, gradients: Sequence[Tensor | None]) -> tuple[float, float] | None:
        """Scale the gradients down, in place, to the L2 norm ``clip_gradients``; call it before all else.

        Args:
            gradients: gradients of all blobs, summed over ``iter_size``.

        Returns:
            The gradients' L2 norm and the factor; None if they are not scaled.
        """
        given = [gradient for gradient in gradients if gradient is not None]
        if self.clip_gradients < 0 or not given:
            return None
        norm = float(torch.stack(torch._foreach_norm(given)).norm())
        if not norm > self.clip_gradients:
            return None
        factor = float(np.float32(self.clip_gradients) / np.float32(norm))
        torch._foreach_mul_(given, factor)
        return norm, factor

    @torch.no_grad()
    def apply(self, gradients: list[Tensor | None], rate: float, iteration: int = 0) -> None:
        """Update the parameters; the gradients are overwritten.

        Args:
            gradients: one per blob, in its shape; None counts as zeros.
            rate: the learning rate.
            iteration: number of earlier updates, for Adam.
        """
        values = list(self.history[: len(self.blobs)] if self.values is None else self.values)
        for group in self._groups:
            first = self.blobs[group[0]]
            parameters: list[Tensor] = [self.blobs[i].parameter for i in group]
            given = [gradients[i] for i in group]
            diffs = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, given, strict=True)]
            histories = [[self.history[i + part * len(self.blobs)] for i in group] for part in range(self.histories)]
            # A product of float32 numbers, as in the original.
            local_rate = float(np.float32(rate) * np.float32(first.lr_mult) * self._correction(iteration))
            self._regularize(parameters, diffs, float(np.float32(self.weight_decay) * np.float32(first.decay_mult)))
            for i, value in zip(group, self._step(diffs, local_rate, *histories), strict=True):
                values[i] = value
        self.values = values
        self._add_up_shared()
        for group in self._groups:
            own = [i for i in group if self.blobs[i].owner is None]
            if own:
                torch._foreach_sub_([self.blobs[i].parameter for i in own], [self.values[i] for i in own])

    def _add_up_shared(self) -> None:
        """Add the changes of blobs that share memory to their owner's change (net.cpp, Update)."""
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

    def _correction(self, iteration: int) -> np.float32:
        """Return a factor of the learning rate; Adam's bias correction."""
        return np.float32(1)

    def _step(self, diffs: list[Tensor], rate: float, *histories: list[Tensor]) -> Sequence[Tensor]:
        """Update the histories; return the values to subtract from the parameters."""
        raise NotImplementedError


class SGD(UpdateRule):
    """``V = momentum * V + rate * (gradient + decay * W); W -= V``."""

    TYPE = "SGD"
    buffers = 1

    def _step(self, diffs: list[Tensor], rate: float, *histories: list[Tensor]) -> list[Tensor]:
        (history,) = histories
        torch._foreach_mul_(history, self.momentum)
        torch._foreach_add_(history, diffs, alpha=rate)
        return history


class Nesterov(UpdateRule):
    """``V' = momentum * V + rate * (gradient + decay * W); W -= (1 + momentum) * V' - momentum * V``."""

    TYPE = "Nesterov"

    def _step(self, diffs: list[Tensor], rate: float, *histories: list[Tensor]) -> Sequence[Tensor]:
        (history,) = histories
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
        _check_no_momentum(param)
        super().__init__(param, blobs)
        self.delta = param.delta

    def _step(self, diffs: list[Tensor], rate: float, *histories: list[Tensor]) -> Sequence[Tensor]:
        (history,) = histories
        torch._foreach_addcmul_(history, diffs, diffs)
        return _over_root(diffs, history, self.delta, rate)


class RMSProp(UpdateRule):
    """``H = d * H + (1 - d) * g * g; W -= rate * g / (sqrt(H) + delta)``, ``d`` is ``rms_decay``; no momentum."""

    TYPE = "RMSProp"
    skips_frozen = False

    def __init__(self, param: caffe_pb2.SolverParameter, blobs: list[ParameterBlob]) -> None:
        _check_no_momentum(param)
        _check_share("rms_decay", param.rms_decay)
        super().__init__(param, blobs)
        self.delta, self.rms_decay = param.delta, param.rms_decay

    def _step(self, diffs: list[Tensor], rate: float, *histories: list[Tensor]) -> Sequence[Tensor]:
        (history,) = histories
        _into_mean_of_squares(history, diffs, self.rms_decay)
        return _over_root(diffs, history, self.delta, rate)


class AdaDelta(UpdateRule):
    """``H = m * H + (1 - m) * g * g; u = g * sqrt((K + delta) / (H + delta)); K = m * K + (1 - m) * u * u``.

    ``W -= rate * u``; ``m`` is ``momentum``.
    """

    TYPE = "AdaDelta"
    skips_frozen = False
    histories = 2
    buffers = 3

    def __init__(self, param: caffe_pb2.SolverParameter, blobs: list[ParameterBlob]) -> None:
        super().__init__(param, blobs)
        self.delta = param.delta

    def _step(self, diffs: list[Tensor], rate: float, *histories: list[Tensor]) -> Sequence[Tensor]:
        squares, updates = histories
        _into_mean_of_squares(squares, diffs, self.momentum)
        steps = torch._foreach_add(updates, self.delta)
        torch._foreach_div_(steps, torch._foreach_add(squares, self.delta))
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, diffs)
        _into_mean_of_squares(updates, steps, self.momentum)
        torch._foreach_mul_(steps, rate)
        return steps


class Adam(UpdateRule):
    """``M = b * M + (1 - b) * g; V = c * V + (1 - c) * g * g; W -= rate * r(t) * M / (sqrt(V) + delta)``.

    ``b`` is ``momentum``, ``c`` is ``momentum2`` and ``r(t) = sqrt(1 - c^t) / (1 - b^t)`` in update ``t``, which counts
    from 1. As in the original, ``delta`` is not corrected.
    """

    TYPE = "Adam"
    skips_frozen = False
    histories = 2
    buffers = 3

    def __init__(self, param: caffe_pb2.SolverParameter, blobs: list[ParameterBlob]) -> None:
        _check_share("momentum2", param.momentum2)
        super().__init__(param, blobs)
        self.delta, self.momentum2 = param.delta, param.momentum2

    def _correction(self, iteration: int) -> np.float32:
        update = iteration + 1
        return np.float32(math.sqrt(1 - self.momentum2**update) / (1 - self.momentum**update))

    def _step(self, diffs: list[Tensor], rate: float, *histories: list[Tensor]) -> Sequence[Tensor]:
        means, squares = histories
        torch._foreach_mul_(means, self.momentum)
        torch._foreach_add_(means, diffs, alpha=1 - self.momentum)
        _into_mean_of_squares(squares, diffs, self.momentum2)
        return _over_root(means, squares, self.delta, rate)


def _into_mean_of_squares(mean: list[Tensor], values: _Tensors, decay: float) -> None:
    """Update a running mean of squares in place: ``decay * mean + (1 - decay) * values^2``."""
    torch._foreach_mul_(mean, decay)
    torch._foreach_addcmul_(mean, values, values, value=1 - decay)


def _over_root(values: list[Tensor], squares: list[Tensor], delta: float, rate: float) -> Sequence[Tensor]:
    """Return ``rate * values / (sqrt(squares) + delta)``."""
    scales = torch._foreach_sqrt(squares)
    torch._foreach_add_(scales, delta)
    steps = torch._foreach_div(values, scales)
    torch._foreach_mul_(steps, rate)
    return steps


def _check_no_momentum(param: caffe_pb2.SolverParameter) -> None:
    if param.momentum != 0:
        raise SolverError(f"momentum must be 0 for {param.type}, got {param.momentum:g}", field="momentum")


def _check_share(field: str, value: float) -> None:
    if not 0 <= value < 1:
        raise SolverError(f"{field} must be at least 0 and below 1, got {value:g}", field=field)


RULES: dict[str, type[UpdateRule]] = {rule.TYPE: rule for rule in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)}


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
        SolverError: there is no such rule, or its parameters are not consistent.
    """
    return rule_class(param)(param, blobs)
