"""The state that the builders of an experiment's steps share: its files, and what is known about them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from deeplab_caffe.data.io.mat import SCORES_SUFFIX
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.experiment.config import Config, newest_snapshot
from deeplab_caffe.experiment.lists import Lists, folder_of
from deeplab_caffe.experiment.markers import Marker, digest
from deeplab_caffe.experiment.settings import ExperimentError, ExperimentSettings
from deeplab_caffe.experiment.written import WrittenBlob, test_net, write_scores, written_blobs

# In a dry run, stands for the hash of something that an earlier step will make.
UNKNOWN = "to be made"


class StepContext:
    """The state that the builders of all steps share.

    Args:
        settings: the experiment's settings.
        dry: write nothing, and assume that an earlier step makes what is missing.
    """

    def __init__(self, settings: ExperimentSettings, *, dry: bool = False) -> None:
        self.settings = settings
        self.dry = dry
        self.lists = Lists(settings, dry=dry)
        self.config = Config(settings, dry=dry)
        self._blobs: dict[tuple[str, str], list[WrittenBlob]] = {}

    def marker(self, step: str) -> Marker:
        """Return the marker of a step."""
        return Marker(self.settings.path(f"{self.settings.folder('log')}/steps/{step}.json"), self.settings.root)

    def device(self) -> list[str]:
        """Return the command-line words for the device."""
        return ["--device", self.settings.device] if self.settings.device else []

    def snapshot(self, stage: str) -> Path | None:
        """Return the weights that a stage's training made; None, in a dry run, if it has not run yet.

        Raises:
            ExperimentError: there are no weights, or the training is half finished.
        """
        settings, marker = self.settings, self.marker(f"train{stage}")
        folder = settings.path(settings.folder("model"))
        if marker.finished():
            return settings.root / str(next(iter(marker.read()["outputs"])))
        if self.dry and (marker.half or newest_snapshot(folder, f"train{stage}") is None):
            return None
        if marker.half:
            raise ExperimentError(f"step train{stage} is half finished: run it to its end, or say --weights")
        found = newest_snapshot(folder, f"train{stage}")
        if found is None:
            raise ExperimentError(f"no weights: neither test{stage}.caffemodel nor train{stage}_iter_* in {folder}")
        return found

    def features_key(self, stage: str, set_name: str) -> str:
        """Return a hash of everything that a set's scores come from.

        Raises:
            ExperimentError: the scores do not exist or are not complete.
        """
        name = f"test{stage}-{set_name}"
        marker = self.marker(name)
        if marker.finished():
            return marker.key
        folder = self.features(stage, set_name)
        files = self._files(folder, set_name)
        if marker.read() or not self.complete(folder, set_name):
            if self.dry:
                return UNKNOWN
            state = "half finished" if marker.half else "to be run first"
            raise ExperimentError(
                f"step {name} is {state}: the scores in {self.settings.path(folder)} are not complete"
            )
        return digest("\n".join(f"{path.name} {path.stat().st_size}" for path in files))

    def complete(self, folder: str, set_name: str) -> bool:
        """Return whether a folder has a MAT file for each image of a set."""
        return all(path.is_file() for path in self._files(folder, set_name))

    def _files(self, folder: str, set_name: str) -> list[Path]:
        return [self.settings.path(f"{folder}/{one}{SCORES_SUFFIX}") for one in self.lists.ids(set_name)]

    def test_text(self, stage: str, set_name: str, *, write: bool) -> str:
        """Return the filled test.prototxt for one set; a layer that writes scores is added if the template has none.

        Raises:
            PrototxtError: a variable has no value, or the text cannot be parsed.
            ExperimentError: there is no template.
        """
        folder = self.settings.folder(f"features{stage}")
        values = self.config.variables(TEST_SET=set_name, FEATURE_DIR=folder)

        def edit(text: str) -> str:
            edited = write_scores(text, f"{folder}/{set_name}", self.settings.list_file(f"{set_name}_id"))
            if write and edited != text:
                self.config.notes.append("test.prototxt writes no scores: a MatWrite layer that does is put behind it")
            return edited

        if write:
            return self.config.fill("test", set_name, values, edit)
        return edit(self.config.preview("test", values))

    def blobs(self, stage: str, set_name: str) -> list[WrittenBlob]:
        """Return what test.prototxt writes for a set's images, scores first; without a template, what v1's writes."""
        if (stage, set_name) not in self._blobs:
            found: list[WrittenBlob] = []
            with contextlib.suppress(DeepLabCaffeError):
                found = written_blobs(test_net(self.test_text(stage, set_name, write=False)))
            usual = WrittenBlob(f"{self.settings.folder(f'features{stage}')}/{set_name}/fc8", "scores")
            self._blobs[stage, set_name] = found or [usual]
        return self._blobs[stage, set_name]

    def features(self, stage: str, set_name: str, *, scores: bool = False) -> str:
        """Return the folder of a set's scores, or of its labels if the net writes those, relative to ``settings.root``.

        Args:
            stage: ``""`` or ``"2"``.
            set_name: the set.
            scores: require scores.

        Raises:
            ExperimentError: the net writes labels, but scores are required.
        """
        first = self.blobs(stage, set_name)[0]
        if scores and first.kind != "scores":
            raise ExperimentError(
                f"the dense CRF needs scores, but test.prototxt writes {first.kind} to {first.folder}: let its "
                "MatWrite layer read the blob before ArgMax or DenseCRF"
            )
        return first.folder

    def results(self, stage: str, set_name: str, name: str | None = None) -> str:
        """Return the folder of a set's results, as in run_densecrf.sh: of its scores, or of the blob ``name``."""
        settings = self.settings
        blob = name or self.blobs(stage, set_name)[0].name
        return f"{settings.exp}/res/features{stage}/{settings.net_id}/{set_name}/{blob}"

    def seen(self, stage: str, set_name: str) -> str | None:
        """Return a note if the stage's training set has images of a set; None if not, or if it is not known."""
        settings = self.settings
        train_set = settings.train_set2 if stage else settings.train_set
        own = settings.path(settings.folder("model")) / f"test{stage}.caffemodel"
        if own.is_file() or (settings.weights is not None and not stage):
            return None
        try:
            trained = {entry.image for entry in self.lists.entries(train_set)}
        except DeepLabCaffeError:
            return None
        images = [entry.image for entry in self.lists.entries(set_name)]
        count = sum(image in trained for image in images)
        if not count:
            return None
        return (
            f"{train_set} holds {count} of the {len(images)} images of {set_name}: weights that were trained on them "
            "score far above what they are worth"
        )

    def images(self, set_name: str) -> Path:
        """Return the folder of a set's photographs."""
        entry, name = self.lists.entries(set_name)[0], self.lists.ids(set_name)[0]
        return folder_of(f"{self.settings.data_root}{entry.image}", name)

    def labels(self, set_name: str) -> Path | None:
        """Return the folder of a set's true labels; None for sets without labels, such as VOC's test set.

        Raises:
            ExperimentError: the folder given by the user lacks some labels.
        """
        ids = self.lists.ids(set_name)
        entries = self.lists.entries(set_name)
        root = self.settings.data_root
        listed = [folder_of(f"{root}{entry.label}", ids[0]) for entry in entries[:1] if entry.label]
        # The released lists name SegmentationClassAug, but the MATLAB scripts evaluate on SegmentationClass.
        usual = [root / "SegmentationClass", *listed]
        for folder in [self.settings.labels] if self.settings.labels else usual:
            if all((folder / f"{name}.png").is_file() for name in ids):
                return folder
        if self.settings.labels:
            raise ExperimentError(f"{self.settings.labels} lacks labels of {set_name}")
        return None
