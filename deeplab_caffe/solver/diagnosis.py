"""Diagnosis of a net in training: the first place with numbers that are not finite, and Caffe's ``debug_info``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.net import Net
from deeplab_caffe.net.graph import Step
from deeplab_caffe.solver.parameters import ParameterBlob

_Before = Callable[[nn.Module, tuple[Tensor, ...]], None]
_After = Callable[[nn.Module, Any, tuple[Tensor, ...]], tuple[Tensor, ...] | None]


@torch.no_grad()
def first_non_finite(net: Net, sources: Mapping[str, Tensor]) -> str | None:
    """Return the first place, in net order, where a batch gives numbers that are not finite.

    Args:
        net: the net; it is run once more.
        sources: the tops of its data layers, by name.

    Returns:
        For example ``"layer 'fc6': its output 'fc6'"``; None if all numbers are finite this time, which is possible
        because layers draw other random numbers.
    """
    values: dict[str, Tensor] = {}
    for step in net.steps:
        layer = step.layer
        for index, blob in enumerate(layer.blobs):
            if not _finite(blob):
                return f"layer '{layer.name}': its parameter blob {index}"
        if layer.is_source:
            tops = tuple(sources[top] for top in step.tops)
        else:
            try:
                # Copies, because in-place layers would overwrite values that are still to be checked.
                tops = net.run_layer(step, [values[name].clone() for name in step.bottoms])
            except DeepLabCaffeError as error:
                return str(error)
        for name, top in zip(step.tops, tops, strict=True):
            if not _finite(top):
                return f"layer '{layer.name}': its output '{name}'"
            values[name] = top
    return None


def non_finite_parameter(blobs: list[ParameterBlob]) -> ParameterBlob | None:
    """Return the first parameter blob with a number that is not finite."""
    return next((blob for blob in blobs if not _finite(blob.parameter.detach())), None)


def _finite(x: Tensor) -> bool:
    return not x.is_floating_point() or bool(torch.isfinite(x).all())


@contextmanager
def debug_info(net: Net, emit: Callable[[str], None]) -> Iterator[None]:
    """Write Caffe's ``debug_info`` lines for all passes within the block (net.cpp, ForwardDebugInfo)."""
    handles = []

    def hooks(step: Step) -> tuple[_Before, _After]:
        name = step.layer.name

        def forward(_: nn.Module, __: Any, tops: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            for blob, top in zip(step.tops, tops, strict=True):
                emit(f"    [Forward] Layer {name}, top blob {blob} data: {mean_abs(top):g}")
            # A split's tops are one tensor; views of it let each branch have its own gradient.
            return tuple(top.view_as(top) for top in tops) if step.layer.is_identity and len(tops) > 1 else None

        def before(_: nn.Module, bottoms: tuple[Tensor, ...]) -> None:
            for blob, bottom in zip(step.bottoms, bottoms, strict=True):
                if bottom.requires_grad:
                    bottom.register_hook(
                        lambda diff, blob=blob: emit(
                            f"    [Backward] Layer {name}, bottom blob {blob} diff: {mean_abs(diff):g}"
                        )
                    )

        return before, forward

    for step in net.steps:
        before, forward = hooks(step)
        handles += [step.layer.register_forward_pre_hook(before), step.layer.register_forward_hook(forward)]
        for index, parameter in enumerate(step.layer.blobs):
            if parameter.requires_grad:
                text = f"    [Backward] Layer {step.layer.name}, param blob {index} diff: "
                handles.append(parameter.register_hook(lambda diff, text=text: emit(f"{text}{mean_abs(diff):g}")))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def update_lines(blobs: list[ParameterBlob], values: list[Tensor]) -> Iterator[str]:
    """Yield Caffe's lines about an update, with the parameters' values before it (net.cpp, UpdateDebugInfo)."""
    for blob, value in zip(blobs, values, strict=True):
        where = f"    [Update] Layer {blob.layer.name}, param {_display_name(blob)}"
        if blob.owner is None:
            before = blob.parameter.detach() + value
            yield f"{where} data: {mean_abs(before):g}; diff: {mean_abs(value):g}"
        else:
            owner = blobs[blob.owner]
            yield (
                f"{where} (owned by layer {owner.layer.name}, param {_display_name(owner)}) diff: {mean_abs(value):g}"
            )


def _display_name(blob: ParameterBlob) -> str:
    names = [spec.name for spec in blob.layer.param.param]
    return names[blob.index] if blob.index < len(names) and names[blob.index] else str(blob.index)


def mean_abs(x: Tensor) -> float:
    """Return the mean of the absolute values."""
    return float(x.detach().abs().float().mean()) if x.numel() else 0.0
