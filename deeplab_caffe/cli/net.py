"""``deeplab-caffe net``: the layers of a network."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click

from deeplab_caffe.cli.options import (
    SIDE,
    FilePath,
    dialect_option,
    path_option,
    phase_option,
    python_layers_option,
    readable_count,
    variables_option,
)
from deeplab_caffe.cli.tables import plain_table, print_table
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.files.apart import validate_outputs
from deeplab_caffe.files.text import text_bytes
from deeplab_caffe.net import Net
from deeplab_caffe.net.draw import net_dot, net_svg
from deeplab_caffe.net.summary import ReceptiveField, summarize


def _pair(values: tuple[Fraction, Fraction]) -> str:
    texts = [f"{float(value):g}" for value in values]
    return texts[0] if texts[0] == texts[1] else "x".join(texts)


def _field(field: ReceptiveField | None) -> tuple[str, str]:
    return ("-", "-") if field is None else (_pair(field.size), _pair(field.step))


@click.command()
@click.argument("prototxt", type=FilePath())
@phase_option
@dialect_option
@python_layers_option
@variables_option
@click.option("--size", type=SIDE, nargs=2, metavar="H W", help="Size of the image input.")
@path_option("--dot", help="Write a Graphviz drawing here.")
@path_option("--svg", help="Write an SVG drawing here.")
def net(
    prototxt: Path,
    phase: str,
    dialect: str | None,
    python_layers: bool,
    variables: dict[str, str],
    size: tuple[int, int] | None,
    dot: Path | None,
    svg: Path | None,
) -> None:
    """List the layers of PROTOTXT: shapes, parameters, multiply-adds and receptive fields.

    A receptive field is the theoretical one: the input pixels that can influence a value far from the borders. The step
    is the distance between the fields of neighbouring values, in input pixels.
    """
    validate_outputs([("--dot", dot), ("--svg", svg)], [("PROTOTXT", prototxt)])
    found = Net(prototxt, None, phase, variables=variables, dialect=dialect, python_layers=python_layers)
    shapes = found.blob_shapes
    if size is not None:
        shapes = found.infer_shapes(**{name: (*shapes[name][:2], *size) for name in found.inputs[:1]})
    rows = summarize(found, shapes)

    columns = [(heading, "left") for heading in ("layer", "type", "tops", "shape")]
    columns += [(heading, "right") for heading in ("parameters", "multiply-adds", "field", "step")]
    table = plain_table(f"{found.name or prototxt.name} ({phase})", columns)
    for name in found.inputs:
        table.add_row(name, "input", name, " ".join(map(str, shapes[name])), "", "", "1", "1")
    for row in rows:
        shape = " ".join(map(str, row.top_shapes[0])) if row.top_shapes else ""
        parameters = f"{row.parameters:,}" if row.parameters else ""
        work = readable_count(row.multiply_adds) if row.multiply_adds else ""
        table.add_row(row.name, row.type, ", ".join(row.tops), shape, parameters, work, *_field(row.field))
    print_table(table)
    click.echo(
        f"{found.parameter_count():,} parameters, {readable_count(found.multiply_adds(shapes))} multiply-adds, "
        f"{found.activation_bytes(shapes) / 2**20:.0f} MiB of activations at most"
    )
    for path, text in ((dot, net_dot), (svg, net_svg)):
        if path is not None:
            with atomic_write(path) as file:
                file.write(text_bytes(text(found, shapes)))
            click.echo(f"wrote {path}")
