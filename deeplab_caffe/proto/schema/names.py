"""Names of layer types: ``Convolution`` in the inner form, ``CONVOLUTION`` (a number) in V1, ``conv`` in V0 files.

The table is ``layer_types.csv``: all types of DeepLab v1, of DeepLab v2 and of BVLC's last Caffe. Enum names are
DeepLab v1's and BVLC's, names those of BVLC's caffe.proto and, for DeepLab's own layers, of its v2 files (``DenseCRF``,
``Interp``, ``ImageSegData``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from deeplab_caffe.proto.schema.tables import enum_table, read_table

_TABLE = read_table("layer_types.csv")
_NAME_OF_ENUM = {row["enum"]: row["name"] for row in _TABLE if row["enum"]}
_ENUM_OF_NAME = {name: enum for enum, name in _NAME_OF_ENUM.items()}
# The layer class is SoftmaxWithLossLayer, yet files of the transition period also say SoftmaxLoss.
_ENUM_OF_NAME["SoftmaxLoss"] = "SOFTMAX_LOSS"
_NAME_OF_V0 = {row["v0"]: row["name"] for row in _TABLE if row["v0"]}
# Layer types of other programs, in lower case, and their equivalents.
_ELSEWHERE = {
    "bn": "BatchNorm and Scale",
    "convolutiondepthwise": "Convolution with a group for each channel",
    "depthwiseconvolution": "Convolution with a group for each channel",
    "relu6": "Clip with min: 0 max: 6",
    "upsample": "Interp and Deconvolution",
}
# Longer words are not typos, and comparing them takes memory.
_LONGEST_NAME = 200
_ENUM_OF_NUMBER = {row.value: row.name for row in enum_table("v1") if row.enum == "LayerParameter.LayerType"}


def name_of_enum(enum: str) -> str:
    """Return the name of a V1 enum value, ``"CONVOLUTION" -> "Convolution"``.

    Raises:
        KeyError: the V1 layout has no such layer type.
    """
    return _NAME_OF_ENUM[enum]


def enum_of_name(name: str) -> str:
    """Return the V1 enum value of a name, ``"SoftmaxWithLoss" -> "SOFTMAX_LOSS"``.

    Raises:
        KeyError: the V1 layout has no such layer type.
    """
    return _ENUM_OF_NAME[name]


def name_of_number(number: int, *, deconvolution: bool) -> str:
    """Return the name of a V1 layer type's number, ``4 -> "Convolution"``.

    Args:
        number: the number.
        deconvolution: 39 is BVLC's DECONVOLUTION here, not DeepLab v1's IMAGE_SEG_DATA.

    Raises:
        KeyError: the V1 layout has no layer type of that number, or it is 0: no type.
    """
    enum = _ENUM_OF_NUMBER[number]
    return name_of_enum("DECONVOLUTION" if enum == "IMAGE_SEG_DATA" and deconvolution else enum)


def name_of_v0(v0_name: str) -> str:
    """Return the name of a V0 layer type, ``"conv" -> "Convolution"``.

    Raises:
        KeyError: no such V0 layer type.
    """
    return _NAME_OF_V0[v0_name]


def v1_names() -> list[str]:
    """Return the names of all layer types of the V1 layout."""
    return list(_ENUM_OF_NAME)


def v0_names() -> list[str]:
    """Return all layer types of the V0 layout."""
    return list(_NAME_OF_V0)


class LayerTypeValue(bytes):
    """A layer type for the fields of both layouts: ``LayerParameter.DATA`` in scripts of 2014.

    ``layers.add().type = LayerParameter.DATA`` sets the number, 5, and ``layer.add().type = LayerParameter.DATA`` the
    name, ``"Data"``: protobuf takes bytes for a string, and what has an index for an enum. It is equal to both.
    """

    number: int

    def __new__(cls, name: str, number: int) -> LayerTypeValue:
        """Return the value of a name, ``"Data"``, and a number of the V1 layout, 5."""
        value = super().__new__(cls, name.encode())
        value.number = number
        return value

    def __index__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        # Another value of its kind is compared with the number by this method again.
        return other in (self.number, self.decode())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.number)

    def __repr__(self) -> str:
        return str(self.number)

    # Otherwise __str__ would be that of bytes.
    __str__ = __repr__


def layer_type_values() -> dict[str, LayerTypeValue]:
    """Return the layer types of the V1 layout by the names of its enum, ``"DATA"``, ..."""
    numbers = {name: number for number, name in _ENUM_OF_NUMBER.items()}
    # Of BVLC's V1 layout; see name_of_number.
    numbers["DECONVOLUTION"] = numbers["IMAGE_SEG_DATA"]
    return {enum: LayerTypeValue(name, numbers[enum]) for enum, name in _NAME_OF_ENUM.items()}


def all_names() -> list[str]:
    """Return the names of all layer types of Caffe and DeepLab; forks have more."""
    return [*(row["name"] for row in _TABLE), "SoftmaxLoss"]


def type_elsewhere(name: str) -> str | None:
    """Return advice for a layer type of another program, or None."""
    other = _ELSEWHERE.get(name.lower())
    return f"another program's; Caffe has {other}" if other else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest candidate, or an empty string if none is near."""
    if len(word) > _LONGEST_NAME:
        return ""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean '{by_lower[near[0]]}'?)" if near else ""
