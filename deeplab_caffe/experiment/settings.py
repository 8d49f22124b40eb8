"""The settings of an experiment, and the paths of its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deeplab_caffe.data.classes import KNOWN
from deeplab_caffe.errors import DeepLabCaffeError


class ExperimentError(DeepLabCaffeError, ValueError):
    """An experiment cannot be set up, or a step cannot be run."""


# In the order in which they depend on each other; names of the second stage end in 2.
STEPS = ("train", "test", "crf-search", "crf", "eval", "train2", "test2", "crf2", "eval2")
NUM_LABELS = {name: len(classes) for name, classes in KNOWN.items()}


@dataclass(frozen=True)
class ExperimentSettings:
    """The settings of an experiment. Sets are named by lists: ``train_aug`` is ``<exper>/<EXP>/list/train_aug.txt``.

    Attributes:
        exp: EXP, the data set: ``voc12``.
        data_root: DATA_ROOT, the folder that is put before the lists' paths.
        model: a network of ``prototxt/``, or a folder with ``train``, ``test``, ``solver`` and ``solver2.prototxt``.
        root: the folder of all experiments, ``exper``.
        net_id: NET_ID, the name of the network's folders; None for the model's name.
        train_set: TRAIN_SET of the first stage.
        test_sets: each TEST_SET of the first stage.
        train_set2: TRAIN_SET of the second stage.
        test_sets2: each TEST_SET of the second stage.
        strong_set: TRAIN_SET_STRONG; the other images of the training set become TRAIN_SET_WEAK.
        weak_length: TRAIN_SET_WEAK_LEN: maximum number of weak images.
        variables: values of further ``${NAME}``.
        lists: folder of list files that the experiment does not have; None: ``<DATA_ROOT>/list``.
        strict_lists: fail if a list of voc12 is not the released one.
        init: weights to start training from; None: ``model/<NET_ID>/init.caffemodel``.
        weights: weights to test; None: ``test.caffemodel`` or the newest snapshot.
        crf: a preset's name or a .json file; None: the search's result, or the model's preset.
        search_set: the set to search CRF parameters on; None: val, or the first test set.
        search_options: further words for ``crf-search``.
        labels: folder of the true labels; None: ``<DATA_ROOT>/SegmentationClass``, or the folder in the lists.
        classes: as for ``eval``; None: those of ``exp``.
        trimap: widths of trimaps, in pixels.
        device: as for ``train`` and ``test``; None: their default.
    """

    exp: str
    data_root: Path
    model: str
    root: Path = Path("exper")
    net_id: str | None = None
    train_set: str = "train_aug"
    test_sets: tuple[str, ...] = ("val",)
    train_set2: str = "trainval_aug"
    test_sets2: tuple[str, ...] = ("val", "test")
    strong_set: str | None = None
    weak_length: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    lists: Path | None = None
    strict_lists: bool = False
    init: Path | None = None
    weights: Path | None = None
    crf: str | None = None
    search_set: str | None = None
    search_options: tuple[str, ...] = ()
    labels: Path | None = None
    classes: str | None = None
    trimap: str | None = "1:40"
    device: str | None = None

    def __post_init__(self) -> None:
        for name in ("data_root", "root", "lists", "init", "weights", "labels"):
            value = getattr(self, name)
            if value is not None:
                # Commands run in the experiments' folder, so paths must be absolute; symbolic links are not resolved.
                object.__setattr__(self, name, Path(os.path.abspath(value)))  # noqa: PTH100
        object.__setattr__(self, "net_id", self.net_id or Path(self.model).name)
        for what, name in (("EXP", self.exp), ("NET_ID", str(self.net_id)), *(("a set", one) for one in self.sets)):
            if not name or not all(letter.isalnum() or letter in "._-" for letter in name) or name.startswith("."):
                raise ExperimentError(f"{what} names files: expected letters, digits, '.', '_' and '-', got '{name}'")

    @property
    def sets(self) -> tuple[str, ...]:
        """Return the names of all sets of images."""
        searched = (self.search_set,) if self.search_set else ()
        strong = (self.strong_set,) if self.strong_set else ()
        return (self.train_set, *self.test_sets, self.train_set2, *self.test_sets2, *searched, *strong)

    @property
    def searched(self) -> str:
        """Return the name of the set to search CRF parameters on."""
        return self.search_set or ("val" if "val" in self.test_sets else self.test_sets[0])

    def folder(self, kind: str) -> str:
        """Return the network's folder of a kind (config, features, features2, log, model), relative to :attr:`root`."""
        return f"{self.exp}/{kind}/{self.net_id}"

    def list_file(self, name: str) -> str:
        """Return the path of a list, relative to :attr:`root`."""
        return f"{self.exp}/list/{name}.txt"

    def path(self, relative: str) -> Path:
        """Return the full path of a path relative to :attr:`root`."""
        return self.root / relative
