"""Convolution of an image with few channels, a network's first layer, for inference on the CPU in float32.

oneDNN's convolution is as fast, but allocates its result by itself, page by page, and leaves threads behind that spin
and occupy a core for the first milliseconds of the next layer.
"""

from __future__ import annotations

import math
from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT, arrays_of
from deeplab_caffe.ops.im2col import Sizes
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import Pair, check_blob, check_like, check_on_cpu, output_hw, pairs

#: The maximum of input channels; with more, other algorithms are faster.
MOST_CHANNELS = 4


def _output(xp: Arrays, x: Any, panels: Any, bias: Any, outputs: int, stride: Sizes, pad: Sizes, *_: Any) -> Any:
    check_blob(xp, "stem_conv2d", "x", x, ("float32",))
    check_like(xp, "stem_conv2d", x, panels=panels, bias=bias)
    channels, count = x.shape[1], -(-outputs // _C.stem_panel)
    if len(panels.shape) != 5 or tuple(panels.shape[::4]) != (count, _C.stem_panel) or panels.shape[3] != channels:
        raise ValueError(
            f"stem_conv2d: expected a weight from stem_panels for {channels} channels and {outputs} outputs, got one "
            f"of shape {tuple(panels.shape)}"
        )
    size = output_hw(x.shape, tuple(panels.shape[1:3]), stride, pad, (1, 1))
    return xp.empty((x.shape[0], outputs, *size), x.dtype, channels_last=True)


@operator(
    "stem_conv2d(Tensor x, Tensor panels, Tensor? bias, SymInt outputs, SymInt[] stride, SymInt[] pad, bool relu, "
    "float ceiling) -> Tensor",
    result=_output,
)
def _stem_conv2d(xp: Arrays, output: Any, x: Any, panels: Any, bias: Any, _outputs: int, *rest: Any) -> None:
    """Fill the output; ``rest`` is stride, pad, relu and ceiling."""
    check_on_cpu(xp, "stem_conv2d", "x")
    summand = None if bias is None else xp.view(xp.contiguous(bias))
    _C.stem_forward(xp.view(x), xp.view(xp.contiguous(panels)), summand, xp.view(output), *rest)


def stem_panels(weight: ArrayT) -> ArrayT:
    """Return a convolution's weight for :func:`stem_conv2d`.

    Args:
        weight: (O, C, KH, KW) float32, torch's or NumPy's, on the CPU.

    Returns:
        (O / 16 rounded up, KH, KW, C, 16), contiguous: the weights of 16 outputs are adjacent in memory; zeros beyond
        the outputs.

    Raises:
        ValueError: the weight has not four axes.
    """
    given: Any = weight
    if len(given.shape) != 4:
        raise ValueError(f"stem_panels: expected a weight (O, C, KH, KW), got shape {tuple(given.shape)}")
    xp = arrays_of(given)
    outputs, *rest = given.shape
    with xp.scope():
        count = -(-outputs // _C.stem_panel)
        padded = xp.zeros((count * _C.stem_panel, *rest), given.dtype)
        padded[:outputs] = given
        padded = padded.reshape(count, _C.stem_panel, *rest)  # (panel, 16, C, KH, KW)
        result: ArrayT = xp.contiguous(padded.swapaxes(1, 3).swapaxes(2, 4).swapaxes(3, 4))
        return result


def stem_conv2d(
    x: ArrayT,
    panels: ArrayT,
    outputs: int,
    bias: ArrayT | None = None,
    stride: Pair = 1,
    pad: Pair = 0,
    *,
    relu: bool = False,
    ceiling: float = math.inf,
) -> ArrayT:
    """Convolve an image with few channels, on the CPU.

    Args:
        x: (N, C, H, W) float32, torch's or NumPy's, with any strides.
        panels: the weight, from :func:`stem_panels`.
        outputs: number of output channels O.
        bias: (O,) or None.
        stride: distance between outputs in pixels, one number or (height, width).
        pad: border of zeros in pixels, likewise.
        relu: apply ReLU to the sum.
        ceiling: upper bound of a rectified result.

    Returns:
        (N, O, OH, OW), channels-last; sizes as for ``conv2d``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or the kernel does not fit into the padded input.
    """
    result: ArrayT = _stem_conv2d(x, panels, bias, outputs, *pairs(stride=stride, pad=pad), relu, ceiling)
    return result
