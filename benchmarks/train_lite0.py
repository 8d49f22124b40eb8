"""Training speed of the Lite0 network on the CPU or a GPU, beside the same network and SGD in plain PyTorch.

    python benchmarks/train_lite0.py --batch 12 --size 321 --layout channels_last

As train_speed.py: one step is forward, backward and update of a batch in memory, one step of each is compared before
anything is timed, and contenders take turns; figures are medians. BatchNorm has the statistics of the batch. The step
of each is compared with that of the plain network in float64, on small images: with random weights and 57 layers with
BatchNorm, either one in float32 differs from it by about a hundredth.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from failures import WrongResult
from plain_lite0 import NAME, PlainLite0
from train_speed import CLASSES, Contender, check, make_batch, timed

from deeplab_caffe import proto
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.solver import Solver, TrainingLog

FOLDER = Path(__file__).resolve().parent.parent / "prototxt" / NAME
RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4
# How far a step may be from float64's: for a blunder; and how many times as far as plain PyTorch's.
MOST, TIMES_PLAINS = 0.1, 2
CHECKED_SIZE, CHECKED_BATCH = 97, 4
HEAD = ("point", "branches", "pool", "project", "scores")


def ours(batch: tuple[Tensor, Tensor], device: torch.device, channels_last: bool) -> tuple[Contender, Solver]:
    """Return the solver on the network's files, with one batch from memory for its data layer, and random weights."""
    variables = {name: name for name in ("NET_ID", "EXP", "DATA_ROOT", "TRAIN_SET")} | {"NUM_LABELS": str(CLASSES)}
    param = proto.read_solver(FOLDER / "solver.prototxt", variables)
    net = proto.read_net(FOLDER / "train.prototxt", variables)
    shapes = "".join("shape { " + " ".join(f"dim: {side}" for side in x.shape) + " } " for x in batch)
    text = f'layer {{ name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {{ {shapes} }} }}'
    net.layer[0].CopyFrom(proto.parse_net(text).layer[0])
    for field in ("train_net", "display", "snapshot"):
        param.ClearField(field)
    param.lr_policy = "fixed"
    param.train_net_param.CopyFrom(net)
    solver = Solver(param, device=device, channels_last=channels_last, log=TrainingLog(None))
    solver.net.by_name["data"].forward = lambda: batch
    (drop,) = (layer for layer in solver.net.layers if hasattr(layer, "ratio"))
    learned = [p for layer in solver.net.layers if layer.TYPE in ("Convolution", "Scale") for p in layer.blobs]
    generator = torch.Generator().manual_seed(2015)
    with torch.no_grad():
        for weight in (p for p in learned if p.dim() == 4):
            weight.copy_(torch.randn(weight.shape, generator=generator) * (2 / weight[0].numel()) ** 0.5)
        learned[-2].mul_(0.1)

    def step() -> float:
        solver.step(1)
        return solver.losses[-1]

    return Contender(step, learned, lambda on: setattr(drop, "ratio", 0.1 if on else 0.0)), solver


def plain(
    batch: tuple[Tensor, Tensor], device: torch.device, channels_last: bool, solver: Solver, dtype: torch.dtype
) -> Contender:
    """Return the same in plain PyTorch: autograd and torch.optim.SGD."""
    data, labels = batch[0].to(dtype), batch[1]
    net = PlainLite0(CLASSES).train()
    net.copy_weights(solver.net)
    net = net.to(device, dtype)
    if channels_last:
        net, data = net.to(memory_format=torch.channels_last), data.contiguous(memory_format=torch.channels_last)
    groups = []
    for name, p in net.named_parameters():
        rate = RATE * (5 if name.startswith(HEAD) else 1) * (2 if name == "scores.bias" else 1)
        groups.append({"params": [p], "lr": rate, "weight_decay": DECAY if p.dim() == 4 else 0.0})
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
    (drop,) = (module for module in net.modules() if isinstance(module, nn.Dropout))
    targets = labels[:, 0].long()

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(data), targets, ignore_index=255)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Contender(step, list(net.parameters()), lambda on: setattr(drop, "p", 0.1 if on else 0.0))


def checked(device: torch.device, channels_last: bool) -> dict[str, float]:
    """Return how far a step of each is from float64's, on small images: torch's float64 takes minutes on large ones."""
    batch = make_batch(CHECKED_SIZE, CHECKED_BATCH, device)
    mine, solver = ours(batch, device, channels_last)
    exact, peer = (plain(batch, device, channels_last, solver, dtype) for dtype in (torch.float64, torch.float32))
    # With TF32, a GPU's default, ten bits are left of either.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        errors = check({"plain in float64": exact, "plain": peer, "ours": mine}, "float32", device, MOST)
    if errors["ours"] > TIMES_PLAINS * errors["plain"]:
        raise WrongResult(f"ours is {errors['ours']:.1e} from float64, plain {errors['plain']:.1e}: nothing is timed")
    return errors


def row(found: list[tuple[float, float]]) -> dict[str, Any]:
    clock, processor = zip(*found, strict=True)
    return {
        "s_per_step": round(median(clock), 4),
        "processor_s_per_step": round(median(processor), 4),
        "all_s": [round(value, 4) for value in clock],
        "all_processor_s": [round(value, 4) for value in processor],
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--size", type=int, default=321, help="a multiple of 16, plus 1")
    parser.add_argument("--layout", default="channels_last", choices=["contiguous", "channels_last"])
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/train_lite0_DEVICE.json by default")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device, channels_last = resolve_device(options.device), options.layout == "channels_last"
    errors = checked(device, channels_last)
    batch = make_batch(options.size, options.batch, device)
    mine, solver = ours(batch, device, channels_last)
    contenders = {"ours": mine, "plain": plain(batch, device, channels_last, solver, torch.float32)}
    for each in contenders.values():
        timed(each, 1, device)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    out = options.out or RESULTS / f"train_lite0_{device.type}.json"
    content = {"benchmark": "train_lite0", **describe(device), "batch": options.batch, "size": options.size}
    content |= {"layout": options.layout}
    for turn in range(options.repeats):
        for name, each in contenders.items():
            times[name].append(timed(each, 1, device))
        # Written after each turn, so that a run that is cut short leaves what it has.
        content |= {"repeats": turn + 1, "load_average": round(os.getloadavg()[0], 1)}
        content["rows"] = {
            name: row(found) | {"step_relative_error_to_float64": errors[name]} for name, found in times.items()
        }
        write_json(out, content)
    for name, found in content["rows"].items():
        print(f"{name:8}{found['s_per_step']:10.3f} s a step{found['processor_s_per_step']:10.3f} s of a processor")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
