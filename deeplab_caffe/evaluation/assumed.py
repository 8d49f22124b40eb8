"""Whose classes an evaluation counts where nobody says it: PASCAL VOC's, unless what is there cannot be VOC's."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np

from deeplab_caffe.data.classes import KNOWN, Classes
from deeplab_caffe.data.io.images import load_label, read_palette
from deeplab_caffe.errors import EvaluationError
from deeplab_caffe.evaluation.evaluate import ImagePair
from deeplab_caffe.evaluation.predictions import Kind, count_channels

# What to say of labels that are beyond VOC's where nobody said that they are.
HINT = ": PASCAL VOC's classes are assumed, say --classes for others"

_VOC = KNOWN["voc12"]
_VOC_ID = re.compile(r"20\d\d_\d{6}")


def assumed_classes(pairs: Sequence[ImagePair], kind: Kind, ignore_label: int = 255) -> Classes:
    """Return PASCAL VOC's classes if the first image speaks for them, and 21 without names, with a warning, if not.

    What speaks for them: an id as ``2007_000033``, scores of 21 channels, labels with VOC's palette.

    Args:
        pairs: what is to be evaluated.
        kind: what the results are.
        ignore_label: the true label that does not count.

    Raises:
        DataError: a file cannot be read.
        EvaluationError: the classes cannot be VOC's: another number of channels, other colours of the palette, or an
            ignored label among them.
    """
    if 0 <= ignore_label < len(_VOC):
        raise _others(f"label {ignore_label} is ignored, which PASCAL VOC calls '{_VOC.names[ignore_label]}'")
    if not pairs:
        return _VOC
    channels = count_channels(pairs[0].prediction, kind)
    if channels not in (1, len(_VOC)):
        raise _others(f"{pairs[0].prediction} has {channels} classes, PASCAL VOC has {len(_VOC)}")
    palette = read_palette(pairs[0].label)
    if palette is not None and _tells(palette):
        used = [label for label in np.unique(load_label(pairs[0].label)).tolist() if label != ignore_label]
        if not np.array_equal(palette[used], _VOC.colormap[used]):
            raise _others(f"{pairs[0].label} has a palette that is not PASCAL VOC's")
    elif channels == 1 and not _VOC_ID.fullmatch(pairs[0].name):
        warnings.warn(
            f"nothing says which classes these are, {len(_VOC)} as PASCAL VOC's are counted: say --classes",
            stacklevel=2,
        )
        return Classes(tuple(f"class {label}" for label in range(len(_VOC))), _VOC.colormap)
    return _VOC


def _tells(palette: np.ndarray) -> bool:
    """Return whether a palette has colours: one of greys is what programs write that know of none."""
    return bool((palette != palette[:, :1]).any())


def _others(what: str) -> EvaluationError:
    return EvaluationError(f"{what}: say --classes, with voc12, camvid or a file of names")
