"""Write the files of a picture's segmentation: :class:`ResultWriter`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deeplab_caffe.data.areas import percent
from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.data.io.images import save_image, save_labels_png
from deeplab_caffe.data.io.mat import write_blob_mat
from deeplab_caffe.data.io.npy import save_npy
from deeplab_caffe.files.atomic import all_or_none
from deeplab_caffe.segmentation.result import Segmentation

MarginalsFormat = Literal["npy", "mat"]


@dataclass(frozen=True)
class ResultWriter:
    """Writes ``NAME_labels.png``, ``NAME_overlay.png`` and optionally ``NAME_marginals.npy`` into a folder.

    Attributes:
        folder: the folder; created with the first file.
        colormap: uint8 RGB (K, 3), the labels' colours.
        marginals: file format of the probabilities; None: they are not written.
        outlines: as for :meth:`Segmentation.overlay`.
        legend: as for :meth:`Segmentation.overlay`.
    """

    folder: Path
    colormap: np.ndarray
    marginals: MarginalsFormat | None = None
    outlines: bool = True
    legend: bool = True

    def paths(self, item: WorkItem) -> tuple[Path, ...]:
        """Return the files of an item: ``NAME_overlay.mp4`` for a video or camera, all others for a picture."""
        ends = ["_labels.png", "_overlay.png", *([f"_marginals.{self.marginals}"] if self.marginals else [])]
        if item.kind in ("video", "webcam"):
            ends = ["_overlay.mp4"]
        return tuple(self.folder / f"{item.name}{end}" for end in ends)

    def write(self, item: WorkItem, image: np.ndarray, found: Segmentation) -> tuple[Path, ...]:
        """Write all files of a picture, or none if one cannot be written; folders are created.

        Args:
            item: the picture.
            image: uint8 RGB (H, W, 3).
            found: the picture's segmentation, with scores if marginals are written.

        Raises:
            DataError: a file cannot be written.
        """
        drawn = found.overlay(image, colormap=self.colormap, outlines=self.outlines, legend=self.legend)
        paths = self.paths(item)
        writers: list[Callable[[Path], None]] = [
            lambda path: save_labels_png(path, found.labels, self.colormap),
            lambda path: save_image(path, drawn),
            lambda path: _save_probabilities(path, found.probabilities()),
        ]
        with all_or_none() as written:
            for path, write in zip(paths, writers, strict=False):
                write(path)
                written.append(path)
        return paths


def shares(found: Segmentation, most: int = 4) -> str:
    """Return the classes that cover most of the picture: ``"Building 41 %, Sky 23 %"``."""
    return ", ".join(f"{area.name} {percent(area.share)}" for area in found.areas(None)[:most])


def _save_probabilities(path: Path, array: np.ndarray) -> None:
    if path.suffix == ".mat":
        write_blob_mat(path, array[None])
        return
    save_npy(path, array)
