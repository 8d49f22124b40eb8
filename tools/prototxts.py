"""Count the prototxts of a folder that can be read and built, and the reasons for the others.

Run from the checkout's root: ``python -m tools.prototxts FOLDER [--json OUT] [--list REASON]``. It downloads and
changes nothing. Files of equal content count once.

A file is read if every field and value in it is known: text to NetParameter or SolverParameter. A net is built if
:class:`deeplab_caffe.Net` makes its layers and shapes in one phase or the other, without memory for its numbers.
``own`` counts the files with only Caffe's and DeepLab's own layer types and fields, those that Caffe had between
releases included; the other files are of forks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deeplab_caffe import Net, proto
from deeplab_caffe.errors import DataError, DeepLabCaffeError, NetError, PrototxtError, printable
from deeplab_caffe.layers import LAYERS
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.names import all_names, v0_names
from deeplab_caffe.proto.text.outline import Node, outline
from deeplab_caffe.proto.text.parse import read_text
from deeplab_caffe.proto.text.templates import strip_comments, template_variables
from deeplab_caffe.proto.text.unknown import message_of, unknown_parts

LAYOUTS = ("V0", "V1", "V2", "solver", "other")
_CONFLICT = re.compile(r"^(<{7}|>{7}|={7})", re.MULTILINE)
_LFS = "version https://git-lfs"


@dataclass
class Verdict:
    """What became of one file.

    Attributes:
        path: the file.
        layout: one of :data:`LAYOUTS`; ``"other"`` is no net and no solver.
        own: whether all its layer types and fields are, or once were, Caffe's or DeepLab's own.
        read: whether it is read.
        built: whether a net is built of it.
        reasons: why not: each once.
    """

    path: Path
    layout: str
    own: bool = True
    read: bool = False
    built: bool = False
    reasons: list[str] = field(default_factory=list)


def files_in(folder: Path) -> list[Path]:
    """Return the prototxts in a folder and below, one of each content."""
    seen: set[str] = set()
    found = []
    for path in sorted(folder.rglob("*.prototxt*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found += [] if digest in seen else [path]
            seen.add(digest)
    return found


def layout_of(tree: Node) -> str:
    """Return which of :data:`LAYOUTS` a text is in, by the names of its fields."""
    names = Counter(node.name for node in tree.children)
    if names["layer"]:
        return "V2"
    if names["layers"]:
        return "V0" if any(node.all("layer") for node in tree.all("layers")) else "V1"
    kind = message_of(tree)
    if kind == "NetParameter":
        return "V1" if names["input_dim"] else "V2"
    return "solver" if kind else "other"


def types_in(tree: Node) -> set[str]:
    """Return the layer types of a net's text as they are written, without quotes."""
    found: set[str] = set()
    for name in ("layer", "layers"):
        for layer in tree.all(name):
            for place in (layer, *layer.all("layer")):
                found |= {node.value.strip("\"'") for node in place.all("type") if node.value}
    return found


def is_own(types: Iterable[str]) -> bool:
    """Return whether all types, of any layout, are Caffe's or DeepLab's own."""
    known = {*all_names(), *caffe_pb2.V1LayerParameter.LayerType.keys(), *v0_names(), "padding"}
    return all(name in known or name.isdigit() for name in types)


def examine(path: Path, *, build: bool = True) -> Verdict:
    """Return what becomes of a file; without ``build`` it is only read."""
    try:
        text = read_text(path)
    except PrototxtError as error:
        return Verdict(path, "other", reasons=[reason_of(error)])
    tree = outline(strip_comments(text))
    verdict = Verdict(path, layout_of(tree), is_own(types_in(tree)))
    if text.startswith(_LFS):
        verdict.layout, verdict.reasons = "other", ["a Git LFS pointer"]
    elif _CONFLICT.search(text):
        verdict.layout, verdict.reasons = "other", ["Git's conflict marks"]
    elif verdict.layout == "other":
        verdict.reasons = ["no field of a net or a solver"]
    else:
        net = _read(verdict, text, tree)
        if build and net is not None and verdict.layout != "solver":
            _build(verdict, net)
    return verdict


def _read(verdict: Verdict, text: str, tree: Node) -> Any:
    # A number is a name too: most variables take it, and what they say does not matter here.
    variables = dict.fromkeys(template_variables(text), "1") if "${" in text else None
    solver = verdict.layout == "solver"
    try:
        message: Any = (proto.parse_solver if solver else proto.parse_net)(text, verdict.path, variables)
    except DeepLabCaffeError as error:
        unknown = list(unknown_parts(tree, "SolverParameter" if solver else "NetParameter"))
        # What there is advice for was Caffe's once.
        verdict.own = verdict.own and all(part.advice for part in unknown)
        verdict.reasons = sorted({f"unknown {part.what}" for part in unknown}) or [reason_of(error)]
        return None
    verdict.read = True
    return message


def _build(verdict: Verdict, net: caffe_pb2.NetParameter) -> None:
    absent = sorted({layer.type for layer in net.layer} - set(LAYERS))
    verdict.reasons = [f"layer type {name} is not implemented" for name in absent]
    if absent:
        return
    for phase in ("TEST", "TRAIN"):
        try:
            with torch.device("meta"):
                Net(net, phase=phase)
        except DeepLabCaffeError as error:
            verdict.reasons.append(reason_of(error))
        else:
            verdict.built = True
            verdict.reasons = []
            return
    verdict.reasons = sorted(set(verdict.reasons))


def reason_of(error: DeepLabCaffeError) -> str:
    """Return an error without what is of one file alone: its path, line, names and numbers."""
    if isinstance(error, DataError) or "No such file" in str(error):
        return "a data source is not here"
    if isinstance(error, NetError) and "input_dim" in str(error):
        return "no input_dim"
    text = error.reason if isinstance(error, NetError) else str(error)
    if isinstance(error, PrototxtError):
        text = re.sub(r"^:?\d*:? ?(column \d+: )?", "", text.removeprefix(error.path))
    text = re.sub(r"layer '[^']*': ", "", text)
    text = re.sub(r"'[^']*'", "'...'", text)
    return re.sub(r"-?\d+(\.\d+)?(, -?\d+)*", "N", text)[:160]


def report(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Return the counts by layout, and the reasons with their files, most files first."""
    verdicts = list(verdicts)
    layouts = {}
    for layout in LAYOUTS:
        of_it = [verdict for verdict in verdicts if verdict.layout == layout]
        own = [verdict for verdict in of_it if verdict.own]
        layouts[layout] = {
            "files": len(of_it),
            "read": sum(verdict.read for verdict in of_it),
            "built": sum(verdict.built for verdict in of_it),
            "own": len(own),
            "own_read": sum(verdict.read for verdict in own),
            "own_refused": [str(verdict.path) for verdict in own if not verdict.read],
        }
    reasons: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for reason in verdict.reasons:
            stage = "build" if verdict.read else "read"
            reasons.setdefault((stage, reason), []).append(str(verdict.path))
    rows = [{"stage": stage, "reason": reason, "files": files} for (stage, reason), files in reasons.items()]
    rows.sort(key=lambda row: (-len(row["files"]), row["reason"]))
    return {"layouts": layouts, "reasons": rows}


def shown(found: dict[str, Any], most: int) -> str:
    """Return a report as text."""
    heads = ("files", "read", "built", "own", "own_read")
    lines = ["layout" + "".join(f"{head:>10}" for head in heads)]
    lines += [f"{name:6}" + "".join(f"{row[head]:10}" for head in heads) for name, row in found["layouts"].items()]
    own, own_read = (sum(found["layouts"][name][head] for name in ("V0", "V1", "V2")) for head in heads[3:])
    share = 100 * own_read / own if own else 100.0
    lines += [
        "",
        f"of {own} nets of Caffe's and DeepLab's own layers and fields {own_read} are read: {share:.1f} %",
        "",
    ]
    for row in found["reasons"][:most]:
        lines.append(f"{len(row['files']):6} not {'built' if row['stage'] == 'build' else 'read'}: {row['reason']}")
    more = len(found["reasons"]) - most
    return "\n".join(map(printable, [*lines, *([f"and {more} more reasons"] if more > 0 else [])]))


def main(words: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the whole report here")
    parser.add_argument("--list", metavar="REASON", help="list the files with a reason that has this in it")
    parser.add_argument("--read-only", action="store_true", help="build no nets")
    parser.add_argument("--most", type=int, default=40, help="how many reasons to show")
    given = parser.parse_args(words)
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is no folder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = report(examine(path, build=not given.read_only) for path in files_in(given.folder))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", errors="backslashreplace")
    if given.list is None:
        print(shown(found, given.most))
        return 0
    for row in found["reasons"]:
        if given.list in row["reason"]:
            print(printable(f"{row['reason']}:"), *(printable(f"  {path}") for path in row["files"]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
