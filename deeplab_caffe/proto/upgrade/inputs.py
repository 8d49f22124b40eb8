"""Input blobs and blob shapes, brought to the four dimensions that DeepLab v1 knows."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from deeplab_caffe.proto.outline import Source

BLOB_AXES = 4
_MAX_DIM = 2**31 - 1


def four_dims(dims: Sequence[int], where: Source, *steps: str | int) -> list[int]:
    """``dims`` with ones appended up to four: ``(N, C)`` becomes ``(N, C, 1, 1)``.

    Raises:
        PrototxtError: more than four dimensions, or one that is negative or beyond int32.
    """
    if len(dims) > BLOB_AXES:
        raise where.error(f"shape {list(dims)} has {len(dims)} dimensions; DeepLab v1's blobs have four", *steps)
    for dim in dims:
        if not 0 <= dim <= _MAX_DIM:
            raise where.error(f"dimension {dim} is not in 0 ... {_MAX_DIM}", *steps)
    return list(dims) + [1] * (BLOB_AXES - len(dims))


def move_net_inputs(source: Message, target: Message, where: Source) -> None:
    """Copy ``input`` with its ``input_dim`` or ``input_shape`` into ``input`` and ``input_dim``.

    Raises:
        PrototxtError: both kinds of shape are given, or their number does not fit that of the inputs.
    """
    target.input.extend(source.input)
    target.input_dim.extend(source.input_dim)
    if not source.input_shape:
        return
    if source.input_dim:
        raise where.error("give either input_shape or input_dim, not both", "input_shape")
    if len(source.input_shape) != len(source.input):
        raise where.error(f"{len(source.input_shape)} input_shape for {len(source.input)} input", "input_shape")
    for i, shape in enumerate(source.input_shape):
        target.input_dim.extend(four_dims(shape.dim, where, "input_shape", i))


def move_dummy_shape(source: Message, target: Message, where: Source) -> None:
    """DummyDataParameter: ``shape`` into ``num``, ``channels``, ``height``, ``width``.

    Raises:
        PrototxtError: both are given.
    """
    if source.num or source.channels or source.height or source.width:
        raise where.error("give either shape or num, channels, height and width, not both", "shape")
    for i, shape in enumerate(source.shape):
        num, channels, height, width = four_dims(shape.dim, where, "shape", i)
        target.num.append(num)
        target.channels.append(channels)
        target.height.append(height)
        target.width.append(width)
