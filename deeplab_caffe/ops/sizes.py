"""Check the sizes and arguments of the operations, each in one place; does not need torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deeplab_caffe.arrays import Arrays, arrays_of

Pair = int | tuple[int, int]
Size = tuple[int, int]

# Dtypes of the operations that resize scores and then use them; 16-bit numbers are widened to float32.
SCORES = ("float32", "float64", "float16", "bfloat16")
# What the operations for inference, on images and blobs, read and write.
INFERENCE = ("float32", "float16", "bfloat16")


def check_4d(operation: str, name: str, shape: Sequence[int]) -> None:
    """Check that a shape is (N, C, H, W).

    Raises:
        ValueError: the shape does not have four axes.
    """
    if len(shape) != 4:
        raise ValueError(f"{operation}: expected {name} (N, C, H, W), got shape {tuple(shape)}")


def channels_last_advice(shape: Sequence[int], channels: int) -> str:
    """Return what to do about a blob (N, H, W, C) where (N, C, H, W) is wanted; "" where it does not seem to be one."""
    if len(shape) != 4 or shape[1] == channels or shape[3] != channels:
        return ""
    return ": channels last? Take x.permute(0, 3, 1, 2)"


def check_blob(
    xp: Arrays, operation: str, name: str, array: Any, dtypes: Sequence[str] = ("float32", "float64")
) -> None:
    """Check that an array is (N, C, H, W) and has one of some dtypes.

    Raises:
        ValueError: the shape or dtype is another one.
    """
    check_4d(operation, name, array.shape)
    if xp.dtype(array) not in dtypes:
        wanted = " or ".join(filter(None, (", ".join(dtypes[:-1]), dtypes[-1])))
        raise ValueError(f"{operation}: expected {name} of {wanted}, got {xp.dtype(array)}")


def check_like(xp: Arrays, operation: str, x: Any, **others: Any) -> None:
    """Check that arrays have the dtype and device of the input; None is skipped.

    Raises:
        ValueError: an array has another dtype or device.
    """
    for name, array in others.items():
        if array is None:
            continue
        if getattr(array, "dtype", None) != x.dtype or getattr(array, "device", None) != getattr(x, "device", None):
            its = arrays_of(array)
            mine, other = (f" of {each.library}" if its.library != xp.library else "" for each in (xp, its))
            raise ValueError(
                f"{operation}: the input is {xp.dtype(x)} on {xp.device}{mine}, "
                f"but the {name} is {its.dtype(array)} on {its.device}{other}"
            )


def check_on_cpu(xp: Arrays, operation: str, name: str) -> None:
    """Check that arrays are on the CPU, for an operation that a GPU computes by ``conv2d``.

    Raises:
        ValueError: they are on a GPU.
    """
    if xp.device != "cpu":
        raise ValueError(f"{operation}: expected {name} on cpu, got one on {xp.device}: use conv2d")


def conv_output_size(size: int, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> int:
    """Return the output size of a convolution or im2col along one axis (layers/conv_layer.cpp:123-126): rounded DOWN.

    Args:
        size: input size in pixels.
        kernel: taps of the kernel.
        stride: pixels between outputs.
        pad: zeros before and after the input.
        dilation: distance between taps in pixels; the kernel covers ``kernel + (kernel - 1) * (dilation - 1)`` pixels.

    Raises:
        ValueError: an argument is out of its range, or the kernel does not fit into the padded input.
    """
    for name, value, least in (
        ("kernel", kernel, 1),
        ("stride", stride, 1),
        ("pad", pad, 0),
        ("dilation", dilation, 1),
    ):
        if value < least:
            raise ValueError(f"convolution: {name} must be at least {least}, got {value}")
    effective = kernel + (kernel - 1) * (dilation - 1)
    room = size + 2 * pad - effective
    if room < 0:
        raise ValueError(
            f"convolution: a kernel of {kernel} with dilation {dilation} covers {effective} pixels "
            f"and does not fit into {size} with pad {pad} on both sides"
        )
    return room // stride + 1


def pair(name: str, value: Pair) -> list[int]:
    """Return an argument, which is one number or (height, width), as [height, width].

    Raises:
        ValueError: it has another number of numbers.
    """
    if isinstance(value, int):
        return [value, value]
    if len(value) != 2:
        raise ValueError(f"convolution: {name} must be one number or (height, width), got {tuple(value)}")
    return [int(value[0]), int(value[1])]


def pairs(**named: Pair) -> list[list[int]]:
    """Return arguments, each of which is one number or (height, width), as [height, width], in their order."""
    return [pair(name, value) for name, value in named.items()]


def output_hw(
    shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int]:
    """Return (OH, OW) of a convolution over a (N, C, H, W) shape; each other argument is (height, width)."""
    sizes = zip(shape[2:], kernel, stride, pad, dilation, strict=True)
    height, width = (conv_output_size(*axis) for axis in sizes)
    return height, width


def check_weight(x: Sequence[int], weight: Sequence[int], groups: int) -> None:
    """Check that a weight (O, C / groups, KH, KW) fits an input (N, C, H, W).

    Args:
        x: shape of the input.
        weight: shape of the weight.
        groups: number of groups.

    Raises:
        ValueError: the weight does not fit.
    """
    if len(weight) != 4:
        raise ValueError(f"convolution: expected weight (O, C / groups, KH, KW), got shape {tuple(weight)}")
    if groups < 1 or x[1] % groups or weight[0] % groups:
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
    """Return the output size of interp along one axis (layers/interp_layer.cpp:14-50).

    Args:
        size: input size in pixels, before cropping.
        target: the output size itself (the layer's ``height`` or ``width``).
        zoom_factor: n pixels become ``n + (n - 1) * (zoom_factor - 1)``.
        shrink_factor: n pixels become ``(n - 1) // shrink_factor + 1``.
        pad_beg: 0 or negative: pixels dropped before the first.
        pad_end: 0 or negative: pixels dropped after the last.

    Raises:
        ValueError: the output's size is not given in exactly one way, a padding is positive, or nothing is left.
    """
    named = {"target": target, "zoom_factor": zoom_factor, "shrink_factor": shrink_factor}
    given = {name: value for name, value in named.items() if value is not None}
    if len(given) != 1:
        raise ValueError(
            "interp: exactly one of zoom_factor, shrink_factor, or height and width must be set, "
            f"got {', '.join(given) or 'none'}"
        )
    ((name, way),) = given.items()
    if way < 1:
        raise ValueError(f"interp: {name} must be positive, got {way}")
    if pad_beg > 0 or pad_end > 0:
        raise ValueError(f"interp: pad_beg and pad_end must not be positive, got {pad_beg} and {pad_end}")
    left = size + pad_beg + pad_end
    if left < 1:
        raise ValueError(f"interp: padding {pad_beg} and {pad_end} leaves nothing of {size} pixels")
    if zoom_factor is not None:
        return left + (left - 1) * (zoom_factor - 1)
    if shrink_factor is not None:
        return (left - 1) // shrink_factor + 1
    return way


def interp_hw(shape: Sequence[int], *, height: int | None, width: int | None, **factors: Any) -> tuple[int, int]:
    """Return (OH, OW) of interp over a (N, C, H, W) shape.

    Args:
        shape: shape of the input.
        height: output height; needs ``width`` too.
        width: output width.
        factors: the other arguments of :func:`interp_size`, for both axes.

    Raises:
        ValueError: as :func:`interp_size`, or height or width is given without the other.
    """
    check_4d("interp", "x", shape)
    if (height is None) != (width is None):
        raise ValueError(f"interp: height and width go together, got height={height} and width={width}")
    return interp_size(shape[2], target=height, **factors), interp_size(shape[3], target=width, **factors)


def interp_window(
    operation: str, shape: Sequence[int], height: int, width: int, crop: Size | None, origin: Size
) -> tuple[int, int, int, int]:
    """Return (first row, first column, height, width) of the wanted part of scores resized to (height, width).

    Args:
        operation: the operation's name, for messages.
        shape: the scores' shape, which must be (N, C, H, W).
        height: height after resizing.
        width: width after resizing.
        crop: (height, width) of the part; None: everything from ``origin`` on.
        origin: (row, column) where the part begins.

    Raises:
        ValueError: the scores are not (N, C, H, W) with C, H and W above 0, a size is below 1, or the part is not
            within the resized scores.
    """
    if len(shape) != 4 or 0 in shape[1:]:
        raise ValueError(f"{operation}: expected scores (N, C, H, W) with C, H, W > 0, got shape {tuple(shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"{operation}: height and width must be positive, got {height} and {width}")
    top, left = origin
    rows, columns = (height - top, width - left) if crop is None else crop
    if min(top, left, rows, columns) < 0 or top + rows > height or left + columns > width:
        raise ValueError(
            f"{operation}: a crop of {rows} x {columns} from row {top}, column {left} on is not within "
            f"{height} x {width}"
        )
    return top, left, rows, columns


def last_wins(operation: str, ties: str) -> bool:
    """Return whether the last channel wins on ties, and not the first.

    Args:
        operation: the operation's name, for messages.
        ties: "first" or "last".

    Raises:
        ValueError: ``ties`` is another word.
    """
    if ties not in ("first", "last"):
        raise ValueError(f'{operation}: ties must be "first" or "last", got {ties!r}')
    return ties == "last"


def check_image(shape: Sequence[int], dtype: str, *, batch: bool) -> None:
    """Check that an array has RGB images: uint8 (H, W, 3), or with ``batch`` also (N, H, W, 3).

    Raises:
        ValueError: the shape or dtype is another one.
    """
    if dtype != "uint8" or len(shape) not in ((3, 4) if batch else (3,)) or shape[-1] != 3:
        shapes = "(H, W, 3) or (N, H, W, 3)" if batch else "(H, W, 3) each"
        raise ValueError(f"preprocess: expected uint8 RGB images {shapes}, got {dtype} {tuple(shape)}")


def blob_size(batches: Iterable[Sequence[int]], size: Size | None) -> Size:
    """Return (height, width) of the blob for batches of these shapes (n, H, W, 3): ``size``, or the largest image's.

    Raises:
        ValueError: there are no images, or ``size`` is too small for them.
    """
    shapes = list(batches)
    if not shapes:
        raise ValueError("preprocess: there are no images")
    height, width = (max(shape[axis] for shape in shapes) for axis in (1, 2))
    if size is None:
        return height, width
    if size[0] < height or size[1] < width:
        raise ValueError(f"preprocess: an image of {height} x {width} does not fit into {size[0]} x {size[1]}")
    return size


def three_means(mean: float | Sequence[float]) -> list[float]:
    """Return the means of B, G and R.

    Raises:
        ValueError: there are neither one nor three means.
    """
    if isinstance(mean, (str, bytes)):  # whose letters would be three numbers
        raise ValueError(f"preprocess: expected one mean or three, got {mean!r}")
    means = [float(mean)] * 3 if isinstance(mean, (int, float)) else [float(value) for value in mean]
    if len(means) == 1:
        means *= 3
    if len(means) != 3:
        raise ValueError(f"preprocess: expected one mean or three, got {len(means)}")
    return means
