"""Write the README's table of frames per second from benchmarks/results: ``python -m tools.fps_table``.

With ``--check`` nothing is written, and the exit status says whether the README's table is current.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- frames per second: begin -->\n", "<!-- frames per second: end -->\n"

MODEL, SIZE = "deeplab_largefov", 321
CONTENDERS = ("ours", "ours, precision fast", "plain channels_last", "plain", "compiled")
NAMES = ("`net.optimize`", '`precision="fast"`', "plain, channels-last", "plain", "torch.compile")
HEADS = ("Device", "dtype", "batch", *NAMES, "of peak")


def table(results: Iterable[dict[str, Any]]) -> str:
    """Return the table's Markdown for the contents of fps_*.json: LargeFOV at 321 x 321, frames per second."""
    lines = ["| " + " | ".join(HEADS) + " |", "|---|---|" + "---:|" * (len(HEADS) - 2)]
    for content in results:
        for case in content["cases"]:
            rows = case["rows"]
            if (case["model"], case["size"]) != (MODEL, SIZE) or "ours" not in rows:
                continue
            rates = [rows.get(name, {}).get("frames_per_s") for name in CONTENDERS]
            cells = [_device(content), case["dtype"], str(case["batch"])]
            cells += ["-" if rate is None else f"{rate:,.{1 if rate >= 10 else 2}f}" for rate in rates]
            cells.append(f"{rows['ours']['share_of_matrix_peak']:.0%}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _device(content: dict[str, Any]) -> str:
    threads = f", {content['threads']} threads" if content["device"] == content["cpu"] else ""
    return f"{content['device']}{threads}"


def results() -> list[dict[str, Any]]:
    """Return the contents of the result files, GPU before CPU."""
    paths = (RESULTS / f"fps_{device}.json" for device in ("cuda", "avx2_cpu", "cpu"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def updated(readme: str, new: str) -> str:
    """Return the README with the table between its marks replaced.

    Raises:
        SystemExit: the README lacks the marks.
    """
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{README.name} lacks the lines {BEGIN.strip()} and {END.strip()}")
    return f"{head}{begin}\n{new}\n{end}{tail}"


def main(arguments: list[str] | None = None) -> None:
    """Write the table into the README, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    readme = README.read_text(encoding="utf-8")
    new = updated(readme, table(results()))
    if not parser.parse_args(arguments).check:
        README.write_text(new, encoding="utf-8")
    elif new != readme:
        raise SystemExit(f"{README.name} is not what benchmarks/results say: python -m tools.fps_table")


if __name__ == "__main__":
    main()
