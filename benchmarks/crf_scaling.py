"""How the dense CRF on the CPU scales with threads: measured for as many as there are cores, modelled beyond.

    python benchmarks/crf_scaling.py

Each phase of an image (its lattice of colours; the norms; Q of the scores; ten iterations; the marginals; what Python
does) is timed with 1, 2, 4, ... threads up to the cores, in turns; figures are medians. The model is Amdahl's law for
each phase: the times of one thread and of all cores give the part of a phase that does not run in parallel, and a phase
cannot use more threads than it has chunks. The model leaves out the bandwidth of memory, which threads share, so large
images will be slower than it says.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from crf import CASES, inputs
from environment import RESULTS, describe, write_json

from deeplab_caffe import _C
from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.crf.backend import LatticeRequest
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.environment import usable_cores

MODELLED = (4, 8, 16, 32)
# Points to a chunk: csrc/lattice/build_cpu.cpp and csrc/mean_field/mean_field_cpu.cpp.
CHUNKS = {"lattice": 4096, "norms": 2048, "start": 512, "iterations": 2048, "marginals": 512}


def run_phases(scores: np.ndarray, image: np.ndarray, bilateral: tuple[float, float, float]) -> dict[str, float]:
    """Return the seconds of each phase of one image, and of the image as dense_crf does it."""
    weight, xy_std, rgb_std = bilateral
    size = scores.shape[1], scores.shape[2]
    view = CpuBackend.arrays.view
    backend = CpuBackend()
    positions = PairwiseKernel(3.0, (3.0, 3.0), None)
    colours = PairwiseKernel(weight, (xy_std, xy_std), (rgb_std,) * 3)
    (kept,) = backend.pixel_lattices([LatticeRequest(size, positions, None)])
    times = [perf_counter()]
    (lattice,) = backend.pixel_lattices([LatticeRequest(size, colours, image.astype(np.float32))])
    times.append(perf_counter())
    kernels: list[Any] = [(kept, 3.0, _C.Normalization.AFTER, []), (lattice, float(weight), _C.Normalization.AFTER, [])]
    field = _C.MeanField(len(scores), size[0] * size[1], kernels, backend.workspace)
    times.append(perf_counter())
    field.start(view(scores.reshape(len(scores), -1)))
    times.append(perf_counter())
    field.run(10)
    times.append(perf_counter())
    out = np.empty((len(scores), size[0] * size[1]), np.float32)
    field.marginals(view(out))
    times.append(perf_counter())
    seconds = dict(zip(CHUNKS, np.diff(times).tolist(), strict=True))
    del field, lattice, kernels
    begin = perf_counter()
    dense_crf(scores, image, CRFParams(3, 3, weight, xy_std, rgb_std), iterations=10)
    return {**seconds, "python": max(perf_counter() - begin - sum(seconds.values()), 0.0)}


def measure(case: Any, threads: list[int], repeats: int) -> dict[str, Any]:
    """Return the milliseconds of each phase by number of threads, and the model's of an image."""
    (width, height), labels, bilateral = case
    scores, image = inputs((width, height), labels)
    seconds: dict[int, dict[str, list[float]]] = {count: defaultdict(list) for count in threads}
    for turn in range(repeats + 1):
        for count in threads:
            _C.set_num_threads(count)
            found = run_phases(scores, image, bilateral)
            for phase, one in found.items() if turn else ():  # the first turn is for the caches
                seconds[count][phase].append(one)
    _C.set_num_threads(0)
    medians: dict[int, dict[str, float]] = {
        count: {phase: 1e3 * median(all_) for phase, all_ in seconds[count].items()} for count in threads
    }
    most = threads[-1]
    points = width * height

    def modelled(phase: str, count: int) -> float:
        one, all_ = medians[1][phase], medians[most][phase]
        if phase == "python":  # a difference of two times; the least one has the least of other processes in it
            return min(medians[each][phase] for each in threads)
        if most == 1:
            return one
        shared = min(max(one - all_, 0.0) / (1 - 1 / most), one)
        return one - shared + shared / min(count, -(-points // CHUNKS[phase]))

    totals = {count: round(sum(medians[count].values()), 2) for count in threads}
    beyond = {n: round(sum(modelled(phase, n) for phase in medians[1]), 2) for n in MODELLED if n > most}
    return {
        "width": width,
        "height": height,
        "labels": labels,
        "bilateral": bilateral,
        "phases_ms": {count: {phase: round(ms, 2) for phase, ms in medians[count].items()} for count in threads},
        "measured_ms": totals,
        "modelled_ms": beyond,
        "times_one_thread": {n: round(totals[1] / ms, 2) for n, ms in {**totals, **beyond}.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS / "crf_scaling_cpu.json")
    options = parser.parse_args()
    cores = usable_cores()
    threads = sorted({1, cores, *(n for n in (2, 4, 8, 16, 32) if n < cores)})
    content = {"benchmark": "crf_scaling", **describe(torch.device("cpu")), "repeats": options.repeats, "cases": []}
    for case in CASES:
        found = measure(case, threads, options.repeats)
        content["cases"].append(found)
        print(f"\n{found['width']} x {found['height']}, {found['labels']} labels, {found['bilateral']}")
        for count in threads:
            phases = ", ".join(f"{phase} {ms:.1f}" for phase, ms in found["phases_ms"][count].items())
            print(f"  {count:2} threads {found['measured_ms'][count]:8.1f} ms: {phases}")
        for count, ms in found["modelled_ms"].items():
            print(f"  {count:2} threads {ms:8.1f} ms, modelled: {found['times_one_thread'][count]} times one thread")
        write_json(options.out, content)
    print(f"\nwrote {options.out}")


if __name__ == "__main__":
    main()
