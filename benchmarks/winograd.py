"""Winograd's convolution against oneDNN's and torch's, layer by layer, on one image in float32 on the CPU.

    python benchmarks/winograd.py

The shapes are the 3x3 layers of LargeFOV at 321 and 513, and of ResNet-101 at 513. oneDNN's weights are packed for the
shape and its ReLU is fused, as the algorithm onednn_packed has them; torch's is `F.conv2d` and `relu_` on channels-last
memory. Each result is compared with float64 first; a result that differs is not timed. Contenders take turns; figures
are medians, and ratios are medians of the ratios within a turn. There are also the products of each algorithm, as a
share of a direct convolution's with the taps in the padding, and its rate of multiplying, as a share of the processor's
in the same run. The bytes are those of the input, the weights and the result, each read or written once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from failures import Failures, WrongResult
from peaks import copy_peak, matrix_peak
from products import products

from deeplab_caffe import _C
from deeplab_caffe.inference.convolution import ConvSpec, Run, direct, onednn_packed, winograd
from deeplab_caffe.ops.winograd import TILES

# Network, layers of this shape, input and output channels, height and width, dilation.
LAYERS = [
    ("LargeFOV 321", 1, 64, 64, 321, 1),
    ("LargeFOV 321", 1, 64, 128, 161, 1),
    ("LargeFOV 321", 1, 128, 128, 161, 1),
    ("LargeFOV 321", 1, 128, 256, 81, 1),
    ("LargeFOV 321", 2, 256, 256, 81, 1),
    ("LargeFOV 321", 1, 256, 512, 41, 1),
    ("LargeFOV 321", 2, 512, 512, 41, 1),
    ("LargeFOV 321", 3, 512, 512, 41, 2),
    ("LargeFOV 321", 1, 512, 1024, 41, 12),
    ("LargeFOV 513", 1, 64, 64, 513, 1),
    ("LargeFOV 513", 1, 128, 128, 257, 1),
    ("LargeFOV 513", 2, 256, 256, 129, 1),
    ("LargeFOV 513", 2, 512, 512, 65, 1),
    ("LargeFOV 513", 3, 512, 512, 65, 2),
    ("LargeFOV 513", 1, 512, 1024, 65, 12),
    ("ResNet-101 513", 3, 64, 64, 129, 1),
    ("ResNet-101 513", 3, 128, 128, 65, 1),
    ("ResNet-101 513", 23, 256, 256, 65, 2),
    ("ResNet-101 513", 3, 512, 512, 65, 4),
]
NAMES = ("network", "count", "channels", "outputs", "size", "hole")
WINOGRADS = {f"winograd {tile}x{tile}": tile for tile in TILES}
LIMITS = {1: 1e-5, 2: 1e-5, 4: 5e-5}  # by the tile; 1: none
OTHERS = ("oneDNN, packed", "torch, channels-last")


def contenders(spec: ConvSpec, shape: tuple[int, ...]) -> dict[str, Run]:
    """List the ways to compute a layer, each with its weights prepared."""
    ours = {name: winograd(spec, tile) for name, tile in WINOGRADS.items()}
    return ours | dict(zip(OTHERS, (onednn_packed(spec, shape), direct(spec)), strict=True))


def errors(runs: dict[str, Run], spec: ConvSpec, x: Tensor) -> dict[str, float]:
    """Return relative errors, by norms; raise WrongResult where one is too large."""
    assert spec.bias is not None
    expected = F.conv2d(x.double(), spec.weight.double(), spec.bias.double(), 1, spec.pad, spec.dilation).relu_()
    found = {name: float((run(x).double() - expected).norm() / expected.norm()) for name, run in runs.items()}
    for name, error in found.items():
        if not error < LIMITS[WINOGRADS.get(name, 1)]:
            raise WrongResult(f"{name} differs from float64 by {error:.1e}: not timed")
    return found


def mib(floats: int) -> float:
    return 4 * floats / 2**20


def take_turns(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Measure the seconds of each, by turn; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            begin = perf_counter()
            run()
            if turn:
                times[name].append(perf_counter() - begin)
    return times


def measure(layer: tuple[Any, ...], repeats: int, peak: float) -> dict[str, Any]:
    """Return a layer's figures by contender."""
    _, _, channels, outputs, size, hole = layer
    generator = torch.Generator().manual_seed(2015)
    x = torch.randn((1, channels, size, size), generator=generator).mul_(50).relu_()
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn((outputs, channels, 3, 3), generator=generator) / (3 * channels**0.5)
    bias = torch.randn(outputs, generator=generator)
    spec = ConvSpec(weight, bias, (1, 1), (hole, hole), (hole, hole), 1, relu=True)
    runs = contenders(spec, tuple(x.shape))
    found = errors(runs, spec, x)
    times = take_turns({name: lambda run=run: run(x) for name, run in runs.items()}, repeats)  # type: ignore[misc]
    rows: dict[str, Any] = {}
    for name, seconds in times.items():
        tile = WINOGRADS.get(name, 1)
        count = products(size, hole, hole, tile) ** 2
        numbers = (tile + 2) ** 2  # of weights; a direct convolution's nine are a tile of one
        took = median(seconds)
        rows[name] = {
            "ms": round(took * 1e3, 2),
            "relative_error": found[name],
            "products_of_direct": round(count / (9 * size * size), 3),
            "share_of_peak": round(2 * channels * outputs * count / took / peak, 3),
            "mib_at_least": round(mib(x.numel() + outputs * size**2 + numbers * channels * outputs), 1),
            "weights_mib": round(mib(numbers * channels * outputs), 1),
        }
        for other in OTHERS:
            ratio = median(theirs / ours for theirs, ours in zip(times[other], seconds, strict=True))
            rows[name][f"times faster than {other}"] = round(ratio, 3)
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--network", default="", help="only networks whose name begins like this")
    parser.add_argument("--out", type=Path, default=RESULTS / "winograd_cpu.json", help="JSON file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    _C.set_num_threads(options.threads)
    _C.use_openmp_here(True)  # as in an optimized net; oneDNN's threads, which spin after its turn, would take a core
    cpu = torch.device("cpu")
    content = {"benchmark": "winograd", **describe(cpu), "unit": "ms", "repeats": options.repeats, "cases": []}
    failures = Failures()
    for layer in LAYERS:
        network, count, channels, outputs, size, hole = layer
        if not network.startswith(options.network):
            continue
        title = f"{network}: {count} x {channels} to {outputs}, {size} x {size}, hole {hole}"
        print(title)
        with failures.caught(title) as case, torch.no_grad():
            case |= dict(zip(NAMES, layer, strict=True))
            # Measured for each layer: the machine's speed drifts.
            peak = matrix_peak(torch.float32, cpu)
            case |= {"peak_gflop_per_s": round(peak / 1e9, 1), "rows": measure(layer, options.repeats, peak)}
            for name, row in case["rows"].items():
                print(
                    f"  {name:22}{row['ms']:9.2f} ms  {row[f'times faster than {OTHERS[0]}']:5.2f} times oneDNN's"
                    f" speed  {row['share_of_peak']:6.1%} of peak  error {row['relative_error']:.1e}",
                    flush=True,
                )
        content["cases"].append(case)
        write_json(options.out, content)
    content["copy_gb_per_s"] = round(copy_peak(cpu) / 1e9, 1)
    write_json(options.out, content)
    print(f"\nwrote {options.out}")
    failures.end()


if __name__ == "__main__":
    main()
