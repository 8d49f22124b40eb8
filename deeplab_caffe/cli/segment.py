"""``deeplab-caffe segment``: photographs in, label maps and overlays out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from deeplab_caffe.cli.options import (
    MODEL_HELP,
    WEIGHTS_HELP,
    chosen_device,
    crf_number_options,
    device_option,
    dtype_option,
    path_option,
    python_layers_option,
    variables_option,
)
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.data import load_image, save_image, save_labels_png, write_blob_mat
from deeplab_caffe.data.areas import percent
from deeplab_caffe.data.classes import COLORMAPS, KNOWN, find_colormap
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DeepLabCaffeError, NetError
from deeplab_caffe.files.names import is_file
from deeplab_caffe.segmentation.result import MIN_SHARE, Segmentation
from deeplab_caffe.segmentation.segmenter import Segmenter
from deeplab_caffe.zoo.default import DEFAULT_MODEL, EMBEDDED_MODELS


@dataclass(frozen=True)
class _Job:
    """One photograph and where its results go."""

    photo: Path
    stem: Path
    marginals: str | None
    colormap: np.ndarray
    outlines: bool
    legend: bool

    def write(self, image: np.ndarray, found: Segmentation) -> list[Path]:
        """Write all results or, if one cannot be written, none."""
        colours = self.colormap
        drawn = found.overlay(image, colormap=colours, outlines=self.outlines, legend=self.legend)
        writers: list[tuple[str, Callable[[Path], None]]] = [
            ("_labels.png", lambda path: save_labels_png(path, found.labels, colours)),
            ("_overlay.png", lambda path: save_image(path, drawn)),
        ]
        if self.marginals == "npy":
            writers.append(("_marginals.npy", lambda path: _save_npy(path, found.probabilities())))
        elif self.marginals == "mat":
            writers.append(("_marginals.mat", lambda path: write_blob_mat(path, found.probabilities()[None])))
        written: list[Path] = []
        try:
            for suffix, write in writers:
                path = self.stem.with_name(self.stem.name + suffix)
                write(path)
                written.append(path)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        return written


def _save_npy(path: Path, array: np.ndarray) -> None:
    with atomic_write(path) as file:
        np.save(file, array)


def _crf_params(
    crf: str | None, preset: str | None, fallback: CRFParams, numbers: dict[str, float | None]
) -> CRFParams | None:
    """Return the dense CRF's parameters, or None for no CRF.

    Args:
        crf: the value of ``--crf``: a preset or a file; empty for none; None if the flag was not given.
        preset: a preset.
        fallback: parameters if neither names any.
        numbers: what to change of them.
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
    if crf and not crf.lower().endswith(".json") and is_file(crf):
        raise click.UsageError(f"--crf took '{crf}' as the name of CRF parameters: put --crf behind the photos")
    return CRFParams.named(named).replace(**given)


def _mean(_: click.Context, __: click.Parameter, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise click.BadParameter(f"expected three numbers with commas, of B, G and R, or one for all, got '{text}'")
    blue, green, red = found * (3 // len(found))
    return blue, green, red


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@path_option(
    "--model",
    help=f"{MODEL_HELP} Or one that comes with the package: {' or '.join(EMBEDDED_MODELS)}; without it, the first.",
)
@path_option("--weights", help=WEIGHTS_HELP)
@path_option("--out", default=Path("out"), show_default=True, help="Folder for the results; made if need be.")
@click.option(
    "--crf",
    is_flag=False,
    flag_value="",
    metavar="[NAME|FILE]",
    help="Refine the scores by the dense CRF. NAME: parameters tuned for a model, e.g. deeplab_largefov; FILE: of a "
    ".json file, such as crf-search's best.json; without: the model's own, or the defaults.",
)
@click.option(
    "--kind",
    type=click.Choice(["scores", "probabilities"]),
    help="What the net puts out, for the CRF; by default its last layer says it.",
)
@click.option("--preset", metavar="NAME", help="--crf NAME in two words: --crf --preset NAME.")
@crf_number_options
@click.option("--marginals", type=click.Choice(["npy", "mat"]), help="Write each class's probabilities too.")
@click.option("--blob", help="Name of the blob that holds the scores; the net's output by default.")
@click.option("--crop-size", type=click.IntRange(min=1), help="Pad to at least this side, as test.prototxt does: 513.")
@click.option("--max-side", type=click.IntRange(min=8), help="Work on larger photographs at this size.")
@click.option("--scales", default="1", show_default=True, help="Average over these scales of the image: 0.5,0.75,1.")
@click.option("--flip", is_flag=True, help="Average over the mirrored image too.")
@click.option("--window", type=click.IntRange(min=1), help="Cut larger photographs into windows of this side: 513.")
@click.option("--stride", type=click.IntRange(min=1), help="Pixels from window to window.  [2/3 of the window]")
@click.option(
    "--mean",
    callback=_mean,
    metavar="B,G,R",
    help="What to subtract from the image, for a net whose prototxt has no mean_value; by default ImageNet's.",
)
@click.option(
    "--classes",
    metavar="NAME|FILE|A,B,C",
    help=f"Names and colours of the classes: {', '.join(KNOWN)}, the names themselves, or a file, a line for each: "
    "NAME or NAME R G B. By default classes.txt beside the weights or the model.",
)
@click.option(
    "--colors",
    "--colormap",
    metavar="NAME|FILE",
    help=f"Other colours than those of the classes: {', '.join(COLORMAPS)} or a file, a line for each class: R G B.",
)
@click.option("--no-legend", is_flag=True, help="No names and shares of the classes below or beside the overlay.")
@click.option("--no-outlines", is_flag=True, help="No boundaries between the classes in the overlay.")
@path_option("--json", "json_path", help="Write the classes' areas and boxes here; - for standard output.")
@click.option(
    "--min-share",
    type=click.FloatRange(0, 1),
    default=MIN_SHARE,
    show_default=True,
    help="With --json: regions with a smaller share of the picture get no box.",
)
@dtype_option
@click.option("--channels-last", is_flag=True, help="Channels-last memory order: faster, last digits may differ.")
@click.option("--no-optimize", is_flag=True, help="Run the net layer by layer: slower, the same bits as dc.Net.")
@python_layers_option
@device_option
@variables_option
def segment(
    photos: tuple[Path, ...],
    model: Path | None,
    weights: Path | None,
    out: Path,
    crf: str | None,
    kind: Kind | None,
    preset: str | None,
    marginals: str | None,
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
    min_share: float,
    dtype: str,
    channels_last: bool,
    no_optimize: bool,
    python_layers: bool,
    device: str,
    gpu: str | None,
    variables: dict[str, str],
    **crf_numbers: float | None,
) -> None:
    """Segment PHOTOS: NAME_labels.png (palette) and NAME_overlay.png go to --out."""
    embedded = DEFAULT_MODEL if model is None else EMBEDDED_MODELS.get(str(model))
    if (embedded is None) != (weights is not None):
        raise click.UsageError("--model and --weights go together: give both, or none for the built-in network")
    if embedded is not None:
        model, weights = embedded.deploy, embedded.weights
    params = _crf_params(crf, preset, embedded.crf if embedded else CRFParams(), crf_numbers)
    assert model is not None
    if not photos:
        raise click.UsageError("Missing argument 'PHOTOS...'.")
    stems = [out / photo.stem for photo in photos]
    twice = {stem.name for stem in stems if stems.count(stem) > 1}
    if twice:
        raise click.UsageError(f"several photos are called {', '.join(sorted(twice))}: their results would collide")
    if marginals and max_side:
        raise click.UsageError("--marginals and --max-side exclude each other: marginals would be at the reduced size")
    segmenter = Segmenter(
        model,
        weights,
        crf=params,
        kind=kind,
        device=chosen_device(device, gpu),
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
        variables=variables,
        classes=classes,
        python_layers=python_layers,
    )
    if segmenter.num_classes > 256:
        raise NetError(f"label maps are bytes: the net has {segmenter.num_classes} classes, at most 256 fit")
    colours = find_colormap(colors, segmenter.num_classes) if colors else segmenter.classes.colormap
    failed, described = 0, []
    to_stdout = json_path == Path("-")
    with progress("segmenting", len(photos), to_stderr=to_stdout) as advance:
        for photo, stem in zip(photos, stems, strict=True):
            try:
                image = load_image(photo)
                found = segmenter.segment(image)
                out.mkdir(parents=True, exist_ok=True)
                written = _Job(photo, stem, marginals, colours, not no_outlines, not no_legend).write(image, found)
                if json_path:
                    described.append({"photo": str(photo), **found.to_json(min_share)})
                advance.log(f"{photo}: {_shares(found)}")
                for path in written:
                    advance.log(f"  {path}")
            except DeepLabCaffeError as error:
                failed += 1
                click.echo(f"error: {photo}: {error}" if str(photo) not in str(error) else f"error: {error}", err=True)
            advance()
    if json_path:
        _write_json(None if to_stdout else json_path, described)
    if failed:
        raise click.exceptions.Exit(1)


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"--scales: expected numbers with commas, got '{text}'") from None


def _shares(found: Segmentation, most: int = 4) -> str:
    """Return the classes that cover most of the picture: ``"Building 41 %, Sky 23 %"``."""
    return ", ".join(f"{area.name} {percent(area.share)}" for area in found.areas(None)[:most])


def _write_json(path: Path | None, described: list[dict[str, Any]]) -> None:
    """Write the pictures' areas into a file, or to standard output: a line for each picture."""
    lines = ",\n".join(json.dumps(one, allow_nan=False) for one in described)
    text = f"[\n{lines}\n]\n"
    if path is None:
        click.echo(text, nl=False)
        return
    with atomic_write(path, make_folders=True) as file:
        file.write(text.encode())
