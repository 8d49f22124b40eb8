"""Tables 1 to 9 of the DeepLab v2 paper, attention's and v3's numbers: ours beside the published ones.

    python benchmarks/v2_tables.py --data-root VOCdevkit/VOC2012 --weights DIR
    python benchmarks/v2_tables.py --ours t6.aspp.crf=exper/pascal-context/res/.../eval.json

With DIR the networks on PASCAL VOC 2012 are measured as by benchmarks/iclr15.py, from ``<network>.caffemodel`` or from
``train_iter_*`` (val) and ``train2_iter_*`` (test) in the folder ``<network>/``. Other rows are of other data sets or
trainings: ``--ours KEY=FILE`` takes one from the JSON of ``deeplab-caffe eval``; ``--keys`` lists the keys. A column is
empty where nothing was measured; a published number never takes the place of a measured one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from iclr15 import Bench
from v2_published import NETWORKS, TABLES, Row, Table

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.evaluation import measure

ROWS = {row.key: row for table in TABLES for row in table.rows}


def read_given(pairs: list[str]) -> dict[str, float]:
    """Return mean IoU by key, from ``KEY=FILE`` with JSON files of ``deeplab-caffe eval``.

    Raises:
        SystemExit: no such key, or no such number in the file.
    """
    found = {}
    for pair in pairs:
        key, _, path = pair.partition("=")
        if key not in ROWS:
            raise SystemExit(f"--ours {pair}: no row '{key}'; --keys lists them")
        try:
            value = json.loads(Path(path).read_text())["mean_iou"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"--ours {pair}: no JSON of `deeplab-caffe eval`: {error}") from error
        if value is not None:
            found[key] = float(value)
    return found


def measured(row: Row, bench: Bench | None) -> float | None:
    """Return a row's mean IoU by our network, or None where there is none to measure."""
    if bench is None or row.network is None:
        return None
    scores = bench.scores(NETWORKS[row.network], row.images)
    if scores is None:
        return None
    value = measure(scores.refined if row.crf else scores.alone).mean_iou
    return None if math.isnan(value) else value


def as_markdown(table: Table, ours: Mapping[str, float]) -> str:
    """Return a table; the column of what is not measured is empty."""
    lines = [f"## {table.title}", "", "| method | ours | published |", "| :--- | ---: | ---: |"]
    for row in table.rows:
        own = f"{ours[row.key]:.2f}" if row.key in ours else ""
        lines.append(f"| {row.name} | {own} | {row.published:.2f} |")
    return "\n".join([*lines, *(["", table.note] if table.note else [])]) + "\n"


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, help="VOC2012: JPEGImages, SegmentationClass, ImageSets")
    parser.add_argument("--weights", type=Path, help="folder of caffemodels")
    parser.add_argument("--ours", action="append", default=[], metavar="KEY=FILE", help="a row, by eval's JSON")
    parser.add_argument("--keys", action="store_true", help="list the rows' keys")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=int, help="only the first images of each set, this many")
    parser.add_argument("--out", type=Path, default=RESULTS / "v2_tables.json")
    parser.add_argument("--markdown", type=Path, help="the tables")
    given = parser.parse_args(words)
    if given.keys:
        print("\n".join(f"{key:24} {row.name}" for key, row in ROWS.items()))
        return
    if (given.data_root is None) != (given.weights is None):
        parser.error("--data-root and --weights go together")
    bench = None
    if given.weights is not None:
        bench = Bench(given.data_root, given.weights, given.device, given.limit, (1,), print)
    ours = {key: value for key, row in ROWS.items() if (value := measured(row, bench)) is not None}
    ours |= read_given(given.ours)
    warnings, missing = ([], []) if bench is None else (bench.warnings, bench.missing)
    remarks = [*(f"WARNING: {one}" for one in warnings), *(f"MISSING: {one}" for one in missing)]
    text = "\n".join([*(as_markdown(table, ours) for table in TABLES), *(f"{one}\n" for one in remarks)])
    print(text)
    if given.markdown:
        given.markdown.write_text(text)
    about = describe(resolve_device(given.device))
    published = {key: row.published for key, row in ROWS.items()}
    write_json(given.out, {**about, "ours": ours, "published": published, "remarks": remarks})


if __name__ == "__main__":
    main()
