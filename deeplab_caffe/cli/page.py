"""``deeplab-caffe page``: tune the dense CRF on your own picture, in the browser."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import click

from deeplab_caffe.cli.networks import NETWORK_HELP, chosen_network
from deeplab_caffe.cli.options import WEIGHTS_HELP, FilePath, chosen_device, device_option, path_option
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data import load_image
from deeplab_caffe.page import app
from deeplab_caffe.page.session import NETWORKS, own_network


@click.command()
@click.argument("photo", required=False, type=FilePath())
@path_option("--mask", help="Initial mask of the photo: binary, a label map, or soft; an image or .npy.")
@path_option("--model", help=NETWORK_HELP)
@path_option("--weights", help=WEIGHTS_HELP)
@click.option("--crf", metavar="NAME|FILE", help="Initial CRF parameters: of a model, or from a .json file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all of them.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [the first free one from 7860]")
@click.option("--share", is_flag=True, help="Open the page to the whole internet, through a tunnel of gradio's makers.")
@click.option("--browser", is_flag=True, help="Open the page in the browser.")
@device_option
def page(
    photo: Path | None,
    mask: Path | None,
    model: Path | None,
    weights: Path | None,
    crf: str | None,
    host: str,
    port: int | None,
    share: bool,
    browser: bool,
    device: str,
    gpu: str | None,
) -> None:
    """Tune the dense CRF on PHOTO in the browser: the picture follows the sliders. Ends with Ctrl-C."""
    if mask is not None and photo is None:
        raise click.UsageError("--mask goes with a photo")
    if photo is not None:
        load_image(photo)
    deploy, held, embedded = chosen_network(model, weights)
    network = own_network(str(deploy), str(held)) if embedded is None else NETWORKS[embedded.name]
    params = None if crf is None else CRFParams.named(crf)
    if share or not _is_local(host):
        click.echo("warning: others can reach this page, and upload files to this machine", err=True)
    given = [None if path is None else str(path) for path in (photo, mask)]
    built = app.build(*given, network=network, crf=params, device=_device(chosen_device(device, gpu)))
    app.launch(built, host=host, port=port, share=share, browser=browser)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _device(device: str) -> str:
    """Return the device, with "auto" resolved; the CPU without torch."""
    if device != "auto":
        return device
    try:
        from deeplab_caffe.arrays.devices import resolve_device
    except ImportError:
        return "cpu"
    return str(resolve_device(device))
