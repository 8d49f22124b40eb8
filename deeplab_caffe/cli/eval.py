"""``deeplab-caffe eval``: what EvalSegResults.m, MyVOCevalseg.m and the trimap script do."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import click

from deeplab_caffe.cli.options import path_option, word_option
from deeplab_caffe.cli.progress import progress
from deeplab_caffe.crf_search.grid import parse_range
from deeplab_caffe.data.classes import KNOWN
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.folders import find_images
from deeplab_caffe.evaluation import (
    RULES,
    Classes,
    Evaluation,
    Rule,
    detect_kind,
    evaluate,
    find_classes,
    find_pairs,
    read_ids,
)
from deeplab_caffe.evaluation.assumed import HINT, assumed_classes, validate_classes
from deeplab_caffe.evaluation.predictions import Kind
from deeplab_caffe.evaluation.report import html_report
from deeplab_caffe.evaluation.save import save_pngs
from deeplab_caffe.evaluation.tables import cell, json_text, markdown, notes, text_report
from deeplab_caffe.files.apart import validate_outputs
from deeplab_caffe.files.text import text_bytes


def parse_widths(text: str) -> list[int]:
    """Parse ``"1:40"``, ``"1:5:40"`` or ``"1,2,5"`` as whole numbers of pixels."""
    widths = parse_range(text, "--trimap")
    if any(width < 1 or width != int(width) for width in widths):
        raise click.UsageError(f"--trimap: expected whole numbers of pixels, 1 or more, got '{text}'")
    return [int(width) for width in widths]


@click.command("eval")
@path_option("--predictions", required=True, help="Results: <id>.png, <id>_blob_0.mat (scores) or <id>.bin.")
@path_option("--labels", help="True labels <id>.png, palette or grey; 255 is ignored. Optional with --save-png.")
@path_option("--list", "list_path", required=True, help="List of images to evaluate: val_id.txt or val.txt.")
@word_option(
    "--classes",
    "classes_name",
    metavar="NAME|FILE",
    help=f"{', '.join(KNOWN)} or a file with a line per class: NAME or NAME R G B. By default PASCAL VOC's, if the "
    "labels can be VOC's.",
)
@click.option("--trimap", help="Widths of trimaps in pixels, as 1:40.")
@click.option("--input", "kind", type=click.Choice(["auto", *get_args(Kind)]), default="auto", show_default=True)
@click.option(
    "--absent",
    type=click.Choice(RULES),
    default="original",
    show_default=True,
    help="IoU of classes that are neither true nor predicted; docs/evaluation.md has the original's rule.",
)
@word_option("--only", metavar="NAME,...", help="Classes to average over. By default all.")
@click.option("--skip-missing", is_flag=True, help="Leave out images without a result, as the original does.")
@click.option(
    "--ignore-label",
    type=int,
    default=255,
    show_default=True,
    help="True label to ignore; with cityscapes-ids a train id, from 0 (road) to 18, not a label id.",
)
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Images to process at a time; 0: all cores.  [0]")
@path_option("--save-png", help="Folder for the results as palette PNGs, for PASCAL VOC's server.")
@path_option("--json", "json_path", help="Write all numbers as JSON.")
@path_option("--markdown", "markdown_path", help="Write the tables as Markdown.")
@path_option("--plot", "plot_path", help="Write a figure: .png, .svg, .pdf.")
@path_option("--html", "html_path", help="Write a report: tables, confusion, bars, worst images.")
@path_option("--images", help="Photographs <id>.*, for the report.")
@click.option(
    "--worst", type=click.IntRange(min=0), default=6, show_default=True, help="Number of worst images in the report."
)
@click.option("--title", default="Evaluation", help="Of the report.")
def eval(
    predictions: Path,
    labels: Path | None,
    list_path: Path,
    classes_name: str | None,
    trimap: str | None,
    kind: Kind | Literal["auto"],
    absent: Rule,
    only: str | None,
    skip_missing: bool,
    ignore_label: int,
    jobs: int,
    save_png: Path | None,
    json_path: Path | None,
    markdown_path: Path | None,
    plot_path: Path | None,
    html_path: Path | None,
    images: Path | None,
    worst: int,
    title: str,
) -> None:
    """Evaluate label maps or scores: per class and mean IoU, pixel and class accuracy, trimaps.

    One confusion matrix is counted over the whole data set, and the numbers are those of the original's MATLAB scripts.
    Without labels, as for a test set, results are only saved as PNGs.
    """
    classes = find_classes(classes_name or "voc12")
    widths = parse_widths(trimap) if trimap else []
    ids = read_ids(list_path)
    found_kind = detect_kind(predictions, ids) if kind == "auto" else kind
    photographs = find_images(images, ids) if images else None
    if labels is None:
        if save_png is None or photographs is None:
            raise click.UsageError("without --labels there is nothing to do but --save-png, which needs --images")
        _save(save_png, predictions, found_kind, ids, photographs, classes, jobs)
        return
    pairs, missing = find_pairs(predictions, labels, ids, found_kind, skip_missing=skip_missing)
    outputs = [("--json", json_path), ("--markdown", markdown_path), ("--plot", plot_path), ("--html", html_path)]
    read = [path for pair in pairs for path in (pair.label, pair.prediction)]
    validate_outputs(outputs, [("--list", list_path), *(("the label map or result", path) for path in read)])
    if classes_name is None:
        classes = assumed_classes(pairs, found_kind, ignore_label)
    else:
        validate_classes(pairs, found_kind, classes, ignore_label)
    if save_png is not None:
        partners = {pair.name: pair.label for pair in pairs}
        _save(save_png, predictions, found_kind, list(partners), partners, classes, jobs)
    with progress("evaluating", len(pairs)) as advance:
        found = evaluate(
            pairs,
            classes,
            found_kind,
            widths=widths,
            ignore_label=ignore_label,
            rule=absent,
            only=[name.strip() for name in only.split(",")] if only is not None else (),
            missing=missing,
            jobs=jobs,
            advance=advance,
            hint=f": --classes names {len(classes)} classes" if classes_name else HINT,
        )
    _say(found)
    if json_path:
        _write(json_path, json_text(found))
    if markdown_path:
        _write(markdown_path, markdown(found, title))
    if html_path:
        _write(html_path, html_report(found, pairs, found_kind, images=photographs, worst=worst, title=title))
    if plot_path:
        _draw(plot_path, found)


def _save(
    folder: Path, predictions: Path, kind: Kind, ids: list[str], partners: dict[str, Path], classes: Classes, jobs: int
) -> None:
    with progress("saving", len(ids)) as advance:
        save_pngs(predictions, kind, ids, partners, folder, classes, jobs=jobs, advance=advance)
    click.echo(f"{len(ids)} results saved in {folder}")


def _say(found: Evaluation) -> None:
    click.echo(text_report(found))
    click.echo(f"By the other rule, the mean of each image's own mean IoU: {cell(found.mean_iou_of_images)}%")
    for note in notes(found):
        click.echo(f"warning: {note}", err=True)


def _draw(path: Path, found: Evaluation) -> None:
    from deeplab_caffe.evaluation.plot import draw_evaluation

    figure = draw_evaluation(found)
    kind_of_file = path.suffix.lstrip(".").lower() or "png"
    if kind_of_file not in figure.canvas.get_supported_filetypes():
        raise click.UsageError(f"--plot: no picture format is known by the ending '{path.suffix}'")
    with atomic_write(path, make_folders=True) as file:
        figure.savefig(file, format=kind_of_file, dpi=120)


def _write(path: Path, text: str) -> None:
    with atomic_write(path, make_folders=True) as file:
        file.write(text_bytes(text))
