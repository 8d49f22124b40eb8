"""``deeplab-caffe upgrade``: what upgrade_net_proto_text, upgrade_net_proto_binary and upgrade_solver_proto_text do."""

from __future__ import annotations

from pathlib import Path

import click

from deeplab_caffe.cli.options import FilePath, variables_option
from deeplab_caffe.proto.upgrade_file import PROGRAMS, upgrade_file


@click.command()
@click.argument("source", type=FilePath())
@click.argument("out", type=FilePath())
@click.option(
    "--dialect",
    type=click.Choice(PROGRAMS),
    help="The program that will read the net: BVLC Caffe, DeepLab v2, or the merge of both. By default this package.",
)
@variables_option
def upgrade(source: Path, out: Path, dialect: str | None, variables: dict[str, str]) -> None:
    """Write SOURCE, a net, a solver or a caffemodel of the V0 or V1 layout, in the V2 layout: layer { } for layers { }.

    A net of DeepLab v1 gets the line dialect: "v1", so that this package computes the same as DeepLab v1. For Caffe,
    which does not know that line, give --dialect. Comments are lost; weights stay the same bit for bit.
    """
    said = upgrade_file(source, out, dialect, variables)
    click.echo(f"{out}: written from {said}")
