"""Kernel, stride, pad and hole of layers over an image plane, or over any number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.message import Message

from deeplab_caffe.layers.base import Layer, ReceptiveWindow, Shape
from deeplab_caffe.layers.facts import Pair
from deeplab_caffe.ops.im2col import conv_output_size
from deeplab_caffe.proto import caffe_pb2

MOST_AXES = 3  # spatial axes of torch's convolutions


def pair(values: Sequence[int]) -> Pair:
    """Return the values of two spatial axes as (height, width)."""
    height, width = values
    return height, width


class Geometry(NamedTuple):
    """Kernel, stride, pad and hole, one number for each spatial axis: (height, width) over a plane."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    hole: tuple[int, ...]

    @property
    def axes(self) -> int:
        """Return the number of spatial axes."""
        return len(self.kernel)

    @property
    def effective_kernel(self) -> tuple[int, ...]:
        """Return the extent of the kernel with its holes, along each spatial axis."""
        return tuple(k + (k - 1) * (h - 1) for k, h in zip(self.kernel, self.hole, strict=True))

    def receptive_window(self) -> ReceptiveWindow | None:
        """Return kernel, stride and pad of a pixel of the top; None unless there are two spatial axes."""
        if self.axes != 2:
            return None
        return ReceptiveWindow(pair(self.effective_kernel), pair(self.stride), pair(self.pad))

    def conv_output_size(self, layer: Layer, shape: Shape) -> tuple[int, ...]:
        """Return the sizes of a convolution's top along the spatial axes, the bottom's last ones.

        Raises:
            NetError: the bottom is smaller than the kernel.
        """
        try:
            return tuple(
                conv_output_size(*numbers) for numbers in zip(shape[len(shape) - self.axes :], *self, strict=True)
            )
        except ValueError as error:
            raise layer.error(f"bottom {tuple(shape)}: {error}") from None


def _values(message: Message, field: str) -> list[int]:
    """Return the numbers of a field, repeated or not; none if it is not set or does not exist."""
    if field not in message.DESCRIPTOR.fields_by_name:
        return []
    value = getattr(message, field)
    if isinstance(value, int):
        return [value] if message.HasField(field) else []
    return list(value)


def _given(layer: Layer, message: Message, field: str, lone: bool = False) -> tuple[str, list[int]]:
    """Return the name and the numbers of a size: ``kernel_size``, or ``kernel_h`` and ``kernel_w``, never both.

    With ``lone``, one of ``_h`` and ``_w`` may be given alone; the other has its default.
    """
    single = {"kernel": "kernel_size"}.get(field, field)
    parts = [f"{field}_h", f"{field}_w"]
    values = _values(message, single)
    if field == "hole":
        # Nets are upgraded to `dilation`; a `hole` that is left over cannot be combined with it.
        values += _values(message, "dilation")
    given = [part for part in parts if _values(message, part)]
    if given and values:
        raise layer.error(f"{single} and {given[0]} exclude each other: set one or the other")
    if len(given) == 1 and not lone:
        missing = next(part for part in parts if part not in given)
        raise layer.error(f"{given[0]} is set but {missing} is not: a pair needs both")
    if given:
        return f"{parts[0]} and {parts[1]}", [getattr(message, part) for part in parts]
    return single, values


def read_geometry(layer: Layer, message: Message, axes: int | None = None, lone_pad: bool = False) -> Geometry:
    """Read kernel, stride, pad and hole of a convolution_param or pooling_param: each once, or once per spatial axis.

    Args:
        layer: the layer, for error messages.
        message: the parameters.
        axes: number of spatial axes; None: the number of values given, two if a single value holds for all axes, or
            none without a kernel, which no axes need.
        lone_pad: ``pad_h`` or ``pad_w`` may be given alone; the other is 0.

    Raises:
        NetError: a size is given twice, only for one of ``_h`` and ``_w``, not at all or for another number of axes, or
            a kernel, stride or hole is 0.
    """
    defaults = {"kernel": None, "stride": 1, "pad": 0, "hole": 1}
    given = {field: _given(layer, message, field, lone=lone_pad and field == "pad") for field in defaults}
    if axes is None:
        counts = [len(values) for _, values in given.values() if len(values) > 1]
        axes = max(counts, default=2 if given["kernel"][1] else 0)
    found = []
    for field, default in defaults.items():
        name, values = given[field]
        if not values and default is None and axes:
            raise layer.error("kernel_size, or kernel_h and kernel_w, must be set")
        if len(values) > 1 and len(values) != axes:
            raise layer.error(f"{name} must be given once or once for each of {axes} axes, got {len(values)} numbers")
        found.append(tuple(values if len(values) > 1 else [*values, default or 0][:1] * axes))
    geometry = Geometry(*found)
    for name in ("kernel", "stride", "hole"):
        if min(getattr(geometry, name), default=1) < 1:
            raise layer.error(f"{name} must be positive, got {getattr(geometry, name)}")
    return geometry


def read_convolution(layer: Layer, conv: caffe_pb2.ConvolutionParameter, axes: int | None = None) -> Geometry:
    """Read the geometry of a convolution_param; except in v1, ``pad_h`` or ``pad_w`` alone is allowed, as in Caffe.

    Raises:
        NetError: as :func:`read_geometry`.
    """
    return read_geometry(layer, conv, axes, lone_pad=not layer.context.dialect.pads_in_pairs)


def place_geometry(layer: Layer, conv: caffe_pb2.ConvolutionParameter, shape: Shape) -> tuple[int, Geometry]:
    """Return the channels' axis of a bottom, and kernel, stride, pad and hole for the axes behind it.

    Raises:
        NetError: there is no such axis, there are more than three axes behind it, or the numbers are for another count.
    """
    axis = layer.axis(conv.axis, shape)
    axes = len(shape) - axis - 1
    if axes > MOST_AXES:
        raise layer.error(
            f"{axes} spatial axes are not implemented, {MOST_AXES} at most: {tuple(shape)} from axis {axis}"
        )
    return axis, read_convolution(layer, conv, axes)


def check_image(layer: Layer, shape: Shape) -> None:
    """Check that a bottom has the shape of images, (N, C, H, W).

    Raises:
        NetError: it is not (N, C, H, W).
    """
    if len(shape) != 4:
        raise layer.error(f"expected a bottom of shape (N, C, H, W), got {tuple(shape)}")
