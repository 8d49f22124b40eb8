"""``deeplab-caffe device-query``: what ``caffe device_query`` does."""

from __future__ import annotations

import click
import torch

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.cli.options import gpu_option


@click.command("device-query")
@gpu_option
def device_query(gpu: str | None) -> None:
    """Show the GPUs that torch sees, or those of --gpu: name, compute capability, memory, multiprocessors."""
    if gpu in (None, "all", "-1"):
        chosen = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        if not chosen:
            resolve_device("cuda")
    else:
        chosen = [resolve_device(f"cuda:{index}") for index in str(gpu).split(",")]
    for device in chosen:
        found = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        facts = (
            ("Device id", device.index),
            ("Name", found.name),
            ("Compute capability", f"{found.major}.{found.minor}"),
            ("Total global memory", f"{total:,} bytes"),
            ("Free global memory", f"{free:,} bytes"),
            ("Number of multiprocessors", found.multi_processor_count),
        )
        for name, fact in facts:
            click.echo(f"{name + ':':27}{fact}")
