"""The dense CRF of DeepLab for numpy, torch and CuPy arrays; results are of the same library. Does not import torch.

>>> from deeplab_caffe.crf import CRFParams, dense_crf
>>> marginals = dense_crf(scores, image, CRFParams.for_model("DeepLab-LargeFOV"))  # (C, H, W), (H, W, 3)
>>> labels = marginals.argmax(axis=0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_caffe.crf.captured import CapturedCRF
from deeplab_caffe.crf.functional import clear_cache, dense_crf, layer_inference
from deeplab_caffe.crf.lattice import Lattice
from deeplab_caffe.crf.memory import CRFMemoryError
from deeplab_caffe.crf.model import DenseCRF, DenseCRF2D, Energies, Inference
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel, ParamsLike
from deeplab_caffe.crf.presets import PRESETS, Preset, find_preset

__all__ = [
    "PRESETS",
    "CRFMemoryError",
    "CRFParams",
    "CapturedCRF",
    "DenseCRF",
    "DenseCRF2D",
    "Energies",
    "Inference",
    "Lattice",
    "PairwiseKernel",
    "ParamsLike",
    "Preset",
    "clear_cache",
    "dense_crf",
    "find_preset",
    "layer_inference",
]

if TYPE_CHECKING:
    from deeplab_caffe.crf.module import MeanField as MeanField


def _imported(name: str) -> Any:
    """Return MeanField, which is not in __all__: importing everything must not import torch."""
    if name == "MeanField":
        import deeplab_caffe.arrays.needs_torch  # noqa: F401
        from deeplab_caffe.crf.module import MeanField

        return MeanField
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Type checkers read the import above: by this one any misspelt name would be one of the room.
if not TYPE_CHECKING:
    __getattr__ = _imported
