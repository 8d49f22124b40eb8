"""Write docs/layers.md: every layer type, its class and file, its source in the original, its golden cases.

``python -m tools.layers_page`` writes the page; with ``--check`` nothing is written, and the exit status is 1 if the
page is not current. Types, classes, files and sources come from the registry. Golden cases come from ``../shared``; in
a checkout that has no such folder beside it they are those that the page has already.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import re
import sys
from pathlib import Path

from deeplab_caffe import proto
from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.layers import LAYERS, Layer
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.names import enum_of_name

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "layers.md"
SHARED = ROOT.parent / "shared"
# Column of the page: folder of cases.
CASES = {"golden v1": "golden", "golden v2": "golden_v2"}
MOST_CASES = 5

HEAD = """# Layer types

Every layer type of this package: where its class is, which file of the original it follows, and which golden cases hold
it. Written by `make docs-table` (`tools/layers_page.py`): do not edit.

- **type**: the name in a `layer {{ }}`; **V1**: the name in a `layers {{ }}`, if that form has the type.
- **source**: the file in the original's `src/caffe/`.
- **golden v1**, **golden v2**: cases computed by the original DeepLab v1 and v2 programs; those with the fewest other
  layer types come first. Each folder's README says how they were made.

{count} types.

"""
COLUMNS = ("type", "V1", "class", "source", "what it does", *CASES)

Cases = dict[str, dict[str, str]]  # column: {type: cell}


def source_of(cls: type[Layer]) -> str:
    """Return the original's source files that a class's docstring names, without ``src/caffe/``; empty if none."""
    return ", ".join(dict.fromkeys(re.findall(r"\blayers/\w+\.(?:cpp|cu|hpp)\b", inspect.getdoc(cls) or "")))


def summary_of(cls: type[Layer]) -> str:
    """Return the first sentence of a class's docstring, without source."""
    paragraph = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
    paragraph = re.sub(r"(?:; |\()layers/\w+\.[ch]pp\)", ")", paragraph).replace(" )", "")
    sentence = re.match(r".*?(?:(?<!e\.g)(?<!et al)\.(?= |$)|; see :|$)", paragraph)
    text = (sentence[0] if sentence else paragraph).removesuffix("; see :").removesuffix(".").removesuffix(":")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return text.replace("|", r"\|")


def v1_cell(layer_type: str) -> str:
    """Return the cell of a type's name in the V1 layout; empty if that has no such type."""
    with contextlib.suppress(KeyError):
        return f"`{enum_of_name(layer_type)}`"
    return ""


def layer_types(net: caffe_pb2.NetParameter) -> set[str]:
    """Return the types of a net's layers."""
    return {layer.type for layer in net.layer}


def types_of_case(folder: Path) -> set[str]:
    """Return the layer types of a golden case's nets; a net that this package cannot read has none."""
    types: set[str] = set()
    for path in sorted(folder.glob("*.prototxt")):
        if not path.name.startswith("solver"):
            with contextlib.suppress(PrototxtError):
                types |= layer_types(proto.read_net(path))
    return types


def cases_in(folder: Path) -> dict[str, str]:
    """Return for each layer type the cell that names its golden cases in a folder."""
    found = {path.parent.name: types_of_case(path.parent) for path in sorted(folder.glob("*/case.json"))}
    unread = sum(not types for types in found.values())
    if unread:
        print(f"{unread} cases of {folder.name} have no net that can be read: not on the page", file=sys.stderr)
    cells = {}
    for layer_type in sorted(LAYERS):
        names = [name for name, types in found.items() if layer_type in types]
        names.sort(key=lambda name: (len(found[name]), name))
        more = f" and {len(names) - MOST_CASES} more" if len(names) > MOST_CASES else ""
        cells[layer_type] = ", ".join(names[:MOST_CASES]) + more
    return cells


def cases_on(text: str) -> Cases:
    """Return the cells of golden cases that a page has."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if "|" in line]
    if not rows or rows[0] != list(COLUMNS):
        return {column: {} for column in CASES}
    return {column: {row[0].strip("`"): row[COLUMNS.index(column)] for row in rows[2:]} for column in CASES}


def cases_here(text: str, shared: Path = SHARED) -> Cases:
    """Return the cells of golden cases: from the folders that are there, else those that the page has."""
    cells = cases_on(text)
    for column, name in CASES.items():
        if (shared / name).is_dir():
            cells[column] = cases_in(shared / name)
    return cells


def row(layer_type: str, cls: type[Layer], cases: Cases) -> str:
    """Return one line of the table."""
    path = Path(inspect.getfile(cls)).relative_to(ROOT)
    cells = [
        f"`{layer_type}`",
        v1_cell(layer_type),
        f"[`{cls.__name__}`](../{path}) in {path.name}",
        source_of(cls),
        summary_of(cls),
        *(cases[column].get(layer_type, "") for column in CASES),
    ]
    return f"| {' | '.join(cells)} |\n"


def page(cases: Cases) -> str:
    """Return the page's text."""
    table = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
    return HEAD.format(count=len(LAYERS)) + table + "".join(row(name, LAYERS[name], cases) for name in sorted(LAYERS))


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or check it; the exit status is 1 if it is not current."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is not current")
    check = parser.parse_args(arguments).check
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    text = page(cases_here(old))
    if check and text != old:
        print(f"{PAGE.relative_to(ROOT)} is not current: run `make docs-table` and commit it", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
