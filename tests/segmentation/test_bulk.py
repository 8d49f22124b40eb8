from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deeplab_caffe as dc
from deeplab_caffe.data import load_image, load_label, save_image
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.errors import NetError
from deeplab_caffe.segmentation import cluster
from deeplab_caffe.segmentation.bulk import Decode, Network, Refine
from deeplab_caffe.segmentation.cluster import segment_files
from deeplab_caffe.segmentation.finish import finish
from deeplab_caffe.segmentation.results import ResultWriter
from deeplab_caffe.viz import VOC_COLORMAP
from deeplab_caffe.zoo.default import DEFAULT_MODEL, DEMO_PHOTOS
from tests.segmentation.test_segmenter import STRIDE8, toy_segmenter

# Class 1 where blue is above its mean.
TOY = """
name: "toy" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layer { name: "blue" type: "Slice" bottom: "data" top: "b" top: "g" top: "r" slice_param { axis: 1 } }
layer { name: "rest" type: "Silence" bottom: "g" }
layer { name: "more" type: "Silence" bottom: "r" }
layer { name: "minus" type: "Power" bottom: "b" top: "m" power_param { scale: -1 } }
layer { name: "both" type: "Concat" bottom: "m" bottom: "b" top: "s" }
"""
CRF = dc.CRFParams(iterations=2)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "toy.prototxt"
    path.write_text(TOY)
    return path


def photographs(folder: Path, count: int) -> list[WorkItem]:
    """Write pictures, each another."""
    rng = np.random.default_rng(0)
    items = []
    for index in range(count):
        path = folder / f"p{index:02}.png"
        save_image(path, rng.integers(0, 256, (12 + index, 20, 3), np.uint8))
        items.append(WorkItem(str(path), path.stem))
    return items


def batch_of(items: list[WorkItem]) -> dict[str, Any]:
    photos, names = [item.source for item in items], [item.name for item in items]
    return {"index": np.arange(len(items)), "photo": np.array(photos, object), "name": np.array(names, object)}


def stages(toy: Path, **options: Any) -> tuple[Network, Refine]:
    writer = ResultWriter(toy.parent / "out", VOC_COLORMAP)
    return Network({"prototxt": toy, "device": "cpu"}), Refine(writer, CRF, **options)


def assert_as_segmenter(toy: Path, items: list[WorkItem]) -> None:
    segmenter = dc.Segmenter(toy, crf=CRF, device="cpu")
    for item in items:
        found = load_label(toy.parent / "out" / f"{item.name}_labels.png")
        np.testing.assert_array_equal(found, segmenter(load_image(item.source)), item.source)


@pytest.mark.parametrize(
    "options", [{}, {"crf": CRF}, {"crf": CRF, "max_side": 100}, {"crf": CRF, "flip": True, "window": 97}]
)
def test_the_two_halves_are_the_segmenter_to_the_bit(options: dict[str, Any]) -> None:
    segmenter = dc.Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu", **options)
    image = load_image(DEMO_PHOTOS[0])[:130, :171]
    output = pickle.loads(pickle.dumps(segmenter.output(image)))
    found = finish(output, image, crf=segmenter.crf, classes=segmenter.classes, max_side=segmenter.max_side)
    expected = segmenter.segment(image)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.probabilities(), expected.probabilities())
    assert found.to_json() == expected.to_json()


def test_the_output_of_a_net_that_is_not_resized() -> None:
    segmenter = toy_segmenter(STRIDE8)
    image = np.random.default_rng(1).integers(0, 256, (13, 22, 3), np.uint8)
    np.testing.assert_array_equal(finish(segmenter.output(image), image).scores, segmenter.scores(image))


def test_stages_make_files_of_a_batch(tmp_path: Path, toy: Path) -> None:
    items = photographs(tmp_path, 3)
    decode, network, refine = (pickle.loads(pickle.dumps(one)) for one in (Decode(), *stages(toy, min_share=0.0)))
    seen = decode(batch_of(items))
    assert [image.shape for image in seen["image"]] == [(12, 20, 3), (13, 20, 3), (14, 20, 3)]
    done = refine(network(seen))
    assert done.keys() == {"index", "photo", "name", "error", "workers", "text", "described"}
    assert done["error"].tolist() == ["", "", ""]
    assert done["workers"].tolist() == [f"{os.getpid()} {os.getpid()} {os.getpid()}"] * 3
    assert all(re.fullmatch(r"class \d \d+ %, class \d \d+ %", text) for text in done["text"])
    assert '"size": [20, 12]' in done["described"][0]
    assert_as_segmenter(toy, items)


def test_a_network_is_pickled_without_its_weights(tmp_path: Path, toy: Path) -> None:
    network, _ = stages(toy)
    before = len(pickle.dumps(network))
    network(Decode()(batch_of(photographs(tmp_path, 1))))
    assert len(pickle.dumps(network)) == before
    assert pickle.loads(pickle.dumps(network)) == network


def test_what_cannot_be_read_is_a_row_with_an_error(tmp_path: Path, toy: Path) -> None:
    items = photographs(tmp_path, 3)
    Path(items[1].source).write_bytes(b"no picture")
    network, refine = stages(toy)
    done = refine(network(Decode()(batch_of(items))))
    assert [bool(error) for error in done["error"]] == [False, True, False]
    assert done["error"][1].startswith(f"{items[1].source}: is not an image")
    assert not list((tmp_path / "out").glob("p01*"))
    assert_as_segmenter(toy, [items[0], items[2]])


def test_a_network_that_cannot_be_built_is_an_error_of_each_row(tmp_path: Path) -> None:
    seen = Decode()(batch_of(photographs(tmp_path, 2)))
    done = Network({"prototxt": tmp_path / "none.prototxt"})(seen)
    assert ["none.prototxt" in error for error in done["error"]] == [True, True]
    assert done["output"].tolist() == [b"", b""]


def test_ray_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, toy: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NetError, match=r"pip install 'deeplab-caffe\[ray\]'"):
        next(segment_files([WorkItem("a", "b")], *stages(toy)))


@dataclass
class Fragile(Network):
    """A network whose process is killed in the midst of a photograph: the first time, or each time."""

    mark: str = ""
    always: bool = False

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if any(photo.endswith("p05.png") for photo in batch["photo"]) and (self.always or not Path(self.mark).exists()):
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    ray.init(num_cpus=2, object_store_memory=200e6, include_dashboard=False, log_to_driver=False, logging_level=40)
    yield ray
    ray.shutdown()


def test_a_killed_worker_loses_nothing_and_doubles_nothing(ray: Any, tmp_path: Path, toy: Path) -> None:
    items = photographs(tmp_path, 12)
    Path(items[3].source).write_bytes(b"no picture")
    network, refine = stages(toy)
    fragile = Fragile(network.options, str(tmp_path / "mark"))
    rows = list(segment_files(items, fragile, refine))
    assert (tmp_path / "mark").exists()
    assert Counter(row["index"] for row in rows) == Counter(range(12))
    assert {row["photo"]: row["error"][:30] for row in rows if row["error"]} == {items[3].source: items[3].source[:30]}
    assert len({row["workers"].split()[1] for row in rows}) > 1
    items.pop(3)
    assert_as_segmenter(toy, items)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{item.name}_{what}.png" for item in items for what in ("labels", "overlay")
    )


def test_a_photograph_that_kills_its_workers_costs_itself_alone(
    ray: Any, tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "RETRIES", 1)
    items = photographs(tmp_path, 7)
    network, refine = stages(toy)
    fragile = Fragile(network.options, str(tmp_path / "mark"), always=True)
    rows = list(segment_files(items, fragile, refine))
    assert Counter(row["index"] for row in rows) == Counter(range(7))
    assert [(row["index"], "ended" in row["error"]) for row in rows if row["error"]] == [(5, True)]


def test_a_run_on_real_photographs(ray: Any, tmp_path: Path) -> None:
    items = [WorkItem(str(tmp_path / f"{index}.jpg"), str(index)) for index in range(6)]
    for index, item in enumerate(items):
        shutil.copy(DEMO_PHOTOS[index % 2], item.source)
    model = DEFAULT_MODEL
    network = Network({"prototxt": model.deploy, "weights": model.weights})
    refine = Refine(ResultWriter(tmp_path / "out", VOC_COLORMAP), model.crf, Classes(model.classes, VOC_COLORMAP))
    run = list(segment_files(items, network, refine))
    assert {row["index"]: row["text"].split()[0] for row in run} == {i: ["cat", "background"][i % 2] for i in range(6)}
    assert len(list((tmp_path / "out").iterdir())) == 12


def test_a_gpu_that_is_not_there_is_told(ray: Any, toy: Path) -> None:
    _, refine = stages(toy)
    with pytest.raises(NetError, match="no GPU"):
        next(segment_files([WorkItem("a", "b")], Network({"prototxt": toy, "device": "cuda"}), refine))
