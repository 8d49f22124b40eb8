"""Learning from weak labels: EM-Fixed, EM-Adapt and bounding boxes against the same labels taken as truth.

    python benchmarks/weak.py --data-root CAMVID
    python benchmarks/weak.py --data-root CAMVID --choose

CAMVID is a folder with JPEGImages/, SegmentationClass/ and list/. The script makes a VOC-like task of it (crops around
cars, pedestrians, bicyclists and signs, all else background), weak labels with the package's own tools, and trains a
quarter- width LargeFOV with each recipe of prototxt/: from the same weights, with the same number of iterations, on the
same crops, with several seeds. It tests on crops of the test images. With ``--choose`` it tries the recipes' parameters
on crops of the validation images instead, with a seed of its own; those in METHODS were chosen on them. It takes eight
minutes of one core, without a GPU. docs/weak.md has the table and says what each row means and that the start has
learned from more than weak labels.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from weak_nets import BODY, Size, deploy_net, fill_start, solver, training_net
from weak_task import CENTRE, CLASSES, CRF, FOLDERS, SIDE, camvid_crops, write_split

from deeplab_caffe import _C, Segmenter
from deeplab_caffe.data import load_image, load_label, read_id_list
from deeplab_caffe.evaluation import ConfusionMatrix, Metrics, measure
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.solver import Solver, TrainingLog

CHOOSING_SEED = 100


@dataclass(frozen=True)
class Method:
    """A row of the table: which recipe learns from which label maps.

    Attributes:
        key: for the command line and the JSON.
        name: in the table.
        given: what the annotator has given.
        recipe: the train.prototxt, see :func:`deeplab_caffe.zoo.paths.prototxt_path`.
        labels: a key of :data:`weak_task.FOLDERS`.
        bias: bg_bias and fg_bias of EM-Fixed.
        portions: bg_portion and fg_portion of EM-Adapt.
    """

    key: str
    name: str
    given: str
    recipe: str
    labels: str
    bias: tuple[float, float] = (1, 2)
    portions: tuple[float, float] | None = None


# All others go on from its weights.
START = Method("start", "start of all below", "a few label maps", BODY, "few")
METHODS = (
    Method("full", "full supervision", "label maps", "deeplab_largefov", "strong"),
    Method("image_objects", "objects as truth everywhere", "image labels", "deeplab_largefov", "image_objects"),
    Method("image_all", "objects and background as truth", "image labels", "deeplab_largefov", "image_all"),
    Method("em_fixed", "EM-Fixed", "image labels", "deeplab_weak_em_fixed", "strong"),
    Method("em_adapt", "EM-Adapt", "image labels", "deeplab_weak_em_adapt", "strong"),
    Method("bbox_rect", "Bbox-Rect: boxes as truth", "boxes", "deeplab_bbox_rect", "rect"),
    Method("bbox_seg", "Bbox-Seg: cut out by the CRF", "boxes", "deeplab_bbox_seg", "seg"),
    Method("bbox_em_fixed", "Bbox-EM-Fixed", "boxes", "deeplab_bbox_em_fixed", "rect", bias=(5, 8)),
    Method("semi_em_fixed", "Semi-EM-Fixed", "few maps, image labels", "deeplab_semi_em_fixed", "strong"),
    Method(
        "semi_bbox_em_fixed",
        "Semi-Bbox-EM-Fixed",
        "few maps, boxes",
        "deeplab_semi_bbox_em_fixed",
        "rect",
        bias=(5, 8),
    ),
)
# What must hold: the first beats the second.
CLAIMS = (("em_adapt", "image_objects"), ("em_adapt", "image_all"), ("bbox_em_fixed", "bbox_rect"))
CHOICES: dict[str, list[dict[str, Any]]] = {
    "em_fixed": [{"bias": pair} for pair in ((1, 2), (3, 3))],
    "em_adapt": [{"portions": pair} for pair in ((0.4, 0.2), (0.7, 0.1))],
    "bbox_em_fixed": [{"bias": pair} for pair in ((1, 2), (3, 5), (5, 8), (5, 9))],
}


@contextmanager
def one_core() -> Iterator[None]:
    """Use one thread, so that the time means something beside other work."""
    before = torch.get_num_threads(), _C.num_threads()
    torch.set_num_threads(1)
    _C.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        _C.set_num_threads(before[1])


def make_task(root: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write the crops and lists, if they are not there from an earlier call; return what they are like."""
    facts = out / "task.json"
    wanted = {"per_class": options.per_class, "few": options.few, "side": SIDE, "crf": asdict(CRF), "centre": CENTRE}
    if facts.is_file():
        earlier = json.loads(facts.read_text())
        if earlier["made_with"] == json.loads(json.dumps(wanted)):
            return earlier
    counts = {"train": options.per_class, "val": options.per_class * 2 // 15, "test": options.per_class * 4 // 15}
    for seed, (subset, per_class) in enumerate(counts.items()):
        write_split(camvid_crops(root, subset, max(1, per_class), seed), out, subset, seed)
    found = {"made_with": wanted, **task_facts(out, options)}
    write_json(facts, found)
    return found


def task_facts(out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """List the few crops that have label maps; return what crops show, and how true label maps made from boxes are."""
    names = {subset: read_id_list(out / "list" / f"{subset}_id.txt") for subset in ("train", "val", "test")}
    few = [name for name in names["train"] if int(name.split("_")[-1]) < options.few]
    lines = [f"/JPEGImages/{name}.png /{FOLDERS['strong']}/{name}.png\n" for name in few]
    (out / "list" / "train_few.txt").write_text("".join(lines))
    found: dict[str, Any] = {}
    for subset, own in names.items():
        truth = {name: load_label(out / FOLDERS["strong"] / f"{name}.png") for name in own}
        classes = [set(np.unique(labels).tolist()) - {255} for labels in truth.values()]
        found[subset] = {
            "crops": len(own),
            "with": {name: sum(label in one for one in classes) for label, name in enumerate(CLASSES)},
            "sets_of_labels": len({tuple(sorted(one)) for one in classes}),
        }
        for kind in ("rect", "seg"):
            confusion = ConfusionMatrix(len(CLASSES), [255])
            for name, labels in truth.items():
                confusion.accumulate(labels, load_label(out / FOLDERS[kind] / f"{name}.png"))
            found[subset][f"{kind}_mean_iou_to_truth"] = round(measure(confusion, "skip").mean_iou, 2)
    found["train"]["few_crops_with_label_maps"] = len(few)
    return found


def test(folder: Path, subset: str, weights: Path, size: Size) -> Metrics:
    """Evaluate on a whole split."""
    segmenter = Segmenter(deploy_net(size, len(CLASSES)), weights, device="cpu")
    confusion = ConfusionMatrix(len(CLASSES), [255])
    for name in read_id_list(folder / "list" / f"{subset}_id.txt"):
        found = segmenter(load_image(folder / "JPEGImages" / f"{name}.png"))
        confusion.accumulate(load_label(folder / FOLDERS["strong"] / f"{name}.png"), found)
    return measure(confusion, "skip")


def run_method(
    method: Method, seed: int, start: Path | None, folder: Path, subset: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Train once and test; without ``start`` from :func:`fill_start`'s weights."""
    begin = process_time()
    size = Size(**options.size)
    param = training_net(
        method.recipe,
        folder,
        f"train_{method.labels}",
        size,
        num_labels=len(CLASSES),
        bias=method.bias,
        portions=method.portions,
    )
    rate = options.start_rate if start is None else options.rate
    trained = Solver(solver(param, options.iterations, rate, seed), device="cpu", log=TrainingLog(None))
    if start is None:
        fill_start(trained.net)
    else:
        trained.copy_from(start)
    trained.solve()
    weights = weights_path(folder, method, seed)
    save_weights(trained.net, weights)
    found = test(folder, subset, weights, size)
    result = {
        "method": method.key,
        "seed": seed,
        "mean_iou": round(found.mean_iou, 2),
        "pixel_accuracy": round(found.pixel_accuracy, 2),
        "iou": [None if np.isnan(value) else round(float(value), 2) for value in found.iou],
        "last_loss": round(mean(trained.losses[-20:]), 4),
        "processor_s": round(process_time() - begin, 1),
    }
    print(f"{method.name:34} seed {seed:<4} mean IoU {result['mean_iou']:6.2f}  {result['iou']}", flush=True)
    return result


def weights_path(folder: Path, method: Method, seed: int) -> Path:
    return folder / f"{method.key}_{seed}.caffemodel"


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{mean(values):.1f}"


def claims(runs: list[dict[str, Any]], pairs: Iterable[tuple[str, str]] = CLAIMS) -> list[dict[str, Any]]:
    """Return the differences that must be positive, seed by seed; of each pair, the first is to beat the second."""
    by = {(run["method"], run["seed"]): run["mean_iou"] for run in runs}
    found = []
    for better, worse in pairs:
        seeds = sorted(seed for method, seed in by if method == better and (worse, seed) in by)
        differences = [round(by[better, seed] - by[worse, seed], 2) for seed in seeds]
        if differences:
            found.append(
                {
                    "claim": f"{better} beats {worse}",
                    "differences": differences,
                    "mean_difference": round(mean(differences), 2),
                    "holds_for_every_seed": all(difference > 0 for difference in differences),
                }
            )
    return found


def table(runs: list[dict[str, Any]], methods: list[Method], classes: Sequence[str] = CLASSES) -> str:
    """Return the runs as Markdown: mean and standard deviation over the seeds, in per cent."""
    head = ["given", "trained by", "mean IoU", *classes, "pixel accuracy"]
    lines = [" | ".join(head), " | ".join([":---", ":---"] + ["---:"] * (len(head) - 2))]
    for method in methods:
        own = [run for run in runs if run["method"] == method.key]
        if own:
            shares = [
                f"{mean(values):.1f}" if None not in values else "-"
                for values in ([run["iou"][label] for run in own] for label in range(len(classes)))
            ]
            numbers = [spread([run["mean_iou"] for run in own]), *shares]
            accuracy = spread([run["pixel_accuracy"] for run in own])
            lines.append(" | ".join([method.given, method.name, *numbers, accuracy]))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def candidates(methods: Iterable[Method], choices: Mapping[str, list[dict[str, Any]]], keys: list[str]) -> list[Method]:
    """Return the methods with each of their parameters, named after them."""
    found = []
    for method in methods:
        if method.key in keys:
            for change in choices.get(method.key, [{}]):
                said = " ".join(f"{value:g}" for pair in change.values() for value in pair)
                found.append(
                    replace(method, key=f"{method.key} {said}".strip(), name=f"{method.name} {said}", **change)
                )
    return found


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="CamVid")
    parser.add_argument("--work", type=Path, help="folder for crops and weights; a temporary one by default")
    parser.add_argument("--methods", nargs="+", choices=[m.key for m in METHODS], default=[m.key for m in METHODS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time")
    parser.add_argument("--choose", action="store_true", help="try parameters on the validation images")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--start-rate", type=float, default=0.003)
    parser.add_argument(
        "--per-class", type=int, default=300, help="crops around each class; an eighth, a quarter to test"
    )
    parser.add_argument("--few", type=int, default=15, help="crops of each class with label maps, for the start")
    parser.add_argument("--size", type=json.loads, default={}, help='fields of weak_nets.Size, as {"width": 16}')
    parser.add_argument("--out", type=Path, help="JSON file; benchmarks/results/weak.json or weak_choice.json")
    parser.add_argument("--markdown", type=Path, help="write the table")
    return parser.parse_args(words)


def run_seed(
    seed: int, methods: list[Method], folder: Path, subset: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Run the start, then all methods from it."""
    with one_core():
        runs = [run_method(START, seed, None, folder, subset, options)]
        start = weights_path(folder, START, seed)
        return runs + [run_method(method, seed, start, folder, subset, options) for method in methods]


def measure_all(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the task and run everything."""
    task = make_task(options.data_root, folder, options)
    print(json.dumps(task), flush=True)
    methods = (
        candidates(METHODS, CHOICES, options.methods)
        if options.choose
        else [m for m in METHODS if m.key in options.methods]
    )
    seeds = [CHOOSING_SEED] if options.choose else options.seeds
    subset = "val" if options.choose else "test"
    work = partial(run_seed, methods=methods, folder=folder, subset=subset, options=options)
    if options.jobs > 1:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            runs = [run for own in pool.map(work, seeds) for run in own]
    else:
        runs = [run for seed in seeds for run in work(seed)]
    print("\n" + table(runs, [START, *methods]))
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(table(runs, [START, *methods]), encoding="utf-8")
    return {
        "task": {"classes": CLASSES, **task},
        "size": asdict(Size(**options.size)),
        "evaluated_on": subset,
        "iterations": options.iterations,
        "rate": options.rate,
        "start_rate": options.start_rate,
        "methods": [asdict(method) for method in (START, *methods)],
        "runs": runs,
        "claims": claims(runs),
        "processor_s": round(sum(item["processor_s"] for item in runs), 1),
    }


def main(words: list[str] | None = None) -> None:
    options = parse(words)
    with one_core(), tempfile.TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        found = measure_all(options, folder)
        facts = describe(torch.device("cpu"))
    out = options.out or RESULTS / ("weak_choice.json" if options.choose else "weak.json")
    write_json(out, {"benchmark": "weak", **facts, "load_average": os.getloadavg(), **found})
    for claim in found["claims"]:
        print(f"{claim['claim']}: {claim['differences']} {'yes' if claim['holds_for_every_seed'] else 'NO'}")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
