"""What each step of an experiment needs, runs and leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deeplab_caffe import proto
from deeplab_caffe.experiment.config import Config, newest_snapshot
from deeplab_caffe.experiment.lists import Lists, folder_of
from deeplab_caffe.experiment.markers import Marker, digest, file_digest
from deeplab_caffe.experiment.settings import ExperimentError, ExperimentSettings
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver.snapshot import SnapshotFiles

# Stands for the hash of what an earlier step is still to make, in a dry run.
UNKNOWN = "to be made"


@dataclass
class ExperimentStep:
    """One step for one set of images.

    Attributes:
        name: ``train``, ``test-val``, ``crf2-test``.
        inputs: hashes of all that its results depend on.
        outputs: its files, relative to the experiments' folder.
        commands: words behind ``deeplab-caffe``, run one after the other in the experiments' folder.
        notes: what a user should be warned of.
        aside: files that results of other inputs would be mistaken for, to be moved away; outputs are deleted.
        about: what it does, beyond its name.
    """

    name: str
    inputs: dict[str, str]
    outputs: list[str]
    commands: list[list[str]]
    notes: list[str] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)
    about: str = ""


class Workshop:
    """What the builders of all steps share.

    Args:
        settings: the experiment.
        dry: write nothing, and take what is missing for something that an earlier step makes.
    """

    def __init__(self, settings: ExperimentSettings, *, dry: bool = False) -> None:
        self.settings = settings
        self.dry = dry
        self.lists = Lists(settings, dry=dry)
        self.config = Config(settings, dry=dry)

    def marker(self, step: str) -> Marker:
        """Return the marker of a step."""
        return Marker(self.settings.path(f"{self.settings.folder('log')}/steps/{step}.json"), self.settings.root)

    def device(self) -> list[str]:
        """Return the words for the device."""
        return ["--device", self.settings.device] if self.settings.device else []

    def snapshot(self, stage: str) -> Path | None:
        """Return the weights that a stage's training made; None if it is still to be run (in a dry run).

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
        """Return a hash of what a set's scores come from.

        Raises:
            ExperimentError: they are not there, or not all of them.
        """
        name = f"test{stage}-{set_name}"
        marker = self.marker(name)
        if marker.finished():
            return marker.key
        folder = self.features(stage, set_name)
        files = [self.settings.path(f"{folder}/{one}_blob_0.mat") for one in self.lists.ids(set_name)]
        if marker.read() or not all(path.is_file() for path in files):
            if self.dry:
                return UNKNOWN
            state = "half finished" if marker.half else "to be run first"
            raise ExperimentError(
                f"step {name} is {state}: the scores in {self.settings.path(folder)} are not complete"
            )
        return digest("\n".join(f"{path.name} {path.stat().st_size}" for path in files))

    def features(self, stage: str, set_name: str) -> str:
        """Return the folder of a set's scores, relative to the experiments' folder."""
        return f"{self.settings.folder(f'features{stage}')}/{set_name}/fc8"

    def results(self, stage: str, set_name: str) -> str:
        """Return the folder of a set's results, as run_densecrf.sh has it."""
        settings = self.settings
        return f"{settings.exp}/res/features{stage}/{settings.net_id}/{set_name}/fc8"

    def images(self, set_name: str) -> Path:
        """Return the folder of a set's photographs."""
        entry, name = self.lists.entries(set_name)[0], self.lists.ids(set_name)[0]
        return folder_of(f"{self.settings.data_root}{entry.image}", name)

    def labels(self, set_name: str) -> Path | None:
        """Return the folder of a set's true labels; None for sets without labels, as VOC's test set.

        Raises:
            ExperimentError: a folder was named, but lacks some.
        """
        ids = self.lists.ids(set_name)
        entries = self.lists.entries(set_name)
        root = self.settings.data_root
        listed = [folder_of(f"{root}{entry.label}", ids[0]) for entry in entries[:1] if entry.label]
        # The released lists name SegmentationClassAug; the MATLAB scripts evaluate on SegmentationClass.
        usual = [root / "SegmentationClass", *listed]
        for folder in [self.settings.labels] if self.settings.labels else usual:
            if all((folder / f"{name}.png").is_file() for name in ids):
                return folder
        if self.settings.labels:
            raise ExperimentError(f"{self.settings.labels} lacks labels of {set_name}")
        return None


def build_train(shop: Workshop, stage: str) -> ExperimentStep:
    """Build ``train`` (stage ``""``) or ``train2``: run_pascal.sh's RUN_TRAIN and RUN_TRAIN2."""
    settings, lists, config = shop.settings, shop.lists, shop.config
    train_set = settings.train_set2 if stage else settings.train_set
    weak = lists.weak_set(train_set)
    values = config.variables(TRAIN_SET=train_set, TRAIN_SET_WEAK=weak)
    inputs = {
        "train.prototxt": digest(config.fill("train", train_set, values)),
        f"solver{stage}.prototxt": digest(solver_text := config.fill(f"solver{stage}", train_set, values)),
        "list": lists.checksum(train_set),
    }
    solver = proto.parse_solver(solver_text)
    hdf5 = solver.snapshot_format == solver.HDF5
    last = SnapshotFiles.of(solver.snapshot_prefix, solver.max_iter, hdf5=hdf5)
    if settings.strong_set:
        inputs["strong list"] = lists.checksum(settings.strong_set)
    notes = []
    weights = _initial_weights(shop, stage)
    if weights is None:
        notes.append(f"no init{stage}.caffemodel: training begins with the fillers' values")
    inputs["weights"] = "none" if weights is None else UNKNOWN if weights == UNKNOWN else file_digest(Path(weights))
    words = ["train", "--solver", config.file(f"solver{stage}", train_set)]
    # An interrupted training is resumed; one with other inputs begins anew.
    state = (
        _last_state(shop, f"train{stage}", solver.snapshot_prefix, hdf5=hdf5)
        if shop.marker(f"train{stage}").begun(inputs)
        else None
    )
    shown = _newest(settings, "") if weights == UNKNOWN else weights
    words += ["--snapshot", state] if state else ["--weights", shown] if shown else []
    words += ["--log", f"{settings.folder('log')}/train{stage}.jsonl", *shop.device()]
    old = settings.path(solver.snapshot_prefix)
    aside = sorted(old.parent.glob(f"{old.name}_iter_*"))
    return ExperimentStep(f"train{stage}", inputs, [str(last.model)], [words], notes, aside)


def build_test(shop: Workshop, stage: str, set_name: str) -> ExperimentStep:
    """Build ``test`` or ``test2`` for one set: the scores of all its images, and what else the template writes."""
    settings, lists, config = shop.settings, shop.lists, shop.config
    feature_dir = settings.folder(f"features{stage}")
    text = config.fill("test", set_name, config.variables(TEST_SET=set_name, FEATURE_DIR=feature_dir))
    net = proto.filter_net(proto.parse_net(text), caffe_pb2.TEST)
    ids = lists.ids(set_name)
    by_id = _written(net, ids)
    weights = _test_weights(shop, stage)
    inputs = {
        "test.prototxt": digest(text),
        "list": lists.checksum(set_name),
        "ids": lists.checksum(f"{set_name}_id"),
        "weights": UNKNOWN if weights is None else file_digest(weights),
    }
    model, count = config.file("test", set_name), len(ids)
    name = f"test{stage}-{set_name}"
    if shop.marker(name).begun(inputs):
        model, count = _rest(shop, shop.marker(name), set_name, text, by_id)
    shown = _newest(settings, stage) if weights is None else str(weights)
    words = ["test", "--model", model, "--weights", shown, "--iterations", str(count), "--quiet", *shop.device()]
    return ExperimentStep(name, inputs, [path for paths in by_id.values() for path in paths], [words] if count else [])


def _newest(settings: ExperimentSettings, stage: str) -> str:
    """Return a text that stands for weights that are still to be trained, in a dry run."""
    return f"<the newest {settings.folder('model')}/train{stage}_iter_*.caffemodel>"


def _last_state(shop: Workshop, step: str, prefix: str, *, hdf5: bool) -> str | None:
    """Return the newest ``.solverstate`` whose weights are there and whole."""
    settings, marker = shop.settings, shop.marker(step)
    found = {}
    for path in settings.path(prefix).parent.glob(f"{Path(prefix).name}_iter_*.solverstate*"):
        number = path.name.partition(".solverstate")[0].rpartition("_")[2]
        if number.isdigit():
            files = SnapshotFiles.of(prefix, int(number), hdf5=hdf5)
            if settings.path(str(files.state)).is_file() and marker.intact(str(files.model)):
                found[int(number)] = str(files.state)
    return found[max(found)] if found else None


def _initial_weights(shop: Workshop, stage: str) -> str | None:
    settings = shop.settings
    own = settings.path(settings.folder("model")) / f"init{stage}.caffemodel"
    if not stage and settings.init is not None:
        if not settings.init.is_file():
            raise ExperimentError(f"{settings.init}: there are no such weights to begin with")
        return str(settings.init)
    if own.is_file():
        return str(own)
    if not stage:
        return None
    found = shop.snapshot("")
    return UNKNOWN if found is None else str(found)


def _test_weights(shop: Workshop, stage: str) -> Path | None:
    settings = shop.settings
    if not stage and settings.weights is not None:
        return settings.weights
    own = settings.path(settings.folder("model")) / f"test{stage}.caffemodel"
    return own if own.is_file() else shop.snapshot(stage)


def _written(net: caffe_pb2.NetParameter, ids: list[str]) -> dict[str, list[str]]:
    """Return the files that MAT_WRITE layers write of each image."""
    for layer in net.layer:
        if layer.HasField("image_data_param") and layer.image_data_param.batch_size != 1:
            raise ExperimentError(f"layer '{layer.name}': test.prototxt needs batch_size 1, a file for each image")
    layers = [layer for layer in net.layer if layer.HasField("mat_write_param")]
    if not layers:
        raise ExperimentError("test.prototxt has no MAT_WRITE layer: it would leave no scores")
    found: dict[str, list[str]] = {name: [] for name in ids}
    for layer in layers:
        param = layer.mat_write_param
        if param.period != 1 or not param.source:
            raise ExperimentError(f"layer '{layer.name}': expected a list of ids as source, and period 1")
        for name in ids:
            stem = name[: len(name) - param.strip]
            found[name] += [f"{param.prefix}{stem}_blob_{index}.mat" for index in range(len(layer.bottom))]
    return found


def _rest(shop: Workshop, marker: Marker, set_name: str, text: str, by_id: dict[str, list[str]]) -> tuple[str, int]:
    """Write a prototxt for the images that an interrupted test did not reach; return it and their number."""
    settings, config = shop.settings, shop.config
    left = [n for n, paths in enumerate(by_id.values()) if not all(map(marker.intact, paths))]
    whole = config.file("test", set_name), len(by_id)
    if not left or len(left) == len(by_id):
        return whole[0], len(left)
    for suffix in ("", "_id"):
        lines = shop.lists.content(f"{set_name}{suffix}").decode("utf-8", "surrogateescape").splitlines()
        lines = [line for line in lines if line.strip()]
        rest = f"{settings.folder('config')}/{set_name}_rest{suffix}.txt"
        source = f'"{settings.list_file(f"{set_name}{suffix}")}"'
        if source not in text:
            return whole
        text = text.replace(source, f'"{rest}"')
        config.write(settings.path(rest), "".join(f"{lines[n]}\n" for n in left))
    model = config.file("test", f"{set_name}_rest")
    config.write(settings.path(model), text)
    return model, len(left)
