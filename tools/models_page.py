"""Write docs/models.md from the registry: ``python -m tools.models_page``.

With ``--check`` nothing is written, and the exit status is 1 if the page is not current.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deeplab_caffe.cli.models import crf_values
from deeplab_caffe.crf.presets import find_preset
from deeplab_caffe.zoo import BASES, INIT_WEIGHTS, MODELS, Model, Score
from deeplab_caffe.zoo.model import VOC12

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"

HEAD = """\
# The models of the papers

Written by `python -m tools.models_page` from `deeplab_caffe/zoo`; `deeplab-caffe models` prints the same.

Scores are mean IoU in percent on PASCAL VOC 2012 as published, network / with CRF; none was measured here. val: trained
on train_aug; test: trained on trainval_aug. CRF: bi_w / bi_xy_std / bi_rgb_std; a table below says where they come
from. Parameters are for 21 classes; what several towers share is counted once. What is empty is not known, or was not
published, or could not be read at its source.

"""

NETWORKS = """
## Networks and recipes

Files: `prototxt/NAME/`. A name with another network beside it has that one's files; a recipe has its own
train.prototxt. Each file's head says what in it is as released and what is reconstructed.

"""

WEIGHTS_HEADINGS = ("name", "file", "saw VOC's val", "sha256", "pages that linked to it")
WEIGHTS = """
## Weights

Addresses are as they were cited; those of the authors may be gone, and none was fetched for this page.
`deeplab-caffe download NAME` tries what has an address, and checks what is there; it prints the path. `--from DIR`
takes the file from a folder of yours. From a zip with several caffemodels it takes the one of that name. No checksum of
the authors' files was ever published (torchvision's file names tell how theirs begin), so the first download's SHA-256
goes into `FILE.lock` beside the file in the cache (`DEEPLAB_CAFFE_CACHE`, else `~/.cache/deeplab-caffe`), and whatever
comes later must match it. A file gets its name in the cache only when it is whole, a caffemodel, and has the network's
layers; torchvision's files are state_dicts. From Python: `deeplab_caffe.zoo.fetch("deeplab_largefov")`.

"""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _pair(score: Score | None) -> str:
    return "" if score is None else f"{_number(score.dcnn) or '-'} / {_number(score.crf) or '-'}"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [" | ".join(headings), "|".join("---" for _ in headings), *(" | ".join(row) for row in rows)]
    return "".join(f"| {line} |\n" if "---" not in line else f"|{line}|\n" for line in lines)


def _scores_row(model: Model) -> tuple[str, ...]:
    sources = dict.fromkeys(score.source for score in model.scores if score.data == VOC12)
    return (
        f"`{model.name}`",
        model.title,
        model.trained_on,
        _pair(model.score("val")),
        _pair(model.score("test")),
        "; ".join(sources),
        "" if model.crf is None else crf_values(model.crf),
        "" if model.parameters is None else f"{model.parameters:,}",
    )


def _other_rows(model: Model) -> list[tuple[str, ...]]:
    return [
        (f"`{model.name}`", f"{score.data}, {score.images}", _pair(score), score.source)
        for score in model.scores
        if score.data != VOC12
    ]


def _crf_row(model: Model) -> tuple[str, ...]:
    assert model.crf is not None
    preset = find_preset(model.crf)
    return f"`{model.name}`", preset.name, preset.source


def _network_row(model: Model) -> tuple[str, ...]:
    base = BASES.get(model.network or "")
    own = "" if base is None else f"`{base}`"
    return f"`{model.name}`", f"`{model.net_id}`" if model.net_id else "", own, " ".join(model.notes)


def _weights_row(model: Model) -> tuple[str, ...]:
    urls = "" if model.file is None else f"`{model.file.name}`: {' '.join(f'<{url}>' for url in model.file.urls)}"
    digits = "" if model.file is None or model.file.sha256 is None else f"{model.file.sha256}..."
    saw = "yes" if model.saw_val else "no" if model.file is not None and model.score("val") else ""
    return f"`{model.name}`", urls, saw, digits, " ".join(f"<{page}>" for page in model.pages)


def page() -> str:
    """Return the page's text."""
    scored = ("name", "title", "trained on", "val", "test", "published in", "CRF", "parameters")
    everything = (*MODELS, *INIT_WEIGHTS)
    with_crf = [model for model in MODELS if model.crf is not None]
    placed = [model for model in everything if model.file is not None or model.pages]
    return (
        HEAD
        + _table(scored, [_scores_row(model) for model in MODELS])
        + "\n## On other data sets\n\n"
        + _table(("name", "data", "network / with CRF", "published in"), [r for m in MODELS for r in _other_rows(m)])
        + "\n## Where the CRF parameters come from\n\n"
        + _table(("name", "preset", "source"), [_crf_row(model) for model in with_crf])
        + NETWORKS
        + _table(("name", "NET_ID", "files of", "notes"), [_network_row(model) for model in everything])
        + WEIGHTS
        + _table(WEIGHTS_HEADINGS, [_weights_row(model) for model in placed])
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or check it; the exit status is 1 if it is not current."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is not current")
    check = parser.parse_args(arguments).check
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif text != PAGE.read_text(encoding="utf-8"):
        print("docs/models.md is not current: run `make docs-table` and commit it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
