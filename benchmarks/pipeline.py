"""A folder of photographs to files of labels and overlays, without and with the dense CRF, beside an earlier checkout.

    git worktree add --detach /tmp/earlier COMMIT    # and build its extension: python setup.py build_ext --inplace
    python benchmarks/pipeline.py --against /tmp/earlier

Each run is a process of `deeplab-caffe segment` with all threads, which decodes, segments, refines and writes JPEGs of
500 x 375. Runs take turns, so that a change of the machine's speed affects all of them; figures are medians of the
photographs a second that the command prints, without the imports. The second network, full LargeFOV, has random
weights, which do not change its time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from contenders import network_path, random_weights
from environment import RESULTS, ROOT, commit, describe, told_rate, write_json
from PIL import Image
from segmentation import photos

_LARGEFOV = "deeplab_largefov"
_QUALITY = 92


def rate(checkout: Path, words: list[str]) -> float:
    """Return the photographs a second that a checkout's command tells."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "deeplab_caffe", "segment", *words, "--out", out]
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=checkout, env=environment)
    return told_rate(done.stdout)


def networks(folder: Path) -> dict[str, list[str]]:
    """Return the words that choose each network; what they need is written into the folder."""
    weights = folder / "largefov.caffemodel"
    random_weights(_LARGEFOV).save(weights)
    return {"default": [], _LARGEFOV: ["--model", str(network_path(_LARGEFOV)), "--weights", str(weights)]}


def main(words: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="an earlier checkout, its extension built")
    parser.add_argument("--count", type=int, default=32, help="photographs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "pipeline_cpu.json")
    options = parser.parse_args(words)

    checkouts = {"now": ROOT} | ({"earlier": options.against.resolve()} if options.against else {})
    result = describe(torch.device("cpu"))
    result |= {"count": options.count, "commits": {name: commit(path) for name, path in checkouts.items()}}
    result["cases"] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "photos"
        pictures.mkdir()
        for number, photo in enumerate(photos(options.count)):
            Image.fromarray(photo).save(pictures / f"{number:03}.jpg", quality=_QUALITY)
        for model, chosen in networks(Path(folder)).items():
            for crf in ([], ["--crf"]):
                rates: dict[str, list[float]] = {name: [] for name in checkouts}
                for _ in range(options.repeats):
                    for name, checkout in checkouts.items():
                        rates[name].append(rate(checkout, [str(pictures), *chosen, *crf]))
                case = {"model": model, "crf": bool(crf), "photographs_a_second": rates}
                case["median"] = {name: median(values) for name, values in rates.items()}
                if options.against:
                    case["times_earlier"] = round(case["median"]["now"] / case["median"]["earlier"], 2)
                print({key: value for key, value in case.items() if key != "photographs_a_second"}, flush=True)
                result["cases"].append(case)
                write_json(options.out, result)


if __name__ == "__main__":
    main()
