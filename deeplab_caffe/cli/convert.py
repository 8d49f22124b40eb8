"""``deeplab-caffe convert``: weights from one format to another, and the initial models of others' weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from deeplab_caffe.cli.options import (
    FilePath,
    dialect_option,
    path_option,
    python_layers_option,
    split_list,
    variables_option,
    word_option,
)
from deeplab_caffe.convert import FORMATS, image_part, initial_model
from deeplab_caffe.convert import convert as convert_weights
from deeplab_caffe.convert import unit_outputs as scale_outputs
from deeplab_caffe.data.io.folders import find_images
from deeplab_caffe.errors import DeepLabCaffeError, printable
from deeplab_caffe.files.apart import validate_outputs
from deeplab_caffe.net import Net
from deeplab_caffe.segmentation.deploy import deploy_wanted
from deeplab_caffe.zoo.paths import prototxt_path

# ${NAME} of a train prototxt that no weight of an initial model depends on.
_VARIABLES = {"EXP": "voc12", "NUM_LABELS": "21", "DATA_ROOT": "", "BG_BIAS": "0", "FG_BIAS": "0"}
_VARIABLES |= dict.fromkeys(("NET_ID", "TRAIN_SET", "TRAIN_SET_STRONG", "TRAIN_SET_WEAK"), "init")
# Number of images on which the size of outputs is measured.
_IMAGES = 8


@click.command()
@click.argument("source", type=FilePath())
@path_option("--model", help="The network: its deploy prototxt.")
@word_option(
    "--init-for",
    "network",
    metavar="NETWORK",
    help="Write the model that this network's training starts from.",
)
@word_option(
    "--unit-outputs",
    metavar="LAYERS",
    help="With --init-for: scale these layers' weights until their outputs are about 1.",
)
@path_option("--images", metavar="FOLDER", help="With --unit-outputs: photographs to measure on, the first 8 by name.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of weights without a filler."
)
@click.option("--to", type=click.Choice(FORMATS), help="The format to write. By default from the suffix of --out.")
@path_option("--out", help="The file to write; init.caffemodel with --init-for.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Number format of a caffemodel: float16 halves the file and keeps three digits.",
)
@click.option("--image-input", is_flag=True, help="To ONNX: read uint8 RGB images (N, H, W, 3), subtract the mean.")
@click.option("--label-output", is_flag=True, help="To ONNX: output the label map instead of the scores.")
@word_option("--classes", metavar="NAME|FILE|A,B,C", help="To ONNX: names of the classes, for its metadata.")
@dialect_option
@variables_option
@python_layers_option
def convert(
    source: Path,
    model: Path | None,
    network: str | None,
    unit_outputs: str | None,
    images: Path | None,
    seed: int,
    to: str | None,
    out: Path | None,
    dtype: str,
    image_input: bool,
    label_output: bool,
    classes: str | None,
    dialect: str | None,
    variables: dict[str, str],
    python_layers: bool,
) -> None:
    """Convert weights, SOURCE: a caffemodel (also in HDF5), or a safetensors or state_dict file that came from one.

    Or torchvision's DeepLab v3, whose --model is prototxt/deeplab_v3_resnet101/deploy.prototxt (or 50), or
    deeplab-pytorch's DeepLab v2: prototxt/deeplab_aspp_resnet101/deploy.prototxt.

    Weights stay the same bit for bit, except with --dtype float16. Their names become LAYER.weight and LAYER.bias. An
    ONNX file also holds the network.

    With --init-for, SOURCE is a network that others trained on ImageNet, and NETWORK one of ours by name, or the path
    of a train prototxt. The file has the layers that SOURCE has weights for; the others start from their fillers.
    """
    if (model is None) == (network is None):
        raise click.UsageError("give either --model or --init-for")
    if (unit_outputs is None) != (images is None) or (unit_outputs and network is None):
        raise click.UsageError("--unit-outputs and --images go together, with --init-for")
    if network is not None and (image_input or label_output or classes):
        raise click.UsageError("--image-input, --label-output and --classes are for ONNX, not for --init-for")
    if network is not None:
        known = {name: value for name, value in _VARIABLES.items() if name not in os.environ}
        net = image_part(_train_prototxt(network), known | variables, dialect=dialect, python_layers=python_layers)
        chosen = split_list(unit_outputs)
        out = out or Path("init.caffemodel")
        validate_outputs([("--out", out)], [("SOURCE", source), ("--init-for", _train_prototxt(network))])
        _write_initial(source, net, out, to, dtype, seed, chosen, images)
        return
    assert model is not None
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    validate_outputs([("--out", out)], [("SOURCE", source), ("--model", model)])
    with deploy_wanted(model, variables):
        net = Net(model, None, "TEST", variables=variables, dialect=dialect, python_layers=python_layers)
    onnx = {"image_input": image_input, "label_output": label_output, "classes": classes}
    written = convert_weights(source, net, out, to, dtype=dtype, **onnx)
    click.echo(f"{out}: {written}, {net.parameter_count():,} parameters, {out.stat().st_size / 1e6:.1f} MB")


def _write_initial(
    source: Path,
    net: Net,
    out: Path,
    to: str | None,
    dtype: str,
    seed: int,
    scaled: Sequence[str],
    images: Path | None,
) -> None:
    initial = initial_model(source, net, seed=seed)
    click.echo(f"{source}: {initial.source}")
    for line in initial.lines:
        click.echo(printable(line))
    if images is not None:
        for line in scale_outputs(net, scaled, list(find_images(images).values())[:_IMAGES]):
            click.echo(printable(line))
    written = initial.save(out, to, dtype=dtype)
    click.echo(f"{out}: {written}, {len(initial.layers)} layers, {out.stat().st_size / 1e6:.1f} MB")


def _train_prototxt(network: str) -> Path:
    """Return a network's train prototxt, by its name or its own path."""
    try:
        return prototxt_path(network, "train")
    except DeepLabCaffeError:
        if network.endswith(".prototxt"):
            return Path(network)
        raise
