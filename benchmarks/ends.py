"""Fused pre- and post-processing of a segmentation net against one step after the other: time and memory.

    python benchmarks/ends.py --device cpu
    python benchmarks/ends.py --device cuda --batch 1 8 32

Results are compared first; a contender that differs is not timed, and the others go on. Contenders take turns; figures
are medians, written case by case. Memory is that of a run without its input: on the CPU the growth of a separate
process, on a GPU torch's peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from failures import Failures, WrongResult
from process_memory import memory_mib

from deeplab_caffe import _C
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR, image_to_blob
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.ops.interp_softmax import interp_softmax
from deeplab_caffe.ops.preprocess import preprocess

STRIDE = 8
# One exponential and one sum differ in their last bits.
PROBABILITY_TOLERANCE = 1e-6

Run = Callable[[], Tensor]


def scores_like_a_nets(batch: int, classes: int, side: int) -> Tensor:
    """Return smooth areas of one class each, a sixth of the image wide, with some noise on them."""
    generator = torch.Generator().manual_seed(2015)
    areas = torch.randn((batch, classes, 6, 6), generator=generator)
    noise = torch.randn((batch, classes, side, side), generator=generator)
    return 6 * interp(areas, height=side, width=side) + 0.3 * noise


def photos(batch: int, size: int) -> list[np.ndarray]:
    """Return photographs of PASCAL VOC's usual size, or as large as fits."""
    height, width = min(375, size), min(500, size)
    return list(np.random.default_rng(2015).integers(0, 256, (batch, height, width, 3), dtype=np.uint8))


def contenders(end: str, batch: int, classes: int, size: int, device: torch.device) -> dict[str, Run]:
    """List the ways to do one thing, unfused first."""
    if end.startswith("input"):
        dtype = torch.bfloat16 if "bfloat16" in end else torch.float32
        layout = torch.channels_last if "channels_last" in end else torch.contiguous_format
        images = photos(batch, size)

        def unfused_input() -> Tensor:
            blobs = [image_to_blob(image, size=(size, size)) for image in images]
            return torch.from_numpy(np.concatenate(blobs)).to(device).to(dtype, memory_format=layout)

        def fused_input() -> Tensor:
            pixels = [torch.from_numpy(image).to(device) for image in images]
            return preprocess(
                pixels,
                mean=IMAGENET_MEAN_BGR,
                size=(size, size),
                dtype=dtype,
                channels_last=layout == torch.channels_last,
            )

        return {"unfused": unfused_input, "fused": fused_input}
    side = (size - 1) // STRIDE + 1
    noise = torch.randn((batch, classes, side, side), generator=torch.Generator().manual_seed(1))
    scores = (noise if "noise" in end else scores_like_a_nets(batch, classes, side)).to(device)
    if end.startswith("labels"):
        return {
            "unfused": lambda: argmax_labels(interp(scores, height=size, width=size), ties="last"),
            "fused": lambda: interp_argmax(scores, size, size, ties="last"),
        }
    return {
        "unfused": lambda: torch.softmax(interp(scores, height=size, width=size), 1),
        "fused": lambda: interp_softmax(scores, size, size),
    }


ENDS = ("labels", "labels of noise", "probabilities", "input float32", "input bfloat16 channels_last")


def check(end: str, runs: dict[str, Run]) -> None:
    """Raise WrongResult where the contenders do not agree."""
    unfused, fused = (run() for run in runs.values())
    if end == "probabilities":
        error = float((unfused - fused).abs().max())
        if not error < PROBABILITY_TOLERANCE:
            raise WrongResult(f"fused and unfused differ by {error:.1e}: not timed")
    elif not torch.equal(unfused, fused):
        raise WrongResult("fused and unfused differ: not timed")


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(run: Run, device: torch.device) -> float:
    synchronize(device)
    begin = perf_counter()
    run()
    synchronize(device)
    return perf_counter() - begin


def growth_mib(run: Run) -> float:
    """Return the memory that a run takes in this process, after one on nearly nothing has loaded the code."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory_mib("VmRSS")
    run()
    return memory_mib() - before


def peak_mib(end: str, name: str, batch: int, options: argparse.Namespace, device: torch.device, run: Run) -> float:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    command = [sys.executable, __file__, "--peak-of", end, name, "--batch", str(batch)]
    command += ["--size", str(options.size), "--classes", str(options.classes), "--threads", str(options.threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["mib"]


def measure(end: str, batch: int, device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    runs = contenders(end, batch, options.classes, options.size, device)
    check(end, runs)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, run in runs.items():
            times[name].append(timed(run, device))
    rows: dict[str, Any] = {}
    for name, run in runs.items():
        rows[name] = {"ms": round(median(times[name]) * 1e3, 3), "least_ms": round(min(times[name]) * 1e3, 3)}
        if not options.no_peak:
            rows[name]["mib"] = round(peak_mib(end, name, batch, options, device, run), 1)
    ratios = [a / b for a, b in zip(times["unfused"], times["fused"], strict=True)]
    return {
        "end": end,
        "batch": batch,
        "classes": options.classes,
        "size": options.size,
        "speedup": round(median(ratios), 2),
        "rows": rows,
    }


def print_case(case: dict[str, Any]) -> None:
    print(f"\n{case['end']}  batch {case['batch']}  {case['size']}x{case['size']}  ({case['speedup']} times as fast)")
    for name, row in case["rows"].items():
        memory = f"{row['mib']:>10.1f} MiB" if "mib" in row else ""
        print(f"  {name:10}{row['ms']:>10.3f} ms, at best {row['least_ms']:.3f} ms{memory}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--size", type=int, default=513, help="side of the image, 8 n + 1")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's and OpenMP's choice")
    parser.add_argument("--repeats", type=int, default=51)
    parser.add_argument("--no-peak", action="store_true", help="do not measure memory")
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/ends_DEVICE.json by default")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.size % STRIDE != 1:
        parser.error(f"--size must be {STRIDE} n + 1, got {options.size}")
    return options


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
        _C.set_num_threads(options.threads)
    if options.peak_of:
        end, name = options.peak_of
        cpu = torch.device("cpu")
        contenders(end, 1, options.classes, STRIDE + 1, cpu)[name]()
        run = contenders(end, options.batch[0], options.classes, options.size, cpu)[name]
        print(json.dumps({"mib": growth_mib(run)}))
        return
    device = resolve_device(options.device)
    out = options.out or RESULTS / f"ends_{device.type}.json"
    content = {"benchmark": "ends", **describe(device), "repeats": options.repeats, "cases": []}
    failures = Failures()
    for batch in options.batch:
        for end in ENDS:
            with failures.caught(f"{end}, batch {batch}") as case:
                case |= {"end": end, "batch": batch}
                case |= measure(end, batch, device, options)
                print_case(case)
            content["cases"].append(case)
            write_json(out, content)
    print(f"\nwrote {out}")
    failures.end()


if __name__ == "__main__":
    main()
