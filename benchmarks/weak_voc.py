"""Learning from weak labels on pictures of VOC: image labels, boxes, few label maps, all label maps.

    deeplab-caffe convert efficientnet-lite0-57934424.pth --init-for deeplab_v3_lite0
    python benchmarks/weak_voc.py --data-root voc_animals --init init.caffemodel --work FOLDER
    python benchmarks/weak_voc.py --data-root voc_animals --init init.caffemodel --work FOLDER --choose

voc_animals is a folder with JPEGImages/, SegmentationClassAug/ and list/. EfficientNet-Lite0 is frozen, so that all
methods and seeds take only minutes on two cores: its features of each picture are computed once, and only a head
learns, with the labels, E-step and loss of the recipes in prototxt/. Lite0 has ImageNet's weights, and the head begins
with its fillers' values; label maps are used only where the table says so. FOLDER keeps features and finished runs, and
the same command continues after the last finished run. With ``--choose`` it tries parameters instead, on training
pictures kept apart, with a seed of its own. docs/weak.md has the table and says what it shows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import numpy as np
import torch
from environment import RESULTS, describe, write_json
from weak import Method, candidates, claims, one_core, table
from weak_nets import solver, variables
from weak_voc_task import CELLS, CHANNELS, CLASSES, IDS, SIDE, TRUNK, label_path, labels_worth, make_task

from deeplab_caffe import Net, proto
from deeplab_caffe.data import load_label
from deeplab_caffe.evaluation import ConfusionMatrix, measure
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver import Solver, TrainingLog
from deeplab_caffe.viz import VOC_CLASSES
from deeplab_caffe.zoo.paths import prototxt_path

BODY = "deeplab_largefov"
EXP = "animals"
CHOOSING_SEED = 100
# Filters of fc6 and fc7, both 1x1: with fc6 3x3 a run takes several times as long.
WIDTH, DROPOUT = 128, 0.3

METHODS = (
    Method("image_em_fixed", "EM-Fixed", "image labels", "deeplab_weak_em_fixed", "strong"),
    Method("image_em_adapt", "EM-Adapt", "image labels", "deeplab_weak_em_adapt", "strong"),
    Method("bbox_rect", "Bbox-Rect: boxes as truth", "boxes", BODY, "rect"),
    Method("bbox_seg", "Bbox-Seg: cut out by the CRF", "boxes", BODY, "seg"),
    Method("bbox_em_fixed", "Bbox-EM-Fixed", "boxes", "deeplab_bbox_em_fixed", "rect", bias=(3, 5)),
    Method("few", "those alone", "few label maps", BODY, "few"),
    Method("semi_em_fixed", "Semi-EM-Fixed", "few maps, image labels", "deeplab_semi_em_fixed", "strong"),
    Method(
        "semi_bbox_em_fixed", "Semi-Bbox-EM-Fixed", "few maps, boxes", "deeplab_semi_bbox_em_fixed", "rect", bias=(3, 5)
    ),
    Method("full", "full supervision", "all label maps", BODY, "strong"),
)
RECT = next(method for method in METHODS if method.key == "bbox_rect")
# Begins with iterations of RECT: from a new head its E-step soon takes every box for background.
WARMED = "bbox_em_fixed"
# The order that the issue expects; and what pays at all.
CLAIMS = (
    ("bbox_seg", "bbox_rect"),
    ("bbox_em_fixed", "bbox_rect"),
    ("bbox_em_fixed", "bbox_seg"),
    ("full", "bbox_seg"),
    ("full", "bbox_em_fixed"),
    ("bbox_rect", "image_em_adapt"),
    ("image_em_adapt", "image_em_fixed"),
    ("semi_em_fixed", "few"),
    ("semi_bbox_em_fixed", "few"),
    ("semi_bbox_em_fixed", "bbox_em_fixed"),
)
CHOICES: dict[str, list[dict[str, Any]]] = {
    "image_em_fixed": [{"bias": pair} for pair in ((1, 2), (3, 3))],
    "image_em_adapt": [{"portions": pair} for pair in ((0.4, 0.2), (0.6, 0.2))],
    "bbox_em_fixed": [{"bias": pair} for pair in ((1, 2), (3, 5), (1, 6))],
    "semi_em_fixed": [{"bias": pair} for pair in ((1, 2), (3, 3))],
    "semi_bbox_em_fixed": [{"bias": pair} for pair in ((1, 2), (3, 5), (1, 6))],
}


def head(recipe: str, kind: str, bias: tuple[float, float] = (1, 2)) -> caffe_pb2.NetParameter:
    """Return a recipe's train.prototxt or deploy.prototxt without the layers below fc6, which reads the features."""
    net = proto.read_net(prototxt_path(recipe, kind), variables(EXP, len(CLASSES), bias))
    kept = [
        layer for layer in net.layer if not layer.name.startswith(("conv", "pool", *(f"relu{i}_" for i in range(1, 6))))
    ]
    del net.layer[:]
    for layer in kept:
        conv = layer.convolution_param
        if layer.name in ("fc6", "fc7"):
            conv.num_output = WIDTH
            conv.weight_filler.CopyFrom(caffe_pb2.FillerParameter(type="msra"))
        if layer.name == "fc6":
            layer.bottom[0] = "data"
            conv.kernel_size[:], conv.pad[:], conv.dilation[:] = [1], [0], [1]
        # Adam's steps do not shrink with the gradient: ten times as large, as the recipes have fc8's, one of them moves
        # the scores by more than any bias of an E-step.
        for spec in layer.param:
            spec.lr_mult = 1
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = DROPOUT
        net.layer.add().CopyFrom(layer)
    return net


def training_net(method: Method, lists: dict[str, Path], batch: int) -> caffe_pb2.NetParameter:
    """Return the recipe on features, scores zoomed to their stride of 8; its labels, E-step and loss stay as they are.

    Args:
        method: with the recipe.
        lists: of HDF5 files, by data layer: data, or data_strong and data_weak or data_bbox.
        batch: pictures a batch.
    """
    net = head(method.recipe, "train", method.bias)
    for layer in net.layer:
        if layer.type == "ImageSegData":
            layer.type = "HDF5Data"
            layer.ClearField("image_data_param")
            layer.ClearField("transform_param")
            layer.hdf5_data_param.source = str(lists[layer.name])
            layer.hdf5_data_param.batch_size = batch // len(lists)
        if layer.type == "AdaptiveBiasChannel" and method.portions:
            param = layer.adaptive_bias_channel_param
            param.bg_portion, param.fg_portion = method.portions
        if method.recipe == BODY:
            # A top is called as its dataset.
            own = {"label": "label_strong" if method.labels == "few" else f"label_{method.labels}"}
            layer.bottom[:] = [own.get(name, name) for name in layer.bottom]
            layer.top[:] = [own.get(name, name) for name in layer.top]
    place = [layer.name for layer in net.layer].index(f"fc8_{EXP}")
    net.layer[place].top[0] = "fc8"
    zoom = caffe_pb2.LayerParameter(name="fc8_zoom", type="Interp", bottom=["fc8"], top=[f"fc8_{EXP}"])
    zoom.interp_param.zoom_factor = 2
    net.layer.insert(place + 1, zoom)
    return net


def deploy_net() -> caffe_pb2.NetParameter:
    """Return the net from the features of a picture to scores at stride 16, the blob ``fc8_EXP``."""
    net = head(BODY, "deploy")
    place = next(i for i, layer in enumerate(net.layer) if layer.name.startswith("fc8"))
    del net.layer[place + 1 :]
    net.layer[place].name = net.layer[place].top[0] = f"fc8_{EXP}"
    net.layer[place].convolution_param.num_output = len(CLASSES)
    del net.input_dim[:], net.input_shape[:], net.input[:]
    if net.layer[0].type == "Input":
        del net.layer[0]
    net.input.append("data")
    net.input_shape.add(dim=[1, CHANNELS, CELLS, CELLS])
    return net


def write_list(path: Path, names: list[str], work: Path, count: int, seed: int) -> Path:
    """Write the items of ``count`` pictures: all of them in an order drawn anew, again and again."""
    rng = np.random.default_rng(seed)
    rounds = -(-count // len(names))
    order = np.concatenate([rng.permutation(len(names)) for _ in range(rounds)])[:count]
    path.write_text("".join(f"{work / 'items' / names[place]}.h5\n" for place in order))
    return path


def write_lists(
    folder: Path, method: Method, train: list[str], iterations: int, seed: int, options: argparse.Namespace
) -> dict[str, Path]:
    """Write the lists of a method's data layers, by their names; the first pictures are those with label maps."""
    sources = {"data": train[: options.few] if method.labels == "few" else train}
    if method.recipe.startswith("deeplab_semi"):
        weak = "data_bbox" if method.labels == "rect" else "data_weak"
        sources = {"data_strong": train[: options.few], weak: train[options.few :]}
    count = iterations * options.batch // len(sources)
    work = options.work.absolute()
    return {name: write_list(folder / f"{name}.txt", own, work, count, seed) for name, own in sources.items()}


@torch.inference_mode()
def test(root: Path, work: Path, names: list[str], weights: Path) -> dict[str, Any]:
    """Evaluate at the pictures' own sizes, against VOC's label maps with all of its classes."""
    net = Net(deploy_net(), weights, "TEST")
    confusion = ConfusionMatrix(len(VOC_CLASSES), [255])
    for name in names:
        truth = load_label(label_path(root, work, "strong", name))
        features = torch.from_numpy(np.load(work / "features" / f"{name}.npy")[None].astype(np.float32))
        scores = net.forward(data=features, blobs=[f"fc8_{EXP}"])[f"fc8_{EXP}"]
        confusion.accumulate(truth, IDS[interp_argmax(scores, *truth.shape)[0].numpy()])
    found = measure(confusion, "skip")
    iou = found.iou[IDS]
    return {
        "mean_iou": round(float(np.nanmean(iou)), 2),
        "pixel_accuracy": round(found.pixel_accuracy, 2),
        "iou": [None if np.isnan(value) else round(float(value), 2) for value in iou],
    }


def run_method(job: tuple[Method, int], subsets: dict[str, list[str]], options: argparse.Namespace) -> dict[str, Any]:
    """Train once from a new head and test."""
    method, seed = job
    begin = process_time()
    with one_core(), tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary) / "head.caffemodel"
        stages = [(method, options.iterations)]
        if method.key.startswith(WARMED):
            stages = [(RECT, options.warm), (method, options.iterations - options.warm)]
        for number, (stage, iterations) in enumerate(stages):
            lists = write_lists(Path(temporary), stage, subsets["train"], iterations, seed + 1000 * number, options)
            param = solver(training_net(stage, lists, options.batch), iterations, options.rate, seed)
            # In so few iterations SGD at the rates of the recipes learns too little of a new head.
            param.type = "Adam"
            param.ClearField("weight_decay")
            trained = Solver(param, device="cpu", log=TrainingLog(None))
            if number:
                trained.copy_from(weights)
            trained.solve()
            save_weights(trained.net, weights)
        trained_s = process_time() - begin
        found = test(options.data_root, options.work, subsets["choosing" if options.choose else "val"], weights)
    return {
        "method": method.key,
        "seed": seed,
        **found,
        "last_loss": round(mean(trained.losses[-20:]), 4),
        "training_s": round(trained_s, 1),
        "processor_s": round(process_time() - begin, 1),
    }


def run_all(
    jobs: list[tuple[Method, int]], subsets: dict[str, list[str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Run what an earlier call has not, and note each run as it ends."""
    noted = options.work / ("choice.json" if options.choose else "progress.json")
    budget = {
        name: getattr(options, name) for name in ("train", "choosing", "few", "batch", "iterations", "warm", "rate")
    }
    earlier = json.loads(noted.read_text()) if noted.is_file() else {}
    runs = {(run["of"], run["seed"]): run for run in earlier.get("runs", []) if earlier["budget"] == budget}
    of = {(method.key, seed): json.dumps(asdict(method)) for method, seed in jobs}
    left = [(method, seed) for method, seed in jobs if (of[method.key, seed], seed) not in runs]
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        work = partial(run_method, subsets=subsets, options=options)
        for done in as_completed([pool.submit(work, job) for job in left]):
            run = done.result()
            key = of[run["method"], run["seed"]]
            runs[key, run["seed"]] = {"of": key, **run}
            write_json(noted, {"budget": budget, "runs": list(runs.values())})
            print(f"{run['method']:30} seed {run['seed']:<4} mean IoU {run['mean_iou']:6.2f}  {run['iou']}", flush=True)
    ordered = [runs[of[method.key, seed], seed] for method, seed in jobs]
    return [{name: value for name, value in run.items() if name != "of"} for run in ordered]


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="voc_animals")
    parser.add_argument("--init", type=Path, required=True, help=f"initial model of {TRUNK}")
    parser.add_argument("--work", type=Path, required=True, help="folder for features, label maps and finished runs")
    parser.add_argument("--methods", nargs="+", choices=[m.key for m in METHODS], default=[m.key for m in METHODS])
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--choose", action="store_true", help="try parameters on training pictures kept apart")
    parser.add_argument("--train", type=int, default=900, help="training pictures")
    parser.add_argument("--choosing", type=int, default=100, help="training pictures kept apart")
    parser.add_argument("--few", type=int, default=60, help="training pictures whose label maps the semi rows have")
    parser.add_argument("--iterations", type=int, default=250)
    parser.add_argument("--warm", type=int, default=100, help="of these, with Bbox-Rect before Bbox-EM-Fixed")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=0.002, help="of Adam, falling to 0")
    parser.add_argument(
        "--out", type=Path, help="JSON file; weak_voc_animals.json in benchmarks/results, or ..._choice"
    )
    parser.add_argument("--markdown", type=Path, help="write the table")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    options = parse(words)
    with one_core():
        subsets = make_task(options.data_root, options.init, options.work, options.train, options.choosing)
        worth = {
            kind: labels_worth(options.data_root, options.work, kind, subsets["train"]) for kind in ("rect", "seg")
        }
        print(f"mean IoU of label maps made from boxes to the true ones: {worth}", flush=True)
    methods = (
        candidates(METHODS, CHOICES, options.methods)
        if options.choose
        else [m for m in METHODS if m.key in options.methods]
    )
    seeds = [CHOOSING_SEED] if options.choose else list(range(1, options.seeds + 1))
    runs = run_all([(method, seed) for seed in seeds for method in methods], subsets, options)
    text = table(runs, methods, CLASSES)
    print("\n" + text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    with one_core():
        facts = describe(torch.device("cpu"))
    found = {
        "benchmark": "weak_voc",
        **facts,
        "classes": CLASSES,
        "pictures": {subset: len(names) for subset, names in subsets.items()},
        "with_label_maps_in_semi": options.few,
        "trunk": f"{TRUNK}, frozen, pictures of {SIDE} x {SIDE}",
        "evaluated_on": "choosing" if options.choose else "val",
        "labels_mean_iou_to_truth": worth,
        **{name: getattr(options, name) for name in ("iterations", "warm", "batch", "rate")},
        "methods": [asdict(method) for method in methods],
        "runs": runs,
        "claims": claims(runs, CLAIMS),
        "processor_s": round(sum(run["processor_s"] for run in runs), 1),
    }
    out = options.out or RESULTS / f"weak_voc_animals{'_choice' if options.choose else ''}.json"
    write_json(out, found)
    for claim in found["claims"]:
        print(f"{claim['claim']}: {claim['differences']} {'yes' if claim['holds_for_every_seed'] else 'NO'}")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
