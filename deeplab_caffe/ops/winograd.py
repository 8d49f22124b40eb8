"""Winograd's convolution with a 3x3 kernel and stride 1, for inference on the CPU in float32.

A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: a tile of 2x2 outputs takes 16
products per channel instead of 36 in a direct convolution, a tile of 4x4 takes 36 instead of 144. With a dilation of d
the image is split into d * d images of every d-th pixel, and each tile lies within one of them.
"""

from __future__ import annotations

import math
from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT
from deeplab_caffe.ops.im2col import Sizes
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import Pair, check_4d, check_blob, check_like, check_on_cpu, output_hw, pair, pairs

KERNEL = (3, 3)
TILES = (2, 4)
#: The minimum of input channels; with fewer, a direct convolution is faster.
LEAST_CHANNELS = _C.winograd_panel
#: For each tile, the largest dilation for which the algorithm is likely to be faster than a direct convolution. With
#: larger dilations the split images are small for the tiles, and a direct convolution skips many taps in the padding.
LARGEST_HOLES = {2: 4, 4: 12}


def fits(weight: Any, stride: Pair, groups: int) -> bool:
    """Return whether a convolution can be computed by this algorithm, in float32 on the CPU.

    Args:
        weight: (O, C / groups, KH, KW), any library's.
        stride: (height, width).
        groups: number of groups.
    """
    return (
        tuple(weight.shape[2:]) == KERNEL
        and tuple(pair("stride", stride)) == (1, 1)
        and groups == 1
        and weight.shape[1] >= LEAST_CHANNELS
    )


def _inputs(tile: int) -> int:
    return tile + KERNEL[0] - 1


def _tile_of(transformed: Any) -> int:
    """Return the tile that a weight was transformed for."""
    for tile in TILES:
        if len(transformed.shape) == 4 and transformed.shape[0] == _inputs(tile) ** 2:
            return tile
    raise ValueError(
        f"winograd_conv2d: expected a weight from winograd_weight, got one of shape {tuple(transformed.shape)}"
    )


def _transformed(xp: Arrays, weight: Any, tile: int) -> Any:
    check_blob(xp, "winograd_weight", "weight", weight, ("float32",))
    if tuple(weight.shape[2:]) != KERNEL:
        raise ValueError(f"winograd_weight: expected a weight (O, C, 3, 3), got shape {tuple(weight.shape)}")
    if tile not in TILES:
        raise ValueError(f"winograd_weight: expected tile 2 or 4, got {tile}")
    outputs, channels = weight.shape[:2]
    panels = -(-outputs // _C.winograd_panel)
    return xp.empty((_inputs(tile) ** 2, panels, channels, _C.winograd_panel), weight.dtype)


@operator("winograd_weight(Tensor weight, int tile) -> Tensor", result=_transformed)
def _winograd_weight(xp: Arrays, result: Any, weight: Any, tile: int) -> None:
    check_on_cpu(xp, "winograd_weight", "weight")
    _C.winograd_transform_weight(xp.view(xp.contiguous(weight)), xp.view(result), tile)


def _output(
    xp: Arrays, x: Any, transformed: Any, bias: Any, other: Any, outputs: int, pad: Sizes, dilation: Sizes, *_: Any
) -> Any:
    check_blob(xp, "winograd_conv2d", "x", x, ("float32",))
    if other is not None:
        check_4d("winograd_conv2d", "other", other.shape)
    check_like(xp, "winograd_conv2d", x, weight=transformed, bias=bias, other=other)
    _tile_of(transformed)
    most = transformed.shape[1] * _C.winograd_panel
    if not most - _C.winograd_panel < outputs <= most:
        raise ValueError(
            f"winograd_conv2d: expected {most - _C.winograd_panel + 1} to {most} outputs, which the weight is for, got "
            f"{outputs}"
        )
    size = output_hw(x.shape, KERNEL, (1, 1), pad, dilation)
    return xp.empty((x.shape[0], outputs, *size), x.dtype, channels_last=True)


@operator(
    "winograd_conv2d(Tensor x, Tensor transformed, Tensor? bias, Tensor? other, SymInt outputs, SymInt[] pad, "
    "SymInt[] dilation, bool relu, float ceiling) -> Tensor",
    result=_output,
)
def _winograd_conv2d(
    xp: Arrays, output: Any, x: Any, transformed: Any, bias: Any, other: Any, _outputs: int, *rest: Any
) -> None:
    """Fill the output; ``rest`` is pad, dilation, relu and ceiling."""
    check_on_cpu(xp, "winograd_conv2d", "x")
    added = None if other is None else xp.view(xp.contiguous(other, channels_last=True))
    summand = None if bias is None else xp.view(xp.contiguous(bias))
    given = xp.view(xp.contiguous(x, channels_last=True)), xp.view(xp.contiguous(transformed)), summand, added
    _C.winograd_forward(*given, xp.view(output), _tile_of(transformed), *rest)


def winograd_weight(weight: ArrayT, tile: int) -> ArrayT:
    """Return a weight transformed for :func:`winograd_conv2d`, by sums in float64.

    Args:
        weight: (O, C, 3, 3) float32, torch's or NumPy's, on the CPU.
        tile: 2 or 4: outputs of a tile along each axis. 4 takes fewer products but has larger rounding errors.

    Returns:
        ((tile + 2) ** 2, O / 16 rounded up, C, 16): the transformed weights in panels of 16 outputs, padded with zeros.

    Raises:
        ValueError: the weight or tile is another one.
    """
    result: ArrayT = _winograd_weight(weight, tile)
    return result


def winograd_conv2d(
    x: ArrayT,
    transformed: ArrayT,
    outputs: int,
    bias: ArrayT | None = None,
    pad: Pair = 1,
    dilation: Pair = 1,
    *,
    other: ArrayT | None = None,
    relu: bool = False,
    ceiling: float = math.inf,
) -> ArrayT:
    """Convolve with a 3x3 kernel and stride 1 by Winograd's algorithm, on the CPU.

    Compared with a direct convolution, the result has a relative error (of norms) of about 1e-6 (tiles of 2) or 4e-6
    (tiles of 4) with 512 channels. The bits depend on the processor but not on the number of threads. An infinity or
    NaN in a tile's input may make the whole tile NaN. Not differentiable.

    Args:
        x: (N, C, H, W) float32, at least 16 channels: torch's or NumPy's; copied unless channels-last.
        transformed: the weight, from :func:`winograd_weight`, which decides the tile.
        outputs: O, the number of outputs, because the weight is padded to panels of 16.
        bias: (O,), or None.
        pad: zeros around the input; one number, or (height, width).
        dilation: distance between taps in pixels.
        other: (N, O, OH, OW), added to the result before the ReLU; copied unless channels-last.
        relu: apply ReLU to the sum.
        ceiling: upper bound of a rectified result.

    Returns:
        (N, O, OH, OW), channels-last; sizes as for ``conv2d``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or the kernel does not fit into the padded input.
    """
    result: ArrayT = _winograd_conv2d(
        x, transformed, bias, other, outputs, *pairs(pad=pad, dilation=dilation), relu, ceiling
    )
    return result


def clear_cache() -> None:
    """Free the memory that :func:`winograd_conv2d` keeps for the next call, at most 256 MiB."""
    _C.winograd_clear_kept()
