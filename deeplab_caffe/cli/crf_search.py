"""``deeplab-caffe crf-search``: the dense CRF's parameters by cross-validation."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click

from deeplab_caffe.cli.options import kind_option, path_option
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.cli.tables import plain_table, print_table
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.crf_search.grid import Grid, parse_range
from deeplab_caffe.crf_search.inference import SearchSettings
from deeplab_caffe.crf_search.plot import draw_search
from deeplab_caffe.crf_search.samples import draw_samples, find_samples
from deeplab_caffe.crf_search.search import Accuracy, PointResult, Search, SearchOutcome
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.files.text import text_bytes


@click.command("crf-search")
@path_option(
    "--scores",
    required=True,
    help="Scores <id>_blob_0.mat, as MAT_WRITE leaves them, or <id>.npy; or probabilities <id>.bin.",
)
@path_option("--images", required=True, help="Photographs <id>.*.")
@path_option("--labels", required=True, help="True labels <id>.*: palette or grey images.")
@kind_option("probabilities in a .bin, else scores")
@path_option("--list", "ids", help="File of image ids, with or without folders. By default all images with scores.")
@click.option("--samples", type=click.IntRange(min=1), default=100, show_default=True, help="Number of images to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draw.")
@click.option("--bi-w", default="5:1:10", show_default=True, help="Weights of the appearance kernel, start:step:stop.")
@click.option(
    "--bi-xy-std", default="50:10:100", show_default=True, help="Its standard deviations of position, in pixels."
)
@click.option(
    "--bi-rgb-std", default="3:1:10", show_default=True, help="Its standard deviations of colour, in grey levels."
)
@click.option("--pos-w", type=float, default=3.0, show_default=True, help="Weight of the smoothness kernel.")
@click.option("--pos-xy-std", type=float, default=3.0, show_default=True, help="Its standard deviation, in pixels.")
@click.option("--iterations", type=click.IntRange(min=0), default=10, show_default=True)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Number of grids, each finer than the last.",
)
@click.option("--factor", type=click.IntRange(min=2), default=2, show_default=True, help="How much finer each grid is.")
@click.option("--ignore-label", "ignored", type=int, multiple=True, default=(255,), show_default=True)
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Images at a time, at most the cores; 0: all.  [0]")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Rows of the table.")
@path_option("--out", default=Path("crf-search"), show_default=True, help="Folder of the results.")
def crf_search(
    scores: Path,
    images: Path,
    labels: Path,
    kind: Kind | None,
    ids: Path | None,
    samples: int,
    seed: int,
    bi_w: str,
    bi_xy_std: str,
    bi_rgb_std: str,
    pos_w: float,
    pos_xy_std: float,
    iterations: int,
    rounds: int,
    factor: int,
    ignored: tuple[int, ...],
    jobs: int,
    top: int,
    out: Path,
) -> None:
    """Search the dense CRF's parameters on validation images, coarse to fine, as the DeepLab paper does.

    The measure is the mean IoU of all drawn images together. Files in --out: best.json, for `crf --crf` and
    `segment --crf`; points.csv, all points that were tried; heatmap.png; and results.jsonl, from which an interrupted
    search, or one with a wider grid, continues.
    """
    grid = Grid(
        parse_range(bi_w, "--bi-w"), parse_range(bi_xy_std, "--bi-xy-std"), parse_range(bi_rgb_std, "--bi-rgb-std")
    )
    settings = SearchSettings(pos_w, pos_xy_std, iterations, ignored)
    found = find_samples(scores, images, labels, ids, kind)
    drawn = draw_samples(found, samples, seed)
    click.echo(f"{len(drawn)} of {len(found)} images, {len(grid)} points in the first round")
    search = Search(drawn, settings, results=out / "results.jsonl", jobs=jobs, progress=progress)
    outcome = search.coarse_to_fine(grid, rounds, factor)

    _print(outcome, top)
    outcome.params.to_file(out / "best.json")
    with atomic_write(out / "points.csv") as file:
        file.write(text_bytes(_csv(outcome)))
    click.echo(f"wrote {out / 'best.json'}, {out / 'points.csv'}")
    try:
        figure = draw_search(outcome)
    except DeepLabCaffeError as error:
        click.echo(f"warning: {error}", err=True)
        return
    with atomic_write(out / "heatmap.png") as file:
        figure.savefig(file, format="png", dpi=120)
    click.echo(f"wrote {out / 'heatmap.png'}")


def _print(outcome: SearchOutcome, top: int) -> None:
    headings = ("bi_w", "bi_xy_std", "bi_rgb_std", "mean IoU %", "gain", "pixel accuracy %", "round")
    table = plain_table(f"the best of {len(outcome.results)} points", [(heading, "right") for heading in headings])
    ranked = sorted(outcome.results, key=lambda result: -result.mean_iou)
    for result in (*ranked[:top], outcome.baseline):
        if result is outcome.baseline:
            table.add_section()
        table.add_row(*_cells(result, outcome.baseline))
    print_table(table)
    edges = outcome.rounds[-1].edges(outcome.best.point)
    if edges:
        click.echo(
            f"{', '.join(edges)}: the best value is the first or last tried, a wider range may hold a better one"
        )


def _cells(result: Accuracy, baseline: Accuracy) -> tuple[str, ...]:
    values = (f"{100 * result.mean_iou:.2f}", f"{100 * (result.mean_iou - baseline.mean_iou):+.2f}")
    accuracy = f"{100 * result.matrix.pixel_accuracy():.2f}"
    if not isinstance(result, PointResult):
        return ("-", "-", "no CRF", values[0], "", accuracy, "-")
    return (*(f"{value:g}" for value in result.point), *values, accuracy, str(result.round))


def _csv(outcome: SearchOutcome) -> str:
    """Return all points as CSV. Round 0 is the scores without a CRF. IoUs are from 0 to 1, empty for absent classes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = outcome.baseline.matrix.num_classes
    names = ("round", "bi_w", "bi_xy_std", "bi_rgb_std", "mean_iou", "pixel_accuracy")
    writer.writerow((*names, *(f"iou_{label}" for label in range(classes))))
    for result in (outcome.baseline, *outcome.results):
        number, *point = (result.round, *result.point) if isinstance(result, PointResult) else (0, "", "", "")
        shares = [result.mean_iou, result.matrix.pixel_accuracy(), *result.matrix.iou()]
        writer.writerow((number, *point, *("" if share != share else f"{share:.6f}" for share in shares)))
    return text.getvalue()
