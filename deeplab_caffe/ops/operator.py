"""Operations over :mod:`deeplab_caffe.arrays`, defined once: a custom operator for torch, a function for the others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from deeplab_caffe.arrays import Arrays, arrays_of

_LOCK = threading.Lock()


class Operator:
    """An operation whose arguments are arrays, lists of arrays, and numbers; see :func:`operator`."""

    def __init__(self, schema: str, result: Callable[..., Any], body: Callable[..., None]) -> None:
        self.name, _, arguments = schema.partition("(")
        self._schema = f"({arguments}"
        self._result = result
        self._body = body
        self._gradient: tuple[Callable[..., Any], Callable[..., Any]] | None = None
        self._registered: Any = None
        self.__doc__ = body.__doc__
        if sys.modules.get("torch") is not None:
            self._register()

    def differentiate(self, save: Callable[..., None], gradient: Callable[..., Any]) -> None:
        """Register the gradient with torch.

        Args:
            save: ``setup_context`` of ``torch.library.register_autograd``.
            gradient: ``backward`` of ``torch.library.register_autograd``.
        """
        self._gradient = save, gradient
        if self._registered is not None:
            self._registered.register_autograd(gradient, setup_context=save)

    @property
    def torch(self) -> Any:
        """Return torch's operator, a ``torch.library.CustomOpDef``."""
        return self._registered or self._register()

    def _register(self) -> Any:
        import torch

        with _LOCK:
            if self._registered is None:
                registered = torch.library.custom_op(
                    f"deeplab_caffe::{self.name}", self._of_tensors, mutates_args=(), schema=self._schema
                )
                registered.register_fake(lambda *args: self._result(arrays_of(_first(args)), *args))
                if self._gradient is not None:
                    save, gradient = self._gradient
                    registered.register_autograd(gradient, setup_context=save)
                self._registered = registered
        return self._registered

    def _of_tensors(self, *args: Any) -> Any:
        return self._run(arrays_of(_first(args)), args)

    def _run(self, xp: Arrays, args: tuple[Any, ...]) -> Any:
        if xp.index < 0 and xp.device != "cpu":
            raise ValueError(f"{self.name}: expected a tensor on cpu or cuda, got one on {xp.device}")
        with xp.scope():
            result = self._result(xp, *args)
            self._body(xp, result, *args)
        return result

    def __call__(self, *args: Any) -> Any:
        """Return the result.

        torch's dispatcher is bypassed unless autograd, tracing, a transform or a profiler is active, because the first
        call through it imports torch's compiler, which takes 1.6 seconds and 80 MB.
        """
        xp = arrays_of(_first(args))
        if xp.library != "torch":
            # NumPy arrays may be unaligned or in the other byte order, which the extension cannot read.
            return self._run(xp, tuple(xp.take(arg) if isinstance(arg, np.ndarray) else arg for arg in args))
        if self._gradient is None:
            args = tuple(_detached(arg) for arg in args)
        try:
            direct = _unobserved(args)
        except AttributeError:  # another version of torch has these private functions elsewhere
            direct = False
        return self._run(xp, args) if direct else self.torch(*args)


def operator(schema: str, *, result: Callable[..., Any]) -> Callable[[Callable[..., None]], Operator]:
    """Make an operator from a function that fills its result.

    Args:
        schema: torch's schema with the name: ``"interp(Tensor x, SymInt height, SymInt width) -> Tensor"``. The first
            argument is an array or a list of arrays.
        result: ``result(xp, *arguments)`` checks shapes and dtypes, and returns the result as new arrays of ``xp`` with
            unspecified values. It is also torch's fake kernel.

    Returns:
        A decorator for ``body(xp, result, *arguments)``, which fills the result.
    """
    return lambda body: Operator(schema, result, body)


def _first(args: tuple[Any, ...]) -> Any:
    return args[0][0] if isinstance(args[0], (list, tuple)) else args[0]


def _detached(arg: Any) -> Any:
    if isinstance(arg, (list, tuple)):
        return [_detached(one) for one in arg]
    return arg.detach() if isinstance(arg, sys.modules["torch"].Tensor) else arg


def transforms_are_active() -> bool:
    """Return whether a transform of torch.func or forward-mode differentiation is active; True if torch cannot tell."""
    torch = sys.modules["torch"]
    try:
        return bool(
            torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0
        )
    except AttributeError:
        return True


def is_batched(tensor: Any) -> bool:
    """Return whether a tensor is a vmap batch, as in ``torch.autograd.grad(is_grads_batched=True)``."""
    functorch = getattr(sys.modules["torch"]._C, "_functorch", None)
    asked = (getattr(functorch, name, None) for name in ("is_legacy_batchedtensor", "is_batchedtensor"))
    return any(ask is not None and ask(tensor) for ask in asked)


def _unobserved(args: tuple[Any, ...]) -> bool:
    torch = sys.modules["torch"]
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    if transforms_are_active() or torch.autograd.profiler._is_profiler_enabled:
        return False
    kinds, wrapped = (torch.Tensor, torch.nn.Parameter), torch._C._functorch.is_functorch_wrapped_tensor
    wants_gradient = torch.is_grad_enabled()
    tensors = [x for arg in args for x in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(x, kinds[0])]
    return all(
        type(x) in kinds
        and x.device.type in ("cpu", "cuda")
        and not (x.requires_grad and wants_gradient)
        and not wrapped(x)
        for x in tensors
    )
