"""``deeplab-caffe crf-search``: the dense CRF's parameters by cross-validation."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click

from deeplab_caffe.cli.options import path_option
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.cli.tables import plain_table, print_table
from deeplab_caffe.crf.grid import Grid, parse_range
from deeplab_caffe.crf.samples import draw_samples, find_samples
from deeplab_caffe.crf.search import Outcome, Result, Search, Settings
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.viz.crf_search import draw_search


@click.command("crf-search")
@path_option("--scores", required=True, help="Scores <id>_blob_0.mat, as MAT_WRITE leaves them, or <id>.npy.")
@path_option("--images", required=True, help="Photographs <id>.*.")
@path_option("--labels", required=True, help="True labels <id>.*: palette or grey images.")
@path_option("--list", "ids", help="File of ids; without it all that have scores.")
@click.option("--samples", type=click.IntRange(min=1), default=100, show_default=True, help="How many images to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which images are drawn.")
@click.option("--w1", default="5:1:10", show_default=True, help="Weights of the appearance kernel, start:step:stop.")
@click.option("--sigma-alpha", default="50:10:100", show_default=True, help="Its deviations of position, pixels.")
@click.option("--sigma-beta", default="3:1:10", show_default=True, help="Its deviations of colour, grey levels.")
@click.option("--w2", type=float, default=3.0, show_default=True, help="Weight of the smoothness kernel.")
@click.option("--sigma-gamma", type=float, default=3.0, show_default=True, help="Its deviation, pixels.")
@click.option("--iterations", type=click.IntRange(min=0), default=10, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True, help="1: no finer grid.")
@click.option("--factor", type=click.IntRange(min=2), default=2, show_default=True, help="How much finer each is.")
@click.option("--ignore-label", "ignored", type=int, multiple=True, default=(255,), show_default=True)
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Images at a time; 0: all cores.  [0]")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Rows of the table.")
@path_option("--out", default=Path("crf-search"), show_default=True, help="Folder of the results.")
def crf_search(
    scores: Path,
    images: Path,
    labels: Path,
    ids: Path | None,
    samples: int,
    seed: int,
    w1: str,
    sigma_alpha: str,
    sigma_beta: str,
    w2: float,
    sigma_gamma: float,
    iterations: int,
    rounds: int,
    factor: int,
    ignored: tuple[int, ...],
    jobs: int,
    top: int,
    out: Path,
) -> None:
    """Search the dense CRF's parameters on validation images, coarse to fine, as the DeepLab paper does.

    The measure is the mean IoU of all drawn images together. To --out go best.json, for `crf --params` and
    `segment --crf-params`; points.csv, all that was tried; heatmap.png; and results.jsonl, by which a search that was
    broken off, or one with a wider grid, goes on from what is known.
    """
    grid = Grid(
        parse_range(w1, "--w1"), parse_range(sigma_alpha, "--sigma-alpha"), parse_range(sigma_beta, "--sigma-beta")
    )
    settings = Settings(w2, sigma_gamma, iterations, ignored)
    found = find_samples(scores, images, labels, ids)
    drawn = draw_samples(found, samples, seed)
    click.echo(f"{len(drawn)} of {len(found)} images, {len(grid)} points in the first round")
    search = Search(drawn, settings, results=out / "results.jsonl", jobs=jobs, progress=progress)
    outcome = search.coarse_to_fine(grid, rounds, factor)

    _print(outcome, top)
    outcome.params.to_file(out / "best.json")
    with atomic_write(out / "points.csv") as file:
        file.write(_csv(outcome).encode())
    click.echo(f"wrote {out / 'best.json'}, {out / 'points.csv'}")
    try:
        figure = draw_search(outcome)
    except DeepLabCaffeError as error:
        click.echo(f"warning: {error}", err=True)
        return
    with atomic_write(out / "heatmap.png") as file:
        figure.savefig(file, format="png", dpi=120)
    click.echo(f"wrote {out / 'heatmap.png'}")


def _print(outcome: Outcome, top: int) -> None:
    headings = ("w1", "sigma_alpha", "sigma_beta", "mean IoU %", "gain", "pixel accuracy %", "round")
    table = plain_table(f"the best of {len(outcome.results)} points", [(heading, "right") for heading in headings])
    ranked = sorted(outcome.results, key=lambda result: -result.mean_iou)
    for result in (*ranked[:top], outcome.baseline):
        if result.point is None:
            table.add_section()
        table.add_row(*_cells(result, outcome.baseline))
    print_table(table)
    edges = outcome.rounds[-1].edges(outcome.best.point)
    if edges:
        click.echo(
            f"{', '.join(edges)}: the best value is the first or last tried, a wider range may hold a better one"
        )


def _cells(result: Result, baseline: Result) -> tuple[str, ...]:
    values = (f"{100 * result.mean_iou:.2f}", f"{100 * (result.mean_iou - baseline.mean_iou):+.2f}")
    accuracy = f"{100 * result.matrix.pixel_accuracy():.2f}"
    if result.point is None:
        return ("-", "-", "no CRF", values[0], "", accuracy, "-")
    return (*(f"{value:g}" for value in result.point), *values, accuracy, str(result.round))


def _csv(outcome: Outcome) -> str:
    """All points; the scores without a CRF are round 0. Fractions are of 1; a class that is absent has no IoU."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = outcome.baseline.matrix.num_classes
    names = ("round", "w1", "sigma_alpha", "sigma_beta", "mean_iou", "pixel_accuracy")
    writer.writerow((*names, *(f"iou_{label}" for label in range(classes))))
    for result in (outcome.baseline, *outcome.results):
        point = ("", "", "") if result.point is None else result.point
        shares = [result.mean_iou, result.matrix.pixel_accuracy(), *result.matrix.iou()]
        writer.writerow((result.round, *point, *("" if share != share else f"{share:.6f}" for share in shares)))
    return text.getvalue()
