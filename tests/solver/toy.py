"""A small training problem on disk: noise images whose labels follow from their colours, and a net that learns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_caffe.solver import TrainingLog

CLASSES = 3
COUNT = 10


def write_images(folder: Path, count: int = COUNT, size: int = 14) -> Path:
    """Images and label maps of flat patches, a share of which is to be ignored, and the list that names them."""
    rng = np.random.default_rng(0)
    (folder / "img").mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        labels = np.kron(rng.integers(0, CLASSES, (size // 2, size // 2)), np.ones((2, 2), int)).astype(np.uint8)
        image = np.zeros((size, size, 3), np.uint8)
        for label in range(CLASSES):
            image[labels == label, label] = 200
        image += rng.integers(0, 50, image.shape, dtype=np.uint8)
        # The later images have more to ignore, so that parts of a batch differ in their number of valid pixels.
        labels[: i % 7] = 255
        Image.fromarray(image).save(folder / "img" / f"{i}.png")
        Image.fromarray(labels).save(folder / "img" / f"{i}_label.png")
        lines.append(f"/{i}.png /{i}_label.png\n")
    (folder / "list.txt").write_text("".join(lines))
    return folder / "list.txt"


def net_text(
    folder: Path, *, batch: int = 4, random: bool = True, dropout: bool = True, extra: str = "", phase: str = ""
) -> str:
    """The net: IMAGE_SEG_DATA, a convolution, dropout, a second convolution, SOFTMAX_LOSS, SEG_ACCURACY."""
    # In phase TRAIN every crop is a random one.
    draws = "crop_size: 9 mirror: true" if random else ""
    shuffle = "shuffle: true" if random else ""
    drop = (
        'layers { name: "drop" type: DROPOUT bottom: "c1" top: "c1" dropout_param { dropout_ratio: 0.25 } }'
        if dropout
        else ""
    )
    return f"""
        name: "toy"
        layers {{ name: "data" type: IMAGE_SEG_DATA top: "data" top: "label" {phase}
          image_data_param {{ root_folder: "{folder}/img" source: "{folder}/list.txt" batch_size: {batch}
            label_type: PIXEL {shuffle} }}
          transform_param {{ mean_value: 100 scale: 0.01 {draws} }} }}
        layers {{ name: "c1" type: CONVOLUTION bottom: "data" top: "c1" blobs_lr: 1 blobs_lr: 2
          weight_decay: 1 weight_decay: 0
          convolution_param {{ num_output: 6 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
        layers {{ name: "r1" type: RELU bottom: "c1" top: "c1" }}
        {drop}
        layers {{ name: "c2" type: CONVOLUTION bottom: "c1" top: "c2" blobs_lr: 10 blobs_lr: 20
          weight_decay: 1 weight_decay: 0
          convolution_param {{ num_output: {CLASSES} kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
        layers {{ name: "loss" type: SOFTMAX_LOSS bottom: "c2" bottom: "label" top: "loss"
          softmaxloss_param {{ ignore_label: 255 }} }}
        layers {{ name: "accuracy" type: SEG_ACCURACY bottom: "c2" bottom: "label" top: "accuracy"
          seg_accuracy_param {{ ignore_label: 255 }} }}
        {extra}
    """


def solver_text(folder: Path, extra: str = "", *, max_iter: int = 10, seed: int | None = 3) -> str:
    """A solver of :func:`net_text`, whose net is ``folder/net.prototxt``."""
    said = "" if seed is None else f"random_seed: {seed}"
    return f"""net: "{folder}/net.prototxt"
        base_lr: 0.05
        lr_policy: "poly" power: 0.9 max_iter: {max_iter}
        momentum: 0.9 weight_decay: 0.0005 snapshot_prefix: "{folder}/snap" solver_mode: CPU {said}
        {extra}
    """


def write_problem(folder: Path, extra: str = "", *, max_iter: int = 10, seed: int | None = 3, **net: object) -> Path:
    """All files of the problem; returns the solver prototxt."""
    folder.mkdir(parents=True, exist_ok=True)
    write_images(folder)
    (folder / "net.prototxt").write_text(net_text(folder, **net))
    path = folder / "solver.prototxt"
    path.write_text(solver_text(folder, extra, max_iter=max_iter, seed=seed))
    return path


class Recorder(TrainingLog):
    """Keeps lines and records."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.records: list[tuple[str, int, dict]] = []
        super().__init__(echo=self.lines.append)

    def record(self, event: str, iteration: int, **values: object) -> None:
        self.records.append((event, iteration, values))

    def events(self) -> list[tuple[str, int]]:
        return [(event, iteration) for event, iteration, _ in self.records]
