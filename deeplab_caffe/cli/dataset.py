"""``deeplab-caffe dataset``: a data set's folders to DeepLab's lists."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from deeplab_caffe.cli.options import FilePath, path_option
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.cli.tables import plain_table, print_table
from deeplab_caffe.data.classes import find_classes
from deeplab_caffe.data.prepare.labels import IGNORED
from deeplab_caffe.data.prepare.layouts import KINDS, find_layout
from deeplab_caffe.data.prepare.lists import SplitCounts, check_pairs, write_lists


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("root", type=FilePath())
@path_option("--out", help="Folder for the lists, and for label maps that must be converted.  [ROOT/list]")
@click.option("--images", metavar="FOLDER", help="Folder of images in ROOT, for voc12 and folders.  [JPEGImages]")
@click.option("--labels", metavar="FOLDER", help="Folder of annotations.  [SegmentationClassAug, SegmentationClass]")
@click.option("--classes", metavar="NAME|FILE|A,B,C", help="The classes, for folders: as segment's --classes.")
@click.option("--check-only", is_flag=True, help="Check and count, write nothing.")
@click.option("--overwrite", is_flag=True, help="Replace lists that exist.")
def dataset(
    kind: str,
    root: Path,
    out: Path | None,
    images: str | None,
    labels: str | None,
    classes: str | None,
    check_only: bool,
    overwrite: bool,
) -> None:
    """Write DeepLab's lists of a data set of KIND in the folder ROOT, as its archives unpack.

    Every label map is checked first: it must have its image's size, and labels of the classes, or 255. Annotations in
    colours, of Cityscapes' label ids and of COCO-Stuff 10k's .mat files are written as label maps to OUT/labels.
    Splits come from ImageSets/Segmentation/*.txt, list/*_id.txt, or the data set's own folders.

    KIND folders is for your own pictures: images in one folder, label maps of the same names in another.
    """
    if (kind == "folders") != (classes is not None):
        raise click.UsageError("--classes goes with folders, which needs it")
    layout = find_layout(
        kind, root, images=images, labels=labels, classes=None if classes is None else find_classes(classes)
    )
    with progress("checking", sum(map(len, layout.splits.values()))) as advance:
        counts = check_pairs(layout, advance)
    _print_counts(layout.rule.classes.names, counts)
    if check_only:
        return
    paths, prefix = write_lists(layout, counts, root, out or root / "list", overwrite=overwrite)
    for path in paths:
        click.echo(str(path))
    click.echo(f'root_folder: "{prefix}"')


def _print_counts(names: tuple[str, ...], counts: dict[str, SplitCounts]) -> None:
    columns = [("class", "left"), *((f"{split}: {what}", "right") for split in counts for what in ("pixels", "images"))]
    table = plain_table(", ".join(f"{split} {count.images:,} images" for split, count in counts.items()), columns)
    shares = {split: count.pixels / max(1, np.sum(count.pixels) - count.ignored) for split, count in counts.items()}
    for label, name in [*enumerate(names), (IGNORED, "no class")]:
        cells = []
        for split, count in counts.items():
            share = "" if label == IGNORED else f" ({shares[split][label]:.2%})"
            cells += [f"{count.pixels[label]:,}{share}", f"{count.images_with[label]:,}"]
        table.add_row(f"{label} {name}", *cells)
    print_table(table)
