"""The domain transform against the dense CRF on the same image, OpenCV's filter, and a loop of torch's operations.

    pip install --no-deps --target out/opencv 'opencv-contrib-python-headless<5'
    python benchmarks/domain_transform.py --opencv out/opencv

The paper (Chen et al., CVPR 2016) says that the filter is several times faster than the dense CRF; ten iterations of
that are timed for comparison. OpenCV's dtFilter computes something else (distances from a guide image, at most three
channels at a time), so only its speed is compared. Our results and those of the loop are compared first; a result that
differs is not timed. Contenders take turns. Figures are medians of the time, and of the processor time, which leaves
out other work on the machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from crf import inputs
from environment import RESULTS, describe, write_json
from failures import Failures, WrongResult

from deeplab_caffe import _C
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.crf import dense_crf
from deeplab_caffe.ops.domain_transform import domain_transform

# The paper's iterations, and sigmas for edges of 0 to 1.
OPTIONS = {"iterations": 3, "spatial_sigma": 100.0, "range_sigma": 1.0}
CRF_ITERATIONS = 10
TOLERANCE = 1e-4
THREADS = (1, 2)

Run = Callable[[], Any]


def edges_of(image: np.ndarray) -> Tensor:
    """Return how much each pixel differs from its left and upper neighbours, 0 to 1: (1, 1, H, W)."""
    grey = torch.from_numpy(image).float().mean(2)[None, None] / 255
    edges = torch.zeros_like(grey)
    edges[..., 1:] += (grey[..., 1:] - grey[..., :-1]).abs()
    edges[..., 1:, :] += (grey[..., 1:, :] - grey[..., :-1, :]).abs()
    return edges


def filter_lines(x: Tensor, weights: Tensor) -> Tensor:
    """Filter each row there and back, column by column: what one writes without an extension."""
    columns, weight = list(x.unbind(3)), weights.unbind(3)
    for i in range(1, len(columns)):
        columns[i] = columns[i] + weight[i] * (columns[i - 1] - columns[i])
    for i in range(len(columns) - 1, 0, -1):
        columns[i - 1] = columns[i - 1] + weight[i] * (columns[i] - columns[i - 1])
    return torch.stack(columns, 3)


def torch_loop(x: Tensor, edges: Tensor) -> Tensor:
    """Compute the rule in torch's operations."""
    count, spatial = OPTIONS["iterations"], OPTIONS["spatial_sigma"]
    ratio = spatial / OPTIONS["range_sigma"]
    for k in range(count):
        sigma = spatial * 3**0.5 * 2 ** (count - k - 1) / (4**count - 1) ** 0.5
        weights = torch.exp(-(2**0.5) / sigma * (1 + edges * ratio)).clamp(0, 1)
        x = filter_lines(filter_lines(x, weights).mT, weights.mT).mT
    return x


def opencv_filter(folder: Path | None) -> Any | None:
    """Return the module cv2 with its contributed filters, of a folder or of this Python; None where it is not there."""
    if folder is not None:
        sys.path.append(str(folder))
    try:
        import cv2
    except ImportError:
        return None
    return cv2 if hasattr(cv2, "ximgproc") else None


def filter_by_opencv(cv2: Any, planes: np.ndarray, image: np.ndarray) -> None:
    guided = cv2.ximgproc.createDTFilter(
        image, OPTIONS["spatial_sigma"], 25.0, cv2.ximgproc.DTF_RF, OPTIONS["iterations"]
    )
    for first in range(0, planes.shape[2], 3):
        guided.filter(np.ascontiguousarray(planes[:, :, first : first + 3]))


def both_ways(function: Callable[..., Tensor], x: Tensor, edges: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    given = x.clone().requires_grad_(), edges.clone().requires_grad_()
    return torch.autograd.grad(function(*given), given, grad)


def ours(x: Tensor, edges: Tensor) -> Tensor:
    return domain_transform(x, edges, **OPTIONS)


def contenders(
    size: tuple[int, int], labels: int, device: torch.device, cv2: Any | None, *, loop: bool
) -> dict[str, Run]:
    """Return what is timed, by name; each is checked that can be."""
    scores, image = inputs(size, labels)
    x, edges, photo = (t.to(device) for t in (torch.from_numpy(scores)[None], edges_of(image), torch.from_numpy(image)))
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(device)
    runs: dict[str, Run] = {
        "ours": lambda: ours(x, edges),
        "ours, forward and backward": lambda: both_ways(ours, x, edges, grad),
        f"dense CRF, {CRF_ITERATIONS} iterations": lambda: dense_crf(x[0], photo, iterations=CRF_ITERATIONS),
    }
    if loop:
        check("forward", [ours(x, edges)], [torch_loop(x, edges)])
        check("backward", both_ways(ours, x, edges, grad), both_ways(torch_loop, x, edges, grad))
        runs["torch loop"] = lambda: torch_loop(x, edges)
        runs["torch loop, forward and backward"] = lambda: both_ways(torch_loop, x, edges, grad)
    if cv2 is not None and device.type == "cpu":
        planes = np.ascontiguousarray(scores.transpose(1, 2, 0))
        runs["OpenCV dtFilter, speed only"] = lambda: filter_by_opencv(cv2, planes, image)
    return runs


def check(what: str, found: Any, expected: Any) -> None:
    """Raise WrongResult where two results differ."""
    for one, other in zip(found, expected, strict=True):
        error = float((one - other).norm() / other.norm())
        if not error < TOLERANCE:
            raise WrongResult(f"ours and the torch loop differ {what} by {error:.1e}: not timed")


def timed(run: Run, device: torch.device) -> tuple[float, float]:
    begin, cpu = perf_counter(), process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - begin, process_time() - cpu


def set_threads(threads: int, cv2: Any | None) -> None:
    torch.set_num_threads(threads)
    _C.set_num_threads(threads)
    if cv2 is not None:
        cv2.setNumThreads(threads)


def measure(runs: dict[str, Run], device: torch.device, cv2: Any | None, repeats: int) -> dict[str, Any]:
    """Return times in milliseconds by contender and number of threads."""
    threads = THREADS if device.type == "cpu" else THREADS[-1:]
    before = torch.get_num_threads()
    times: dict[str, list[tuple[float, float]]] = {}
    for repeat in range(repeats + 1):
        for count in threads:
            set_threads(count, cv2)
            for name, run in runs.items():
                found = timed(run, device)
                if repeat > 0:  # the first warms up
                    times.setdefault(f"{name} ({count} threads)" if len(threads) > 1 else name, []).append(found)
    set_threads(before, cv2)
    _C.set_num_threads(0)
    return {
        name: {
            "ms": round(1e3 * median(wall for wall, _ in each), 2),
            "least_ms": round(1e3 * min(wall for wall, _ in each), 2),
            "processor_ms": round(1e3 * median(cpu for _, cpu in each), 2),
        }
        for name, each in times.items()
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument("--size", type=int, nargs=2, action="append", metavar=("WIDTH", "HEIGHT"), help="of the image")
    parser.add_argument("--labels", type=int, default=21)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--opencv", type=Path, help="folder that has cv2 with ximgproc, if this Python has not")
    parser.add_argument("--no-loop", action="store_true", help="leave out, and do not compare with, the torch loop")
    parser.add_argument(
        "--out", type=Path, help="JSON file; benchmarks/results/domain_transform_DEVICE.json by default"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    device = resolve_device(options.device)
    out = options.out or RESULTS / f"domain_transform_{device.type}.json"
    cv2 = opencv_filter(options.opencv)
    if cv2 is None:
        print("OpenCV's contributed filters are not there: left out")
    content = {
        "benchmark": "domain_transform",
        **describe(device),
        "opencv": cv2.__version__ if cv2 is not None else None,
        "repeats": options.repeats,
        **OPTIONS,
        "cases": [],
    }
    failures = Failures()
    for size in options.size or [(500, 375), (513, 513)]:
        name = f"{size[0]} x {size[1]}, {options.labels} labels"
        with failures.caught(name) as case:
            case |= {"size": list(size), "labels": options.labels}
            runs = contenders(tuple(size), options.labels, device, cv2, loop=not options.no_loop)
            case["rows"] = measure(runs, device, cv2, options.repeats)
            print(f"\n{name}")
            for contender, row in case["rows"].items():
                print(f"  {contender:50}{row['ms']:>10.2f} ms{row['processor_ms']:>10.2f} ms of a processor")
        content["cases"].append(case)
        write_json(out, content)
    print(f"\nwrote {out}")
    failures.end()


if __name__ == "__main__":
    main()
