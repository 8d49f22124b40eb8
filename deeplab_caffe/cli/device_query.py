"""``deeplab-caffe device-query``: what ``caffe device_query`` does."""

from __future__ import annotations

import click
import torch

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.cli.options import gpu_option
from deeplab_caffe.environment import gpus


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
    for found in gpus(device.index or 0 for device in chosen):
        facts = (
            ("Device id", found["index"]),
            ("Name", found["name"]),
            ("Compute capability", found["compute_capability"]),
            ("Total global memory", f"{found['total_memory']:,} bytes"),
            ("Free global memory", f"{found['free_memory']:,} bytes"),
            ("Number of multiprocessors", found["multiprocessors"]),
        )
        for name, fact in facts:
            click.echo(f"{name + ':':27}{fact}")
