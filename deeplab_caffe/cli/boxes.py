"""``deeplab-caffe boxes``: label maps from bounding boxes, Bbox-Rect and Bbox-Seg of Papandreou et al. (ICCV 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.cli.options import ShareRange, path_option
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data import load_label, save_labels_png
from deeplab_caffe.data.boxes import Box, label_map_boxes, read_voc_boxes, rectangles
from deeplab_caffe.data.classes import KNOWN, Classes
from deeplab_caffe.data.io.folders import find_images
from deeplab_caffe.data.io.images import load_stored_image
from deeplab_caffe.errors import BoxError, DataError, DeepLabCaffeError
from deeplab_caffe.evaluation import find_classes, read_ids
from deeplab_caffe.files.apart import validate_outputs
from deeplab_caffe.files.names import exists
from deeplab_caffe.weak.boxes import segment_boxes


@click.command()
@path_option("--annotations", help="PASCAL VOC's Annotations folder: <id>.xml.")
@path_option("--labels", help="Instead of --annotations: true label maps <id>.png, to take boxes from.")
@path_option("--instances", help="With --labels: SegmentationObject's <id>.png. By default one box per region.")
@path_option("--images", required=True, help="Photographs <id>.*")
@path_option("--list", "list_path", required=True, help="train_id.txt or train.txt.")
@path_option("--out", required=True, help="Folder for the label maps <id>.png.")
@click.option(
    "--method",
    type=click.Choice(["rect", "crf"]),
    required=True,
    help="rect: whole boxes, the smallest on top; crf: objects cut out of them.",
)
@click.option(
    "--crf", default="bboxErode20", show_default=True, metavar="NAME|FILE", help="CRF parameters, as for crf."
)
@click.option(
    "--centre",
    type=ShareRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of a box that is certainly foreground.",
)
@click.option(
    "--classes",
    "classes_name",
    default="voc12",
    show_default=True,
    metavar="NAME|FILE",
    help=f"{', '.join(KNOWN)} or a file with a line per class: NAME or NAME R G B.",
)
@click.option(
    "--min-area",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --labels: smallest object with a box, in pixels.",
)
@click.option("--overwrite", is_flag=True, help="Replace label maps that exist.")
def boxes(
    annotations: Path | None,
    labels: Path | None,
    instances: Path | None,
    images: Path,
    list_path: Path,
    out: Path,
    method: str,
    crf: str,
    centre: float,
    classes_name: str,
    min_area: int,
    overwrite: bool,
) -> None:
    """Make label maps from bounding boxes, for training without true label maps.

    If an image fails, the error is reported, the other images are processed, and the exit status is 1.
    """
    if (annotations is None) == (labels is None):
        raise click.UsageError("the boxes come either from --annotations or from --labels")
    if instances is not None and labels is None:
        raise click.UsageError("--instances goes with --labels")
    classes = find_classes(classes_name)
    params = CRFParams.named(crf)
    names = read_ids(list_path)
    photographs = find_images(images, names)
    maker = _Maker(annotations, labels, instances, classes, classes_name, min_area, params, centre, method == "crf")
    validate_outputs(
        [(f"the label map of '{name}'", out / f"{name}.png") for name in names],
        [("the photograph", path) for path in photographs.values()] + maker.read_of(names),
    )
    _C.set_num_threads(0)
    made, skipped, failed = 0, 0, 0
    with progress("boxes", len(names)) as advance:
        for name in names:
            if exists(out / f"{name}.png") and not overwrite:
                skipped += 1
            else:
                try:
                    if name not in photographs:
                        raise DataError("there is no photograph of this name", images / name)
                    save_labels_png(out / f"{name}.png", maker.label_map(name, photographs[name]), classes.colormap)
                    made += 1
                except DeepLabCaffeError as error:
                    failed += 1
                    click.echo(f"error: {error}", err=True)
            advance()
    click.echo(f"{made} made, {skipped} skipped, {failed} failed")
    if failed:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True)
class _Maker:
    """Makes label maps of boxes, by the command's arguments.

    Attributes:
        classes_name: what ``--classes`` is, for messages.
        by_crf: cut objects out of their boxes.
    """

    annotations: Path | None
    labels: Path | None
    instances: Path | None
    classes: Classes
    classes_name: str
    min_area: int
    params: CRFParams
    centre: float
    by_crf: bool

    def read_of(self, names: Sequence[str]) -> list[tuple[str, Path]]:
        """Return the label maps that are read, each with what it is."""
        told = [("the true label map", self.labels), ("the map of objects", self.instances)]
        return [(what, folder / f"{name}.png") for what, folder in told if folder is not None for name in names]

    def label_map(self, name: str, photograph: Path) -> np.ndarray:
        """Return the labels (H, W) of an image.

        Raises:
            DataError: something cannot be read, or does not fit.
        """
        image = load_stored_image(photograph, "label maps")
        try:
            shape = (image.shape[0], image.shape[1])
            boxes = self._boxes(name, shape)
            if self.by_crf:
                return segment_boxes(boxes, image, self.params, centre=self.centre)
            return rectangles(boxes, shape)
        except BoxError as error:
            raise DataError(str(error), photograph) from None

    def _boxes(self, name: str, shape: tuple[int, int]) -> list[Box]:
        if self.annotations is not None:
            return read_voc_boxes(self.annotations / f"{name}.xml", self.classes.names, shape)
        assert self.labels is not None
        path = self.labels / f"{name}.png"
        objects = None if self.instances is None else load_label(self.instances / f"{name}.png")
        found = label_map_boxes(load_label(path), objects, min_area=self.min_area)
        others = [box.label for box in found if box.label >= len(self.classes)]
        if others:
            raise DataError(
                f"label {others[0]} is none of the {len(self.classes)} classes of '{self.classes_name}': say --classes",
                path,
            )
        return found
