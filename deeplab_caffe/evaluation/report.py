"""Write an evaluation as one self-contained HTML file: metrics, confusion, bars, trimap curve, worst images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_caffe.data.io.images import load_image, load_label
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.evaluation.evaluate import Evaluation, ImagePair
from deeplab_caffe.evaluation.predictions import Kind, read_classes
from deeplab_caffe.evaluation.tables import cell, notes, scope
from deeplab_caffe.viz.overlay import colorize, overlay

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: .7em 0; } th { font-weight: 600; text-align: left; }
td, th { padding: .15em .6em; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: .8em; border: 1px solid #0006; box-sizing: border-box; }
.confusion td { width: 2.6em; padding: .1em; text-align: center; font-size: 11px; }
.confusion th.v { writing-mode: vertical-rl; transform: rotate(180deg); font-size: 12px; }
.confusion th { font-size: 12px; text-align: right; }
figure { margin: 1.2em 0; } figure img { max-width: 24%; } figcaption { margin-bottom: .3em; }
.big { font-size: 1.5em; } .note { color: #8a4b00; }
"""


def html_report(
    evaluation: Evaluation,
    pairs: Sequence[ImagePair],
    kind: Kind,
    *,
    images: Mapping[str, Path] | None = None,
    worst: int = 6,
    title: str = "Evaluation",
) -> str:
    """Return the report's HTML text.

    Args:
        evaluation: the evaluation.
        pairs: the evaluated images, for the pictures of the worst ones.
        kind: format of the results.
        images: photographs by id; images without one are shown without a photograph.
        worst: number of the worst images to show.
        title: title of the page.
    """
    metrics = evaluation.metrics
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=big>mean IoU <b>{cell(metrics.mean_iou)} %</b>, pixel accuracy {cell(metrics.pixel_accuracy)} %, "
        f"mean class accuracy {cell(metrics.mean_class_accuracy)} %</p>",
        f"<p>{len(evaluation.images)} images, {int(metrics.pixels.sum()):,} pixels counted. "
        f"{escape(scope(evaluation))}</p>",
        *(f"<p class=note>{escape(note)}.</p>" for note in notes(evaluation)),
        "<h2>Classes</h2>",
        _class_table(evaluation),
        "<h2>Confusion</h2><p>Share of each true class's pixels (rows) by predicted class (columns), per cent.</p>",
        _confusion(evaluation),
    ]
    if evaluation.trimap is not None:
        parts += ["<h2>Trimaps</h2>", _curve(evaluation)]
    shown = evaluation.worst(worst)
    if shown:
        parts.append("<h2>Worst images</h2><p>By the mean IoU of the image's own classes: photograph, labels, result, ")
        parts.append("wrong pixels (red; ignored ones grey).</p>")
        by_name = {pair.name: pair for pair in pairs}
        for image in shown:
            caption = f"{image.name}: mean IoU {cell(image.mean_iou)} %, pixels {cell(image.pixel_accuracy)} %"
            parts.append(f"<figure><figcaption>{escape(caption)}</figcaption>")
            parts += _pictures(by_name[image.name], kind, evaluation, (images or {}).get(image.name))
            parts.append("</figure>")
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    return head + "\n".join(parts) + "</html>\n"


def _class_table(evaluation: Evaluation) -> str:
    metrics, colours = evaluation.metrics, evaluation.classes.colormap
    rows = ["<table><tr><th>class<th>IoU %<th><th>class accuracy %<th>pixels</tr>"]
    for label, name in enumerate(evaluation.classes.names):
        iou = metrics.iou[label]
        width = 0 if np.isnan(iou) else iou * 3
        bar = f"<span class=bar style='width:{width:.1f}px;background:{_css(colours[label])}'></span>"
        rows.append(
            f"<tr><td>{escape(name)}<td class=n>{cell(iou)}<td style='width:300px'>{bar}"
            f"<td class=n>{cell(metrics.class_accuracy[label])}<td class=n>{int(metrics.pixels[label]):,}</tr>"
        )
    return "".join([*rows, "</table>"])


def _confusion(evaluation: Evaluation) -> str:
    counts, names = evaluation.confusion.matrix, evaluation.classes.names
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100.0 * counts, rows, out=np.zeros(counts.shape), where=rows != 0)
    parts = ["<table class=confusion><tr><th>", *(f"<th class=v>{escape(name)}" for name in names), "</tr>"]
    for label, name in enumerate(names):
        parts.append(f"<tr><th>{escape(name)}")
        for other, share in enumerate(shares[label]):
            # The square root makes small shares, which are the mistakes, visible.
            depth = (share / 100) ** 0.5
            colour = f"rgb({255 - 200 * depth:.0f},{255 - 130 * depth:.0f},{255 - 50 * depth:.0f})"
            text = f"{share:.0f}" if share >= 0.5 else ""
            tip = escape(f"{name} taken for {names[other]}: {share:.3f} %, {counts[label, other]:,} pixels", quote=True)
            parts.append(f"<td style='background:{colour}' title='{tip}'>{text}")
        parts.append("</tr>")
    return "".join([*parts, "</table>"])


def _curve(evaluation: Evaluation) -> str:
    width, height, edge = 640, 320, 45
    curve = evaluation.curve()
    last = max(curve)
    lines = []
    for number, name, colour in (("mean_iou", "mean IoU", "#1f5fa8"), ("pixel_accuracy", "pixel accuracy", "#c2571a")):
        values = [(w, getattr(one, number)) for w, one in curve.items()]
        dots = [
            (edge + (width - 2 * edge) * w / last, height - edge - (height - 2 * edge) * value / 100, w, value)
            for w, value in values
            if not np.isnan(value)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in dots)
        lines.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>")
        lines += [
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'><title>{w} px: {name} {v:.3f} %</title></circle>"
            for x, y, w, v in dots
        ]
    for share in range(0, 101, 20):
        y = height - edge - (height - 2 * edge) * share / 100
        lines.append(f"<line x1='{edge}' x2='{width - edge}' y1='{y:.1f}' y2='{y:.1f}' stroke='#0002'/>")
        lines.append(f"<text x='{edge - 8}' y='{y + 4:.1f}' text-anchor='end' font-size='12'>{share}</text>")
    for w in sorted({1, last, *range(10, last, 10)}):
        x = edge + (width - 2 * edge) * w / last
        lines.append(f"<text x='{x:.1f}' y='{height - edge + 18}' text-anchor='middle' font-size='12'>{w}</text>")
    lines.append(f"<text x='{width / 2}' y='{height - 8}' text-anchor='middle' font-size='13'>width, pixels</text>")
    lines.append("<text x='60' y='20' font-size='13' fill='#1f5fa8'>mean IoU, %</text>")
    lines.append("<text x='170' y='20' font-size='13' fill='#c2571a'>pixel accuracy, %</text>")
    return f"<svg width='{width}' height='{height}' role='img'>{''.join(lines)}</svg>"


def _pictures(pair: ImagePair, kind: Kind, evaluation: Evaluation, photo: Path | None) -> list[str]:
    colours = evaluation.classes.colormap
    labels = evaluation.classes.from_file(load_label(pair.label))
    predicted = np.asarray(read_classes(pair.prediction, kind, labels.shape, evaluation.classes)).astype(np.int64)
    predicted = predicted.clip(0, 255)
    wrong = np.full((*labels.shape, 3), 255, np.uint8)
    wrong[labels == 255] = 160
    wrong[(labels != 255) & (predicted != labels)] = (200, 30, 30)
    image = None
    if photo is not None:
        try:
            image = load_image(photo, exif_orientation=False)
        except DeepLabCaffeError:
            image = None
    if image is None or image.shape[:2] != labels.shape:
        shown = [colorize(labels, colours), colorize(predicted, colours), wrong]
    else:
        shown = [image, overlay(image, labels, colours), overlay(image, predicted, colours), wrong]
    return [f"<img src='{_data_uri(picture)}' alt=''>" for picture in shown]


def _data_uri(picture: np.ndarray, side: int = 480) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _css(colour: np.ndarray) -> str:
    return f"rgb({','.join(str(int(value)) for value in colour)})"
