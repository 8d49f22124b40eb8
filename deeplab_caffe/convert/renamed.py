"""Renaming of all tensors of another project's network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os import PathLike

from torch import Tensor

from deeplab_caffe.convert.plain import is_plain
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.net.tensors import some


def renamed(
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
    path: str | PathLike[str],
    *,
    title: str,
    dropped: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return all tensors of another project's network under this package's names.

    Args:
        tensors: the program's state_dict.
        names: its names of the tensors that the net needs, mapped to this package's names.
        path: the file, for messages.
        title: name of the network in messages.
        dropped: names of tensors that the net does not use; BatchNorm's counters are always dropped.

    Raises:
        ConversionError: names are missing or unknown, or values are not numbers that fit into float32.
    """
    absent = [name for name in names if name not in tensors]
    known = {*names, *dropped}
    unknown = [name for name in tensors if name not in known and not name.endswith(".num_batches_tracked")]
    if absent or unknown:
        parts = [f"has no {some(absent)}"] * bool(absent) + [f"has {some(unknown)}, which it has not"] * bool(unknown)
        raise ConversionError(f"{path}: is not {title}: {' and '.join(parts)}")
    for name in names:
        if not is_plain(tensors[name]):
            raise ConversionError(f"{path}: '{name}' needs plain float32 numbers, got {tensors[name].dtype}")
    return {own: tensors[name] for name, own in names.items()}
