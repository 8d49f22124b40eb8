"""``deeplab-caffe segment``: photographs in, label maps and overlays out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
from deeplab_caffe.data.classes import KNOWN
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DeepLabCaffeError, NetError
from deeplab_caffe.files.names import is_file
from deeplab_caffe.segmentation.segmenter import Segmentation, Segmenter
from deeplab_caffe.viz import CAMVID_COLORMAP, VOC_COLORMAP, overlay
from deeplab_caffe.zoo.default import DEFAULT_MODEL

_COLORMAPS = {"voc": VOC_COLORMAP, "camvid": CAMVID_COLORMAP}


@dataclass(frozen=True)
class _Job:
    """One photograph and where its results go."""

    photo: Path
    stem: Path
    marginals: str | None
    colormap: np.ndarray

    def write(self, image: np.ndarray, found: Segmentation) -> list[Path]:
        """Write all results or, if one cannot be written, none."""
        colours = self.colormap
        writers: list[tuple[str, Callable[[Path], None]]] = [
            ("_labels.png", lambda path: save_labels_png(path, found.labels, colours)),
            ("_overlay.png", lambda path: save_image(path, overlay(image, found.labels, colours))),
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


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@path_option("--model", help=f"{MODEL_HELP} Without it: the small CamVid network that comes with the package.")
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
    "--classes",
    metavar="NAME|FILE",
    help=f"Names and colours of the classes: {', '.join(KNOWN)} or a file, a line for each: NAME or NAME R G B. By "
    "default classes.txt beside the weights or the model.",
)
@click.option("--colormap", type=click.Choice(sorted(_COLORMAPS)), help="Other colours than those of the classes.")
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
    classes: str | None,
    colormap: str | None,
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
    if (model is None) != (weights is None):
        raise click.UsageError("--model and --weights go together: give both, or none for the built-in network")
    built_in = model is None
    params = _crf_params(crf, preset, DEFAULT_MODEL.crf if built_in else CRFParams(), crf_numbers)
    if not photos:
        raise click.UsageError("Missing argument 'PHOTOS...'.")
    stems = [out / photo.stem for photo in photos]
    twice = {stem.name for stem in stems if stems.count(stem) > 1}
    if twice:
        raise click.UsageError(f"several photos are called {', '.join(sorted(twice))}: their results would collide")
    if marginals and max_side:
        raise click.UsageError("--marginals and --max-side exclude each other: marginals would be at the reduced size")
    segmenter = Segmenter(
        DEFAULT_MODEL.deploy if model is None else model,
        DEFAULT_MODEL.weights if built_in else weights,
        crf=params,
        kind=kind,
        device=chosen_device(device, gpu),
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
    names = segmenter.classes.names
    colours = _COLORMAPS[colormap] if colormap else segmenter.classes.colormap
    if segmenter.num_classes > 256:
        raise NetError(f"label maps are bytes: the net has {segmenter.num_classes} classes, at most 256 fit")
    failed = 0
    with progress("segmenting", len(photos)) as advance:
        for photo, stem in zip(photos, stems, strict=True):
            try:
                image = load_image(photo)
                found = segmenter.segment(image)
                out.mkdir(parents=True, exist_ok=True)
                written = _Job(photo, stem, marginals, colours).write(image, found)
                advance.log(f"{photo}: {_shares(found.labels, names)}")
                for path in written:
                    advance.log(f"  {path}")
            except DeepLabCaffeError as error:
                failed += 1
                click.echo(f"error: {photo}: {error}" if str(photo) not in str(error) else f"error: {error}", err=True)
            advance()
    if failed:
        raise click.exceptions.Exit(1)


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"--scales: expected numbers with commas, got '{text}'") from None


def _shares(labels: np.ndarray, names: tuple[str, ...], most: int = 4) -> str:
    """Return the classes that cover most of the picture: ``"Building 41 %, Sky 23 %"``."""
    counts = np.bincount(labels.ravel())
    largest = [label for label in np.argsort(-counts, kind="stable")[:most] if counts[label]]
    return ", ".join(
        f"{names[label] if label < len(names) else f'class {label}'} {100 * counts[label] / labels.size:.0f} %"
        for label in largest
    )
