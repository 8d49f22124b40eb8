"""Run the steps of an experiment, each once."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from deeplab_caffe.data.io.lock import exclusive
from deeplab_caffe.experiment.context import StepContext
from deeplab_caffe.experiment.post_steps import build_crf, build_eval, build_search
from deeplab_caffe.experiment.settings import STEPS, ExperimentError, ExperimentSettings
from deeplab_caffe.experiment.steps import ExperimentStep, build_test, build_train
from deeplab_caffe.experiment.summary import draw_trimaps, read_evaluations, table
from deeplab_caffe.files.text import text_bytes

# Function that runs one command of deeplab-caffe: words, working folder, log to append to; returns the exit status.
Execute = Callable[[Sequence[str], Path, Path], int]
_KINDS = ("config", "features", "features2", "log", "model")


def execute(words: Sequence[str], folder: Path, log: Path) -> int:
    """Run ``deeplab-caffe`` in a separate process; its output goes to stdout and the log."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    package = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "deeplab_caffe", *words]
    with log.open("ab") as file:
        file.write(text_bytes(f"$ {shlex.join(command)}\n"))
        file.flush()
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with _passed_on(child):
            assert child.stdout is not None
            for line in child.stdout:
                file.write(line)
                file.flush()
                sys.stdout.write(line.decode(errors="replace"))
                sys.stdout.flush()
            return child.wait()


class Runner:
    """Runs the steps of one experiment.

    Args:
        settings: the experiment's settings.
        echo: function that prints a line.
        warn: function that prints a warning.
        execute: function that runs a command.

    Raises:
        ExperimentError: a step's name is unknown, something that a step needs is missing, or a step fails.
    """

    def __init__(
        self,
        settings: ExperimentSettings,
        *,
        echo: Callable[[str], None] = print,
        warn: Callable[[str], None] = print,
        execute: Execute = execute,
    ) -> None:
        self.settings = settings
        self.echo = echo
        self.warn = warn
        self.execute = execute

    def run(self, steps: Sequence[str], *, dry: bool = False) -> None:
        """Run steps in the order of :data:`STEPS`; finished steps are skipped and unfinished steps are resumed.

        Args:
            steps: names of the steps.
            dry: print what would be done, and do nothing.

        Raises:
            ExperimentError: a step is unknown, or what it needs is missing.
        """
        unknown = [step for step in steps if step not in STEPS]
        if unknown or not steps:
            came = f"got '{unknown[0]}'" if unknown else "got none"
            raise ExperimentError(f"steps: expected some of {', '.join(STEPS)}, {came}")
        chosen = [step for step in STEPS if step in steps]
        settings = self.settings
        if not settings.data_root.is_dir():
            raise ExperimentError(f"{settings.data_root}: there is no such data root")
        folders = [settings.folder(kind) for kind in _KINDS] + [f"{settings.exp}/list", f"{settings.exp}/res"]
        for folder in folders:
            if dry:
                if not settings.path(folder).is_dir():
                    self.echo(f"would make {settings.path(folder)}")
            else:
                settings.path(folder).mkdir(parents=True, exist_ok=True)
        lock = settings.path(f"{settings.folder('log')}/lock")
        busy = ExperimentError(f"another run of this experiment is at work ({lock} is locked)")
        with contextlib.nullcontext() if dry else exclusive(lock, busy):
            self._check_lists(chosen, dry)
            for step in chosen:
                for build in self._builders(step, chosen):
                    # Built only now, because a step depends on what the steps before it have left.
                    context = StepContext(settings, dry=dry)
                    self._one(context, build(context), dry)
                if step in ("eval", "eval2") and not dry:
                    self._summarize()

    def _builders(self, step: str, chosen: Sequence[str]) -> Iterator[Callable[[StepContext], ExperimentStep]]:
        stage = "2" if step.endswith("2") else ""
        kind = step.removesuffix("2")
        searching, refining = "crf-search" in chosen, f"crf{stage}" in chosen
        if kind == "train":
            yield partial(build_train, stage=stage)
        elif kind == "crf-search":
            yield build_search
        else:
            for set_name in self._sets(step, chosen):
                if kind == "test":
                    yield partial(build_test, stage=stage, set_name=set_name)
                elif kind == "crf":
                    yield partial(build_crf, stage=stage, set_name=set_name, searching=searching)
                else:
                    yield partial(build_eval, stage=stage, set_name=set_name, refining=refining)

    def _sets(self, step: str, chosen: Sequence[str]) -> list[str]:
        settings = self.settings
        found = settings.test_sets2 if step.endswith("2") else settings.test_sets
        if step == "test" and "crf-search" in chosen:
            found = (*found, settings.searched)
        return list(dict.fromkeys(found))

    def _check_lists(self, chosen: Sequence[str], dry: bool) -> None:
        context = StepContext(self.settings, dry=dry)
        names = [self.settings.train_set] if "train" in chosen else []
        names += [self.settings.train_set2] if "train2" in chosen else []
        names += [
            name for step in chosen if not step.startswith(("train", "crf-search")) for name in self._sets(step, chosen)
        ]
        names += [self.settings.strong_set] if self.settings.strong_set else []
        problems: list[str] = []
        for name in dict.fromkeys(names):
            ids = [] if name in (self.settings.train_set, self.settings.train_set2) else [f"{name}_id"]
            problems += filter(None, map(context.lists.check, [name, *ids]))
            missing = context.lists.missing_files(name)
            if missing:
                others = f" nor {len(missing) - 1} others" if len(missing) > 1 else ""
                raise ExperimentError(f"{self.settings.data_root}{missing[0]} of list '{name}' is not there{others}")
        for problem in problems:
            if self.settings.strict_lists:
                raise ExperimentError(problem)
            self.warn(f"{problem}: numbers will not be comparable with the published ones")

    def _one(self, context: StepContext, step: ExperimentStep, dry: bool) -> None:
        marker = context.marker(step.name)
        for note in (*context.config.notes, *step.notes):
            self.warn(f"{step.name}: {note}")
        if marker.finished(step.inputs):
            self.echo(f"{step.name}: finished before")
            return
        goes_on = marker.begun(step.inputs)
        about = f" ({step.about})" if step.about else ""
        if dry:
            self.echo(f"{step.name}{about}: would {'go on' if goes_on else 'run'}, in {self.settings.root}:")
            for words in step.commands:
                self.echo(f"  {shlex.join(['deeplab-caffe', *words])}")
            return
        self.echo(f"{step.name}{about}: {'goes on' if goes_on else 'begins'}")
        if not goes_on:
            # Clear before writing the marker: otherwise, after a crash between the two, old files would pass for new.
            self._clear(step)
        for name in step.outputs:
            if not marker.intact(name):
                self.settings.path(name).unlink(missing_ok=True)
        marker.begin(step.inputs)
        log = self.settings.path(f"{self.settings.folder('log')}/{step.name}.log")
        for words in step.commands:
            status = self.execute(words, self.settings.root, log)
            if status:
                raise ExperimentError(
                    f"step {step.name} is not finished: deeplab-caffe {words[0]} ended with status {status}; see {log}"
                )
        marker.finish(step.inputs, step.outputs)

    def _clear(self, step: ExperimentStep) -> None:
        """Move snapshots of other inputs aside and delete their results, which could be mistaken for this step's."""
        if step.aside:
            folder = step.aside[0].parent
            number = 1
            while (folder / f"superseded{number}").exists():
                number += 1
            aside = folder / f"superseded{number}"
            aside.mkdir()
            for path in step.aside:
                path.replace(aside / path.name)
            self.warn(f"{step.name}: snapshots of another training are moved to {aside}")
        for name in step.outputs:
            self.settings.path(name).unlink(missing_ok=True)

    def _summarize(self) -> None:
        settings, found = self.settings, []
        for stage in ("", "2"):
            for set_name in settings.test_sets2 if stage else settings.test_sets:
                marker = StepContext(settings).marker(f"eval{stage}-{set_name}")
                if not marker.finished():
                    continue
                for path in (settings.path(name) for name in marker.read()["outputs"]):
                    if path.name == "eval.json":
                        inside = "crf, " if path.parent.parent.name == "crf" else ""
                        found.append((f"{set_name}, features{stage}, {inside}{path.parent.name}", path))
        if found:
            evaluations, name = read_evaluations(found), f"{settings.exp}/res/{settings.net_id}"
            text = table(evaluations)
            StepContext(settings).config.write(settings.path(f"{name}.md"), text)
            draw_trimaps(evaluations, settings.path(f"{name}_trimap.png"))
            self.echo(text)


@contextlib.contextmanager
def _passed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Within the block, leave Ctrl-C to the child, which gets it from the terminal too, and pass SIGTERM on to it."""
    try:
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: child.terminate()),
        }
    except ValueError:
        # Not in the main thread, which alone can handle signals.
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
