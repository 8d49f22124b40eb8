"""Our depthwise convolution against torch's, forward and backward, on the layers of EfficientNet-Lite0 in training.

    python benchmarks/depthwise.py
    python benchmarks/depthwise.py --inference --threads 1

The shapes are those of deeplab_v3_lite0 at its training crop of 385 x 385. Results are compared first, in double
precision; a result that differs is not timed. Contenders take turns; figures are medians in milliseconds. torch's
backward pass may take seconds a call, so it gets fewer turns. ``--inference`` compares our kernel for channels-last
memory with oneDNN's with packed weights, on one image, with a ReLU6 behind both.
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

from deeplab_caffe import _C
from deeplab_caffe.ops.depthwise import depthwise_conv2d, depthwise_conv2d_channels_last, depthwise_taps
from deeplab_caffe.ops.packed_conv import Geometry, pack_weight, packed_conv2d

# Layers of this shape, channels, height and width, kernel, stride, pad, dilation.
LAYERS = [
    (1, 32, 193, 3, 1, 1, 1),
    (1, 96, 193, 3, 2, 1, 1),
    (1, 144, 97, 3, 1, 1, 1),
    (1, 144, 97, 5, 2, 2, 1),
    (1, 240, 49, 5, 1, 2, 1),
    (1, 240, 49, 3, 2, 1, 1),
    (2, 480, 25, 3, 1, 1, 1),
    (1, 480, 25, 5, 1, 2, 1),
    (3, 672, 25, 5, 1, 2, 1),
    (3, 1152, 25, 5, 1, 4, 2),
    (1, 1152, 25, 3, 1, 2, 2),
    (1, 256, 25, 3, 1, 6, 6),
    (1, 256, 25, 3, 1, 12, 12),
    (1, 256, 25, 3, 1, 18, 18),
]
# What other networks' pyramids have, whose images are larger.
INFERENCE_LAYERS = [*LAYERS, (1, 256, 65, 3, 1, 4, 4), (1, 256, 65, 3, 1, 6, 6), (1, 256, 65, 3, 1, 12, 12)]
TOLERANCE = 1e-5
Convolution = Callable[[Tensor, Tensor], Tensor]


def both_ways(convolve: Convolution, x: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    y = convolve(x, weight)
    return y.detach(), *torch.autograd.grad(y, (x, weight), grad)


def check(ours: Convolution, torchs: Convolution, x: Tensor, weight: Tensor, grad: Tensor) -> None:
    """Raise WrongResult where ours differs from torch's in double precision, on one image."""
    single = [t.detach()[: 1 if t is not weight else None].requires_grad_() for t in (x, weight, grad)]
    double = [t.detach().double().requires_grad_() for t in single]
    for one, other in zip(both_ways(ours, *single), both_ways(torchs, *double), strict=True):
        error = float((one - other).norm() / other.norm())
        if not error < TOLERANCE:
            raise WrongResult(f"ours and torch's differ by {error:.1e}: not timed")


def measure(layer: tuple[int, ...], batch: int, repeats: int, slow_repeats: int) -> dict[str, Any]:
    """Return median times of a layer by contender, forward alone and both ways."""
    _, channels, size, kernel, stride, pad, dilation = layer
    generator = torch.Generator().manual_seed(2015)
    x = torch.randn((batch, channels, size, size), generator=generator).requires_grad_()
    weight = torch.randn((channels, 1, kernel, kernel), generator=generator).requires_grad_()

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return depthwise_conv2d(x, weight, None, stride, pad, dilation)

    def torchs(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, None, stride, pad, dilation, channels)

    with torch.no_grad():
        grad = torch.randn(ours(x, weight).shape, generator=generator)
    check(ours, torchs, x, weight, grad)
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    grad_last = grad.contiguous(memory_format=torch.channels_last)
    runs = {
        "ours": (ours, x, grad),
        "torch": (torchs, x, grad),
        "torch, channels-last": (torchs, last, grad_last),
    }
    times: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):
        for name, (convolve, image, gradient) in runs.items():
            if name != "ours" and repeat > slow_repeats:
                continue
            for suffix, run in (
                ("forward", lambda: convolve(image.detach(), weight.detach())),  # noqa: B023  # called at once
                ("forward and backward", lambda: both_ways(convolve, image, weight, gradient)),  # noqa: B023
            ):
                begin = perf_counter()
                run()
                if repeat > 0:  # the first warms up
                    times.setdefault(f"{name}, {suffix}", []).append(perf_counter() - begin)
    return {name: round(1e3 * median(each), 2) for name, each in times.items()}


def measure_inference(layer: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Return median times of a layer by contender."""
    _, channels, size, kernel, stride, pad, dilation = layer
    generator = torch.Generator().manual_seed(2015)
    x = torch.randn((1, channels, size, size), generator=generator).contiguous(memory_format=torch.channels_last)
    weight, bias = (torch.randn(shape, generator=generator) for shape in ((channels, 1, kernel, kernel), (channels,)))
    geometry = Geometry((stride,) * 2, (pad,) * 2, (dilation,) * 2, channels)
    packed, taps = pack_weight(weight, geometry, x.shape), depthwise_taps(weight)
    runs = {
        "ours": lambda: depthwise_conv2d_channels_last(x, taps, bias, stride, pad, dilation, relu=True, ceiling=6),
        "onednn": lambda: packed_conv2d(x, packed, bias, geometry, relu=True, ceiling=6.0),
    }
    expected = F.conv2d(x.double(), weight.double(), bias.double(), stride, pad, dilation, channels).clamp(0, 6)
    for name, run in runs.items():
        error = float((run() - expected).norm() / expected.norm())
        if not error < TOLERANCE:
            raise WrongResult(f"{name} differs from double precision by {error:.1e}: not timed")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = perf_counter()
            run()
            times[name].append(perf_counter() - begin)
    return {name: round(1e3 * median(each), 3) for name, each in times.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9, help="of ours")
    parser.add_argument("--slow-repeats", type=int, default=3, help="of torch's")
    parser.add_argument("--inference", action="store_true", help="the forward pass of an optimized network")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args(arguments)
    benchmark = "depthwise_inference" if options.inference else "depthwise"
    options.out = options.out or RESULTS / f"{benchmark}_cpu.json"
    torch.set_num_threads(options.threads)
    _C.set_num_threads(options.threads)
    content = {"benchmark": benchmark, **describe(torch.device("cpu")), "threads": options.threads, "unit": "ms"}
    content |= {"batch": 1 if options.inference else options.batch, "repeats": options.repeats}
    content |= {"slow_repeats": options.slow_repeats, "cases": []}
    failures = Failures()
    for layer in INFERENCE_LAYERS if options.inference else LAYERS:
        count, channels, size, kernel, stride, _, dilation = layer
        name = f"{channels} channels of {size} x {size}, kernel {kernel}, stride {stride}, dilation {dilation}"
        with failures.caught(name) as case:
            if options.inference:
                rows = measure_inference(layer, options.repeats)
            else:
                rows = measure(layer, options.batch, options.repeats, options.slow_repeats)
            case |= {"layers": count, "rows": rows}
            print(f"\n{name}")
            for contender, ms in case["rows"].items():
                print(f"  {contender:45}{ms:>10.2f} ms", flush=True)
        content["cases"].append(case)
        write_json(options.out, content)
    print(f"\nwrote {options.out}")
    failures.end()


if __name__ == "__main__":
    main()
