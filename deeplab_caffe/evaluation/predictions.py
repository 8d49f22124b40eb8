"""Read results from disk as label maps: palette or grey PNG, MAT_WRITE's scores, .bin of the densecrf programs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from deeplab_caffe.data.classes import Classes
from deeplab_caffe.data.io import scores as score_files
from deeplab_caffe.data.io.bin import read_labels_bin, read_probabilities_bin
from deeplab_caffe.data.io.folders import folder_names, id_folders
from deeplab_caffe.data.io.images import load_label
from deeplab_caffe.data.io.mat import blob_mat_shape, read_scores_mat
from deeplab_caffe.errors import DataError, EvaluationError

Kind = Literal["png", "mat", "bin"]
# What follows the id in the name of a result's file.
SUFFIXES: dict[Kind, str] = {"png": ".png", "mat": score_files.SUFFIXES["mat"], "bin": score_files.SUFFIXES["bin"]}


def detect_kind(folder: str | os.PathLike[str], ids: Iterable[str] = ()) -> Kind:
    """Detect the format of the results in a folder, also in the folders inside it that the ids name.

    Raises:
        DataError: the folder cannot be read, or has results in several formats or none.
    """
    ids = list(ids)
    names = [name for inner in id_folders(folder, ids) for name in folder_names(Path(folder) / inner)]
    found = [kind for kind, suffix in SUFFIXES.items() if any(name.endswith(suffix) for name in names)]
    if len(found) == 1:
        return found[0]
    endings = [f"*{SUFFIXES[kind]}" for kind in found or SUFFIXES]
    if found:
        raise DataError(f"holds {', '.join(endings)}: say which with --input", folder)
    first = f"; the first id is '{ids[0]}'" if ids else ""
    raise DataError(f"holds no results: none of {', '.join(endings)}{first}", folder)


def read_prediction(path: str | os.PathLike[str], kind: Kind, size: tuple[int, int]) -> np.ndarray:
    """Read one image's predicted labels.

    Args:
        path: the file.
        kind: the file's format. ``"mat"``: scores, with the image at their top left, of which the first maximum wins,
            as with MATLAB's ``max`` in EvalSegResults.m; a single channel has labels. ``"bin"``: a label map, or class
            probabilities.
        size: ``(height, width)`` of the image.

    Returns:
        Whole numbers ``(H, W)``.

    Raises:
        DataError: the file is missing, damaged or of another size, or a pixel has no finite maximum.
    """
    if kind == "png":
        labels = load_label(path)
    elif kind == "mat":
        scores = read_scores_mat(path, size)
        labels = _best(scores, path) if len(scores) > 1 else _whole(scores[0], path)
    elif kind == "bin":
        labels = _read_bin(path)
    else:
        raise EvaluationError(f"kind of results: expected one of {', '.join(SUFFIXES)}, got {kind!r}")
    if labels.shape != tuple(size):
        turned = labels.shape == tuple(size)[::-1]
        raise DataError(
            f"is {labels.shape[0]} x {labels.shape[1]} (height x width), the labels are {size[0]} x {size[1]}"
            f"{': was the photo turned as its EXIF orientation says?' if turned else ''}",
            path,
        )
    return labels


def read_classes(path: str | os.PathLike[str], kind: Kind, size: tuple[int, int], classes: Classes) -> np.ndarray:
    """Read one image's predicted classes: as :func:`read_prediction`, but a label map may have the data set's own ids.

    Raises:
        DataError: as :func:`read_prediction`.
    """
    predicted = read_prediction(path, kind, size)
    return predicted if classes.ids is None or count_channels(path, kind) > 1 else classes.from_file(predicted)


def count_channels(path: str | os.PathLike[str], kind: Kind) -> int:
    """Return the number of classes of a result's scores; 1 for a label map.

    Raises:
        DataError: the file cannot be read.
    """
    if kind == "mat":
        return blob_mat_shape(path)[1]
    return max(1, _bin_channels(path)) if kind == "bin" else 1


def first_maximum(scores: np.ndarray) -> np.ndarray:
    """Return the channel with the largest score, the first one on ties; NaN is never the largest, as in MATLAB.

    Args:
        scores: ``(C, H, W)``, C up to 256.

    Returns:
        uint8 ``(H, W)``.

    Raises:
        EvaluationError: there are more than 256 channels.
    """
    if len(scores) > 256:
        raise EvaluationError(f"label maps are bytes: {len(scores)} classes, at most 256 fit")
    labels = np.zeros(scores.shape[1:], np.uint8)
    best = np.full(scores.shape[1:], -np.inf, scores.dtype)
    for channel, plane in enumerate(scores):
        # One channel at a time: argmax over the first axis strides through memory and takes several times as long.
        better = plane > best
        labels[better] = channel
        np.copyto(best, plane, where=better)
    return labels


def _best(scores: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    """Return the first maximum; scores of minus infinity rule a class out, but each pixel needs a finite score."""
    bad = np.count_nonzero(~np.isfinite(scores.max(0)))
    if bad:
        raise DataError(
            f"the scores are not finite: {bad} of {scores[0].size} pixels have no largest one, but NaN or infinity; "
            f"look at the network's weights, and write the scores again",
            path,
        )
    return first_maximum(scores)


def _read_bin(path: str | os.PathLike[str]) -> np.ndarray:
    # The two formats differ only in the number of channels: a label map has one.
    if _bin_channels(path) > 1:
        return _best(read_probabilities_bin(path), path)
    return read_labels_bin(path)


def _bin_channels(path: str | os.PathLike[str]) -> int:
    """Return the number of channels in the file's header; 0 if the file is too short for a header."""
    try:
        with Path(path).open("rb") as stream:
            header = np.fromfile(stream, "<i4", 3)
    except OSError as exc:
        raise DataError(f"cannot be read: {exc.strerror}", path) from exc
    return int(header[2]) if len(header) == 3 else 0


def _whole(values: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    if not np.isfinite(values).all() or not np.array_equal(values, np.trunc(values)) or np.abs(values).max() > 2**15:
        raise DataError("a single channel must hold labels, whole numbers", path)
    return values.astype(np.int64)
