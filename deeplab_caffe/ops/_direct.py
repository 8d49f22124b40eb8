"""Operators called without torch's dispatcher where nobody is looking."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def call(operator: Any, *args: Any) -> Any:
    """The result of a ``torch.library.custom_op``.

    Where no gradient is wanted and nothing traces, transforms or records, the function behind the operator is called:
    the first call through the dispatcher imports torch's compiler, 1.6 seconds and 80 MB.

    Args:
        operator: the operator.
        *args: its arguments; tensors may stand in lists.
    """
    function = getattr(operator, "_init_fn", None)
    try:
        direct = function is not None and _unobserved(args)
    except AttributeError:  # a torch that keeps these things elsewhere
        direct = False
    return function(*args) if direct else operator(*args)


def _unobserved(args: tuple[Any, ...]) -> bool:
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.profiler._is_profiler_enabled:
        return False
    if torch.autograd.forward_ad._current_level >= 0:
        return False
    tensors = [x for arg in args for x in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(x, Tensor)]
    return all(
        type(x) in (Tensor, torch.nn.Parameter)
        and x.device.type in ("cpu", "cuda")
        and not (x.requires_grad and torch.is_grad_enabled())
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
        for x in tensors
    )
