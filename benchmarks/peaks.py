"""Measure the best speed of a device: a large matrix product, a large copy, and on the CPU a convolution."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F

# Sides of the matrices: large enough for the peak, small enough for a moment.
_GPU_SIDE, _CPU_SIDE = 8192, 2048
_GPU_COPY_BYTES, _CPU_COPY_BYTES = 1 << 30, 1 << 28
_REPEATS = 5


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(run, device: torch.device) -> float:
    times = []
    for _ in range(_REPEATS + 2):
        synchronize(device)
        begin = perf_counter()
        run()
        synchronize(device)
        times.append(perf_counter() - begin)
    # The fastest is the peak; the median would be what else the machine does.
    return min(times[2:])


def matrix_peaks(dtype: torch.dtype, device: torch.device) -> dict[str, float]:
    """Return operations per second of a square matrix product, by each library that torch has for it.

    On the CPU torch.mm is MKL's, which on some of AMD's processors is half as fast as oneDNN's; a convolution of 1 x 1
    asks for the latter. One of 3 x 3 that stays in the caches is faster still by some per cent.
    """
    side = _GPU_SIDE if device.type == "cuda" else _CPU_SIDE
    a = torch.randn((side, side), device=device).to(dtype)
    b = torch.randn((side, side), device=device).to(dtype)
    out = torch.empty_like(a)
    runs: dict[str, tuple[int, Callable[[], object]]] = {"torch.mm": (side**3, lambda: torch.mm(a, b, out=out))}
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        pixels, kernels = b.view(1, side, side // 32, 32), a.view(side, side, 1, 1)
        runs["oneDNN"] = side**3, lambda: F.conv2d(pixels, kernels)
        # Without padding, so that no zeros are counted.
        channels, width = 128, 64
        image = torch.randn((1, channels, width + 2, width + 2)).to(dtype, memory_format=torch.channels_last)
        weight = torch.randn((channels, channels, 3, 3)).to(dtype, memory_format=torch.channels_last)
        runs["oneDNN, 3 x 3"] = 9 * channels**2 * width**2, lambda: F.conv2d(image, weight)
    with torch.no_grad():
        return {name: 2 * products / _seconds(run, device) for name, (products, run) in runs.items()}


def matrix_peak(dtype: torch.dtype, device: torch.device) -> float:
    """Return operations per second of a matrix product or direct convolution, by the fastest library."""
    return max(matrix_peaks(dtype, device).values())


def copy_peak(device: torch.device) -> float:
    """Return bytes per second, read and written, of a copy within the device's memory."""
    source = torch.ones(_GPU_COPY_BYTES if device.type == "cuda" else _CPU_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / _seconds(lambda: target.copy_(source), device)


def time_blocks(runs: dict, device: torch.device, repeats: int, inner: int) -> dict[str, list[float]]:
    """Return seconds a call, taking turns: each of ``repeats`` figures is the mean over ``inner`` calls."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            synchronize(device)
            begin = perf_counter()
            for _ in range(inner):
                run()
            synchronize(device)
            times[name].append((perf_counter() - begin) / inner)
    return times


def inner_calls(run, device: torch.device, seconds: float = 0.05) -> int:
    """Return the number of calls that take about this many seconds; 1 on the CPU."""
    if device.type == "cpu":
        return 1
    single = median(time_blocks({"": run}, device, 3, 1)[""])
    return max(1, min(100, round(seconds / single)))
