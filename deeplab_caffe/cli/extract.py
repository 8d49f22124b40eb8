"""``deeplab-caffe extract``: what extract_features does."""

from __future__ import annotations

from pathlib import Path

import click

from deeplab_caffe.cli.networks import NETWORK_HELP, chosen_network
from deeplab_caffe.cli.options import (
    SIDE,
    WEIGHTS_HELP,
    FilePath,
    chosen_device,
    device_option,
    dialect_option,
    path_option,
    phase_option,
    python_layers_option,
    split_list,
    variables_option,
)
from deeplab_caffe.cli.progress import progress, tell_error
from deeplab_caffe.data import load_image
from deeplab_caffe.errors import DeepLabCaffeError, printable
from deeplab_caffe.segmentation.features import FORMATS, FeatureNet, save_batches, save_features


@click.command()
@click.argument("photos", nargs=-1, type=FilePath())
@path_option("--model", help=NETWORK_HELP)
@path_option("--weights", help=WEIGHTS_HELP)
@click.option("--blobs", required=True, metavar="A,B", help="Names of the blobs; `deeplab-caffe net` lists them.")
@path_option("--out", default=Path("features"), show_default=True, help="Folder for the files, created if missing.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="npy", show_default=True, help="Kind of file.")
@click.option(
    "--iterations", type=click.IntRange(min=1), help="Without photos: number of batches of the data layers.  [1]"
)
@click.option("--size", type=SIDE, nargs=2, metavar="H W", help="Resize photos to this size.")
@click.option("--crop-size", type=SIDE, help="Pad photos to at least this side, as test.prototxt.")
@phase_option
@dialect_option
@python_layers_option
@device_option
@variables_option
def extract(
    photos: tuple[Path, ...],
    model: Path | None,
    weights: Path | None,
    blobs: str,
    out: Path,
    form: str,
    iterations: int | None,
    size: tuple[int, int] | None,
    crop_size: int | None,
    phase: str,
    dialect: str | None,
    python_layers: bool,
    device: str,
    gpu: str | None,
    variables: dict[str, str],
) -> None:
    """Write the values of any blobs of a network, computed from PHOTOS or from its data layers.

    For photos: OUT/PHOTO_BLOB.npy or .mat, each (1, C, H, W), or OUT/PHOTO.h5 with a dataset for each blob. For data
    layers: OUT/BLOB.npy, .mat or .lmdb, or OUT/features.h5, with the items of all batches concatenated.
    """
    prototxt, caffemodel, _ = chosen_network(model, weights)
    if photos and iterations:
        raise click.UsageError("--iterations is for data layers: give either photos or iterations")
    if photos and form == "lmdb":
        raise click.UsageError("--format lmdb is for data layers: photos differ in size")
    stems = [photo.stem for photo in photos]
    twice = {stem for stem in stems if stems.count(stem) > 1}
    if twice:
        raise click.UsageError(f"several photos are called {', '.join(sorted(twice))}: their files would collide")
    net = FeatureNet(
        prototxt,
        caffemodel,
        split_list(blobs),
        phase=phase,
        device=chosen_device(device, gpu),
        size=size,
        crop_size=crop_size,
        variables=variables,
        dialect=dialect,
        python_layers=python_layers,
    )
    if photos:
        _extract_photos(net, photos, out, form)
        return
    count = iterations or 1
    with progress("extracting", count) as advance:
        written = save_batches(out, net.of_batches(count), count, form, advance)
    for path in written:
        click.echo(printable(str(path)))


def _extract_photos(net: FeatureNet, photos: tuple[Path, ...], out: Path, form: str) -> None:
    failed = 0
    with progress("extracting", len(photos)) as advance:
        for photo in photos:
            try:
                features = net.of_image(load_image(photo))
                for path in save_features(out / photo.stem, features, form):
                    advance.log(str(path))
            except DeepLabCaffeError as error:
                failed += 1
                tell_error(str(photo), error)
            advance()
    if failed:
        raise click.exceptions.Exit(1)
