"""The weights' gradient of convolutions with holes: products of the taps' windows against oneDNN, on the CPU.

    python benchmarks/hole_gradient.py

The layers are those with holes of LargeFOV, of DeepLab v2's and v3's pyramids, and some between, at training crops of
321 and 513. Results are compared first, with double precision; what differs is not timed. Contenders take turns; the
figures are medians in milliseconds. ``used`` says what a training step uses (``ops.hole_gradient.is_faster``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from failures import Failures, WrongResult

from deeplab_caffe.ops.hole_gradient import hole_weight_gradient, is_faster
from deeplab_caffe.ops.packed_conv import Geometry, bfloat16_is_fast

# Input channels, output channels, side; 3x3 kernels, padded by the hole.
LAYERS = [(512, 1024, 41), (2048, 21, 41), (320, 256, 25), (512, 512, 65)]
HOLES = (2, 4, 6, 12, 18, 24)
KERNEL = (3, 3)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 8e-3}


def onednns(x: Tensor, grad: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the weights' gradient as torch computes it."""
    stride, pad, dilation, groups = geometry
    numbers = (None, stride, pad, dilation, False, [0, 0], groups, [False, True, False])
    found: Tensor = torch.ops.aten.convolution_backward(grad, x, weight, *numbers)[1]
    return found


def measure(layer: tuple[int, int, int], hole: int, dtype: torch.dtype, batch: int, repeats: int) -> dict[str, Any]:
    """Return the median milliseconds by contender, and whether a training step uses the windows."""
    channels, outputs, side = layer
    generator = torch.Generator().manual_seed(2015)
    geometry = Geometry((1, 1), (hole, hole), (hole, hole), 1)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)

    x, grad = noise(batch, channels, side, side), noise(batch, outputs, side, side)
    weight = noise(outputs, channels, *KERNEL)
    runs = {
        "windows": lambda: hole_weight_gradient(x, grad, KERNEL, geometry),
        "oneDNN": lambda: onednns(x, grad, weight, geometry),
    }
    some = [t[:1, :32].double() for t in (x, grad)]
    expected = onednns(some[0], some[1], weight[:32, :32].double(), geometry)
    found = hole_weight_gradient(*(t[:1, :32] for t in (x, grad)), KERNEL, geometry)
    error = float((found.double() - expected).norm() / expected.norm())
    if not error < TOLERANCE[dtype]:
        raise WrongResult(f"the windows' gradient differs from double precision by {error:.1e}: not timed")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            begin = perf_counter()
            run()
            if repeat > 0:  # the first warms up
                times[name].append(perf_counter() - begin)
    rows: dict[str, Any] = {name: round(1e3 * median(each), 2) for name, each in times.items()}
    return rows | {"used": is_faster(x, weight, (side, side), geometry)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "hole_gradient_cpu.json", help="JSON file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    content = {"benchmark": "hole_gradient", **describe(torch.device("cpu")), "threads": options.threads, "unit": "ms"}
    content |= {"batch": options.batch, "repeats": options.repeats, "cases": []}
    failures = Failures()
    for dtype in (torch.float32, torch.bfloat16) if bfloat16_is_fast() else (torch.float32,):
        for layer in LAYERS:
            for hole in HOLES:
                kind = str(dtype).removeprefix("torch.")
                name = f"{kind}, {layer[0]} to {layer[1]} channels of {layer[2]} x {layer[2]}, hole {hole}"
                with failures.caught(name) as case:
                    case |= {"dtype": kind, "channels": layer[0], "outputs": layer[1], "side": layer[2], "hole": hole}
                    case |= measure(layer, hole, dtype, options.batch, options.repeats)
                    times = case["oneDNN"] / case["windows"]
                    words = f"windows {case['windows']:.1f} ms, oneDNN {case['oneDNN']:.1f}, {times:.2f} times as fast"
                    print(f"{name}: {words}{', used' if case['used'] else ''}", flush=True)
                content["cases"].append(case)
                write_json(options.out, content)
    print(f"\nwrote {options.out}")
    failures.end()


if __name__ == "__main__":
    main()
