"""Training speed of the Lite0 network on the CPU or a GPU, beside the same network and SGD in plain PyTorch.

    python benchmarks/train_lite0.py --batch 12 --size 321 --layout channels_last

As train_speed.py: one step is forward, backward and update of a batch in memory, one step of each is compared before
anything is timed, and contenders take turns. BatchNorm has the statistics of the batch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from plain_lite0 import NAME, PlainLite0
from train_speed import CLASSES, Contender, check, make_batch, timed

from deeplab_caffe import proto
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.solver import Solver, TrainingLog

FOLDER = Path(__file__).resolve().parent.parent / "prototxt" / NAME
RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4
# With random weights and BatchNorm 57 layers deep, either gradient is 1.4e-2 from float64's (161 x 161, batch 6).
TOLERANCE = 5e-3
HEAD = ("point", "branches", "pool", "project", "scores")


def ours(batch: tuple[Tensor, Tensor], device: torch.device, channels_last: bool) -> tuple[Contender, Solver]:
    """The solver on the network's files, with one batch from memory for its data layer, and random weights."""
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


def plain(batch: tuple[Tensor, Tensor], device: torch.device, channels_last: bool, solver: Solver) -> Contender:
    """The same in plain PyTorch: autograd and torch.optim.SGD."""
    data, labels = batch
    net = PlainLite0(CLASSES).train()
    net.copy_weights(solver.net)
    net = net.to(device)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--size", type=int, default=321, help="a multiple of 16, plus 1")
    parser.add_argument("--layout", default="channels_last", choices=["contiguous", "channels_last"])
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device, channels_last = resolve_device(options.device), options.layout == "channels_last"
    batch = make_batch(options.size, options.batch, device)
    mine, solver = ours(batch, device, channels_last)
    contenders = {"ours": mine, "plain": plain(batch, device, channels_last, solver)}
    errors = check(contenders, "float32", device, TOLERANCE)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(options.repeats):
        for name, each in contenders.items():
            times[name].append(timed(each, 1, device))
    for name, found in times.items():
        clock, processor = (median(values) for values in zip(*found, strict=True))
        row = {"contender": name, "s_per_step": clock, "processor_s_per_step": processor}
        print(json.dumps(row | {"step_relative_error_to_plain": errors[name], "load_average": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
