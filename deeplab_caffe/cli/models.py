"""``deeplab-caffe models``: the models of the papers."""

from __future__ import annotations

import json

import click

from deeplab_caffe.cli.tables import plain_table, print_table
from deeplab_caffe.crf import CRFParams, find_preset
from deeplab_caffe.zoo.model import VOC12
from deeplab_caffe.zoo.models import INIT_WEIGHTS, MODELS, OWN_MODELS, Model, Score, find_model
from deeplab_caffe.zoo.paths import prototxt_paths


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _pair(score: Score | None) -> str:
    return "-" if score is None else f"{_number(score.dcnn)} / {_number(score.crf)}"


def crf_values(name: str | None) -> str:
    """Return ``bi_w / bi_xy_std / bi_rgb_std`` of a preset, or ``"-"``."""
    if name is None:
        return "-"
    numbers = find_preset(name).numbers
    return " / ".join(f"{numbers[key]:g}" for key in ("bi_w", "bi_xy_std", "bi_rgb_std"))


def row(model: Model) -> list[str]:
    """Return a model's row in the table."""
    return [
        model.name,
        model.title,
        model.trained_on,
        _pair(model.score("val")),
        _pair(model.score("test")),
        crf_values(model.crf),
        "-" if model.parameters is None else f"{model.parameters / 1e6:.1f} M",
        "-" if model.file is None else f"{model.file.name}{' *' if model.saw_val else ''}",
    ]


HEADINGS = ("name", "title", "trained on", "published val", "published test", "CRF", "parameters", "weights")


def _details(model: Model) -> None:
    click.echo(f"{model.name}: {model.title}")
    facts = [("NET_ID", model.net_id), ("trained on", model.trained_on)]
    size = None if model.parameters is None else 4 * model.parameters * model.towers / 1e6
    if model.parameters is not None:
        stored = f"; a caffemodel stores them {model.towers} times" if model.towers > 1 else ""
        facts.append(("parameters", f"{model.parameters:,} with 21 classes{stored}, {size:.1f} MB"))
    for score in model.scores:
        data = "" if score.data == VOC12 else f"{score.data}; "
        facts.append(
            (f"published {score.images}", f"{_pair(score)} ({data}mean IoU, network / with CRF; {score.source})")
        )
    if model.crf is not None:
        preset = find_preset(model.crf)
        facts.append(("CRF", f"{CRFParams.for_model(preset.name)} ({preset.name}: {preset.source})"))
    if model.network is not None:
        paths = prototxt_paths(model.network)
        facts += [(kind, str(path)) for kind, path in paths.items()]
    facts.append(("starts from", model.init))
    if model.file is not None:
        facts += [("weights", f"{model.file.name}: {url}") for url in model.file.urls]
        if model.file.sha256 is not None:
            facts.append(("sha256", f"begins with {model.file.sha256}"))
    facts += [("page", page) for page in model.pages]
    facts += [("note", note) for note in model.notes]
    for name, fact in facts:
        if fact is not None:
            click.echo(f"  {name + ':':16} {fact}")


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(name: str | None, as_json: bool) -> None:
    """List the models of the papers, or show all facts about NAME.

    Published val and test: the authors' mean IoU on PASCAL VOC 2012 in percent, network / with CRF; not measured here.
    CRF: bi_w / bi_xy_std / bi_rgb_std. The URLs of weights are as they were cited, and may no longer work.
    """
    if name is not None:
        model = find_model(name)
        if as_json:
            click.echo(json.dumps(model.to_dict(), indent=1))
        else:
            _details(model)
        return
    if as_json:
        click.echo(json.dumps([model.to_dict() for model in (*MODELS, *INIT_WEIGHTS)], indent=1))
        return
    right = ("parameters",)
    table = plain_table("", [(heading, "right" if heading in right else "left") for heading in HEADINGS])
    table.title = None
    for model in (*MODELS, *INIT_WEIGHTS):
        table.add_row(*row(model))
    print_table(table)
    click.echo("* trained on val too: its score there is not the published one.")
    click.echo(f"Of no paper, but ours: {', '.join(model.name for model in OWN_MODELS)}.")
    click.echo("deeplab-caffe models NAME tells more, deeplab-caffe download NAME fetches weights.")
