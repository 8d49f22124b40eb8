"""Dilated convolution by implicit GEMM in Triton: one matrix product whose columns are never written to memory.

Bias and ReLU are in the epilogue. Importing this module imports Triton, which comes with torch's CUDA builds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from deeplab_caffe.layers import Pair
from deeplab_caffe.ops.sizes import output_hw


class Tile(NamedTuple):
    """The part of the product that one block of threads computes.

    Attributes:
        pixels: rows of the product.
        outputs: columns of the product.
        depth: summands per step.
        warps: warps per block.
        stages: pipeline stages: steps whose operands are loaded ahead.
    """

    pixels: int
    outputs: int
    depth: int
    warps: int
    stages: int


# Large tiles read the operands least often; smaller tiles fill a GPU if one image gives few pixels.
TILES = (
    Tile(128, 256, 64, 8, 3),
    Tile(128, 128, 64, 8, 4),
    Tile(64, 128, 64, 4, 4),
    Tile(128, 64, 64, 4, 4),
    Tile(64, 64, 64, 4, 5),
)

# Consecutive blocks compute this many rows of tiles before the next column, so that they find weights and pixels in the
# L2 cache.
_ROWS_TOGETHER = 8

# Do not specialise these arguments: they differ between layers and nets, and one compilation must serve all.
_ANY = [
    "rows",
    "height",
    "width",
    "out_height",
    "out_width",
    "stride_y",
    "stride_x",
    "pad_y",
    "pad_x",
    "hole_y",
    "hole_x",
]


@triton.jit(do_not_specialize=_ANY)  # type: ignore[untyped-decorator]  # Triton ships no types
def _kernel(  # type: ignore[no-untyped-def]  # Triton compiles it
    x,
    weight,
    bias,
    y,
    rows,
    height,
    width,
    out_height,
    out_width,
    stride_y,
    stride_x,
    pad_y,
    pad_x,
    hole_y,
    hole_x,
    channels,
    outputs,
    KERNEL_H: tl.constexpr,
    KERNEL_W: tl.constexpr,
    WHOLE_DEPTHS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    RELU: tl.constexpr,
    PIXELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    DEPTH: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """Images x (N, height, width, channels), weight (KERNEL_H * KERNEL_W * channels, outputs), y (rows, outputs)."""
    row_tiles = tl.cdiv(rows, PIXELS)
    column_tiles = tl.cdiv(outputs, OUTPUTS)
    number = tl.program_id(0)
    first = number // (TOGETHER * column_tiles) * TOGETHER
    group = min(row_tiles - first, TOGETHER)
    within = number % (TOGETHER * column_tiles)
    row = (first + within % group) * PIXELS + tl.arange(0, PIXELS)
    column = within // group * OUTPUTS + tl.arange(0, OUTPUTS)
    depth = tl.arange(0, DEPTH)

    top = row // out_width % out_height * stride_y - pad_y
    left = row % out_width * stride_x - pad_x
    item = (row // (out_width * out_height)).to(tl.int64)
    # Where a window begins, inside or outside of the image.
    begin = x + ((item * height + top) * width + left) * channels

    sums = tl.zeros((PIXELS, OUTPUTS), dtype=tl.float32)
    depths = tl.cdiv(channels, DEPTH)
    for step in range(0, KERNEL_H * KERNEL_W * depths):
        tap = step // depths
        channel = step % depths * DEPTH + depth
        down = tap // KERNEL_W * hole_y
        right = tap % KERNEL_W * hole_x
        inside = (row < rows) & (top + down >= 0) & (top + down < height)
        inside &= (left + right >= 0) & (left + right < width)
        pixel = begin + (down * width + right) * channels
        wanted = inside[:, None]
        known = (column < outputs)[None, :]
        if not WHOLE_DEPTHS:
            wanted &= (channel < channels)[None, :]
            known &= (channel < channels)[:, None]
        pixels = tl.load(pixel[:, None] + channel[None, :], mask=wanted, other=0.0)
        weights = tl.load(
            weight + (tap * channels + channel)[:, None] * outputs + column[None, :], mask=known, other=0.0
        )
        sums = tl.dot(pixels, weights, sums)

    if HAS_BIAS:
        sums += tl.load(bias + column, mask=column < outputs, other=0.0).to(tl.float32)[None, :]
    if RELU:
        # A NaN stays a NaN, as in torch's ReLU.
        sums = tl.where(sums < 0, 0.0, sums)
    target = y + row[:, None].to(tl.int64) * outputs + column[None, :]
    tl.store(target, sums.to(y.dtype.element_ty), mask=(row < rows)[:, None] & (column < outputs)[None, :])


def convolution(
    weight: Tensor, bias: Tensor | None, stride: Pair, pad: Pair, hole: Pair, relu: bool, tile: Tile
) -> Callable[[Tensor], Tensor]:
    """Make a convolution without groups, ready to run on channels-last tensors of the weights' dtype.

    Args:
        weight: (O, C, kh, kw).
        bias: (O,), or None.
        stride: (height, width), as are pad and hole.
        pad: zeros around the image.
        hole: distance between taps in pixels.
        relu: apply ReLU to the result.
        tile: what a block computes.

    Returns:
        A function from (N, C, H, W), channels-last, to (N, O, OH, OW), channels-last. It raises RuntimeError if Triton
        cannot compile it, or if a block needs more resources than the GPU has.
    """
    outputs, channels, *kernel = weight.shape
    matrix = weight.permute(2, 3, 1, 0).reshape(-1, outputs).contiguous()

    def run(x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        n, _, height, width = x.shape
        size = output_hw(x.shape, kernel, stride, pad, hole)
        y = torch.empty((n, outputs, *size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        rows = n * size[0] * size[1]
        blocks = triton.cdiv(rows, tile.pixels) * triton.cdiv(outputs, tile.outputs)
        constants: dict[str, Any] = {
            "KERNEL_H": kernel[0],
            "KERNEL_W": kernel[1],
            "WHOLE_DEPTHS": channels % tile.depth == 0,
            "HAS_BIAS": bias is not None,
            "RELU": relu,
            "PIXELS": tile.pixels,
            "OUTPUTS": tile.outputs,
            "DEPTH": tile.depth,
            "TOGETHER": _ROWS_TOGETHER,
        }
        numbers = (rows, height, width, *size, *stride, *pad, *hole, channels, outputs)
        options = {"num_warps": tile.warps, "num_stages": tile.stages}
        # Triton launches on the current device, not on the tensors' device.
        try:
            with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
                _kernel[(blocks,)](x, matrix, bias, y, *numbers, **constants, **options)
        except RuntimeError:
            raise
        except Exception as error:  # Triton's errors have no other common base class
            raise RuntimeError(f"Triton: {type(error).__name__}: {error}") from error
        return y

    return run
