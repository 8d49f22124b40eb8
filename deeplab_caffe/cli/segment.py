"""``deeplab-caffe segment``: photographs in, label maps and overlays out."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.cli.bulk import BulkRun
from deeplab_caffe.cli.networks import NETWORK_HELP, chosen_network
from deeplab_caffe.cli.options import (
    COUNT,
    SIDE,
    WEIGHTS_HELP,
    FilePath,
    ShareRange,
    chosen_device,
    crf_number_options,
    device_option,
    dtype_option,
    path_option,
    python_layers_option,
    variables_option,
    word_option,
)
from deeplab_caffe.cli.segmenting import Run, json_array, json_lines, path_of_shard, replaced, unfinished
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.data.classes import COLORMAPS, KNOWN, find_colormap
from deeplab_caffe.data.inputs import WorkItem, expand_inputs, parse_shard, shard_of_environment, share_of
from deeplab_caffe.data.io.npy import save_npy as _save_npy  # noqa: F401  # checks of a full disk know it by this name
from deeplab_caffe.errors import NetError
from deeplab_caffe.files.apart import validate_outputs
from deeplab_caffe.files.names import exists
from deeplab_caffe.net import PrecisionName
from deeplab_caffe.segmentation.finish import LEAST_SIDE
from deeplab_caffe.segmentation.result import MIN_SHARE
from deeplab_caffe.segmentation.results import MarginalsFormat, ResultWriter
from deeplab_caffe.segmentation.segmenter import LARGEST_MEAN, Segmenter


def _crf_params(
    crf: str | None, preset: str | None, fallback: CRFParams, numbers: dict[str, float | None]
) -> CRFParams | None:
    """Return the dense CRF's parameters, or None for no CRF.

    Args:
        crf: the value of ``--crf``: a preset or a file; empty for none; None if the flag was not given.
        preset: a preset.
        fallback: parameters if neither names any.
        numbers: values that replace some of them.
    """
    given = {name: value for name, value in numbers.items() if value is not None}
    if crf is None:
        if preset or given:
            raise click.UsageError("CRF parameters are given, but no --crf")
        return None
    if crf and preset:
        raise click.UsageError("--preset and the name of --crf exclude each other")
    named = crf or preset
    if not named:
        return fallback.replace(**given)
    if crf and not crf.lower().endswith(".json") and exists(crf):
        raise click.UsageError(f"--crf took '{crf}' as the name of CRF parameters: put --crf behind the photos")
    return CRFParams.named(named).replace(**given)


def _mean(_: click.Context, __: click.Parameter, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (1, 3) or not all(abs(value) <= LARGEST_MEAN for value in found):
        raise click.BadParameter(f"expected three numbers with commas, of B, G and R, or one for all, got '{text}'")
    blue, green, red = found * (3 // len(found))
    return blue, green, red


@click.command()
@click.argument("photos", nargs=-1, type=FilePath(str))
@click.option("--recursive", is_flag=True, help="Also take the photographs of subfolders.")
@path_option(
    "--list", "lists", multiple=True, help="Also take the photographs of a list file, as train.txt or val.txt."
)
@click.option("--data-root", default="", help="Prefix of the lists' paths, as root_folder in a prototxt.")
@word_option(
    "--shard",
    metavar="I/N",
    help="Process only the I-th of N equal parts, from 0. torchrun sets it by itself.",
)
@path_option(
    "--model",
    help=NETWORK_HELP,
)
@path_option("--weights", help=WEIGHTS_HELP)
@path_option("--out", default=Path("out"), show_default=True, help="Folder for the results, created if missing.")
@click.option(
    "--crf",
    is_flag=False,
    flag_value="",
    metavar="[NAME|FILE]",
    help="Refine the scores by the dense CRF. NAME: parameters tuned for a model, e.g. deeplab_largefov; FILE: a "
    ".json file, such as crf-search's best.json; without: the model's own, or the defaults.",
)
@click.option(
    "--kind",
    type=click.Choice(["scores", "probabilities"]),
    help="Kind of the net's output, for the CRF. By default from its last layer.",
)
@word_option("--preset", metavar="NAME", help="--crf NAME in two words: --crf --preset NAME.")
@crf_number_options
@click.option(
    "--marginals", type=click.Choice(get_args(MarginalsFormat)), help="Also write each class's probabilities."
)
@word_option("--blob", help="Name of the blob that holds the scores; the net's output by default.")
@click.option("--crop-size", type=SIDE, help="Pad to at least this side, as test.prototxt does: 513.")
@click.option(
    "--max-side", type=click.IntRange(LEAST_SIDE, SIDE.max), help="Segment larger photographs reduced to this side."
)
@click.option("--scales", default="1", show_default=True, help="Average over these scales of the image: 0.5,0.75,1.")
@click.option("--flip", is_flag=True, help="Also average over the mirrored image.")
@click.option("--window", type=SIDE, help="Cut larger photographs into windows of this side: 513.")
@click.option("--stride", type=SIDE, help="Pixels between two windows.  [2/3 of the window]")
@click.option(
    "--mean",
    callback=_mean,
    metavar="B,G,R",
    help="Mean to subtract from the image, if the prototxt has no mean_value. By default ImageNet's.",
)
@word_option(
    "--classes",
    metavar="NAME|FILE|A,B,C",
    help=f"Names and colours of the classes: {', '.join(KNOWN)}, the names themselves, or a file, a line per class: "
    "NAME or NAME R G B. By default classes.txt beside the weights or the model.",
)
@word_option(
    "--colors",
    "--colormap",
    metavar="NAME|FILE",
    help=f"Colours to use instead of the classes' own: {', '.join(COLORMAPS)} or a file with a line per class: R G B.",
)
@click.option(
    "--no-legend", is_flag=True, help="Do not write the classes' names and shares below or beside the overlay."
)
@click.option("--no-outlines", is_flag=True, help="Do not draw boundaries between the classes in the overlay.")
@path_option("--json", "json_path", help="Write the classes' areas and boxes here; - for standard output.")
@path_option("--jsonl", help="Like --json, but a line for each photograph or frame, as soon as it is done.")
@click.option(
    "--min-share",
    type=ShareRange(0, 1),
    default=MIN_SHARE,
    show_default=True,
    help="With --json and --jsonl: give no box to regions with a smaller share of the picture.",
)
@click.option(
    "--overwrite/--skip-existing",
    default=None,
    help="Replace existing results, or skip inputs that have all of them.  [replace them, with a warning]",
)
@click.option("--max-frames", type=COUNT, help="Stop a video or camera after this many frames.")
@click.option("--quiet", is_flag=True, help="Print only warnings and errors.")
@click.option(
    "--engine",
    type=click.Choice(["process", "ray"]),
    default="process",
    show_default=True,
    help="Segment photographs in this process, or on Ray's workers, each with its own GPU if there are any.",
)
@word_option(
    "--address", help="Address of a Ray cluster; auto: this machine's. By default --engine ray starts Ray here."
)
@dtype_option
@click.option("--channels-last", is_flag=True, help="Channels-last memory order: faster, last digits may differ.")
@click.option(
    "--precision",
    type=click.Choice(get_args(PrecisionName)),
    default="strict",
    show_default=True,
    help="fast: on the CPU in float32, faster convolutions with a relative error of up to 5e-5.",
)
@click.option("--no-optimize", is_flag=True, help="Run the net layer by layer: slower, the same bits as dc.Net.")
@python_layers_option
@device_option
@variables_option
def segment(
    photos: tuple[str, ...],
    recursive: bool,
    lists: tuple[Path, ...],
    data_root: str,
    shard: str | None,
    model: Path | None,
    weights: Path | None,
    out: Path,
    crf: str | None,
    kind: Kind | None,
    preset: str | None,
    marginals: MarginalsFormat | None,
    blob: str | None,
    crop_size: int | None,
    max_side: int | None,
    scales: str,
    flip: bool,
    window: int | None,
    stride: int | None,
    mean: tuple[float, float, float] | None,
    classes: str | None,
    colors: str | None,
    no_legend: bool,
    no_outlines: bool,
    json_path: Path | None,
    jsonl: Path | None,
    min_share: float,
    overwrite: bool | None,
    max_frames: int | None,
    quiet: bool,
    engine: str,
    address: str | None,
    dtype: str,
    channels_last: bool,
    precision: str,
    no_optimize: bool,
    python_layers: bool,
    device: str,
    gpu: str | None,
    variables: dict[str, str],
    **crf_numbers: float | None,
) -> None:
    """Segment PHOTOS: write NAME_labels.png (palette) and NAME_overlay.png to --out.

    PHOTOS are files, folders, videos (NAME_overlay.mp4), - for an image on standard input, and webcam:0.
    """
    prototxt, caffemodel, embedded = chosen_network(model, weights)
    params = _crf_params(crf, preset, embedded.crf if embedded else CRFParams(), crf_numbers)
    if not photos and not lists:
        raise click.UsageError("Missing argument 'PHOTOS...'.")
    if marginals and max_side:
        raise click.UsageError("--marginals and --max-side exclude each other: marginals would be at the reduced size")
    part = parse_shard(shard) if shard else shard_of_environment(os.environ)
    items = share_of(expand_inputs(photos, recursive=recursive, lists=lists, data_root=data_root, results=out), part)
    _check_together(items, marginals, json_path, jsonl, overwrite)
    _check_engine(items, engine, address)
    where = chosen_device(device, gpu)
    options: dict[str, Any] = dict(  # noqa: C408  # these are a function's arguments
        prototxt=prototxt,
        weights=caffemodel,
        crf=params,
        kind=kind,
        device=where,
        mean=mean,
        blob=blob,
        crop_size=crop_size,
        max_side=max_side,
        scales=_scales(scales),
        flip=flip,
        window=window,
        stride=stride,
        dtype=dtype,
        channels_last=channels_last or dtype == "bfloat16",
        optimize=False if no_optimize else None,
        precision=precision,
        variables=variables,
        classes=classes,
        python_layers=python_layers,
    )
    on_ray = engine == "ray"
    # With Ray this segmenter is only for the checks and the classes' names; the workers have their own.
    segmenter = Segmenter(**{**options, "device": "cpu" if on_ray else _own_device(where)})
    writer = ResultWriter(out, _colours(segmenter, colors), marginals, outlines=not no_outlines, legend=not no_legend)
    records = path_of_shard(json_path or jsonl, part)
    todo = unfinished(items, writer, records) if overwrite is False else items
    _validate_apart(todo, items, writer, records, [("--model", model), ("--weights", weights)], lists)
    if overwrite is None:
        _warn_of_replaced(items, writer, out)
    start = time.perf_counter()
    with _recording(records, bool(json_path), todo if overwrite is False else None) as record:
        rest = (segmenter, writer, record, min_share, max_frames, quiet, records == Path("-"))
        run = BulkRun(*rest, options=options, address=address) if on_ray else Run(*rest)
        run.all(todo)
    if not quiet and len(items) > 1:
        click.echo(_summary(run, len(items) - len(todo), time.perf_counter() - start), err=run.to_stderr)
    if run.failed:
        raise click.exceptions.Exit(1)


def _check_together(
    items: Sequence[WorkItem], marginals: str | None, json_path: Path | None, jsonl: Path | None, overwrite: bool | None
) -> None:
    """Reject flags that exclude each other.

    Raises:
        click.UsageError: two flags exclude each other.
    """
    videos = any(item.kind in ("video", "webcam") for item in items)
    if videos and marginals:
        raise click.UsageError("--marginals are of photographs, they are not written of videos")
    if json_path and jsonl:
        raise click.UsageError("--json and --jsonl exclude each other")
    if json_path and (videos or overwrite is False):
        what = "of videos" if videos else "with --skip-existing"
        raise click.UsageError(f"--json is written at the end, for all photographs: {what} say --jsonl")


def _check_engine(items: Sequence[WorkItem], engine: str, address: str | None) -> None:
    """Refuse what the engine cannot do.

    Raises:
        click.UsageError: it cannot.
    """
    if engine == "ray" and any(item.kind != "image" for item in items):
        raise click.UsageError("--engine ray is for image files: videos, cameras and - go by --engine process")
    if engine != "ray" and address:
        raise click.UsageError("--address is a Ray cluster's: it goes with --engine ray")


def _colours(segmenter: Segmenter, name: str | None) -> np.ndarray:
    """Return the colours of the label maps: those of this name or file, or of the net's classes.

    Raises:
        NetError: label maps cannot hold so many classes.
    """
    if segmenter.num_classes > 256:
        raise NetError(f"label maps are bytes: the net has {segmenter.num_classes} classes, at most 256 fit")
    return find_colormap(name, segmenter.num_classes) if name else segmenter.classes.colormap


def _warn_of_replaced(items: Sequence[WorkItem], writer: ResultWriter, out: Path) -> None:
    there = replaced(items, writer)
    if there:
        text = f"{there} of {len(items)} have results in {out}, which are replaced"
        warnings.warn(f"{text}: --skip-existing leaves them, --overwrite does not say this", stacklevel=1)


def _validate_apart(
    todo: Sequence[WorkItem],
    items: Sequence[WorkItem],
    writer: ResultWriter,
    records: Path | None,
    files: Sequence[tuple[str, Path | None]],
    lists: Sequence[Path],
) -> None:
    """Reject results that would overwrite an input, for example a photograph called a_labels.png.

    Raises:
        DataError: a result would overwrite an input.
    """
    outputs: list[tuple[str, Path | None]] = [
        (f"a result of {item.source}", path) for item in todo for path in writer.paths(item)
    ]
    outputs.append(("the file of --json or --jsonl", None if records == Path("-") else records))
    photos = ((f"the {item.kind}", item.source) for item in items if item.kind in ("image", "video"))
    validate_outputs(outputs, chain(files, [("--list", path) for path in lists], photos))


def _own_device(device: str) -> str:
    """Return the device; under torchrun each process gets its own GPU."""
    number = os.environ.get("LOCAL_RANK")
    return f"cuda:{number}" if number and str(resolve_device(device)) == "cuda" else device


def _recording(
    path: Path | None, is_array: bool, todo: Sequence[WorkItem] | None
) -> AbstractContextManager[Callable[[dict[str, Any]], None] | None]:
    if path is None:
        return nullcontext()
    return json_array(path) if is_array else json_lines(path, todo)


def _summary(run: Run, skipped: int, seconds: float) -> str:
    """Return what was done: ``"28 done in 14.0 s, 2.0 a second; 1 failed; 3 were there"``."""
    speed = f", {run.count / seconds:.1f} a second" if run.count else ""
    parts = [f"{run.count} done in {seconds:.1f} s{speed}"]
    parts += [f"{run.failed} failed"] if run.failed else []
    parts += [f"{skipped} were there"] if skipped else []
    return "; ".join(parts)


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"--scales: expected numbers with commas, got '{text}'") from None
