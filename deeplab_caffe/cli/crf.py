"""``deeplab-caffe crf``: refine scores with the dense CRF, as prog_refine_pascal and prog_refine_pascal_v4 do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal, get_args

import click

from deeplab_caffe import _C
from deeplab_caffe.cli.options import crf_number_options, kind_option, path_option, word_option
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.data.io.scores import ScoreFormat
from deeplab_caffe.environment import usable_cores
from deeplab_caffe.errors import CRFError, DeepLabCaffeError, one_line
from deeplab_caffe.evaluation.evaluate import read_ids
from deeplab_caffe.experiment.refine import Folders, Status, default_params, detect_format, find_jobs, refine_jobs


@click.command()
@path_option("-id", "--image-dir", required=True, help="Photographs: .ppm or any format that Pillow reads.")
@path_option("-fd", "--feature-dir", required=True, help="Scores <image>_blob_0.mat, <image>.bin or <image>.npy.")
@path_option("-sd", "--save-dir", required=True, help="Folder for the label maps <image>.bin.")
@crf_number_options
@click.option("-px", "--pos-x-std", type=float, help="--pos-xy-std along x only.")
@click.option("-py", "--pos-y-std", type=float, help="... along y.")
@click.option("-bx", "--bi-x-std", type=float, help="--bi-xy-std along x only.")
@click.option("-by", "--bi-y-std", type=float, help="... along y.")
@click.option("-br", "--bi-r-std", type=float, help="--bi-rgb-std of red only.")
@click.option("-bg", "--bi-g-std", type=float, help="... of green.")
@click.option("-bb", "--bi-b-std", type=float, help="... of blue.")
@word_option(
    "--crf",
    "named",
    metavar="NAME|FILE",
    help="CRF parameters tuned for a model, such as DeepLab-LargeFOV, or from a .json file, such as crf-search's "
    "best.json; by default those of the original's program.",
)
@click.option(
    "--input",
    "form",
    type=click.Choice([*get_args(ScoreFormat), "auto"]),
    default="auto",
    show_default=True,
    help="mat: scores as MAT_WRITE leaves them (the v4 program); bin: probabilities (the first program); npy: scores "
    "(C, H, W) of other programs.",
)
@kind_option("probabilities in a .bin, else scores")
@path_option("--list", "id_list", help="File of image ids, with or without folders. By default all images with scores.")
@click.option("--png", is_flag=True, help="Also write <image>.png with PASCAL VOC's colours.")
@click.option("--overwrite", is_flag=True, help="Replace label maps that exist.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads, at most the cores; 0: all.  [0]")
def crf(
    image_dir: Path,
    feature_dir: Path,
    save_dir: Path,
    iterations: int | None,
    form: ScoreFormat | Literal["auto"],
    kind: Kind | None,
    id_list: Path | None,
    named: str | None,
    png: bool,
    overwrite: bool,
    threads: int,
    **kernels: float | None,
) -> None:
    """Refine segmentation scores with the dense CRF, with the flags of the original's programs.

    Images whose label maps exist are skipped. If an image fails, the error is reported, the other images are processed,
    and the exit status is 1.
    """
    try:
        ids = None if id_list is None else read_ids(id_list)
        files = detect_format(feature_dir, ids or ()) if form == "auto" else form
        params = _changed(default_params(files) if named is None else CRFParams.named(named), kernels)
        params = params if iterations is None else params.replace(iterations=iterations)
        folders = Folders(image_dir, feature_dir, save_dir, files)
        jobs, without_scores = find_jobs(folders, ids)
    except DeepLabCaffeError as error:
        click.echo(f"error: {error}", err=True)
        raise click.exceptions.Exit(1) from None
    if without_scores:
        left_out = f"{len(without_scores)} images have no scores in {feature_dir} and are left out"
        click.echo(one_line(f"warning: {image_dir}: {left_out}, the first is '{without_scores[0]}'"), err=True)
    _C.set_num_threads(min(threads, usable_cores()))
    counts = Counter[str]()
    with progress("refining", len(jobs)) as advance:
        for outcome in refine_jobs(jobs, folders, params, kind=kind, png=png, overwrite=overwrite):
            counts[outcome.status] += 1
            if outcome.message:
                click.echo(f"error: {outcome.message}", err=True)
            advance()
    click.echo(", ".join(f"{counts[status]} {status}" for status in get_args(Status)))
    if counts["failed"]:
        raise click.exceptions.Exit(1)


def _changed(params: CRFParams, kernels: dict[str, float | None]) -> CRFParams:
    """Return the parameters with the flags that were given."""
    given = {name: value for name, value in kernels.items() if value is not None}
    if not given:
        return params
    try:
        now = params.by_axis()
    except CRFError:
        raise CRFError(
            "the flags of the kernels go with one smoothness and one appearance kernel, --crf has others"
        ) from None

    def either(kind: str, axes: str, stds: tuple[float, ...]) -> tuple[tuple[float, ...]]:
        return (
            tuple(
                given.get(f"{kind}_{axis}_std", given.get(f"{kind}_{axes}_std", std))
                for axis, std in zip(axes, stds, strict=True)
            ),
        )

    return params.replace(
        pos_w=given.get("pos_w", now.pos_w),
        pos_xy_std=either("pos", "xy", now.pos_xy_std),
        bi_w=given.get("bi_w", now.bi_w),
        bi_xy_std=either("bi", "xy", now.bi_xy_std),
        bi_rgb_std=either("bi", "rgb", now.bi_rgb_std),
    )
