"""Names of layer types in the three layouts: enum (``CONVOLUTION``), modern (``Convolution``) and V0 (``conv``).

The table is ``layer_types.csv``. Enum names are those of DeepLab v1, modern names those of BVLC's caffe.proto and,
for DeepLab's own layers, of its v2 files (``DenseCRF``, ``Interp``, ``ImageSegData``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema import read_table

# 39 is IMAGE_SEG_DATA in DeepLab v1 and DECONVOLUTION in BVLC's V1 layout.
CONTESTED_TYPE = 39


_TABLE = read_table("layer_types.csv")
_MODERN_OF_ENUM = {row["enum"]: row["modern"] for row in _TABLE}
_ENUM_OF_MODERN = {row["modern"]: row["enum"] for row in _TABLE}
# The layer class is SoftmaxWithLossLayer, yet files of the transition period also say SoftmaxLoss.
_ENUM_OF_MODERN["SoftmaxLoss"] = "SOFTMAX_LOSS"
_ENUM_OF_V0 = {row["v0"]: row["enum"] for row in _TABLE if row["v0"]}


def type_name(value: int) -> str:
    """Name of a ``LayerParameter.LayerType`` number, ``4 -> "CONVOLUTION"``.

    Raises:
        ValueError: DeepLab v1 has no layer type of that number.
    """
    return caffe_pb2.LayerParameter.LayerType.Name(value)


def modern_name(enum_name: str) -> str:
    """V2-layout name of a V1 enum name, ``"CONVOLUTION" -> "Convolution"``.

    Raises:
        KeyError: no such layer type in DeepLab v1.
    """
    return _MODERN_OF_ENUM[enum_name]


def enum_name(modern: str) -> str:
    """V1 enum name of a V2-layout name, ``"SoftmaxWithLoss" -> "SOFTMAX_LOSS"``.

    Raises:
        KeyError: DeepLab v1 has no such layer type.
    """
    return _ENUM_OF_MODERN[modern]


def enum_name_of_v0(v0_name: str) -> str:
    """V1 enum name of a V0-layout name, ``"conv" -> "CONVOLUTION"``.

    Raises:
        KeyError: no such V0 layer type.
    """
    return _ENUM_OF_V0[v0_name]


def modern_names() -> list[str]:
    """All layer types of DeepLab v1 by their modern names."""
    return list(_ENUM_OF_MODERN)


def v0_names() -> list[str]:
    """All layer types of the V0 layout."""
    return list(_ENUM_OF_V0)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest candidate, or an empty string where none is near."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean '{by_lower[near[0]]}'?)" if near else ""
