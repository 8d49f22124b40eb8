"""Time a folder of photographs by one process and by Ray's workers, and each stage by itself.

    python benchmarks/bulk.py PASCAL_VOC_JPEGS --count 40

It runs `deeplab-caffe segment --crf` with the built-in network from start to end, in one process with all threads, and
with `--engine ray`. Then, in this process with one thread, it measures the processor seconds of each stage and the
bytes between the stages. docs/cluster.md computes the size of a cluster from these.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from environment import RESULTS, describe, told_rate, write_json

from deeplab_caffe.data.inputs import expand_inputs
from deeplab_caffe.segmentation.bulk import Decode, Network, Refine
from deeplab_caffe.segmentation.results import ResultWriter
from deeplab_caffe.viz import VOC_COLORMAP
from deeplab_caffe.zoo.default import DEFAULT_MODEL

_MODEL = DEFAULT_MODEL


def command(files: list[str], engine: str) -> dict[str, float]:
    """Run the command; return its seconds, and the photographs a second that it tells."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "deeplab_caffe", "segment", *files, "--out", folder, "--engine", engine, "--crf"]
        start = perf_counter()
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        seconds = perf_counter() - start
        assert len(list(Path(folder).iterdir())) == 2 * len(files)
    load = os.getloadavg()[0]
    return {
        "seconds": round(seconds, 1),
        "a_second_without_imports": told_rate(done.stdout),
        "load_average": round(load, 1),
    }


def stages(files: list[str]) -> dict[str, Any]:
    """Return processor seconds of a photograph in each stage, with one thread, and mean bytes between the stages."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        callables = {
            "decode": Decode(),
            "network": Network({"prototxt": _MODEL.deploy, "weights": _MODEL.weights, "device": "cpu"}),
            "refine": Refine(ResultWriter(Path(folder), VOC_COLORMAP), _MODEL.crf),
        }
        spent: dict[str, list[float]] = {name: [] for name in callables}
        image_bytes, output_bytes = [], []
        for item in expand_inputs(files):
            batch = {"photo": np.array([item.source], object), "name": np.array([item.name], object)}
            for name, stage in callables.items():
                start = process_time()
                batch = stage(batch)
                spent[name].append(process_time() - start)
                image_bytes += [image.nbytes for image in batch["image"]] if name == "decode" else []
                output_bytes += [len(output) for output in batch["output"]] if name == "network" else []
            assert batch["error"].tolist() == [""]
    # The first photograph has the network built and made ready.
    return {
        "cpu_seconds": {name: round(fmean(seconds[1:]), 4) for name, seconds in spent.items()},
        "first_cpu_seconds": {name: round(seconds[0], 4) for name, seconds in spent.items()},
        "file_bytes": round(fmean(Path(file).stat().st_size for file in files)),
        "image_bytes": round(fmean(image_bytes)),
        "output_bytes": round(fmean(output_bytes)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2, help="the two engines take turns")
    parser.add_argument("--output", type=Path, default=RESULTS / "bulk_cpu.json")
    args = parser.parse_args()
    files = [str(path) for path in sorted(args.folder.glob("*.jpg"))[: args.count]]
    found: dict[str, Any] = {
        "environment": describe(torch.device("cpu")),
        "photographs": len(files),
        "network": _MODEL.name,
        "crf_iterations": _MODEL.crf.iterations,
        "process": [],
        "ray": [],
    }
    for _ in range(args.rounds):
        for engine in ("process", "ray"):
            found[engine].append(command(files, engine))
            print(engine, found[engine][-1], flush=True)
    found["stages"] = stages(files)
    print(found["stages"])
    write_json(args.output, found)


if __name__ == "__main__":
    main()
