"""Frames per second of the released networks, beside the same networks in plain PyTorch, in one run.

    python benchmarks/fps.py --device cpu
    python benchmarks/fps.py --device cuda --batch 1 8 32 --dtype float32 bfloat16

Outputs are compared before anything is timed. Contenders take turns, so that a machine whose speed drifts drifts for
all of them; figures are medians. On the CPU each contender's peak memory is measured in a process of its own.
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

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from plain import PlainDeepLab

from deeplab_caffe import Net
from deeplab_caffe.devices import resolve_device
from deeplab_caffe.zoo.paths import prototxt_path

MODELS = ("deeplab_largefov", "deeplab", "deeplab_7x7")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# The plain network in float32 and ours differ by summation order only.
FLOAT32_TOLERANCE = 1e-5
# bfloat16 has 8 bits: both networks round every activation, each its own way.
BFLOAT16_TOLERANCE = 5e-2

Run = Callable[[], torch.Tensor]


def random_weights(model: str) -> Net:
    """The network with weights that keep activations at one size from layer to layer."""
    net = Net(prototxt_path(model))
    generator = torch.Generator().manual_seed(2015)
    for layer in net.layers:
        if layer.blobs:
            weight, bias = layer.blobs
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=generator)
            bias.normal_(0, 0.1, generator=generator)
    return net


def contender(name: str, model: str, dtype: torch.dtype, x: torch.Tensor, weights: Net | None) -> Run:
    """One way to run the network on one input; without ``weights`` they stay as they come (for peak memory)."""
    device = x.device
    if name.startswith("plain"):
        plain = PlainDeepLab(model).eval()
        if weights is not None:
            plain.copy_weights(weights)
        plain = plain.to(device, dtype)
        image = x.to(dtype)
        if name == "plain channels_last":
            plain = plain.to(memory_format=torch.channels_last)
            image = image.contiguous(memory_format=torch.channels_last)
        return lambda: plain(image)
    engine = "CAFFE" if name == "ours CAFFE" else "DEFAULT"
    net = Net(prototxt_path(model), engine=engine, dtype=dtype, channels_last=name == "ours channels_last")
    if weights is not None:
        net.load_state_dict(weights.state_dict())
    net = net.to(device)
    return lambda: net(x).float()


def contenders_for(dtype: str, caffe_engine: bool) -> list[str]:
    names = ["ours channels_last", "ours", "plain channels_last", "plain"]
    return [*names, "ours CAFFE"] if caffe_engine and dtype == "float32" else names


def multiply_adds(model: str, batch: int, size: int) -> int:
    net = Net(prototxt_path(model))
    return net.multiply_adds(net.infer_shapes(**{net.inputs[0]: (batch, 3, size, size)}))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(run: Run, device: torch.device) -> float:
    synchronize(device)
    begin = perf_counter()
    run()
    synchronize(device)
    return perf_counter() - begin


def check(runs: dict[str, Run], dtype: str) -> dict[str, float]:
    """Relative errors against the plain network; stops where one is too large."""
    tolerance = FLOAT32_TOLERANCE if dtype == "float32" else BFLOAT16_TOLERANCE
    reference = runs["plain"]().double()
    errors = {}
    for name, run in runs.items():
        errors[name] = float((run().double() - reference).norm() / reference.norm())
        if not errors[name] < tolerance:
            raise SystemExit(f"{name} ({dtype}) differs from plain PyTorch by {errors[name]:.2e}: nothing is timed")
    return errors


def own_peak_mib() -> float:
    """Peak resident memory of this process. Not getrusage's: that begins with the parent's at the fork."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process's peak memory: use --no-peak")


def peak_mib(name: str, model: str, dtype: str, batch: int, size: int, threads: int) -> float:
    """Peak resident memory of a process that does nothing but build this contender and run it."""
    command = [sys.executable, __file__, "--peak-of", name, "--model", model, "--dtype", dtype]
    command += ["--batch", str(batch), "--size", str(size), "--threads", str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["peak_mib"]


def measure(
    model: str, dtype: str, batch: int, size: int, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    x = torch.randn((batch, 3, size, size), generator=torch.Generator().manual_seed(1)).mul_(50).to(device)
    names = contenders_for(dtype, options.caffe_engine)
    weights = random_weights(model)
    runs = {name: contender(name, model, DTYPES[dtype], x, weights) for name in names}
    errors = check(runs, dtype)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name, run in runs.items():
            times[name].append(timed(run, device))
    flop = 2 * multiply_adds(model, batch, size)
    rows = {}
    for name in names:
        seconds = median(times[name])
        ratios = [mine / peer for mine, peer in zip(times[name], times["plain channels_last"], strict=True)]
        rows[name] = {
            "ms": round(seconds * 1e3, 3),
            "frames_per_s": round(batch / seconds, 3),
            "gflop_per_s": round(flop / seconds / 1e9, 1),
            "time_over_plain_channels_last": round(median(ratios), 4),
            "relative_error_to_plain": errors[name],
            "all_ms": [round(value * 1e3, 3) for value in times[name]],
        }
        if device.type == "cpu" and not options.no_peak:
            rows[name]["peak_mib"] = peak_mib(name, model, dtype, batch, size, options.threads)
    return {"model": model, "dtype": dtype, "batch": batch, "size": size, "gflop": round(flop / 1e9, 1), "rows": rows}


def print_case(case: dict[str, Any]) -> None:
    size = f"{case['size']}x{case['size']}"
    print(f"\n{case['model']}  {case['dtype']}  batch {case['batch']}  {size}  {case['gflop']} GFLOP")
    print(f"  {'':22}{'ms':>10}{'frames/s':>10}{'GFLOP/s':>10}{'vs plain cl':>13}{'peak MiB':>10}")
    for name, row in case["rows"].items():
        peak = f"{row['peak_mib']:.0f}" if "peak_mib" in row else "-"
        print(
            f"  {name:22}{row['ms']:>10.1f}{row['frames_per_s']:>10.2f}{row['gflop_per_s']:>10.0f}"
            f"{row['time_over_plain_channels_last']:>13.3f}{peak:>10}"
        )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument("--model", nargs="+", default=["deeplab_largefov"], choices=MODELS)
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--size", nargs="+", type=int, default=[321])
    parser.add_argument("--dtype", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--caffe-engine", action="store_true", help="time the original's im2col engine too")
    parser.add_argument("--no-peak", action="store_true", help="do not measure peak memory")
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/fps_DEVICE.json by default")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.peak_of:
        x = torch.randn(options.batch[0], 3, options.size[0], options.size[0])
        run = contender(options.peak_of, options.model[0], DTYPES[options.dtype[0]], x, None)
        for _ in range(3):
            run()
        print(json.dumps({"peak_mib": own_peak_mib()}))
        return
    device = resolve_device(options.device)
    cases = []
    for model in options.model:
        for dtype in options.dtype:
            for batch in options.batch:
                for size in options.size:
                    cases.append(measure(model, dtype, batch, size, device, options))
                    print_case(cases[-1])
    out = options.out or RESULTS / f"fps_{device.type}.json"
    write_json(out, {"benchmark": "fps", **describe(device), "repeats": options.repeats, "cases": cases})
    print(f"\nwrote {out}")


if __name__ == "__main__":
    main()
