"""Images a second that the training pipeline gives by itself, by number of workers.

    python benchmarks/data_pipeline.py --list train.txt --root /data/voc12/   # "image label" lines, as IMAGE_SEG_DATA's
    python benchmarks/data_pipeline.py                                        # made-up photographs of VOC's usual size

Decode, random crop, mirror, mean: what IMAGE_SEG_DATA does in phase TRAIN. Nothing is trained, so that all cores are
the pipeline's. The list goes round: the files come from the page cache after the first time.

``--processes`` also times as many processes as workers, each with a source of its own and no workers: what could be had
without Python's lock, were there no cost in handing batches from one process to another.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json

from deeplab_caffe.data import CaffeRNG, ImageSegData, ImageSegDataConfig
from deeplab_caffe.data.transform import VOC_MEAN


def make_photographs(folder: Path, count: int) -> Path:
    """JPEGs of 375 x 500 with some texture, palette-free label maps, and their list."""
    rng = np.random.default_rng(0)
    lines = []
    for k in range(count):
        coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), np.int16)
        photo = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(photo).save(folder / f"{k}.jpg", quality=95)
        labels = Image.fromarray(rng.integers(0, 21, (12, 16), dtype=np.uint8))
        labels.resize((500, 375), Image.Resampling.NEAREST).save(folder / f"{k}.png")
        lines.append(f"{k}.jpg {k}.png\n")
    (folder / "list.txt").write_text("".join(lines))
    return folder / "list.txt"


def images_per_second(config: ImageSegDataConfig, workers: int, seconds: float) -> float:
    """Best of three runs of at least ``seconds`` / 3, after two batches to warm up."""
    source = ImageSegData(config, "TRAIN", CaffeRNG(1), workers=workers)
    best = 0.0
    for _ in range(2):
        source.next_batch()
    for _ in range(3):
        batches, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds / 3 or batches < 2:
            source.next_batch()
            batches += 1
        best = max(best, batches * config.batch_size / passed)
    source.close()
    return best


def of_processes(config: ImageSegDataConfig, count: int, seconds: float) -> float:
    """As :func:`images_per_second`, the sum over ``count`` processes side by side."""
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        # Starting them takes longer than a run: the first round is for that.
        for share in (0.3, seconds):
            runs = [pool.submit(images_per_second, config, 0, share) for _ in range(count)]
            total = sum(run.result() for run in runs)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", type=Path, help='file of "image label" lines')
    parser.add_argument("--root", default="", help="put before every name as it is")
    parser.add_argument("--batch", type=int, default=30)
    parser.add_argument("--crop", type=int, default=321)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each number of workers")
    parser.add_argument("--workers", type=int, nargs="*", help="default 0, 1, 2, 4, ... up to the number of cores")
    parser.add_argument("--processes", action="store_true", help="time processes too")
    parser.add_argument("--out", type=Path, default=RESULTS / "data_pipeline.json")
    args = parser.parse_args()

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    doubled = [2**k for k in range(cores.bit_length()) if 2**k < cores]
    numbers = args.workers or [0, *doubled, cores]
    with tempfile.TemporaryDirectory() as folder:
        source, root = args.list, args.root
        if source is None:
            source, root = make_photographs(Path(folder), 120), f"{folder}/"
        config = ImageSegDataConfig(
            source=str(source),
            root_folder=root,
            batch_size=args.batch,
            label_type="PIXEL",
            shuffle=True,
            crop_size=args.crop,
            mirror=True,
            mean_value=VOC_MEAN,
        )
        found, processes = {}, {}
        for workers in numbers:
            found[workers] = round(images_per_second(config, workers, args.seconds), 1)
            print(f"{workers:3d} workers: {found[workers]:8.1f} images/s", flush=True)
            if args.processes and workers:
                processes[workers] = round(of_processes(config, workers, args.seconds), 1)
                print(f"{workers:3d} processes: {processes[workers]:6.1f} images/s", flush=True)
        content = {
            "benchmark": "data_pipeline",
            "images": "made-up JPEGs 375 x 500" if args.list is None else args.list.name,
            "list_length": len(ImageSegData(config, "TRAIN")),
            "batch": args.batch,
            "crop": args.crop,
            "mirror": True,
            "usable_cores": cores,
            "images_per_second_by_workers": found,
            **({"images_per_second_by_separate_processes": processes} if processes else {}),
            **describe(torch.device("cpu")),
        }
    write_json(args.out, content)


if __name__ == "__main__":
    main()
