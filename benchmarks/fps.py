"""Frames per second of the released networks, beside the same networks in plain PyTorch, in one run.

    python benchmarks/fps.py --device cpu --model deeplab_largefov --size 321 --no-compile
    python benchmarks/fps.py --device cuda --crf --end-to-end

Contenders: ours (Net.optimize), the same with precision "fast" on request (--engine rough), ours as a plain Net, ours
with engine CAFFE, plain PyTorch as it comes and in channels-last, and torch.compile of that. Outputs are compared with
plain PyTorch in float32, on a GPU in float64; a contender that differs is not timed. Contenders take turns, so that a
change of the machine's speed affects all of them; figures are medians. If a contender fails, the reason is printed, and
the others go on; if one of ours or a whole case fails, the exit status is 1. On the CPU the peak memory of each is
measured in a process of its own, and the share of the peak counts the multiplications actually done, without the zeros
of the padding.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from contenders import (
    COMPILE_MODE,
    COMPILED,
    DTYPES,
    OURS,
    Run,
    contender,
    cpu_peak_mib,
    float64_scores,
    has_plain,
    names,
    random_weights,
    switches,
    tolerance,
)
from environment import RESULTS, describe, write_json
from failures import Failures, first_line
from fps_plot import plot
from peaks import copy_peak, inner_calls, matrix_peak, time_blocks
from plain import HEADS
from products import products
from segmentation import crf_case, end_to_end, label_agreement

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.convolution import WINOGRAD_TILES
from deeplab_caffe.layers import ConvolutionFact


def gflop(model: str, batch: int, size: int) -> float:
    net = random_weights(model)
    return 2 * net.multiply_adds(net.infer_shapes(**{net.inputs[0]: (batch, 3, size, size)})) / 1e9


def performed_gflop(model: str, batch: int, size: int, algorithms: Mapping[str, str]) -> float:
    """Return the operations on the CPU, with the algorithm of each convolution; a direct one if it is not told.

    It is less than :func:`gflop`: that counts the paddings' zeros too, and a direct convolution where Winograd's
    algorithm takes fewer products.
    """
    net = random_weights(model)
    shapes = net.infer_shapes(**{net.inputs[0]: (batch, 3, size, size)})
    total = 0
    for step in net.steps:
        layer, fact = step.layer, step.layer.fact
        bottoms, tops = ([shapes[blob] for blob in blobs] for blobs in (step.bottoms, step.tops))
        if not isinstance(fact, ConvolutionFact):
            total += layer.multiply_adds(bottoms, tops)
            continue
        weight = layer.named_blobs["weight"].shape
        tile = WINOGRAD_TILES.get(algorithms.get(layer.name, ""), 1)
        axes = zip(bottoms[0][2:], weight[2:], fact.stride, fact.pad, fact.dilation, strict=True)
        counts = (
            products(length, pad, dilation, tile, kernel=kernel, stride=stride)
            for length, kernel, stride, pad, dilation in axes
        )
        total += bottoms[0][0] * weight[0] * weight[1] * prod(counts)
    return 2 * total / 1e9


@lru_cache(maxsize=4)
def problem(model: str, batch: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an input and the scores that it should have; keep them for the next dtype."""
    x = torch.randn((batch, 3, size, size), generator=torch.Generator().manual_seed(1)).mul_(50).to(device)
    weights = random_weights(model)
    if has_plain(model) and device.type == "cuda":
        # In float32 the reference would be as far off as what it judges.
        return x, float64_scores(model, x, weights).float()
    with switches("float32"):
        return x, contender("plain" if has_plain(model) else OURS["default"], model, "float32", x, weights)()


def build(
    case: list[str], model: str, dtype: str, x: torch.Tensor, reference: torch.Tensor
) -> tuple[dict[str, Run], dict[str, dict[str, Any]]]:
    """Return the contenders that run and are right, and what is known of each."""
    weights, rows, runs = random_weights(model), {}, {}
    reference = reference.double()
    for name in case:
        gc.collect()
        rows[name] = {}
        if x.is_cuda:
            torch.cuda.empty_cache()
            before = torch.cuda.memory_reserved(x.device)
        try:
            run = contender(name, model, dtype, x, weights)
            output = run()
        except Exception as error:  # compilers have errors of their own
            rows[name]["failed"] = first_line(error)
            continue
        error = float((output.double() - reference).norm() / reference.norm())
        rows[name]["relative_error"] = error
        del output
        if not error < tolerance(name, dtype, x.device):
            rows[name]["failed"] = f"differs from plain PyTorch by {error:.1e}: not timed"
            continue
        if x.is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(x.device)
            run()
            torch.cuda.synchronize(x.device)
            rows[name]["peak_mib"] = round((torch.cuda.max_memory_reserved(x.device) - before) / 2**20, 1)
        if hasattr(run, "tuning"):
            rows[name]["tuning"] = [vars(choice) for choice in run.tuning if choice.milliseconds]
        runs[name] = run
    return runs, rows


def measure(model: str, dtype: str, batch: int, size: int, device: torch.device, options: Any, peaks: dict) -> dict:
    """Measure one case: all contenders at one network, dtype, batch and size."""
    work = gflop(model, batch, size)
    case = names(dtype, options.engine, plain=has_plain(model), compiled=options.compile)
    x, reference = problem(model, batch, size, device)
    with switches(dtype):
        runs, rows = build(case, model, dtype, x, reference)
        inner = inner_calls(next(iter(runs.values())), device) if runs else 1
        times = time_blocks(runs, device, options.repeats, inner)
        single = time_blocks(runs, device, options.repeats, 1) if device.type == "cuda" else times
    peak = peaks["matrix"][dtype]
    if device.type == "cpu":  # whose speed drifts
        with switches(dtype):
            peak = max(peak, matrix_peak(DTYPES[dtype], device))
    for name, seconds in times.items():
        took = median(seconds)
        performed = work
        if device.type == "cpu":
            chosen = {choice.layer: choice.algorithm for choice in getattr(runs[name], "tuning", ())}
            performed = performed_gflop(model, batch, size, chosen)
        rows[name] |= {
            "ms": round(took * 1e3, 3),
            "latency_ms": round(median(single[name]) * 1e3, 3),
            "frames_per_s": round(batch / took, 3),
            "gflop_per_s": round(work / took, 1),
            "performed_gflop": round(performed, 1),
            "share_of_matrix_peak": round(performed * 1e9 / took / peak, 4),
            "all_ms": [round(value * 1e3, 3) for value in seconds],
        }
        if "plain channels_last" in times:
            ratios = [mine / peer for mine, peer in zip(seconds, times["plain channels_last"], strict=True)]
            rows[name]["time_over_plain_channels_last"] = round(median(ratios), 4)
        if device.type == "cpu" and not options.no_peak and name != COMPILED:
            rows[name]["peak_mib"] = cpu_peak_mib(name, model, dtype, batch, size, options.threads)
    return {"gflop": round(work, 1), "rows": rows}


def print_case(case: dict[str, Any]) -> None:
    size = f"{case['size']}x{case['size']}"
    print(f"\n{case['model']}  {case['dtype']}  batch {case['batch']}  {size}  {case['gflop']} GFLOP")
    heads = ("ms", "frames/s", "GFLOP/s", "of peak", "vs plain cl", "peak MiB")
    print(f"  {'':22}" + "".join(f"{head:>12}" for head in heads))
    for name, row in case["rows"].items():
        if "failed" in row:
            print(f"  {name:22}  failed: {row['failed']}")
            continue
        ratio = f"{row['time_over_plain_channels_last']:.3f}" if "time_over_plain_channels_last" in row else "-"
        peak = f"{row['peak_mib']:.0f}" if "peak_mib" in row else "-"
        print(
            f"  {name:22}{row['ms']:>12.3f}{row['frames_per_s']:>12.2f}{row['gflop_per_s']:>12.0f}"
            f"{row['share_of_matrix_peak']:>12.1%}{ratio:>12}{peak:>12}"
        )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument(
        "--model", nargs="*", default=list(HEADS), help="networks of the package, folders, prototxts; or none"
    )
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--size", nargs="+", type=int, default=[306, 321, 513])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, help="default: all that the device has")
    parser.add_argument("--engine", nargs="+", default=["fast", "default"], choices=OURS)
    parser.add_argument("--crf", action="store_true", help="time images to labels too, without and with the dense CRF")
    parser.add_argument("--end-to-end", action="store_true", help="time JPEG files to labels, with the dense CRF")
    parser.add_argument("--workers", type=int, default=0, help="of --end-to-end: decoding threads; 0: one a core")
    parser.add_argument("--agreement", type=Path, metavar="DIR", help="a folder of images: agreement of labels")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help=f"with {COMPILE_MODE}")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--no-peak", action="store_true", help="do not measure peak memory on the CPU")
    parser.add_argument("--out", type=Path, help="JSON file, PNG beside it; benchmarks/results/fps_DEVICE by default")
    options = parser.parse_args(arguments)
    if not options.model and (options.crf or options.end_to_end):
        parser.error("--crf and --end-to-end take the first --model")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    dtypes = options.dtype or (list(DTYPES) if device.type == "cuda" else ["float32", "bfloat16"])
    peaks: dict[str, Any] = {"matrix": {}, "copy": copy_peak(device)}
    for dtype in dtypes:
        with switches(dtype):
            peaks["matrix"][dtype] = matrix_peak(DTYPES[dtype], device)
        print(f"matrix product, {dtype}: {peaks['matrix'][dtype] / 1e12:.2f} TFLOP/s")
    print(f"copy: {peaks['copy'] / 1e9:.0f} GB/s read and written")
    content = {"benchmark": "fps", **describe(device), "repeats": options.repeats, "peaks": peaks, "cases": []}
    out = options.out or RESULTS / f"fps_{device.type}.json"
    failures = Failures()
    # Written after each part, so that a run that is cut short leaves what it has.
    for model in options.model:
        for size in options.size:
            try:
                gflop(model, 1, size)
            except NetError as error:
                print(f"\n{model}: no {size}x{size}: {error}")
                continue
            for dtype in dtypes:
                for batch in options.batch:
                    title = f"{model}, {dtype}, batch {batch}, {size}x{size}"
                    with failures.caught(title) as case:
                        case |= {"model": model, "dtype": dtype, "batch": batch, "size": size, "rows": {}}
                        case |= measure(model, dtype, batch, size, device, options, peaks)
                        print_case(case)
                        for name in OURS.values():
                            if "failed" in case["rows"].get(name, {}):
                                failures.add(f"{title}, {name}", case["rows"][name]["failed"])
                    content["cases"].append(case)
                    write_json(out, content)
    for batch in options.batch if options.crf else ():
        with failures.caught(f"crf, batch {batch}") as case:
            case["batch"] = batch
            case |= crf_case(device, dtypes, batch, options)
        content.setdefault("crf", []).append(case)
        write_json(out, content)
    for wanted, key, part in (
        (options.end_to_end, "end_to_end", end_to_end),
        (options.agreement, "agreement", label_agreement),
    ):
        if wanted:
            with failures.caught(key) as content[key]:
                content[key] |= part(device, dtypes, options)
            write_json(out, content)
    write_json(out, content)
    print(f"\nwrote {out}")
    if plot(content, out.with_suffix(".png")):
        print(f"wrote {out.with_suffix('.png')}")
    failures.end()


if __name__ == "__main__":
    main()
