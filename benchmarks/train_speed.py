"""Training speed of DeepLab-LargeFOV, beside the same network and SGD in plain PyTorch, in one run.

    python benchmarks/train_speed.py --device cpu --batch 4
    python benchmarks/train_speed.py --device cuda --batch 30 --dtype float32 bfloat16

One step is forward, backward and update of a batch in memory: the data pipeline has a benchmark of its own. Ours is
`Solver.step` with the released train.prototxt and solver.prototxt, SEG_ACCURACY included; only the data layer is
replaced. Plain PyTorch's SGD has the same rates, decays and momentum. One step of each is compared before anything is
timed; a case that differs is not timed, and the others go on. Contenders take turns, so that a change of the machine's
speed affects all of them; figures are medians, written case by case. On a GPU float32 means TF32.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from failures import Failures, WrongResult
from plain import PlainDeepLab

from deeplab_caffe import proto
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.solver import Solver, TrainingLog, training_memory
from deeplab_caffe.zoo.paths import prototxt_path

MODEL = "deeplab_largefov"
CLASSES = 21
# The paper's training speed, images a second, as the issue that asked for this benchmark has it.
PAPER_IMAGES_PER_S = 4.84
# Loss and changed weights of one step; summation orders differ, TF32 and bfloat16 round as well.
TOLERANCE = {("float32", "cpu"): 1e-4, ("float32", "cuda"): 2e-2, ("bfloat16", "cpu"): 0.1, ("bfloat16", "cuda"): 0.1}


@dataclass
class Contender:
    """One way to train: a step, the loss it returns, its convolution weights in net order, its dropout switch."""

    step: Callable[[], float]
    weights: list[nn.Parameter]
    set_dropout: Callable[[bool], None]


def ours(
    batch: tuple[Tensor, Tensor], device: torch.device, dtype: str, channels_last: bool
) -> tuple[Contender, Solver]:
    """Return the solver on the released files, with a data layer that hands out one batch from memory."""
    data, labels = batch
    variables = {name: name for name in ("NET_ID", "EXP", "DATA_ROOT", "TRAIN_SET")} | {"NUM_LABELS": str(CLASSES)}
    param = proto.read_solver(prototxt_path(MODEL, "solver"), variables)
    net = proto.read_net(prototxt_path(MODEL, "train"), variables)
    source = proto.parse_net(
        'layers { name: "data" type: DUMMY_DATA top: "data" top: "label" dummy_data_param {'
        + "".join(f" num: {x.shape[0]} channels: {x.shape[1]} height: {x.shape[2]} width: {x.shape[3]}" for x in batch)
        + " } }"
    ).layer[0]
    for layer in net.layer:
        if layer.type == "ImageSegData":
            layer.CopyFrom(source)
    for field in ("train_net", "display", "snapshot"):
        param.ClearField(field)
    param.train_net_param.CopyFrom(net)
    solver = Solver(param, device=device, dtype=dtype, channels_last=channels_last, log=TrainingLog(None))
    data_layer = solver.net.by_name["data"]
    data_layer.forward = lambda: (data, labels)
    drops = [layer for layer in solver.net.layers if hasattr(layer, "ratio")]

    def set_dropout(on: bool) -> None:
        for layer in drops:
            layer.ratio = 0.5 if on else 0.0

    def step() -> float:
        solver.step(1)
        return solver.losses[-1]

    return Contender(step, [p for layer in solver.net.layers for p in layer.blobs], set_dropout), solver


def plain(
    batch: tuple[Tensor, Tensor], device: torch.device, dtype: str, channels_last: bool, weights: list[nn.Parameter]
) -> Contender:
    """Return the same in plain PyTorch: autograd, torch.optim.SGD, autocast."""
    data, labels = batch
    targets = labels[:, 0, ::8, ::8].long()
    net = PlainDeepLab(MODEL, CLASSES).train().to(device)
    features = net.features
    convs = [module for module in features.modules() if isinstance(module, nn.Conv2d)]
    parameters = [p for conv in convs for p in (conv.weight, conv.bias)]
    with torch.no_grad():
        for mine, theirs in zip(parameters, weights, strict=True):
            mine.copy_(theirs)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        data = data.contiguous(memory_format=torch.channels_last)
    head = 2 * (len(convs) - 1)
    groups = [
        {"params": parameters[:head:2], "lr": 0.001, "weight_decay": 0.0005},
        {"params": parameters[1:head:2], "lr": 0.002, "weight_decay": 0.0},
        {"params": parameters[head:][:1], "lr": 0.01, "weight_decay": 0.0005},
        {"params": parameters[head:][1:], "lr": 0.02, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.001, momentum=0.9)
    drops = [module for module in features.modules() if isinstance(module, nn.Dropout)]

    def set_dropout(on: bool) -> None:
        for module in drops:
            module.p = 0.5 if on else 0.0

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            scores = features(data)
        loss = F.cross_entropy(scores.float(), targets, ignore_index=255)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Contender(step, parameters, set_dropout)


def make_batch(size: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return noise as bright as photographs minus their mean, and labels of 8 x 8 patches, a tenth of them ignored."""
    generator = torch.Generator().manual_seed(1)
    data = torch.randn((count, 3, size, size), generator=generator) * 50
    side = (size + 7) // 8
    labels = torch.randint(0, CLASSES, (count, 1, side, side), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    labels = labels.float().repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, :size, :size]
    return data.to(device), labels.contiguous().to(device)


@torch.no_grad()
def randomize(weights: list[nn.Parameter]) -> None:
    """Set the same weights each time, which keep activations at one size; the prototxt leaves 0."""
    generator = torch.Generator().manual_seed(2015)
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        weight.copy_(torch.randn(weight.shape, generator=generator) * (2 / weight[0].numel()) ** 0.5)
        bias.zero_()
    # Pixels are some 50 large, and scores are to be small: a loss near that of guessing.
    weights[0].mul_(1 / 50)
    weights[-2].copy_(torch.randn(weights[-2].shape, generator=generator) * 0.01)


def check(
    contenders: dict[str, Contender], dtype: str, device: torch.device, limit: float | None = None
) -> dict[str, float]:
    """Return how far loss and update of one step without dropout are from the plain network's."""
    results: dict[str, tuple[float, Tensor]] = {}
    for name, contender in contenders.items():
        before = [weight.detach().clone() for weight in contender.weights]
        contender.set_dropout(False)
        loss = contender.step()
        contender.set_dropout(True)
        change = torch.cat(
            [(w.detach() - b).flatten().double() for w, b in zip(contender.weights, before, strict=True)]
        )
        results[name] = (loss, change)
    loss, change = next(result for name, result in results.items() if name.startswith("plain"))
    errors = {}
    for name, (own_loss, own_change) in results.items():
        errors[name] = max(abs(own_loss - loss) / loss, float((own_change - change).norm() / change.norm()))
        if not errors[name] < (limit or TOLERANCE[dtype, device.type]):
            raise WrongResult(f"{name}: its step differs from plain PyTorch's by {errors[name]:.2e}: nothing is timed")
    return errors


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(contender: Contender, steps: int, device: torch.device) -> tuple[float, float]:
    """Return seconds a step by the clock, and of processor time, which other programs on the machine disturb less."""
    synchronize(device)
    begin, used = perf_counter(), process_time()
    for _ in range(steps):
        contender.step()
    synchronize(device)
    return (perf_counter() - begin) / steps, (process_time() - used) / steps


def measure(dtype: str, count: int, size: int, device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    batch = make_batch(size, count, device)
    contenders: dict[str, Contender] = {}
    for layout in options.layout:
        name = "" if layout == "contiguous" else f" {layout}"
        channels_last = layout == "channels_last"
        contenders[f"ours{name}"], solver = ours(batch, device, dtype, channels_last)
        randomize(contenders[f"ours{name}"].weights)
        contenders[f"plain{name}"] = plain(batch, device, dtype, channels_last, contenders[f"ours{name}"].weights)
    memory = training_memory(solver.net, dtype=dtype)
    errors = check(contenders, dtype, device)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    used: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        timed(contender, 1, device)
    for _ in range(options.repeats):
        for name, contender in contenders.items():
            clock, processor = timed(contender, options.steps, device)
            times[name].append(clock)
            used[name].append(processor)
    rows = {}
    for name, values in times.items():
        peer = name.replace("ours", "plain")
        ratios = [mine / other for mine, other in zip(values, times[peer], strict=True)]
        rows[name] = {
            "s_per_step": round(median(values), 5),
            "images_per_s": round(count / median(values), 3),
            "time_over_plain": round(median(ratios), 4),
            "processor_s_per_step": round(median(used[name]), 5),
            "processor_time_over_plain": round(median(used[name]) / median(used[peer]), 4),
            "times_the_papers_speed": round(count / median(values) / PAPER_IMAGES_PER_S, 2),
            "step_relative_error_to_plain": errors[name],
            "all_s": [round(value, 5) for value in values],
        }
    return {
        "model": MODEL,
        "dtype": dtype,
        "batch": count,
        "size": size,
        "activation_mib_estimate": round(memory.activations / 2**20),
        "rows": rows,
    }


def print_case(case: dict[str, Any]) -> None:
    print(
        f"\n{case['model']}  {case['dtype']}  batch {case['batch']}  {case['size']}x{case['size']}: "
        "forward, backward, update"
    )
    print(f"  {'':22}{'s/step':>10}{'images/s':>10}{'over plain':>12}{'over paper':>12}")
    for name, row in case["rows"].items():
        print(
            f"  {name:22}{row['s_per_step']:>10.4f}{row['images_per_s']:>10.2f}{row['time_over_plain']:>12.3f}"
            f"{row['times_the_papers_speed']:>11.1f}x"
        )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument("--batch", nargs="+", type=int, default=[4])
    parser.add_argument("--size", type=int, default=321, help="a multiple of 8, plus 1")
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--layout", nargs="+", default=["contiguous"], choices=["contiguous", "channels_last"])
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="steps in each timing")
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/train_speed_DEVICE.json by default")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        # As the command line trains, and for both.
        torch.backends.cudnn.deterministic = True
    out = options.out or RESULTS / f"train_speed_{device.type}.json"
    content = {"benchmark": "train_speed", **describe(device), "repeats": options.repeats, "steps": options.steps}
    content |= {"paper_images_per_s": PAPER_IMAGES_PER_S, "cases": []}
    failures = Failures()
    for dtype in options.dtype:
        for count in options.batch:
            with failures.caught(f"{dtype}, batch {count}") as case:
                case |= {"model": MODEL, "dtype": dtype, "batch": count, "size": options.size}
                case |= measure(dtype, count, options.size, device, options)
                print_case(case)
            content["cases"].append(case)
            # What else the machine did: about as many processes as this number, this one's threads included.
            write_json(out, content | {"load_average": os.getloadavg()})
    print(f"\nwrote {out}")
    failures.end()


if __name__ == "__main__":
    main()
