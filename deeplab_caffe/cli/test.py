"""``deeplab-caffe test``: what ``caffe test`` does."""

from __future__ import annotations

from pathlib import Path

import click
import torch

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
from deeplab_caffe.data.io.images import LABEL_READINGS
from deeplab_caffe.errors import NetError, printable
from deeplab_caffe.net import Net
from deeplab_caffe.solver.testing import MOST_SHOWN


@click.command()
@path_option("--model", required=True, help=MODEL_HELP)
@path_option("--weights", required=True, help=WEIGHTS_HELP)
@click.option("--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="Batches to run.")
@click.option("--quiet", is_flag=True, help="Print only the averages.")
@click.option(
    "--label-reading",
    type=click.Choice(LABEL_READINGS),
    default="index",
    show_default=True,
    help="How palette label PNGs are read; luminance is the original's way, which gives wrong labels.",
)
@phase_option
@dialect_option
@state_options
@python_layers_option
@device_option
@variables_option
def test(
    model: Path,
    weights: Path,
    iterations: int,
    quiet: bool,
    label_reading: str,
    phase: str,
    dialect: str | None,
    level: int,
    stages: tuple[str, ...],
    python_layers: bool,
    device: str,
    gpu: str | None,
    variables: dict[str, str],
) -> None:
    """Run a network with data layers for some batches; print each output and their averages."""
    place = resolve_device(chosen_device(device, gpu))
    net = Net(
        model,
        weights,
        phase,
        level=level,
        stages=stages,
        variables=variables,
        dialect=dialect,
        label_reading=label_reading,
        python_layers=python_layers,
    )
    net.to(place)
    if net.inputs:
        raise NetError(f"{model}: needs data layers, but it has inputs: {', '.join(net.inputs)}")
    sums: dict[str, torch.Tensor] = {}
    counting, last = _counting(net), dict[str, list[float]]()
    with torch.no_grad(), progress("testing", iterations) as advance:
        for batch in range(iterations):
            found = net(blobs=net.outputs[:1])
            for name, value in found.items():
                if value.numel() > MOST_SHOWN:
                    continue
                numbers = value.double().cpu().flatten()
                sums[name] = sums.get(name, 0) + numbers
                if name in counting:
                    last[name] = numbers.tolist()
                if not quiet:
                    for number in numbers.tolist():
                        advance.log(f"Batch {batch}, {name} = {number:g}")
            advance()
    weights_of = net.losses
    for name, total in sums.items():
        for number in (total / iterations).tolist():
            loss = f" (* {weights_of[name]:g} = {number * weights_of[name]:g} loss)" if name in weights_of else ""
            click.echo(printable(f"{name} = {number:g}{loss}"))
    for name, (accuracy, recall, iou) in last.items():
        said = f"pixel accuracy {accuracy:g}, mean recall {recall:g}, mean IoU {iou:g} (absent classes count 1)"
        click.echo(printable(f"{name}, all images together: {said}"))
    click.echo(f"{iterations} batches done")


def _counting(net: Net) -> set[str]:
    """Return the tops of accuracies that accumulate: use their last value, not the mean over the batches."""
    return {top for step in net.steps if step.layer.accumulates for top in step.tops}
