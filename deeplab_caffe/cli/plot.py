"""``deeplab-caffe plot``: a picture of training logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from deeplab_caffe.cli.options import FilePath, path_option
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.files.apart import validate_outputs
from deeplab_caffe.files.text import shown_text
from deeplab_caffe.solver.log import read_log
from deeplab_caffe.viz.figure import new_figure

Curve = tuple[list[int], list[float]]
# Names of SEG_ACCURACY's three numbers.
_ACCURACIES = ("pixel accuracy", "mean recall", "mean IoU")
_FORMATS = ("png", "svg", "pdf", "jpg", "jpeg", "webp")


@click.command()
@click.argument("logs", nargs=-1, required=True, type=FilePath())
@path_option("--out", default=Path("curve.png"), show_default=True, help="The picture; its suffix selects the format.")
@click.option(
    "--smooth", type=click.IntRange(min=1), default=20, show_default=True, help="Number of losses to average over."
)
@click.option("--title", help="Text above the picture.")
def plot(logs: tuple[Path, ...], out: Path, smooth: int, title: str | None) -> None:
    """Plot LOGS of `train --log`: loss, learning rate and the test nets' outputs over the iterations."""
    kind = out.suffix.lower().lstrip(".") or "png"
    if kind not in _FORMATS:
        raise click.UsageError(f"--out must end in one of {', '.join(_FORMATS)}, got {out.name}")
    validate_outputs([("--out", out)], [("the log", path) for path in logs])
    runs = [(path, read_log(path)) for path in logs]
    figure = draw(runs, smooth, title)
    with atomic_write(out, make_folders=True) as file:
        figure.savefig(file, format=kind, dpi=120)
    click.echo(f"wrote {out}")


def draw(runs: Sequence[tuple[Path, list[dict[str, Any]]]], smooth: int, title: str | None) -> Any:
    """Draw some logs as a matplotlib figure: loss, learning rate, and the test nets' outputs if there are any.

    Raises:
        DeepLabCaffeError: matplotlib is not installed.
    """
    tests = [output_curves(records, "test") for _, records in runs]
    trains = [output_curves(records, "train") for _, records in runs]
    panels = 3 if any(not _is_loss(label) for found in (*tests, *trains) for label in found) else 2
    figure = new_figure((8, 3 * panels))
    axes = figure.subplots(panels, 1, sharex=True)
    for (path, records), tested, trained in zip(runs, tests, trains, strict=True):
        name = _as_it_is(path.name) if len(runs) > 1 else ""
        steps, losses = train_curve(records, "loss")
        line = axes[0].plot(steps, losses, linewidth=0.6, alpha=0.35)[0]
        axes[0].plot(steps, running_mean(losses, smooth), color=line.get_color(), label=name or f"mean of {smooth}")
        axes[1].plot(*train_curve(records, "lr"), color=line.get_color(), label=name or None)
        for label, curve in tested.items():
            panel = axes[0] if _is_loss(label) else axes[2]
            panel.plot(*curve, marker="o", markersize=3, label=f"{name} test {_as_it_is(label)}".strip())
        for label, curve in trained.items():
            if not _is_loss(label):
                axes[2].plot(*curve, linewidth=0.6, alpha=0.5, label=f"{name} train {_as_it_is(label)}".strip())
    for panel, text in zip(axes, ("loss", "learning rate", "accuracy"), strict=False):
        panel.set_ylabel(text)
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize="small")
    axes[1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes[-1].set_xlabel("iteration")
    if title:
        figure.suptitle(_as_it_is(title))
    return figure


def _as_it_is(text: str) -> str:
    """Return a text without formulas for matplotlib, and without characters that it cannot draw."""
    return shown_text(text).replace("$", r"\$")


def train_curve(records: Sequence[dict[str, Any]], key: str) -> Curve:
    """Return the iterations and values of a key of the training records; values that are not finite are left out."""
    points = [(r["iteration"], r[key]) for r in records if r.get("event") == "train" and r.get(key) is not None]
    return [step for step, _ in points], [value for _, value in points]


def output_curves(records: Sequence[dict[str, Any]], event: str) -> dict[str, Curve]:
    """Return the curve of each number that the nets put out in ``test`` or ``train`` events, by its name."""
    several = len({record.get("net") for record in records if record.get("event") == event}) > 1
    curves: dict[str, Curve] = {}
    for record in records:
        if record.get("event") != event:
            continue
        prefix = f"net {record.get('net')} " if several else ""
        for blob, numbers in record.get("outputs", {}).items():
            for label, number in zip(_labels(blob, len(numbers)), numbers, strict=True):
                if number is not None:
                    steps, values = curves.setdefault(prefix + label, ([], []))
                    steps.append(record["iteration"])
                    values.append(number)
    return curves


def _is_loss(label: str) -> bool:
    # Only for losses does Caffe add a top that the prototxt does not name.
    return "loss" in label.lower() or "(automatic)" in label


def _labels(blob: str, count: int) -> list[str]:
    if count == 1:
        return [blob]
    if count == len(_ACCURACIES) and "acc" in blob.lower():
        return [f"{blob}: {name}" for name in _ACCURACIES]
    return [f"{blob} {i}" for i in range(count)]


def running_mean(values: Sequence[float], count: int) -> list[float]:
    """Return the mean of each value and of up to ``count - 1`` before it."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value
        if i >= count:
            total -= values[i - count]
        means.append(total / min(i + 1, count))
    return means
