"""``deeplab-caffe download``: weights of the models of the papers."""

from __future__ import annotations

from pathlib import Path

import click

from deeplab_caffe.cli.options import path_option
from deeplab_caffe.errors import DownloadError
from deeplab_caffe.zoo.download import fetch, recorded_sha256
from deeplab_caffe.zoo.models import find_model
from deeplab_caffe.zoo.starts import STARTS


class _Progress:
    """Writes a download's progress to stderr in steps of 5 %."""

    def __init__(self) -> None:
        self.told = -1

    def __call__(self, there: int, total: int | None) -> None:
        step = there // (32 << 20) if total is None else 20 * there // max(total, 1)
        if step != self.told:
            self.told = step
            of = "" if total is None else f" of {total / 1e6:.1f}"
            click.echo(f"{there / 1e6:.1f}{of} MB", err=True)


@click.command()
@click.argument("name")
@path_option("--from", "source", metavar="DIR", help="Take the file from this folder (or file) instead of fetching it.")
@path_option("--cache", metavar="DIR", help="Folder to keep it in; else DEEPLAB_CAFFE_CACHE, ~/.cache/deeplab-caffe.")
def download(name: str, source: Path | None, cache: Path | None) -> None:
    """Download the weights of the model NAME, once, and print their path.

    An interrupted download starts again. The SHA-256 of the first download is recorded beside the file, in FILE.lock,
    and checked every time afterwards: no checksum was ever published. If initial weights cannot be downloaded, other
    weights that training can start from are listed.
    """
    model = find_model(name)
    try:
        path = fetch(model, cache=cache, source=source, report=_Progress())
    except DownloadError:
        if model.network is None and source is None:
            _tell_starts(name)
        raise
    click.echo(path)
    pinned = None if model.file is None else model.file.sha256
    click.echo(f"sha256 {recorded_sha256(path) or pinned}", err=True)
    for note in model.notes:
        click.echo(f"note: {note}", err=True)


def _tell_starts(name: str) -> None:
    """Print the other weights that training can start from."""
    click.echo("Training can start from these too (docs/start.md):")
    for start in (one for one in STARTS if f"deeplab-caffe download {name}" not in one.get):
        click.echo(f"\n{start.title}: {start.content}; {start.size}, {start.licence}")
        for command in (*start.get, start.convert):
            click.echo(f"    {command}")
