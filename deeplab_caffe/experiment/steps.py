"""The steps of an experiment: inputs, commands and outputs of each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from deeplab_caffe import proto
from deeplab_caffe.experiment.context import UNKNOWN, StepContext
from deeplab_caffe.experiment.markers import Marker, digest, file_digest
from deeplab_caffe.experiment.settings import ExperimentError, ExperimentSettings
from deeplab_caffe.experiment.written import test_net, written_files
from deeplab_caffe.solver.snapshot import SnapshotFiles


@dataclass
class ExperimentStep:
    """One step for one set of images.

    Attributes:
        name: ``train``, ``test-val``, ``crf2-test``.
        inputs: hashes of everything that the step's results depend on.
        outputs: the step's files, relative to the experiments' folder.
        commands: words after ``deeplab-caffe``, run one after the other in the experiments' folder.
        notes: warnings for the user.
        aside: files of other inputs that would be mistaken for this step's, to be moved aside; outputs are deleted.
        about: description of the step, beyond its name.
    """

    name: str
    inputs: dict[str, str]
    outputs: list[str]
    commands: list[list[str]]
    notes: list[str] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)
    about: str = ""


def build_train(context: StepContext, stage: str) -> ExperimentStep:
    """Build ``train`` (stage ``""``) or ``train2``: run_pascal.sh's RUN_TRAIN and RUN_TRAIN2."""
    settings, lists, config = context.settings, context.lists, context.config
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
    weights = _initial_weights(context, stage)
    if weights is None:
        notes.append(f"no init{stage}.caffemodel: training begins with the fillers' values")
    inputs["weights"] = "none" if weights is None else UNKNOWN if weights == UNKNOWN else file_digest(Path(weights))
    words = ["train", "--solver", config.file(f"solver{stage}", train_set)]
    # An interrupted training is resumed; a training with other inputs begins anew.
    state = (
        _last_state(context, f"train{stage}", solver.snapshot_prefix, hdf5=hdf5)
        if context.marker(f"train{stage}").begun(inputs)
        else None
    )
    shown = _newest(settings, "") if weights == UNKNOWN else weights
    words += ["--snapshot", state] if state else ["--weights", shown] if shown else []
    words += ["--log", f"{settings.folder('log')}/train{stage}.jsonl", *context.device()]
    old = settings.path(solver.snapshot_prefix)
    aside = sorted(old.parent.glob(f"{old.name}_iter_*"))
    return ExperimentStep(f"train{stage}", inputs, [str(last.model)], [words], notes, aside)


def build_test(context: StepContext, stage: str, set_name: str) -> ExperimentStep:
    """Build ``test`` or ``test2`` for one set: the scores of all images, and all else that the template writes."""
    settings, lists, config = context.settings, context.lists, context.config
    text = context.test_text(stage, set_name, write=True)
    ids = lists.ids(set_name)
    by_id = written_files(test_net(text), ids)
    weights = _test_weights(context, stage)
    inputs = {
        "test.prototxt": digest(text),
        "list": lists.checksum(set_name),
        "ids": lists.checksum(f"{set_name}_id"),
        "weights": UNKNOWN if weights is None else file_digest(weights),
    }
    model, count = config.file("test", set_name), len(ids)
    name = f"test{stage}-{set_name}"
    if context.marker(name).begun(inputs):
        model, count = _rest(context, context.marker(name), set_name, text, by_id)
    shown = _newest(settings, stage) if weights is None else str(weights)
    words = ["test", "--model", model, "--weights", shown, "--iterations", str(count), "--quiet", *context.device()]
    return ExperimentStep(name, inputs, [path for paths in by_id.values() for path in paths], [words] if count else [])


def _newest(settings: ExperimentSettings, stage: str) -> str:
    """Return a text, for a dry run, that stands for weights that are still to be trained."""
    return f"<the newest {settings.folder('model')}/train{stage}_iter_*.caffemodel>"


def _last_state(context: StepContext, step: str, prefix: str, *, hdf5: bool) -> str | None:
    """Return the newest ``.solverstate`` whose weights exist and are complete."""
    settings, marker = context.settings, context.marker(step)
    found = {}
    for path in settings.path(prefix).parent.glob(f"{Path(prefix).name}_iter_*.solverstate*"):
        number = path.name.partition(".solverstate")[0].rpartition("_")[2]
        if number.isdigit():
            files = SnapshotFiles.of(prefix, int(number), hdf5=hdf5)
            if settings.path(str(files.state)).is_file() and marker.intact(str(files.model)):
                found[int(number)] = str(files.state)
    return found[max(found)] if found else None


def _initial_weights(context: StepContext, stage: str) -> str | None:
    settings = context.settings
    own = settings.path(settings.folder("model")) / f"init{stage}.caffemodel"
    if not stage and settings.init is not None:
        if not settings.init.is_file():
            raise ExperimentError(f"{settings.init}: there are no such weights to begin with")
        return str(settings.init)
    if own.is_file():
        return str(own)
    if not stage:
        return None
    found = context.snapshot("")
    return UNKNOWN if found is None else str(found)


def _test_weights(context: StepContext, stage: str) -> Path | None:
    settings = context.settings
    if not stage and settings.weights is not None:
        return settings.weights
    own = settings.path(settings.folder("model")) / f"test{stage}.caffemodel"
    return own if own.is_file() else context.snapshot(stage)


def _rest(
    context: StepContext, marker: Marker, set_name: str, text: str, by_id: dict[str, list[str]]
) -> tuple[str, int]:
    """Write a prototxt for the images that an interrupted test did not reach; return its path and their number."""
    settings, config = context.settings, context.config
    left = [n for n, paths in enumerate(by_id.values()) if not all(map(marker.intact, paths))]
    whole = config.file("test", set_name), len(by_id)
    if not left or len(left) == len(by_id):
        return whole[0], len(left)
    for suffix in ("", "_id"):
        lines = context.lists.lines(f"{set_name}{suffix}")
        rest = f"{settings.folder('config')}/{set_name}_rest{suffix}.txt"
        source = f'"{settings.list_file(f"{set_name}{suffix}")}"'
        if source not in text:
            return whole
        text = text.replace(source, f'"{rest}"')
        config.write(settings.path(rest), os.fsdecode(b"".join(lines[n] + b"\n" for n in left)))
    model = config.file("test", f"{set_name}_rest")
    config.write(settings.path(model), text)
    return model, len(left)
