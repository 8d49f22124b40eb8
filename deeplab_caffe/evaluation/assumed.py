"""Decide which classes an evaluation has: those that the caller names, if they fit the files.

If the caller names none, PASCAL VOC's, unless the files cannot have VOC's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeplab_caffe.data.classes import KNOWN, Classes
from deeplab_caffe.data.io.images import load_label, read_palette
from deeplab_caffe.errors import EvaluationError, warn
from deeplab_caffe.evaluation.evaluate import ImagePair
from deeplab_caffe.evaluation.predictions import Kind, count_channels

# Hint for errors about labels beyond VOC's classes, when the caller named no classes.
HINT = ": PASCAL VOC's classes are assumed, say --classes for others"

_VOC = KNOWN["voc12"]
_VOC_ID = re.compile(r"20\d\d_\d{6}")


def assumed_classes(pairs: Sequence[ImagePair], kind: Kind, ignore_label: int = 255) -> Classes:
    """Return PASCAL VOC's classes if the first image suggests them; else, with a warning, 21 classes without names.

    These suggest them: an id such as ``2007_000033``, scores of 21 channels, labels or results with VOC's palette.

    Args:
        pairs: the images to evaluate.
        kind: format of the results.
        ignore_label: the true label that does not count.


    Raises:
        DataError: a file cannot be read.
        EvaluationError: the classes cannot be VOC's: there is another number of channels, the palette has other
            colours, or the ignored label is one of the classes.
    """
    if 0 <= ignore_label < len(_VOC):
        raise _others(f"label {ignore_label} is ignored, which PASCAL VOC calls '{_VOC.names[ignore_label]}'")
    if not pairs:
        return _VOC
    channels = count_channels(pairs[0].prediction, kind)
    if channels not in (1, len(_VOC)):
        raise _others(f"{pairs[0].prediction} has {channels} classes, PASCAL VOC has {len(_VOC)}")
    palettes = _palettes(pairs[0], kind)
    for path, palette in palettes:
        if not _is_of(palette, _VOC, path, ignore_label):
            raise _others(f"{path} has a palette that is not PASCAL VOC's")
    if palettes:
        return _VOC
    if channels == 1 and not _VOC_ID.fullmatch(pairs[0].name):
        warn(f"nothing says which classes these are, {len(_VOC)} as PASCAL VOC's are counted: say --classes")
        return Classes(tuple(f"class {label}" for label in range(len(_VOC))), _VOC.colormap)
    return _VOC


def validate_classes(pairs: Sequence[ImagePair], kind: Kind, classes: Classes, ignore_label: int = 255) -> None:
    """Validate that the classes that the caller names fit the first image.

    The palette of another known data set gives a warning.

    Raises:
        DataError: a file cannot be read.
        EvaluationError: the scores have another number of channels.
    """
    if not pairs:
        return
    channels = count_channels(pairs[0].prediction, kind)
    if channels not in (1, len(classes)):
        raise EvaluationError(f"{pairs[0].prediction} has {channels} classes, but --classes names {len(classes)}")
    if not any(classes is known for known in KNOWN.values()):
        return
    for path, palette in _palettes(pairs[0], kind):
        if _is_of(palette, classes, path, ignore_label):
            continue
        for name, known in KNOWN.items():
            if _is_of(palette, known, path, ignore_label):
                warn(f"{path} has the colours of {name}, but --classes names others")
                break  # Data sets without colours of their own have VOC's.


def _palettes(pair: ImagePair, kind: Kind) -> list[tuple[Path, np.ndarray]]:
    """Return the colour palettes of an image's labels and, if it is a PNG, of its result, with their files."""
    found = []
    for path in (pair.label, *([pair.prediction] if kind == "png" else [])):
        palette = read_palette(path)
        if palette is not None and _tells(palette):
            found.append((path, palette))
    return found


def _is_of(palette: np.ndarray, classes: Classes, path: Path, ignore_label: int) -> bool:
    """Return whether the palette has the classes' colours for the labels that occur in a file."""
    used = [label for label in np.unique(load_label(path)).tolist() if label != ignore_label]
    colours = classes.file_colormap
    return max(used, default=0) < len(colours) and np.array_equal(palette[used], colours[used])


def _tells(palette: np.ndarray) -> bool:
    """Return whether a palette has colours; programs that do not know palettes write grey ones."""
    return bool((palette != palette[:, :1]).any())


def _others(what: str) -> EvaluationError:
    return EvaluationError(f"{what}: say --classes, with {', '.join(KNOWN)} or a file of names")
