"""Each custom operation's bandwidth against that of a copy on the same device.

    python benchmarks/kernels.py --device cpu
    python benchmarks/kernels.py --device cuda

The bytes of an operation are its inputs, read once, and its results, written once. The copy has as many bytes, read and
written together, and writes to new memory as the operation does, so that caches and page faults affect both alike.
Results are compared with torch's own operations first; an operation that differs is not timed, and the others go on.
Operation and copy take turns; figures are the least times, because other work of the machine only adds to them. Each
row is written as soon as it is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from failures import Failures, WrongResult

from deeplab_caffe import _C
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.ops.argmax import argmax, argmax_labels
from deeplab_caffe.ops.im2col import col2im, im2col
from deeplab_caffe.ops.interp import _interp_backward, interp
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.ops.interp_softmax import interp_softmax
from deeplab_caffe.ops.max_pool import max_pool
from deeplab_caffe.ops.preprocess import preprocess
from deeplab_caffe.ops.softmax_loss import _softmax_loss, _softmax_loss_backward

CLASSES = 21
SIDE, COARSE = 513, 65  # of an image and of its scores
# Sums in another order.
TOLERANCE = 2e-5
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Case:
    """One operation on data of a net's sizes.

    Attributes:
        name: the operation, with what it works on.
        run: runs it.
        reference: computes the same with torch, or with the operations that a fused one stands for.
        reads: the tensors that it reads.
    """

    name: str
    run: Callable[[], Tensor]
    reference: Callable[[], Tensor]
    reads: tuple[Tensor, ...]


def holes(batch: int, device: torch.device) -> Iterator[Case]:
    """Return layers of LargeFOV at 321 x 321: the widest columns, the largest hole, a strided one."""
    shapes = {
        "conv1_2": ((batch, 64, 161, 161), 3, 1, 1, 1),
        "conv5_1, hole 2": ((batch, 512, 41, 41), 3, 1, 2, 2),
        "fc6, hole 12": ((batch, 512, 41, 41), 3, 1, 12, 12),
        "7x7, stride 2": ((batch, 3, 321, 321), 7, 2, 3, 1),
    }
    for name, (shape, kernel, stride_, pad, dilation) in shapes.items():
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device)
        options = {"kernel_size": kernel, "stride": stride_, "padding": pad, "dilation": dilation}
        columns = functional.unfold(x, **options)
        geometry = {"kernel": kernel, "stride": stride_, "pad": pad, "dilation": dilation}
        mine = im2col(x, **geometry)
        yield Case(
            f"im2col {name}",
            lambda x=x, geometry=geometry: im2col(x, **geometry),
            lambda columns=columns, like=mine: columns.view(like.shape),
            (x,),
        )
        yield Case(
            f"col2im {name}",
            lambda c=mine, shape=shape, geometry=geometry: col2im(c, shape[2:], **geometry),
            lambda c=columns, shape=shape, options=options: functional.fold(c, shape[2:], **options),
            (mine,),
        )


def ends(batch: int, device: torch.device) -> Iterator[Case]:
    """Return the ways from coarse scores to what a net is asked for, fused and in steps; and their input."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn((batch, CLASSES, COARSE, COARSE), generator=generator).to(device)
    scores = interp(coarse, height=SIDE, width=SIDE)
    size = {"size": (SIDE, SIDE), "mode": "bilinear", "align_corners": True}
    yield Case(
        "interp",
        lambda: interp(coarse, height=SIDE, width=SIDE),
        lambda: functional.interpolate(coarse, **size),
        (coarse,),
    )

    def torchs_gradient() -> Tensor:
        with torch.enable_grad():
            x = coarse.clone().requires_grad_()
            return torch.autograd.grad(functional.interpolate(x, **size), x, scores)[0]

    yield Case("interp backward", lambda: _interp_backward(scores, COARSE, COARSE, 0, 0), torchs_gradient, (scores,))
    yield Case("argmax, labels", lambda: argmax_labels(scores), lambda: scores.argmax(1).byte(), (scores,))
    yield Case(
        "argmax, layer", lambda: argmax(scores), lambda: scores.argmax(1, keepdim=True).to(scores.dtype), (scores,)
    )
    for name in DTYPES:
        given = coarse.to(DTYPES[name])
        yield Case(
            f"interp_argmax {name}",
            lambda given=given: interp_argmax(given, SIDE, SIDE),
            lambda given=given: argmax_labels(interp(given.float(), height=SIDE, width=SIDE), ties="last"),
            (given,),
        )
    yield Case(
        "interp_softmax", lambda: interp_softmax(coarse, SIDE, SIDE), lambda: torch.softmax(scores, 1), (coarse,)
    )
    images = torch.randint(0, 256, (batch, 375, 500, 3), generator=generator, dtype=torch.uint8).to(device)
    for name, dtype in DTYPES.items():
        for layout in ("", " channels_last"):

            def plain(dtype: torch.dtype = dtype) -> Tensor:
                blob = images.flip(3).permute(0, 3, 1, 2).float()
                blob = blob - torch.tensor(IMAGENET_MEAN_BGR, device=device).view(1, 3, 1, 1)
                return functional.pad(blob, (0, SIDE - 500, 0, SIDE - 375)).to(dtype)

            yield Case(
                f"preprocess {name}{layout}",
                lambda dtype=dtype, layout=layout: preprocess(
                    images, mean=IMAGENET_MEAN_BGR, size=(SIDE, SIDE), dtype=dtype, channels_last=bool(layout)
                ),
                plain,
                (images,),
            )


def poolings(batch: int, device: torch.device) -> Iterator[Case]:
    """Return the first and the last maximum pooling of LargeFOV at 321 x 321."""
    for name, dtype in DTYPES.items():
        for shape, stride_ in (((batch, 64, 321, 321), 2), ((batch, 512, 41, 41), 1)):
            x = torch.randn(shape, generator=torch.Generator().manual_seed(4)).to(device, dtype)
            x = x.contiguous(memory_format=torch.channels_last)
            size = functional.max_pool2d(x[:1, :1].float(), 3, stride_, 1).shape[2:]
            yield Case(
                f"max_pool {shape[2]}x{shape[3]} {name}",
                lambda x=x, s=stride_, size=size: max_pool(x, (3, 3), (s, s), (1, 1), size),
                lambda x=x, s=stride_: functional.max_pool2d(x, 3, s, 1),
                (x,),
            )


def losses(batch: int, device: torch.device) -> Iterator[Case]:
    """Return the training loss at the scores' own size (41 x 41) and at an image's."""
    for side in (41, 321):
        generator = torch.Generator().manual_seed(3)
        scores = torch.randn((batch, CLASSES, side, side), generator=generator).to(device)
        labels = torch.randint(0, CLASSES, (batch, side, side), generator=generator, dtype=torch.uint8).to(device)
        long = labels.long()
        _, stats, totals = _softmax_loss(scores, labels, None, [255], False)
        one = torch.ones((), device=device)
        yield Case(
            f"softmax_loss {side}x{side}",
            lambda s=scores, y=labels: _softmax_loss(s, y, None, [255], False)[0],
            lambda s=scores, y=long: functional.cross_entropy(s, y),
            (scores, labels),
        )

        def torchs_gradient(scores: Tensor = scores, long: Tensor = long) -> Tensor:
            with torch.enable_grad():
                x = scores.clone().requires_grad_()
                return torch.autograd.grad(functional.cross_entropy(x, long), x)[0]

        yield Case(
            f"softmax_loss backward {side}x{side}",
            lambda s=scores, y=labels, a=stats, b=totals, g=one: _softmax_loss_backward(g, s, y, None, a, b, [255]),
            torchs_gradient,
            (scores, labels, stats),
        )


def check(case: Case, found: Tensor) -> float:
    """Return the relative error; raise WrongResult where it is too large. Labels must be equal."""
    expected = case.reference()
    if not found.is_floating_point():
        error = float((found != expected).double().mean())
        tolerance = 0.0
    else:
        error = float((found.double() - expected.double()).norm() / expected.double().norm())
        tolerance = TOLERANCE if found.dtype == torch.float32 else 0.0
    if not error <= tolerance:
        raise WrongResult(f"differs from torch by {error:.1e}: not timed")
    return error


def size_of(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def seconds(runs: list[Callable[[], Any]], device: torch.device, repeats: int) -> list[float]:
    """Return the least time of each run; they take turns. On a GPU by its own clock, its queue filled ahead."""
    for run in runs:
        run()
    if device.type != "cuda":
        times: list[list[float]] = [[] for _ in runs]
        for _ in range(repeats):
            for run, mine in zip(runs, times, strict=True):
                begin = perf_counter()
                run()
                mine.append(perf_counter() - begin)
        return [min(mine) for mine in times]
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(len(runs) + 1)] for _ in range(repeats)]
    # About as long as it takes to put all of the following into the queue.
    torch.cuda._sleep(200_000 * repeats)
    for events in marks:
        events[0].record()
        for run, event in zip(runs, events[1:], strict=True):
            run()
            event.record()
    torch.cuda.synchronize(device)
    return [min(events[i].elapsed_time(events[i + 1]) for events in marks) / 1e3 for i in range(len(runs))]


def copy_of(size: int, device: torch.device) -> Callable[[], Any]:
    """Return a copy that reads and writes ``size`` bytes in all; on the CPU one thread's, which waits for no other."""
    source = torch.ones(max(size // 2, 1), dtype=torch.uint8, device=device)
    if device.type == "cuda":
        return source.clone
    return lambda: np.copyto(torch.empty_like(source).numpy(), source.numpy())


def measure(case: Case, device: torch.device, repeats: int) -> dict[str, Any]:
    found = case.run()
    error = check(case, found)
    size = size_of((*case.reads, found))
    mine, copy = seconds([case.run, copy_of(size, device)], device, repeats)
    return {
        "ms": round(mine * 1e3, 4),
        "mib": round(size / 2**20, 2),
        "gb_per_s": round(size / mine / 1e9, 2),
        "copy_gb_per_s": round(size / copy / 1e9, 2),
        "share_of_copy": round(copy / mine, 3),
        "relative_error_to_torch": error,
    }


def print_row(row: dict[str, Any]) -> None:
    print(
        f"{row['operation']:34}{row['mib']:>9.1f}{row['ms']:>10.3f}{row['gb_per_s']:>9.1f}"
        f"{row['copy_gb_per_s']:>9.1f}{row['share_of_copy']:>8.2f}"
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument("--batch", type=int, default=0, help="images; by default 1 on the CPU, 16 on a GPU")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's and OpenMP's choice")
    parser.add_argument("--repeats", type=int, default=0, help="by default 11 on the CPU, 101 on a GPU")
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/kernels_DEVICE.json by default")
    return parser.parse_args(arguments)


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
        _C.set_num_threads(options.threads)
    device = resolve_device(options.device)
    on_gpu = device.type == "cuda"
    batch, repeats = options.batch or (16 if on_gpu else 1), options.repeats or (101 if on_gpu else 11)
    out = options.out or RESULTS / f"kernels_{device.type}.json"
    large = 1 << (30 if on_gpu else 28)
    peak = large / seconds([copy_of(large, device)], device, repeats)[0] / 1e9
    print(f"a copy of {large >> 21} MiB, read and written: {peak:.1f} GB/s\n")
    content = {"benchmark": "kernels", **describe(device), "batch": batch, "repeats": repeats}
    content |= {"large_copy_gb_per_s": round(peak, 2), "rows": []}
    failures = Failures()
    print(f"{'':34}{'MiB':>9}{'ms':>10}{'GB/s':>9}{'copy':>9}{'share':>8}")
    for cases in (holes, ends, poolings, losses):
        with failures.caught(cases.__name__):
            for case in cases(batch, device):
                with failures.caught(case.name) as row:
                    row["operation"] = case.name
                    row |= measure(case, device, repeats)
                    print_row(row)
                content["rows"].append(row)
                write_json(out, content)
    print(f"wrote {out}")
    failures.end()


if __name__ == "__main__":
    main()
