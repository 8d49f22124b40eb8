"""From images to labels: the parts of fps.py that go beyond one network pass; by itself, the Segmenter's speed.

    python benchmarks/segmentation.py --model deeplab_v3_lite0 --weights lite0.caffemodel --device cpu --threads 1 2

An image of 500 x 375 in memory to labels, one call an image, without and with the dense CRF in turns. Figures are
medians of the time and of the processor time, which other programs on the machine change less.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from contenders import network_path, random_weights, switches
from environment import RESULTS, describe, write_json
from peaks import inner_calls, synchronize, time_blocks
from PIL import Image

import deeplab_caffe as dc
from deeplab_caffe import _C
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.inference import OptimizedNet
from deeplab_caffe.net.head import padded_side
from deeplab_caffe.zoo.default import CAMVID_MODEL, DEMO_PHOTO, EMBEDDED_MODELS

# A VOC image; LargeFOV then sees 505 x 377.
_PHOTO_SIZE = (500, 375)
_CRF = dc.CRFParams(pos_w=3, pos_xy_std=3, bi_w=4, bi_xy_std=121, bi_rgb_std=5, iterations=10)
_AGREEMENT, _FLOAT32_AGREEMENT = 0.995, 0.9999
# Images in a batch of files: a captured CRF takes memory for the most vertices possible of each.
_MOST_FILES = 8
_SUFFIXES = (".jpg", ".jpeg", ".png")


def photos(count: int, path: Path = DEMO_PHOTO) -> np.ndarray:
    """Return so many versions of a photograph, each shifted: uint8 (count, 375, 500, 3)."""
    image = np.asarray(Image.open(path).convert("RGB").resize(_PHOTO_SIZE, Image.Resampling.BICUBIC))
    return np.stack([np.roll(image, 7 * shift, axis=1) for shift in range(count)])


def input_size(net: dc.Net) -> tuple[int, int]:
    """Return height and width of what the network sees of a photograph."""

    def output_side(side: int) -> int:
        return net.infer_shapes(**{net.inputs[0]: (1, 3, side, side)})[net.outputs[0]][2]

    width, height = (padded_side(least, output_side)[0] for least in _PHOTO_SIZE)
    return height, width


def optimized(model: str, dtype: str, device: torch.device, batch: int) -> OptimizedNet:
    """Return the network with random weights, ready for VOC images."""
    net = dc.Net(network_path(model))
    net.load_state_dict(random_weights(model).state_dict())
    size = input_size(net)
    return net.to(device).optimize(dtype=dtype, batch=batch, size=size, release=True, copy_outputs=False)


def _best_dtype(dtypes: Sequence[str]) -> str:
    return "bfloat16" if "bfloat16" in dtypes else dtypes[0]


def crf_case(device: torch.device, dtypes: Sequence[str], batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure images in memory to labels, without and with the CRF."""
    dtype, model = _best_dtype(dtypes), options.model[0]
    fast = optimized(model, dtype, device, batch)
    images = torch.from_numpy(photos(batch)).to(device)
    runs = {
        "labels": lambda: fast.label_images(images),
        "labels after the CRF": lambda: fast.label_images(images, crf=_CRF),
    }
    for run in runs.values():
        run()
    inner = inner_calls(runs["labels after the CRF"], device)
    times = {name: median(took) for name, took in time_blocks(runs, device, options.repeats, inner).items()}
    rows = {name: {"ms": round(took * 1e3, 3), "images_per_s": round(batch / took, 2)} for name, took in times.items()}
    print(f"\n{model}  {dtype}  batch {batch}  images of {_PHOTO_SIZE[0]}x{_PHOTO_SIZE[1]} to labels")
    for name, row in rows.items():
        print(f"  {name:22}{row['ms']:>12.3f} ms{row['images_per_s']:>12.2f} images/s")
    return {"model": model, "dtype": dtype, "batch": batch, "size": list(_PHOTO_SIZE), "rows": rows}


def decode(path: Path) -> np.ndarray:
    """Return uint8 RGB (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def decoded(paths: Sequence[Path], workers: int, ahead: int) -> Iterator[np.ndarray]:
    """Yield the images in order, decoded ahead by threads: Pillow decodes without the interpreter's lock."""
    rest = iter(paths)
    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(decode, path) for path in islice(rest, ahead)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(decode, path) for path in islice(rest, 1)]


def segment_files(
    fast: OptimizedNet, paths: Sequence[Path], batch: int, workers: int, crf: dc.CRFParams | None
) -> Iterator[np.ndarray]:
    """Return labels (n, H, W) of each batch of files of one size; the device works on one while the next is decoded."""
    images = decoded(paths, workers, 2 * batch + workers)
    on_gpu = fast.device.type == "cuda"
    pending: tuple[torch.Tensor, torch.cuda.Event | None] | None = None
    while group := list(islice(images, batch)):
        stacked = torch.from_numpy(np.stack(group))
        labels = fast.label_images(stacked.pin_memory() if on_gpu else stacked, crf=crf)
        event = None
        if on_gpu:
            # Page-locked, so that the copy is queued behind the work, and nothing waits before the next batch is there.
            host = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
            host.copy_(labels, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            labels = host
        if pending is not None:
            yield _ready(*pending)
        pending = labels, event
    if pending is not None:
        yield _ready(*pending)


def _ready(labels: torch.Tensor, event: torch.cuda.Event | None) -> np.ndarray:
    if event is not None:
        event.synchronize()
    return labels.numpy()


def end_to_end(device: torch.device, dtypes: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Measure JPEG files to labels with the CRF."""
    dtype, model, batch = _best_dtype(dtypes), options.model[0], min(max(options.batch), _MOST_FILES)
    workers = options.workers or os.cpu_count() or 1
    fast = optimized(model, dtype, device, batch)
    count = batch * (32 if device.type == "cuda" else 2)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.jpg" for index in range(count)]
        for path, photo in zip(paths, photos(count), strict=True):
            Image.fromarray(photo).save(path, quality=92)
        with switches("float32"):
            segmenter = dc.Segmenter(network_path(model), None, crf=_CRF, device=str(device), optimize=False)
            segmenter.net.load_state_dict(random_weights(model).state_dict())
            expected = segmenter(decode(paths[0]))
        first = next(segment_files(fast, paths[:batch], batch, workers, _CRF))[0]
        agreement = float((first == expected).mean())
        times = []
        for _ in range(options.repeats):
            synchronize(device)
            begin = perf_counter()
            done = sum(len(labels) for labels in segment_files(fast, paths, batch, workers, _CRF))
            times.append(done / (perf_counter() - begin))
    found = {"model": model, "dtype": dtype, "batch": batch, "size": list(_PHOTO_SIZE), "workers": workers}
    found |= {
        "images": count,
        "images_per_s": round(median(times), 2),
        "all_images_per_s": [round(t, 2) for t in times],
    }
    found["agreement_with_segmenter_float32"] = round(agreement, 5)
    print(f"\n{model}  {dtype}  JPEG files to labels with the CRF, batch {batch}, {workers} decoding threads")
    print(f"  {found['images_per_s']:.2f} images/s; {agreement:.2%} of pixels as the Segmenter's in float32")
    return found


def label_agreement(device: torch.device, dtypes: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Compare the CamVid network's labels in each dtype with float32's by direct convolutions, on a folder of images.

    A VOC-shaped folder with list/test.txt gives its test images, any other all it has.
    """
    paths = test_images(options.agreement)

    def prepared(**how: Any) -> OptimizedNet:
        net = dc.Net(CAMVID_MODEL.deploy, CAMVID_MODEL.weights).to(device)
        return net.optimize(batch=1, size=361, autotune=False, **how)

    nets = {"float32": prepared(dtype="float32")}
    if device.type == "cpu":
        nets["float32, precision fast"] = prepared(dtype="float32", precision="fast")
        direct = {choice.layer: "onednn_packed" for choice in nets["float32"].tuning}
        reference = prepared(dtype="float32", algorithms=direct)
    else:
        reference = nets.pop("float32")
    nets |= {dtype: prepared(dtype=dtype) for dtype in dtypes if dtype != "float32"}
    same, pixels = dict.fromkeys(nets, 0), 0
    for path in paths:
        image = torch.from_numpy(decode(path).copy())[None]
        expected = reference.label_images(image)
        pixels += expected.numel()
        for name, fast in nets.items():
            same[name] += int((fast.label_images(image) == expected).sum())
    shares = {name: round(count / pixels, 7) for name, count in same.items()}
    print(f"\n{CAMVID_MODEL.name}: pixels with the label of float32 by direct convolutions, {len(paths)} images")
    for name, share in shares.items():
        least = _FLOAT32_AGREEMENT if name.startswith("float32") else _AGREEMENT
        print(f"  {name:26}{share:>12.5%}{'' if share >= least else f', below {least:.2%}'}")
    return {"model": CAMVID_MODEL.name, "images": len(paths), "pixels": pixels, "shares": shares}


def test_images(folder: Path) -> list[Path]:
    """Return the images of a folder, or the test images of a VOC-shaped one."""
    images = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
    lists = [folder / "list" / name for name in ("test_id.txt", "test.txt")]
    wanted = next((set(path.read_text().split()) for path in lists if path.is_file()), None)
    found = [path for path in sorted(images.iterdir()) if path.suffix.lower() in _SUFFIXES]
    if wanted is not None:
        stems = {Path(name).stem for name in wanted}
        found = [path for path in found if path.stem in stems]
    if not found:
        raise SystemExit(f"no images in {images}")
    return found


def segmenter_rows(segmenter: dc.Segmenter, image: np.ndarray, device: torch.device, repeats: int) -> dict[str, Any]:
    """Measure the Segmenter on one image, without and with the CRF."""
    crfs = {"labels": None, "labels after the CRF": segmenter.crf}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in crfs}
    # The first turn prepares the net.
    for turn in range(repeats + 1):
        for name, segmenter.crf in crfs.items():
            synchronize(device)
            begin, used = perf_counter(), process_time()
            segmenter(image)
            synchronize(device)
            if turn:
                found[name].append((perf_counter() - begin, process_time() - used))
    rows = {}
    for name, took in found.items():
        clock, processor = zip(*took, strict=True)
        rows[name] = {
            "ms": round(1e3 * median(clock), 1),
            "least_ms": round(1e3 * min(clock), 1),
            "processor_ms": round(1e3 * median(processor), 1),
            "images_per_s": round(1 / median(clock), 2),
            "images_per_s_of_processor_time": round(1 / median(processor), 2),
        }
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        default="deeplab_v3_lite0",
        help="a network's name, a folder or a deploy prototxt; the package's own networks come with weights and CRF",
    )
    parser.add_argument("--weights", type=Path, help="caffemodel; random weights by default")
    parser.add_argument("--variables", nargs="*", default=["NUM_LABELS=21", "EXP=voc12"], metavar="NAME=VALUE")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[0], help="CPU threads; 0: torch's and OpenMP's choice"
    )
    parser.add_argument("--photo", type=Path, default=DEMO_PHOTO, help="the image; by default the package's china.jpg")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/segmentation_DEVICE.json by default")
    options = parser.parse_args(arguments)
    device = resolve_device(options.device)
    variables = dict(each.split("=", 1) for each in options.variables)
    (image,) = photos(1, options.photo)
    own = EMBEDDED_MODELS.get(options.model)
    weights = options.weights or (own and own.weights)
    crf = own.crf if own else _CRF
    deploy = own.deploy if own else network_path(options.model)
    segmenter = dc.Segmenter(deploy, weights, crf=crf, device=str(device), variables=variables)
    content = {"benchmark": "segmentation", **describe(device), "model": options.model, "size": list(_PHOTO_SIZE)}
    content |= {"photo": options.photo.name, "crf": asdict(crf)}
    content |= {"weights": "random" if weights is None else weights.name, "repeats": options.repeats}
    content["cases"] = []
    out = options.out or RESULTS / f"segmentation_{device.type}.json"
    for threads in options.threads:
        if threads:
            torch.set_num_threads(threads)
            _C.set_num_threads(threads)
        rows = segmenter_rows(segmenter, image, device, options.repeats)
        load = [round(each, 1) for each in os.getloadavg()]
        content["cases"].append({"threads": torch.get_num_threads(), "load_average": load, "rows": rows})
        print(f"threads: {torch.get_num_threads()}, load of the machine: {load[0]}")
        for name, row in rows.items():
            print(f"  {name:22}{row['ms']:>10.1f} ms{row['processor_ms']:>10.1f} ms of processor time")
        write_json(out, content)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
