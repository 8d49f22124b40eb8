"""Images a second that the training pipeline gives by itself, by number of workers.

    python benchmarks/data_pipeline.py --list train.txt --root /data/voc12/   # "image label" lines, as IMAGE_SEG_DATA's
    python benchmarks/data_pipeline.py                                        # made-up photographs of VOC's usual size

Decode, random crop, mirror, mean: what IMAGE_SEG_DATA does in phase TRAIN. Nothing is trained, so the pipeline has all
cores. The list is read again and again, so the files come from the page cache after the first time. Numbers of workers
take turns, and the best run of each counts, because other programs may run on the machine.

``--processes`` also times as many processes as workers, each with a source of its own and no workers. That is the speed
without Python's lock, if batches went from one process to another at no cost.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json

from deeplab_caffe.data import CaffeRNG, ImageSegDataConfig, ImageSegSource
from deeplab_caffe.data.io import images
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.environment import usable_cores


def make_photographs(folder: Path, count: int) -> Path:
    """Write JPEGs of 375 x 500 with some texture, palette-free label maps, and their list."""
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


def run(source: ImageSegSource, seconds: float) -> tuple[float, float]:
    """Return images a second over ``seconds`` or two batches, and milliseconds of processor time per image."""
    source.next_batch()
    batches, start, used = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - start) < seconds or batches < 2:
        source.next_batch()
        batches += 1
    images = batches * source.batch_size
    return images / passed, 1e3 * (time.process_time() - used) / images


def run_alone(config: ImageSegDataConfig, seconds: float) -> float:
    """Return what a process by itself gives, without workers."""
    return run(ImageSegSource(config, "TRAIN", rng=CaffeRNG(1)), seconds)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", type=Path, help='file of "image label" lines')
    parser.add_argument("--root", default="", help="put before every name as it is")
    parser.add_argument("--batch", type=int, default=30)
    parser.add_argument("--crop", type=int, default=321)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each number of workers, which take turns")
    parser.add_argument("--workers", type=int, nargs="*", help="default 0, 1, 2, 4, ... up to the number of cores")
    parser.add_argument("--copies", action="store_true", help="time Pillow's pixels copied by np.asarray too")
    parser.add_argument("--processes", action="store_true", help="time processes too")
    parser.add_argument("--out", type=Path, default=RESULTS / "data_pipeline.json")
    args = parser.parse_args()

    cores = usable_cores()
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
            mean_value=IMAGENET_MEAN_BGR,
        )
        sources = {count: ImageSegSource(config, "TRAIN", rng=CaffeRNG(1), workers=count) for count in numbers}
        spawn = multiprocessing.get_context("spawn")
        pools = {count: ProcessPoolExecutor(count, spawn) for count in numbers if count and args.processes}
        found, used, processes = ({key: [] for key in keys} for keys in (sources, sources, pools))
        copied: dict[int, list[float]] = {count: [] for count in numbers if args.copies}
        copied_cpu: dict[int, list[float]] = {count: [] for count in copied}
        for _ in range(args.rounds):
            for count in copied:
                with mock.patch.object(images, "zero_copy_pixels", np.asarray):
                    rate, cpu = run(sources[count], args.seconds)
                    sources[count].close()
                copied[count].append(rate)
                copied_cpu[count].append(cpu)
            for count, source in sources.items():
                rate, cpu = run(source, args.seconds)
                found[count].append(rate)
                used[count].append(cpu)
                source.close()
            for count, pool in pools.items():
                runs = [pool.submit(run_alone, config, args.seconds) for _ in range(count)]
                processes[count].append(sum(each.result() for each in runs))
        for pool in pools.values():
            pool.shutdown()
        best = {count: round(max(rates), 1) for count, rates in found.items()}
        apart = {count: round(max(rates), 1) for count, rates in processes.items()}
        for count in numbers:
            beside = f"   {count} processes: {apart[count]:7.1f}" if count in apart else ""
            print(f"{count:3d} workers: {best[count]:8.1f} images/s, {min(used[count]):.2f} ms each{beside}")
        for count in copied:
            print(
                f"{count:3d} workers, copies: {max(copied[count]):.1f} images/s, {min(copied_cpu[count]):.2f} ms each"
            )
        content = {
            "benchmark": "data_pipeline",
            "images": "made-up JPEGs 375 x 500" if args.list is None else args.list.name,
            "list_length": len(ImageSegSource(config, "TRAIN")),
            "batch": args.batch,
            "crop": args.crop,
            "mirror": True,
            "usable_cores": cores,
            "images_per_second_by_workers": best,
            "processor_milliseconds_per_image_by_workers": {count: round(min(ms), 3) for count, ms in used.items()},
            **({"images_per_second_copied": {n: round(max(r), 1) for n, r in copied.items()}} if copied else {}),
            **({"images_per_second_by_separate_processes": apart} if apart else {}),
            **describe(torch.device("cpu")),
        }
    write_json(args.out, content)


if __name__ == "__main__":
    main()
