"""Output sizes of the operations, and arguments given once or for both axes. Does without torch."""

from __future__ import annotations

from collections.abc import Sequence

Pair = int | tuple[int, int]


def conv_output_size(size: int, kernel: int, stride: int = 1, pad: int = 0, hole: int = 1) -> int:
    """Output size of a convolution or im2col along one axis (layers/conv_layer.cpp:123-126): rounded DOWN.

    Args:
        size: input size in pixels.
        kernel: taps of the kernel.
        stride: pixels between outputs.
        pad: zeros before and after the input.
        hole: pixels between taps; the kernel then covers ``kernel + (kernel - 1) * (hole - 1)`` pixels.

    Raises:
        ValueError: an argument out of its range, or a kernel that does not fit.
    """
    for name, value, least in (("kernel", kernel, 1), ("stride", stride, 1), ("pad", pad, 0), ("hole", hole, 1)):
        if value < least:
            raise ValueError(f"convolution: {name} must be at least {least}, got {value}")
    effective = kernel + (kernel - 1) * (hole - 1)
    room = size + 2 * pad - effective
    if room < 0:
        raise ValueError(
            f"convolution: a kernel of {kernel} with hole {hole} covers {effective} pixels "
            f"and does not fit into {size} with pad {pad} on both sides"
        )
    return room // stride + 1


def pair(name: str, value: Pair) -> list[int]:
    """An argument given once or as (height, width)."""
    if isinstance(value, int):
        return [value, value]
    if len(value) != 2:
        raise ValueError(f"convolution: {name} must be one number or (height, width), got {tuple(value)}")
    return [int(value[0]), int(value[1])]


def pairs(**named: Pair) -> list[list[int]]:
    """Arguments given once or as (height, width), in their order; see :func:`pair`."""
    return [pair(name, value) for name, value in named.items()]


def output_hw(
    shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], hole: Sequence[int]
) -> tuple[int, int]:
    """(OH, OW) of a convolution over a (N, C, H, W) shape; each other argument is (height, width)."""
    sizes = zip(shape[2:], kernel, stride, pad, hole, strict=True)
    height, width = (conv_output_size(*axis) for axis in sizes)
    return height, width


def check_weight(x: Sequence[int], weight: Sequence[int], groups: int, *, least_outputs: int = 0) -> None:
    """Whether a weight (O, C / groups, KH, KW) goes with an input (N, C, H, W).

    Args:
        x: shape of the input.
        weight: shape of the weight.
        groups: of a grouped convolution.
        least_outputs: the smallest O.

    Raises:
        ValueError: it does not.
    """
    if len(weight) != 4:
        raise ValueError(f"convolution: expected weight (O, C / groups, KH, KW), got shape {tuple(weight)}")
    if groups < 1 or x[1] % groups or weight[0] % groups or weight[0] < least_outputs:
        raise ValueError(
            f"convolution: groups must divide the input's and output's channels, "
            f"got {groups} groups, {x[1]} input and {weight[0]} output channels"
        )
    if weight[1] * groups != x[1]:
        raise ValueError(
            f"convolution: weight {tuple(weight)} with {groups} groups is for {weight[1] * groups} "
            f"input channels, got an input of {x[1]}"
        )


def interp_size(
    size: int,
    *,
    target: int | None = None,
    zoom_factor: int | None = None,
    shrink_factor: int | None = None,
    pad_beg: int = 0,
    pad_end: int = 0,
) -> int:
    """Output size of interp along one axis (layers/interp_layer.cpp:14-50).

    Args:
        size: input size in pixels, before cropping.
        target: the output size itself (the layer's ``height`` or ``width``).
        zoom_factor: n pixels become ``n + (n - 1) * (zoom_factor - 1)``.
        shrink_factor: n pixels become ``(n - 1) // shrink_factor + 1``.
        pad_beg: 0 or negative: pixels dropped before the first.
        pad_end: 0 or negative: pixels dropped after the last.

    Raises:
        ValueError: not exactly one way to size the output, a positive padding, or nothing left.
    """
    given = {"target": target, "zoom_factor": zoom_factor, "shrink_factor": shrink_factor}
    ways = [name for name, value in given.items() if value is not None]
    if len(ways) != 1:
        raise ValueError(
            "interp: exactly one of zoom_factor, shrink_factor, or height and width must be set, "
            f"got {', '.join(ways) or 'none'}"
        )
    if given[ways[0]] < 1:
        raise ValueError(f"interp: {ways[0]} must be positive, got {given[ways[0]]}")
    if pad_beg > 0 or pad_end > 0:
        raise ValueError(f"interp: pad_beg and pad_end must not be positive, got {pad_beg} and {pad_end}")
    left = size + pad_beg + pad_end
    if left < 1:
        raise ValueError(f"interp: padding {pad_beg} and {pad_end} leaves nothing of {size} pixels")
    if zoom_factor is not None:
        return left + (left - 1) * (zoom_factor - 1)
    if shrink_factor is not None:
        return (left - 1) // shrink_factor + 1
    return target


def interp_hw(shape: Sequence[int], *, height: int | None, width: int | None, **factors: int | None) -> tuple[int, int]:
    """(OH, OW) of interp over a (N, C, H, W) shape.

    Args:
        shape: of the input.
        height: output height; needs ``width`` too.
        width: output width.
        factors: what else :func:`interp_size` takes, for both axes.

    Raises:
        ValueError: as :func:`interp_size`, and one of height and width without the other.
    """
    if (height is None) != (width is None):
        raise ValueError(f"interp: height and width go together, got height={height} and width={width}")
    return interp_size(shape[2], target=height, **factors), interp_size(shape[3], target=width, **factors)
