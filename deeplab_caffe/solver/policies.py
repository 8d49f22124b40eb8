"""Caffe's learning-rate policies (solver.cpp, GetLearningRate)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from google.protobuf.message import Message

from deeplab_caffe.errors import SolverError
from deeplab_caffe.proto import caffe_pb2

# Each policy and the fields that it needs.
POLICIES: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}


class LearningRate:
    """The learning rate as a function of the iteration, computed in float32 as in the original.

    ==========  ==================================================
    fixed       base_lr
    step        base_lr * gamma ^ floor(iteration / stepsize)
    exp         base_lr * gamma ^ iteration
    inv         base_lr * (1 + gamma * iteration) ^ -power
    multistep   base_lr * gamma ^ (number of stepvalues passed)
    poly        base_lr * (1 - iteration / max_iter) ^ power
    sigmoid     base_lr / (1 + exp(-gamma * (iteration - stepsize)))
    ==========  ==================================================

    Args:
        param: the solver's parameters.

    Attributes:
        current_step: how many steps ``step`` and ``multistep`` have taken; a ``.solverstate`` holds it.

    Raises:
        SolverError: the policy is unknown, or lacks a field; the error's ``field`` names the wrong field.
    """

    def __init__(self, param: caffe_pb2.SolverParameter) -> None:
        self.param = param
        self.current_step = 0
        policy = param.lr_policy
        if policy not in POLICIES:
            expected = ", ".join(POLICIES)
            raise SolverError(f"lr_policy: unknown policy {policy!r}: expected one of {expected}", field="lr_policy")
        if not param.HasField("base_lr"):
            raise SolverError("base_lr is not set", field="base_lr")
        if not (math.isfinite(param.base_lr) and param.base_lr >= 0):
            raise SolverError(f"base_lr must be finite and not negative, got {param.base_lr:g}", field="base_lr")
        message: Message = param
        for field in POLICIES[policy]:
            given = len(param.stepvalue) if field == "stepvalue" else message.HasField(field)
            if not given:
                raise SolverError(f'lr_policy: "{policy}" needs {field}, which is not set', field="lr_policy")
        if policy == "step" and param.stepsize < 1:
            raise SolverError(f"stepsize must be positive, got {param.stepsize}", field="stepsize")
        if policy == "poly" and param.max_iter < 1:
            raise SolverError(f"max_iter must be positive, got {param.max_iter}", field="max_iter")

    def __call__(self, iteration: int) -> float:
        """Return the rate of the update of ``iteration``; call it once per iteration, in order: multistep counts."""
        param = self.param
        base = param.base_lr
        try:
            # A negative number to the power of a fraction is NaN in C, but complex in Python.
            factor = self._factor(param.lr_policy, iteration)
            rate = math.nan if isinstance(factor, complex) else base * factor
        except (OverflowError, ZeroDivisionError):
            rate = math.inf
        if not math.isfinite(rate):
            raise SolverError(f"the learning rate of iteration {iteration} is {rate}")
        return float(np.float32(rate))

    def at(self, iteration: int) -> float:
        """Return the rate of an iteration's update without counting the call."""
        before = self.current_step
        try:
            return self(iteration)
        finally:
            self.current_step = before

    def _factor(self, policy: str, iteration: int) -> Any:
        param = self.param
        if policy == "step":
            self.current_step = iteration // param.stepsize
            return param.gamma**self.current_step
        if policy == "exp":
            return param.gamma**iteration
        if policy == "inv":
            return (1 + param.gamma * iteration) ** -param.power
        if policy == "multistep":
            values = param.stepvalue
            if self.current_step < len(values) and iteration >= values[self.current_step]:
                self.current_step += 1
            return param.gamma**self.current_step
        if policy == "poly":
            # Beyond max_iter, which only step() reaches, the original's power of a negative number is NaN; use 0.
            return max(0.0, 1 - iteration / param.max_iter) ** param.power
        if policy == "sigmoid":
            exponent = -param.gamma * (iteration - param.stepsize)
            return 1 / (1 + math.exp(exponent)) if exponent < 700 else 0.0
        return 1.0
