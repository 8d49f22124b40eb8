"""Which input side a net needs so that its output covers an image."""

from __future__ import annotations

from collections.abc import Callable

from deeplab_caffe.errors import NetError

# Images are padded until the net's output covers them; a stride of 32 is the coarsest that VGG has.
_MOST_PADDING = 64


def fit_side(least: int, output_side: Callable[[int], int]) -> tuple[int, int]:
    """The smallest input side from ``least`` up whose output is as large, and the output's side.

    Where no output is as large as its input the first side that the net takes is given.

    Args:
        least: in pixels.
        output_side: side of the output for a side of the input; NetError where the net does not take it.

    Raises:
        NetError: the net takes none of the sides tried.
    """
    outputs: dict[int, int] = {}
    for side in range(least, least + _MOST_PADDING):
        try:
            outputs[side] = output_side(side)
        except NetError:
            continue
        if outputs[side] == side:
            return side, side
    if not outputs:
        raise NetError(f"an image side of {least} pixels is too small for the net")
    side = min(outputs)
    return side, outputs[side]
