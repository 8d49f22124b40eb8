"""``deeplab-caffe time``: what ``caffe time`` does."""

from __future__ import annotations

from pathlib import Path

import click
import torch

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.cli.options import (
    MODEL_HELP,
    WEIGHTS_HELP,
    chosen_device,
    device_option,
    dialect_option,
    path_option,
    phase_option,
    python_layers_option,
    state_options,
    variables_option,
)
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.cli.tables import plain_table, print_table
from deeplab_caffe.pycaffe.timing import time_layers
from deeplab_caffe.segmentation.deploy import deploy_wanted


@click.command()
@path_option("--model", required=True, help=MODEL_HELP)
@path_option("--weights", help=f"{WEIGHTS_HELP} By default the values of its fillers.")
@click.option("--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="Number of timed passes.")
@click.option("--forward-only", is_flag=True, help="Time only the forward passes.")
@click.option("--engine", type=click.Choice(["DEFAULT", "CAFFE", "CUDNN"]), default="DEFAULT", show_default=True)
@phase_option
@dialect_option
@state_options
@python_layers_option
@device_option
@variables_option
def time(
    model: Path,
    weights: Path | None,
    iterations: int,
    forward_only: bool,
    engine: str,
    phase: str,
    dialect: str | None,
    level: int,
    stages: tuple[str, ...],
    python_layers: bool,
    device: str,
    gpu: str | None,
    variables: dict[str, str],
) -> None:
    """Time each layer's forward and backward pass; print the median of the passes in milliseconds.

    Inputs are random numbers. Layers run one by one, each on its own: the sum is an upper bound of the time of the
    whole network.
    """
    place = resolve_device(chosen_device(device, gpu))
    if place.type == "cuda":
        caffe.set_device(place.index or 0)
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
    # Not caffe.set_random_seed: with a seed, dropout draws from the slower generator that Caffe has.
    torch.manual_seed(1)
    options = {"engine": engine, "variables": variables, "dialect": dialect, "python_layers": python_layers}
    with deploy_wanted(model, variables):
        net = caffe.Net(model, weights, getattr(caffe, phase), level=level, stages=stages, **options)
    generator = torch.Generator().manual_seed(1)
    for name in net.inputs:
        blob = net.blobs[name]
        blob.data[...] = torch.randn(blob.shape, generator=generator).numpy()
    with progress("timing", iterations + 1) as advance:
        times = time_layers(net, iterations, backward=not forward_only, advance=advance)

    table = plain_table(
        f"{net.module.name or model.name} on {place}, median of {iterations} passes",
        (("layer", "left"), ("type", "left"), ("forward ms", "right"), ("backward ms", "right")),
    )
    for layer in times:
        table.add_row(layer.name, layer.type, _cell(layer.forward), _cell(layer.backward))
    table.add_section()
    total = sum(layer.forward for layer in times)
    total_backward = None if forward_only else sum(layer.backward or 0.0 for layer in times)
    table.add_row("total", "", _cell(total), _cell(total_backward))
    print_table(table)


def _cell(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.3f}"
