"""``deeplab-caffe imageset``: what convert_imageset does."""

from __future__ import annotations

from pathlib import Path

import click

from deeplab_caffe.cli.options import SIDE, FilePath
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.data.prepare.imageset import read_imageset, write_imageset


@click.command()
@click.argument("list_file", metavar="LIST", type=FilePath())
@click.argument("out", type=FilePath())
@click.option("--root", default="", help="Prefix of the names in the list, as root_folder.")
@click.option("--size", type=SIDE, nargs=2, metavar="H W", help="Resize images to this size.")
@click.option("--grey", "--gray", is_flag=True, help="Store one channel.")
@click.option("--encoded", is_flag=True, help="Store the encoded files: smaller, slower to read.")
@click.option("--shuffle", "seed", type=int, metavar="SEED", help="Shuffle the list with this seed.")
def imageset(
    list_file: Path, out: Path, root: str, size: tuple[int, int] | None, grey: bool, encoded: bool, seed: int | None
) -> None:
    """Write the images of LIST, which has lines "NAME LABEL", into OUT, a new LMDB for DATA layers.

    This is for classification. Nets for segmentation read lists of images and label maps: see `deeplab-caffe dataset`.
    """
    if encoded and (size or grey):
        raise click.UsageError("--encoded stores the files as they are: give neither --size nor --grey")
    entries = read_imageset(list_file, seed)
    with progress("writing", len(entries)) as advance:
        sizes = write_imageset(entries, root, out, size=size, grey=grey, encoded=encoded, done=advance)
    if len(sizes) > 1:
        click.echo(f"warning: images have {len(sizes)} sizes: DATA needs one for batches, see --size", err=True)
    click.echo(f"{out}: {len(entries):,} images")
