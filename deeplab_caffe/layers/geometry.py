"""Kernel, stride, pad and hole of layers over an image plane."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import Message

from deeplab_caffe.layers.base import Layer, ReceptiveWindow, Shape
from deeplab_caffe.ops.im2col import conv_output_size


class Geometry(NamedTuple):
    """Kernel, stride, pad and hole as (height, width) pairs."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    hole: tuple[int, int]

    @property
    def effective_kernel(self) -> tuple[int, int]:
        """Return rows and columns from the first to the last tap."""
        height, width = (k + (k - 1) * (h - 1) for k, h in zip(self.kernel, self.hole, strict=True))
        return height, width

    def receptive_window(self) -> ReceptiveWindow:
        return ReceptiveWindow(self.effective_kernel, self.stride, self.pad)

    def conv_output_size(self, layer: Layer, shape: Shape) -> tuple[int, int]:
        """Return height and width of a convolution's top.

        Raises:
            NetError: the bottom is smaller than the kernel.
        """
        try:
            height, width = (
                conv_output_size(shape[2 + i], self.kernel[i], self.stride[i], self.pad[i], self.hole[i])
                for i in (0, 1)
            )
        except ValueError as error:
            raise layer.error(f"bottom {tuple(shape)}: {error}") from None
        return height, width


def _values(message: Message, field: str) -> list[int]:
    """Return the numbers of a field, repeated or not; none if it is not set or does not exist."""
    if field not in message.DESCRIPTOR.fields_by_name:
        return []
    value = getattr(message, field)
    if isinstance(value, int):
        return [value] if message.HasField(field) else []
    return list(value)


def _pair(layer: Layer, message: Message, field: str, default: int | None) -> tuple[int, int]:
    """Return a size given once (``kernel_size``), for each axis, or as ``kernel_h`` and ``kernel_w``, never both."""
    single = {"kernel": "kernel_size"}.get(field, field)
    parts = [f"{field}_h", f"{field}_w"]
    values = _values(message, single)
    if field == "hole":
        # Inside it is `dilation`; what is left of the old name does not go together.
        values += _values(message, "dilation")
    given = [part for part in parts if _values(message, part)]
    if given and values:
        raise layer.error(f"{single} and {given[0]} exclude each other: set one or the other")
    if given:
        if len(given) == 1:
            missing = next(part for part in parts if part not in given)
            raise layer.error(f"{given[0]} is set but {missing} is not: a pair needs both")
        return getattr(message, parts[0]), getattr(message, parts[1])
    if not values:
        if default is None:
            raise layer.error(f"{single}, or {parts[0]} and {parts[1]}, must be set")
        return default, default
    if len(values) > 2:
        raise layer.error(f"{single} has {len(values)} values: only two spatial axes are implemented")
    return values[0], values[-1]


def read_geometry(layer: Layer, message: Message) -> Geometry:
    """Read kernel, stride, pad and hole of a convolution_param or pooling_param.

    Raises:
        NetError: a size given twice, by half or not at all, or a kernel, stride or hole of 0.
    """
    geometry = Geometry(
        kernel=_pair(layer, message, "kernel", None),
        stride=_pair(layer, message, "stride", 1),
        pad=_pair(layer, message, "pad", 0),
        hole=_pair(layer, message, "hole", 1),
    )
    for name in ("kernel", "stride", "hole"):
        if min(getattr(geometry, name)) < 1:
            raise layer.error(f"{name} must be positive, got {getattr(geometry, name)}")
    return geometry


def check_image(layer: Layer, shape: Shape) -> None:
    """Check that a bottom is of images.

    Raises:
        NetError: it is not (N, C, H, W).
    """
    if len(shape) != 4:
        raise layer.error(f"expected a bottom of shape (N, C, H, W), got {tuple(shape)}")
