"""The dense CRF: ours with one and two threads (and on a GPU), and pydensecrf, in one run on the same inputs.

    python benchmarks/crf.py --pydensecrf-python /tmp/pydensecrf/bin/python
    python benchmarks/crf.py --device cuda

pydensecrf runs in a process of its own, with the Python that can import it (tests/pydensecrf/make_reference.py says how
to make one). Contenders take turns, so that a change of the machine's speed affects all of them; figures are medians.
Lattices are built anew for each image, except our lattice of positions, which is kept for the next image of the same
size, as in ordinary use; a row has the time without this. Marginals are compared first; a contender whose marginals
differ is not timed, and the others go on. On a GPU there are rows for nothing kept, positions kept, half precision, a
CUDA graph, a batch (time per image), the original's steps with torch's operators (crf_gpu.py), and one run on the CPU
for comparison. Our rows also have the least time that an H100 could take (crf_floor.py). Results are written case by
case.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from failures import first_line
from process_memory import memory_mib

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4

# (width, height), labels, ((bi_w, bi_xy_std, bi_rgb_std)); positions are 3 / 3
CASES: tuple[tuple[tuple[int, int], int, tuple[float, float, float]], ...] = (
    ((500, 375), 21, (5, 50, 10)),
    ((500, 375), 21, (4, 121, 5)),
    ((500, 375), 2, (5, 50, 10)),
    ((500, 375), 150, (5, 50, 10)),
    ((2048, 1024), 21, (5, 50, 10)),
)
LINEAR_SIZES = ((250, 188), (500, 375), (707, 530), (1000, 750), (1414, 1060))


def inputs(size: tuple[int, int], labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph, and scores as smooth as a network's that are enlarged eightfold: (C, H, W), (H, W, 3)."""
    from PIL import Image

    width, height = size
    photo = Image.open(HERE.parent / "deeplab_caffe" / "zoo" / "china.jpg").convert("RGB")
    image = np.array(photo.resize(size, Image.Resampling.BICUBIC))
    coarse = np.random.default_rng(2015).normal(scale=4, size=(labels, height // 8 + 1, width // 8 + 1))
    planes = (Image.fromarray(plane.astype(np.float32)) for plane in coarse)
    scores = np.stack([np.array(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes])
    return np.ascontiguousarray(scores, np.float32), np.ascontiguousarray(image)


def run_pydensecrf(scores: np.ndarray, image: np.ndarray, bilateral: tuple, iterations: int) -> np.ndarray:
    import pydensecrf.densecrf as dcrf

    labels, height, width = scores.shape
    weight, xy_std, rgb_std = bilateral
    how = {"kernel": dcrf.CONST_KERNEL, "normalization": dcrf.NORMALIZE_AFTER}
    crf = dcrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(-scores.reshape(labels, -1))
    crf.addPairwiseGaussian(sxy=3, compat=3, **how)
    crf.addPairwiseBilateral(sxy=xy_std, srgb=rgb_std, rgbim=image, compat=weight, **how)
    return np.asarray(crf.inference(iterations))


def ours(name: str, scores: np.ndarray, image: np.ndarray, bilateral: tuple, iterations: int) -> Callable[[], Any]:
    from deeplab_caffe import _C
    from deeplab_caffe.crf import CRFParams, clear_cache, dense_crf

    params = CRFParams(3, 3, *bilateral)

    def on_cpu() -> np.ndarray:
        _C.set_num_threads(2 if "2 threads" in name else 1)
        if "nothing kept" in name:
            clear_cache()
        return dense_crf(scores, image, params, iterations=iterations)

    return on_cpu


class Peer:
    """pydensecrf in a process that answers one line of JSON with another."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [python, __file__, "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """Ask one question and return the answer."""
        print(json.dumps({"folder": str(self.folder), **question}), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("the pydensecrf process ended: see above")
        return json.loads(answer)


def worker() -> None:
    """Serve as the other end of Peer: read inputs, time one run, write the marginals where asked."""
    for line in sys.stdin:
        question = json.loads(line)
        folder = Path(question["folder"])
        scores, image = np.load(folder / "scores.npy"), np.load(folder / "image.npy")
        begin = perf_counter()
        marginals = run_pydensecrf(scores, image, question["bilateral"], question["iterations"])
        seconds = perf_counter() - begin
        if question.get("save"):
            np.save(folder / "marginals.npy", marginals)
        print(json.dumps({"seconds": seconds, "peak_mib": round(memory_mib(), 1)}), flush=True)


def peak_of(name: str, folder: Path, bilateral: tuple, options: argparse.Namespace) -> dict[str, float]:
    """Return the peak memory of a process that loads the inputs and infers once, and what of it was there before."""
    python = options.pydensecrf_python if name == "pydensecrf" else sys.executable
    question = {"folder": str(folder), "bilateral": bilateral, "iterations": options.iterations, "name": name}
    command = [python, __file__, "--peak", json.dumps(question)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def answer_peak(question: dict[str, Any]) -> None:
    folder = Path(question["folder"])
    scores, image = np.load(folder / "scores.npy"), np.load(folder / "image.npy")
    arguments = scores, image, tuple(question["bilateral"]), question["iterations"]
    if question["name"] == "pydensecrf":
        import pydensecrf.densecrf  # noqa: F401

        before = round(memory_mib(), 1)
        run_pydensecrf(*arguments)
    else:
        run = ours(question["name"], *arguments)
        before = round(memory_mib(), 1)
        run()
    print(json.dumps({"peak_mib": round(memory_mib(), 1), "before_mib": before}))


def measure(
    size: tuple[int, int],
    labels: int,
    bilateral: tuple,
    names: list[str],
    peer: Peer | None,
    folder: Path,
    options: Any,
) -> dict[str, Any]:
    scores, image = inputs(size, labels)
    np.save(folder / "scores.npy", scores)
    np.save(folder / "image.npy", image)
    question = {"bilateral": bilateral, "iterations": options.iterations}
    on_gpu = [name for name in names if "cuda" in name]
    on_cpu = [name for name in names if name not in (*on_gpu, "pydensecrf")]
    runs = {name: ours(name, scores, image, bilateral, options.iterations) for name in on_cpu}
    tolerances = dict.fromkeys(names, TOLERANCE)
    floors: dict[str, Any] = {}
    if on_gpu:
        import crf_gpu

        runs.update(crf_gpu.runs(scores, image, bilateral, options.iterations, on_gpu))
        floors = crf_gpu.floors(labels, image, bilateral, options.iterations)
        tolerances[crf_gpu.HALF] = crf_gpu.HALF_TOLERANCE

    def marginals_of(name: str) -> np.ndarray:
        if name == "pydensecrf":
            peer.ask(**question, save=True)
            return np.load(folder / "marginals.npy").reshape(scores.shape)
        return np.asarray(runs[name]().cpu() if name in on_gpu else runs[name]())

    def timed(name: str) -> float:
        if name == "pydensecrf":
            return peer.ask(**question)["seconds"]
        begin = perf_counter()
        runs[name]()
        return (perf_counter() - begin) / (crf_gpu.images_of(name) if name in on_gpu else 1)

    seconds: dict[str, list[float]] = {}
    rows: dict[str, Any] = {name: {} for name in names}
    reference = None
    for name in names:
        begin = perf_counter()
        try:
            marginals = marginals_of(name)
        except Exception as error:  # of CUDA, of compilers, of memory
            if reference is None:
                raise
            rows[name]["failed"] = first_line(error)
            continue
        # On a GPU the CPU's time is there for comparison alone, and its repeats would take longer than all the rest.
        seconds[name] = [perf_counter() - begin] if on_gpu and name in on_cpu else []
        reference = marginals if reference is None else reference
        error = float(np.abs(marginals - reference).max())
        rows[name]["largest_difference_to_ours"] = error
        if not error < tolerances[name]:
            rows[name]["failed"] = f"marginals differ from ours by {error:.1e}: not timed"
            del seconds[name]
    repeated = [name for name, once in seconds.items() if not once]
    for _ in range(options.repeats):
        for name in repeated:
            seconds[name].append(timed(name))
    for name in seconds:
        rows[name] |= {
            "ms": round(median(seconds[name]) * 1e3, 3),
            "all_ms": [round(one * 1e3, 3) for one in seconds[name]],
        }
        if "pydensecrf" in repeated and name in repeated:
            ratios = [theirs / mine for theirs, mine in zip(seconds["pydensecrf"], seconds[name], strict=True)]
            rows[name]["times_faster_than_pydensecrf"] = round(median(ratios), 2)
        if name in on_gpu:
            rows[name]["images_per_second"] = round(1e3 / rows[name]["ms"], 1)
        if name in floors:
            rows[name]["floor_ms_h100"] = round(floors[name].floor_ms(), 3)
            rows[name]["cache_mb"] = round(floors[name].cache / 1e6, 1)
            rows[name]["memory_mb"] = round(floors[name].memory / 1e6, 1)
        if name not in on_gpu and not options.no_peak:
            rows[name].update(peak_of(name, folder, bilateral, options))
    return {"rows": rows}


def print_case(case: dict[str, Any]) -> None:
    print(f"\n{case['width']} x {case['height']}, {case['labels']} labels, w/xy/rgb {case['bilateral']}")
    print(f"  {'':26}{'ms':>10}{'vs pydensecrf':>15}{'peak MiB':>10}{'added MiB':>11}{'floor ms':>10}{'images/s':>10}")
    for name, row in case["rows"].items():
        if "failed" in row:
            print(f"  {name:26}  failed: {row['failed']}")
            continue
        faster = f"{row['times_faster_than_pydensecrf']:.2f}x" if "times_faster_than_pydensecrf" in row else "-"
        peak = f"{row['peak_mib']:.0f}" if "peak_mib" in row else "-"
        added = f"{row['peak_mib'] - row['before_mib']:.0f}" if "peak_mib" in row else "-"
        floor, rate = (row.get(key, "-") for key in ("floor_ms_h100", "images_per_second"))
        print(f"  {name:26}{row['ms']:>10.2f}{faster:>15}{peak:>10}{added:>11}{floor:>10}{rate:>10}")


def plot(cases: list[dict[str, Any]], path: Path) -> None:
    cases = [case for case in cases if case["rows"]]
    if not cases:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    pixels = [case["width"] * case["height"] / 1e6 for case in cases]
    for name in cases[0]["rows"]:
        axes.plot(pixels, [case["rows"][name].get("ms", np.nan) for case in cases], "o-", label=name)
    axes.set(xlabel="megapixels", ylabel="ms, 21 labels, 10 iterations", xlim=(0, None), ylim=(0, None))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    print(f"wrote {path}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--pydensecrf-python", help="a Python that imports pydensecrf")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="the first two cases alone, no plot")
    parser.add_argument("--no-peak", action="store_true", help="do not measure peak memory")
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/crf_DEVICE.json by default")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.worker:
        return worker()
    if options.peak:
        return answer_peak(json.loads(options.peak))
    import torch
    from environment import RESULTS, describe, write_json
    from failures import Failures

    names = ["ours, 1 thread", "ours, 2 threads", "ours, nothing kept"]
    if options.device == "cuda":
        import crf_gpu

        names = ["ours, 2 threads", *crf_gpu.NAMES]
    if options.pydensecrf_python:
        names.append("pydensecrf")
    out = options.out or RESULTS / f"crf_{options.device}.json"
    about = describe(torch.device(options.device))
    content = {"benchmark": "crf", **about, "iterations": options.iterations, "repeats": options.repeats}
    content |= {"cases": [], "linear": []}
    asked = [("cases", *case) for case in CASES[: 2 if options.quick else None]]
    asked += [] if options.quick else [("linear", size, 21, (5, 50, 10)) for size in LINEAR_SIZES]
    failures = Failures()
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(options.pydensecrf_python, Path(folder)) if options.pydensecrf_python else None
        for part, size, labels, bilateral in asked:
            title = f"{size[0]} x {size[1]}, {labels} labels, {bilateral}"
            with failures.caught(title) as case:
                case |= {"width": size[0], "height": size[1], "labels": labels, "bilateral": bilateral, "rows": {}}
                case |= measure(size, labels, bilateral, names, peer, Path(folder), options)
                print_case(case)
                for name, row in case["rows"].items():
                    if "failed" in row:
                        failures.add(f"{title}, {name}", row["failed"])
            content[part].append(case)
            write_json(out, content)
        if peer is not None:
            peer.process.stdin.close()
            peer.process.wait()
    print(f"\nwrote {out}")
    plot(content["linear"], out.with_suffix(".png"))
    return failures.end()


if __name__ == "__main__":
    main()
