"""Save results as palette PNGs, which PASCAL VOC's server accepts (the first half of EvalSegResults.m)."""

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
        kind: format of the results.
        ids: ids of the images.
        partners: for each id an image of the same size: its photograph or its labels.
        folder: folder to write to; created if it does not exist.
        classes: the classes, whose colours, and whose ids if the data set has its own, are written.
        jobs: number of images at a time; 0: the number of cores.
        advance: function that is called after each image.

    Raises:
        DataError: a file is missing, damaged or of another size, cannot be written, or would overwrite a partner or a
            result.
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
