"""Tables 1, 2 and 3 and Figure 5 of the DeepLab paper (ICLR 2015): the numbers measured here beside the published ones.

    python benchmarks/iclr15.py --data-root VOCdevkit/VOC2012 --weights DIR

DIR has ``<network>.caffemodel`` or a folder ``<network>/`` with caffemodels, of which train_iter_* with the largest
number is taken for val and train2_iter_* for test; a ``deploy.prototxt`` in the folder is used instead of the
package's. The script prints what is missing, and its column stays empty: a published number never takes the place of a
measured one.

Labels are the first maximum of the scores at 513 x 513, and of the dense CRF's marginals; mean IoU is MyVOCevalseg.m's.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from environment import RESULTS, describe, write_json
from iclr15_published import FIELDS_OF_VIEW, METHODS, PER_CLASS, Method

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.data import load_image, load_label
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.evaluation import ConfusionMatrix, Trimap, first_maximum, measure, read_ids
from deeplab_caffe.segmentation.segmenter import Segmenter
from deeplab_caffe.viz import VOC_CLASSES
from deeplab_caffe.zoo.paths import prototxt_path

VAL_IMAGES, TEST_IMAGES = 1449, 1456
SHOWN_WIDTHS = (1, 2, 5, 10, 20, 30, 40)


@dataclass
class Scores:
    """Counts of one method on one set: the DCNN alone, and with the dense CRF."""

    weights: str
    images: int
    alone: ConfusionMatrix
    refined: ConfusionMatrix
    alone_bands: Trimap
    refined_bands: Trimap
    seconds: float
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return all numbers."""

        def numbers(counts: ConfusionMatrix, *, boundary: bool = False) -> dict[str, Any]:
            found = measure(counts, boundary=boundary)
            return {"mean_iou": _null(found.mean_iou), "pixel_accuracy": _null(found.pixel_accuracy)}

        return {
            "weights": self.weights,
            "images": self.images,
            "seconds": round(self.seconds, 1),
            "notes": self.notes,
            "dcnn": numbers(self.alone),
            "dcnn_crf": numbers(self.refined),
            "iou_crf": {n: _null(v) for n, v in zip(VOC_CLASSES, measure(self.refined).iou, strict=True)},
            "trimap_dcnn": {w: numbers(self.alone_bands.band(w), boundary=True) for w in self.alone_bands.widths},
            "trimap_dcnn_crf": {
                w: numbers(self.refined_bands.band(w), boundary=True) for w in self.refined_bands.widths
            },
        }


class Bench:
    """Finds what there is, measures it once, and remembers what is missing."""

    def __init__(
        self, data_root: Path, weights: Path, device: str, limit: int | None, widths: Sequence[int], say: Callable
    ) -> None:
        self.data_root, self.weights, self.device = data_root, weights, device
        self.limit, self.widths, self.say = limit, tuple(widths), say
        self.missing: list[str] = []
        self.warnings: list[str] = []
        self._found: dict[tuple[str, str], Scores | None] = {}
        self._sets: dict[str, list[str]] = {}

    def ids(self, set_name: str) -> list[str]:
        """Return the ids of a set with labels; without labels, an empty list, noted as missing."""
        if set_name not in self._sets:
            self._sets[set_name] = self._ids(set_name)
        return self._sets[set_name]

    def _ids(self, set_name: str) -> list[str]:
        places = (f"ImageSets/Segmentation/{set_name}.txt", f"list/{set_name}_id.txt", f"list/{set_name}.txt")
        lists = [self.data_root / place for place in places if (self.data_root / place).is_file()]
        if not lists:
            self.missing.append(f"list of {set_name}: none of {', '.join(places)} in {self.data_root}")
            return []
        ids = read_ids(lists[0])
        if set_name == "test" and not any(self._label(name).is_file() for name in ids):
            self.missing.append(
                "labels of test: VOC's are on its server; `experiment --steps test2,crf2,eval2` makes PNGs"
            )
            return []
        for what, path in (("image", self._photo), ("label map", self._label)):
            without = [name for name in ids if not path(name).is_file()]
            if without:
                self.missing.append(f"{what} of {len(without)} images of {set_name}, the first is {path(without[0])}")
                return []
        known = {"val": VAL_IMAGES, "test": TEST_IMAGES}[set_name]
        if len(ids) != known or self.limit:
            used = min(len(ids), self.limit or len(ids))
            self.warnings.append(f"{set_name} is {used} images here and {known} in the paper: NOT comparable")
        return ids[: self.limit]

    def scores(self, method: Method, set_name: str) -> Scores | None:
        """Return a method's counts on a set, or None where something is missing."""
        key = method.key, set_name
        if key not in self._found:
            found = self._weights(method, "train2" if set_name == "test" else "train")
            ids = self.ids(set_name) if found else []
            self._found[key] = self._measure(method, set_name, ids, *found) if found and ids else None
        return self._found[key]

    def deploy(self, method: Method) -> Path | None:
        """Return the prototxt of a method's network: the user's, or else the package's."""
        own = self.weights / method.key / "deploy.prototxt"
        try:
            return own if own.is_file() else prototxt_path(method.key)
        except DeepLabCaffeError as error:
            self._miss(f"network {method.key}: {error}")
            return None

    def _weights(self, method: Method, prefix: str) -> tuple[Path, Path, list[str]] | None:
        deploy = self.deploy(method)
        if deploy is None:
            return None
        found = sorted((self.weights / method.key).glob("*.caffemodel"), key=_iteration)
        alone = self.weights / f"{method.key}.caffemodel"
        fitting = [path for path in found if re.match(rf"{prefix}_iter_\d+\.", path.name)]
        others = [path for path in found if not re.match(r"train2?_iter_\d+\.", path.name)]
        others += [alone] if alone.is_file() else []
        if fitting or others:
            path = (fitting or others)[-1]
            note = [] if fitting else [f"nothing says which images {path.name} was trained on"]
            return deploy, path, note
        if found and prefix == "train":
            return deploy, found[-1], [f"{found[-1].name} was trained on trainval: it has seen val"]
        name = "train2_iter_*" if prefix == "train2" else "train_iter_*"
        self._miss(f"weights of {method.key} ({name}): neither {alone} nor a caffemodel in {self.weights / method.key}")
        return None

    def _measure(
        self, method: Method, set_name: str, ids: Sequence[str], deploy: Path, weights: Path, notes: list[str]
    ) -> Scores | None:
        try:
            own = deploy == self.weights / method.key / "deploy.prototxt"
            segmenter = Segmenter(deploy, weights, device=self.device, crop_size=None if own else 513)
            if segmenter.num_classes != len(VOC_CLASSES):
                self._miss(f"a VOC network in {deploy}: it has {segmenter.num_classes} classes, not {len(VOC_CLASSES)}")
                return None
            params, classes = CRFParams.for_model(method.crf), len(VOC_CLASSES)
            begin = perf_counter()
            alone, refined = (ConfusionMatrix(classes, [255]) for _ in range(2))
            alone_bands, refined_bands = (Trimap(classes, self.widths) for _ in range(2))
            for number, name in enumerate(ids):
                image = load_image(self._photo(name), exif_orientation=False)
                labels = load_label(self._label(name))
                scores = segmenter.scores(image)
                marginals = dense_crf(scores, image, params)
                for values, counts, bands in ((scores, alone, alone_bands), (marginals, refined, refined_bands)):
                    predicted = first_maximum(values)
                    counts.accumulate(labels, predicted)
                    bands.accumulate(labels, predicted)
                if (number + 1) % 50 == 0:
                    self.say(f"  {method.key}, {set_name}: {number + 1} of {len(ids)}")
        except DeepLabCaffeError as error:
            self._miss(f"{method.key} on {set_name}: {error}")
            return None
        notes = [*notes, *filter(None, [method.crf_note])]
        if own:
            notes.append(f"the network is {deploy}, not the package's")
        for note in notes:
            self.warnings.append(f"{method.name} on {set_name}: {note}")
        seconds = perf_counter() - begin
        return Scores(str(weights), len(ids), alone, refined, alone_bands, refined_bands, seconds, notes)

    def _miss(self, what: str) -> None:
        if what not in self.missing:
            self.missing.append(what)

    def _photo(self, name: str) -> Path:
        return self.data_root / "JPEGImages" / f"{name}.jpg"

    def _label(self, name: str) -> Path:
        return self.data_root / "SegmentationClass" / f"{name}.png"


def table_1(bench: Bench) -> str:
    """Return mean IoU on val, the DCNN alone and with the dense CRF; on test with it."""
    rows = []
    for method in METHODS:
        val, test = bench.scores(method, "val"), bench.scores(method, "test")
        for name, ours, published in (
            (f"{method.name}, val", val and measure(val.alone).mean_iou, method.val),
            (f"{method.name}-CRF, val", val and measure(val.refined).mean_iou, method.val_crf),
            (f"{method.name}-CRF, test", test and measure(test.refined).mean_iou, method.test_crf),
        ):
            if published is not None:
                rows.append((name, _cell(ours), _cell(published)))
    return _table("Table 1: mean IoU, %", ("method", "ours", "published"), rows)


def table_2(bench: Bench, speed: int) -> str:
    """Return the field of view: kernel, stride, parameters, mean IoU on val with the dense CRF, training speed."""
    from deeplab_caffe.net import Net
    from deeplab_caffe.net.summary import receptive_fields

    rows = []
    for row in FIELDS_OF_VIEW:
        method = next(one for one in METHODS if one.key == row.key)
        deploy, scores = bench.deploy(method), bench.scores(method, "val")
        kernel = stride = view = parameters = "-"
        if deploy is not None:
            with torch.device("meta"):
                net = Net(deploy, None, "TEST")
            param = net.by_name["fc6"].param.convolution_param if "fc6" in net.by_name else None
            if param is not None:
                kernel, stride = str([*param.kernel_size, param.kernel_h][0]), str([*param.dilation, 1][0])
            extent = receptive_fields(net).get("fc6")
            view = f"{float(extent.size[0]):.0f}" if extent else "-"
            parameters = f"{net.parameter_count() / 1e6:.1f}"
        rate = _cell(training_speed(row.key, speed, bench.device) if speed else None)
        ours = _cell(scores and measure(scores.refined).mean_iou)
        rows.append((method.name, "ours", kernel, stride, view, parameters, ours, rate))
        numbers = (row.kernel, row.stride, row.field, row.parameters, row.mean_iou, row.speed)
        rows.append(("", "published", *(str(number) for number in numbers)))
    if not speed:
        bench.missing.append("training speed: not asked for (--speed ITERATIONS)")
    heads = ("method", "", "kernel", "input stride", "FOV", "parameters, M", "mean IoU, %", "training, images/s")
    place = describe(resolve_device(bench.device))["device"]
    notes = (
        "FOV: ours is the theoretical field of fc6 through all layers; docs/receptive-field.md explains the paper's. "
        f"Speed: ours at batch 1 on {place}, the paper's on its GPU and in its batches.\n"
    )
    return f"{_table('Table 2: field of view', heads, rows)}\n{notes}"


def table_3(bench: Bench) -> str:
    """Return IoU of every class on test, with the dense CRF."""
    rows = []
    for method in METHODS:
        if method.key in PER_CLASS:
            test = bench.scores(method, "test")
            ours = measure(test.refined).iou if test else [None] * len(VOC_CLASSES)
            mean = measure(test.refined).mean_iou if test else None
            rows.append((f"{method.name}-CRF", "ours", *(_cell(one, 1) for one in ours), _cell(mean, 1)))
            rows.append(("", "published", *(_cell(one, 1) for one in PER_CLASS[method.key]), _cell(method.test_crf, 1)))
    return _table("Table 3: IoU on test by class, %", ("method", "", *VOC_CLASSES, "mean"), rows)


def figure_5(bench: Bench) -> str:
    """Return accuracy and mean IoU near the boundaries, of the classes that are there; the paper has only curves."""
    rows = []
    widths = [width for width in SHOWN_WIDTHS if width in bench.widths]
    for method in METHODS:
        val = bench.scores(method, "val")
        for name, bands in ((method.name, val and val.alone_bands), (f"{method.name}-CRF", val and val.refined_bands)):
            for number, title in (("pixel_accuracy", "accuracy"), ("mean_iou", "mean IoU")):
                cells = [
                    getattr(measure(bands.band(w), "skip", boundary=True), number) if bands else None for w in widths
                ]
                rows.append((name, title, *(_cell(one) for one in cells)))
    heads = ("method", "", *(f"{width} px" for width in widths))
    return _table("Figure 5: within trimaps of val, %, ours (published: as curves only)", heads, rows)


def draw_figure_5(bench: Bench, path: Path) -> None:
    """Draw figure 5 of what was measured."""
    from deeplab_caffe.evaluation.plot import draw_curves, new_figure

    figure = new_figure((11, 4.5))
    axes = figure.subplots(1, 2)
    curves = {}
    for method in METHODS:
        val = bench.scores(method, "val")
        for name, bands in ((method.name, val and val.alone_bands), (f"{method.name}-CRF", val and val.refined_bands)):
            if bands:
                curves[name] = {w: measure(bands.band(w), "skip", boundary=True) for w in bands.widths}
    for one, number, title in zip(axes, ("pixel_accuracy", "mean_iou"), ("accuracy, %", "mean IoU, %"), strict=True):
        if curves:
            draw_curves(one, curves, number)
        one.set_ylabel(title)
    figure.savefig(path, dpi=120)


def training_speed(network: str, iterations: int, device: str) -> float:
    """Return images/s of forward, backward and update at 321 x 321, batch 1, on random labels and images."""
    from deeplab_caffe.net import Net

    place = resolve_device(device)
    net = Net(prototxt_path(network), None, "TRAIN", seed=1).to(place)
    blob = next(step.bottoms[0] for step in net.steps if step.layer.name == "fc8_interp")
    image = torch.randn(1, 3, 321, 321, device=place)
    optimizer = torch.optim.SGD(net.parameters(), 1e-9, momentum=0.9, weight_decay=5e-4)
    times = []
    for _ in range(iterations + 1):
        begin = perf_counter()
        scores = net(image, blobs=[blob])[blob]
        labels = torch.zeros(scores.shape[0], *scores.shape[2:], dtype=torch.long, device=place)
        torch.nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        times.append(perf_counter() - begin)
    return 1 / float(np.median(times[1:]))


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data-root", type=Path, required=True, help="VOC2012: JPEGImages, SegmentationClass, ImageSets"
    )
    parser.add_argument("--weights", type=Path, required=True, help="folder of caffemodels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=int, help="only the first images of each set, this many")
    parser.add_argument("--widths", type=int, default=40, help="largest trimap")
    parser.add_argument("--speed", type=int, default=0, help="iterations to measure training speed with; 0: none")
    parser.add_argument("--out", type=Path, default=RESULTS / "iclr15.json")
    parser.add_argument("--markdown", type=Path, help="the tables")
    parser.add_argument("--plot", type=Path, help="Figure 5")
    given = parser.parse_args(words)
    bench = Bench(given.data_root, given.weights, given.device, given.limit, range(1, given.widths + 1), print)
    tables = [table_1(bench), table_2(bench, given.speed), table_3(bench), figure_5(bench)]
    remarks = [*(f"WARNING: {one}" for one in bench.warnings), *(f"MISSING: {one}" for one in bench.missing)]
    text = "\n".join([*tables, *(f"{one}\n" for one in remarks)])
    print(text)
    if given.markdown:
        given.markdown.write_text(text)
    if given.plot:
        draw_figure_5(bench, given.plot)
    ours = {f"{key}/{set_name}": found.as_json() for (key, set_name), found in bench._found.items() if found}
    about = describe(resolve_device(given.device))
    write_json(given.out, {**about, "ours": ours, "warnings": bench.warnings, "missing": bench.missing})


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"## {title}", "", f"| {' | '.join(heads)} |", "| :--- " + "| ---: " * (len(heads) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _cell(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def _null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _iteration(path: Path) -> tuple[int, str]:
    match = re.search(r"_iter_(\d+)\.", path.name)
    return (int(match[1]) if match else -1, path.name)


if __name__ == "__main__":
    main()
