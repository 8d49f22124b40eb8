"""``deeplab-caffe mean``: what compute_image_mean does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from deeplab_caffe.cli.options import SIDE, FilePath, path_option
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.data.mean import MeanImages, compute_mean
from deeplab_caffe.files.apart import validate_outputs


@click.command()
@click.argument("sources", nargs=-1, required=True, type=FilePath())
@click.option("--root", default="", help="Prefix of the names in a list, as root_folder.")
@click.option("--size", type=SIDE, nargs=2, metavar="H W", help="Resize images to this size.")
@click.option("--grey", is_flag=True, help="Read images as grey.")
@path_option("--out", multiple=True, help="Write the mean image here: .binaryproto or .npy. May be repeated.")
def mean(sources: tuple[Path, ...], root: str, size: tuple[int, int] | None, grey: bool, out: tuple[Path, ...]) -> None:
    """Compute the mean of images: print each channel's mean, and write the mean image.

    SOURCES are images, folders of images, lists as for data layers, LMDBs and LevelDBs. Channels are in the order B,
    G, R, as in mean_value. A mean image needs images of equal size.
    """
    images = MeanImages(sources, root=root, size=size, grey=grey)
    validate_outputs([("--out", path) for path in out], [("the source", path) for path in (*sources, *images.files)])
    with progress("reading", len(images)) as advance:

        def counted() -> Iterator[tuple[str, np.ndarray]]:
            for one in images:
                yield one
                advance()

        found = compute_mean(counted())
    for path in out:
        found.save(path)
    for value in found.channels:
        click.echo(f"mean_value: {value:.4f}")
    click.echo(f"{found.count:,} images", err=True)
    for path in out:
        click.echo(str(path), err=True)
