"""Train several networks side by side for a given number of seconds, for example on a GPU that is lent for minutes.

    python benchmarks/gpu_train.py jobs.json --seconds 330 --out out/gpu_train

The number of updates that fit is measured first: all jobs run together for some updates and are ended. They begin again
with the ``max_iter`` that the rest of the time allows, so that a learning rate that falls to 0 reaches 0. ``jobs.json``
holds a list of objects:

    {"name": "animals", "network": "deeplab_v3_lite0", "exp": "voc12", "train_set": "train_aug", "num_labels": 21,
     "data_root": "voc_animals", "weights": "init.caffemodel", "solver": {"base_lr": 0.01}, "most": 6000,
     "options": ["--workers", "6"]}

``network`` is a folder of prototxt/ by name, or a path; its list is ``data_root``/list/``train_set``.txt. ``solver``
changes fields of its solver.prototxt; its ``stepsize`` may be a share of the updates, ``"1/3"``. ``most`` is the
largest number of updates. ``--out`` gets a folder NAME for each job, with solver, log (NAME.jsonl) and snapshots. A job
that still runs when the time ends gets SIGTERM, and writes a snapshot.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

from deeplab_caffe.proto import format_message, read_solver
from deeplab_caffe.zoo import prototxt_path

PROBED = 40
# For the start of Python and of CUDA in the second run, and for the last snapshots.
RESERVE_S = 28
# The measured time of an update is a median of a few.
CAUTION = 0.97
PROBE_S = 50
TO_END_S = 12


@dataclass(frozen=True)
class Job:
    """One network's training; the fields are those of the JSON."""

    name: str
    network: str
    exp: str
    train_set: str
    num_labels: int
    data_root: str
    weights: str
    most: int
    solver: dict[str, Any] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)

    def prototxt(self, kind: str) -> Path:
        """Return the network's prototxt of that kind."""
        folder = Path(self.network)
        return folder / f"{kind}.prototxt" if folder.is_dir() else prototxt_path(self.network, kind)

    def solver_text(self, updates: int, *, snapshot: bool) -> str:
        """Return its solver for that many updates, with a snapshot at the end or with none."""
        values = {"EXP": self.exp, "NET_ID": self.name, "TRAIN_SET": self.train_set}
        solver = read_solver(self.prototxt("solver"), values)
        changes = dict(self.solver)
        if isinstance(changes.get("stepsize"), str):
            changes["stepsize"] = max(1, int(Fraction(changes["stepsize"]) * updates))
        for name, value in {**changes, "max_iter": updates, "snapshot_after_train": snapshot}.items():
            setattr(solver, name, value)
        solver.ClearField("snapshot")
        return format_message(solver)


class Run:
    """A job at work in its folder."""

    def __init__(self, job: Job, out: Path, device: str, updates: int, *, snapshot: bool) -> None:
        self.job, self.folder = job, out / job.name
        config = self.folder / job.exp / "config" / job.name
        for folder in (config, self.folder / job.exp / "model" / job.name, self.folder / job.exp / "list"):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.prototxt("train"), config / f"train_{job.train_set}.prototxt")
        root = Path(job.data_root).resolve()
        shutil.copy(root / "list" / f"{job.train_set}.txt", self.folder / job.exp / "list")
        (self.folder / "solver.prototxt").write_text(job.solver_text(updates, snapshot=snapshot), encoding="utf-8")
        self.log = self.folder / f"{job.name}.jsonl"
        self.log.unlink(missing_ok=True)
        values = {"EXP": job.exp, "NET_ID": job.name, "TRAIN_SET": job.train_set, "DATA_ROOT": root}
        environment = os.environ | {"NUM_LABELS": str(job.num_labels), "OMP_NUM_THREADS": "1"}
        environment |= {name: str(value) for name, value in values.items()}
        words = ["--weights", str(Path(job.weights).resolve()), "--device", device, "--log-file", self.log.name]
        with (self.folder / "train.log").open("w") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deeplab_caffe", "train", "--solver", "solver.prototxt", *words, *job.options],
                cwd=self.folder,
                env=environment,
                stdout=told,
                stderr=subprocess.STDOUT,
            )

    @property
    def at_work(self) -> bool:
        """Return whether it has not ended yet."""
        return self.process.poll() is None

    def seconds(self) -> list[float]:
        """Return the seconds of the updates so far."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        found = (json.loads(line) for line in lines if line.endswith("\n"))
        return [one["seconds"] for one in found if one["event"] == "train"]

    def end(self, number: int) -> None:
        """Send a signal and wait."""
        if self.at_work:
            self.process.send_signal(number)
            try:
                self.process.wait(TO_END_S - 2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def measured(jobs: list[Job], out: Path, device: str) -> dict[str, float]:
    """Run all jobs together for some updates; return the seconds of one of each."""
    begin = time.monotonic()
    runs = [Run(job, out, device, 10**6, snapshot=False) for job in jobs]
    while time.monotonic() - begin < PROBE_S and any(run.at_work and len(run.seconds()) < PROBED for run in runs):
        time.sleep(0.2)
    found = {}
    for run in runs:
        run.end(signal.SIGKILL)
    for run in runs:
        # The first ones begin with what CUDA loads.
        later = run.seconds()[3:]
        if not later:
            sys.exit(f"{run.job.name}: no update: see {run.folder / 'train.log'}")
        found[run.job.name] = median(later)
    return found


def train(jobs: list[Job], out: Path, device: str, seconds: float) -> None:
    """Train the jobs within the time, and say of each what came of it."""
    deadline = time.monotonic() + seconds
    update_s = measured(jobs, out, device)
    left = deadline - time.monotonic() - RESERVE_S
    runs = []
    for job in jobs:
        updates = min(job.most, max(1, int(left * CAUTION / update_s[job.name])))
        print(f"{job.name}: {update_s[job.name]:.3f} s an update beside the others, {updates} updates", flush=True)
        runs.append(Run(job, out, device, updates, snapshot=True))
    while time.monotonic() < deadline - TO_END_S and any(run.at_work for run in runs):
        time.sleep(0.5)
    for run in runs:
        run.end(signal.SIGTERM)
        done = run.seconds()
        print(f"{run.job.name}: {len(done)} updates, {median(done):.3f} s each, exit status {run.process.returncode}")


def main(arguments: list[str] | None = None) -> None:
    """Read the jobs and train them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="in all, the measuring included")
    parser.add_argument("--out", type=Path, default=Path("out/gpu_train"))
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(arguments)
    jobs = [Job(**one) for one in json.loads(options.jobs.read_text(encoding="utf-8"))]
    train(jobs, options.out.resolve(), options.device, options.seconds)


if __name__ == "__main__":
    main()
