"""Results as palette PNGs, which PASCAL VOC's server takes (the first half of EvalSegResults.m)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deeplab_caffe.data.classes import Classes
from deeplab_caffe.data.io.images import image_size, save_labels_png
from deeplab_caffe.data.workers import worker_pool
from deeplab_caffe.errors import DataError
from deeplab_caffe.evaluation.predictions import SUFFIXES, Kind, count_channels, read_prediction
from deeplab_caffe.files.apart import validate_outputs


def save_pngs(
    predictions: str | os.PathLike[str],
    kind: Kind,
    ids: Sequence[str],
    partners: Mapping[str, Path],
    folder: str | os.PathLike[str],
    classes: Classes,
    *,
    jobs: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Write ``<folder>/<id>.png`` for every id.

    Args:
        predictions: folder of the results.
        kind: what they are.
        ids: of the images.
        partners: an image of each id's size: its photograph or its labels.
        folder: where to write; made where missing.
        classes: whose colours, and whose ids where the data set has such, the files have.
        jobs: how many images at a time; 0 for the number of cores.
        advance: called after each image.

    Raises:
        DataError: a file that is missing, damaged or of another size, or cannot be written, or would be written over
            a partner or a result.
    """
    own = {name: Path(folder) / f"{name}.png" for name in ids}
    there = {name: Path(predictions) / (name + SUFFIXES[kind]) for name in ids}
    validate_outputs(
        [(f"the result of '{name}' as PNG", path) for name, path in own.items()],
        [("the image or label map", path) for path in partners.values()]
        + [("the result itself,", path) for path in there.values()],
    )

    def save(name: str) -> None:
        if name not in partners:
            raise DataError(f"nothing says how large '{name}' is: no photograph and no labels", folder)
        size = image_size(partners[name])
        labels = read_prediction(there[name], kind, size)
        if classes.ids is not None and count_channels(there[name], kind) > 1:
            labels = classes.to_file(labels)
        save_labels_png(own[name], labels, classes.file_colormap)

    with worker_pool(jobs, "save") as pool:
        for _ in pool.map(save, ids):
            advance()
