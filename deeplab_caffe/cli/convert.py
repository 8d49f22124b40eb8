"""``deeplab-caffe convert``: weights from one format to another."""

from __future__ import annotations

from pathlib import Path

import click

from deeplab_caffe.cli.options import dialect_option, path_option, python_layers_option, variables_option
from deeplab_caffe.convert import FORMATS
from deeplab_caffe.convert import convert as convert_weights
from deeplab_caffe.net import Net
from deeplab_caffe.segmentation.deploy import deploy_wanted


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@path_option("--model", required=True, help="The network: its deploy prototxt.")
@click.option("--to", type=click.Choice(FORMATS), help="The format to write; else by the suffix of --out.")
@path_option("--out", required=True, help="The file to write.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Number format of a caffemodel: float16 takes half the room, to three digits.",
)
@dialect_option
@variables_option
@python_layers_option
def convert(
    source: Path,
    model: Path,
    to: str | None,
    out: Path,
    dtype: str,
    dialect: str | None,
    variables: dict[str, str],
    python_layers: bool,
) -> None:
    """Convert weights, SOURCE: a caffemodel (also in HDF5), or a safetensors or state_dict file that came from one.

    Or torchvision's DeepLab v3, whose --model is prototxt/deeplab_v3_resnet101/deploy.prototxt (or 50).

    Weights stay the same bit for bit, but for --dtype float16. Their names become LAYER.weight and LAYER.bias. ONNX
    holds the network too.
    """
    with deploy_wanted(model, variables):
        net = Net(model, None, "TEST", variables=variables, dialect=dialect, python_layers=python_layers)
    written = convert_weights(source, net, out, to, dtype=dtype)
    click.echo(f"{out}: {written}, {net.parameter_count():,} parameters, {out.stat().st_size / 1e6:.1f} MB")
