"""Run the targets on damaged files: ``python -m tests.fuzz [--seconds 60] [--inputs N] [--target NAME]...``.

Each target runs in a child. A file fails by an exception that is none of ``deeplab_caffe/errors.py``, by more memory
than 64 MiB plus 40 times the file, or by a signal that ends the child. It is then kept in ``tests/fuzz/corpus/NAME/``,
which ``make test`` replays; correct the reader, and leave the file there.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from deeplab_caffe.errors import DeepLabCaffeError
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import Target, targets

CORPUS = Path(__file__).with_name("corpus")
FREE_BYTES, TIMES_FILE = 64 << 20, 40
# Of addresses; torch maps some gigabytes of libraries.
MOST_MEMORY = 24 << 30


def corpus(name: str) -> list[bytes]:
    """Return the files that failed once."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def damaged(name: str, target: Target, number: int) -> Iterator[bytes]:
    """Return damaged files without end, the same ones for the same number."""
    generator = random.Random(f"{name} {number}")
    seeds = target.seeds()
    yield from seeds
    pool = [*seeds, *corpus(name)]
    while True:
        yield mutate(generator, generator.choice(pool), target.tokens, pool)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _now() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def check(target: Target, path: Path, content: bytes) -> None:
    """Read one file.

    Raises:
        Exception: what the reader raised, if it is none of the package's.
        AssertionError: it took too much memory.
    """
    path.write_bytes(content)
    before, peak = _now(), _peak()
    try:
        target.read(path)
    except DeepLabCaffeError:
        pass
    finally:
        # Only a new peak says how far this file went.
        grown = _peak() - before if _peak() > peak else 0
    if grown > FREE_BYTES + TIMES_FILE * len(content):
        raise AssertionError(f"{grown:,} bytes of memory for a file of {len(content):,}")


def run_child(names: Sequence[str], folder: Path, inputs: int, seconds: float, number: int) -> None:
    """Try files until one fails: ``file`` in the folder is then it, and ``now`` says whose it is, and its number."""
    for name in names:
        target = targets()[name]
        path = folder / f"file{target.suffix}"
        (folder / "now").write_text(f"{name} 0")
        # What is imported at first use is no file's doing.
        for content in target.seeds():
            path.write_bytes(content)
            with suppress(DeepLabCaffeError):
                target.read(path)
        end = time.monotonic() + seconds
        for done, content in enumerate(chain(corpus(name), damaged(name, target, number))):
            if done >= inputs + len(corpus(name)) or time.monotonic() > end:
                break
            check(target, path, content)
            (folder / "now").write_text(f"{name} {done + 1}")


class Result(NamedTuple):
    """How a child ended.

    Attributes:
        name: the last target.
        count: how many files of it were read.
        reason: why the next one failed; empty if none did.
        content: that file.
    """

    name: str
    count: int
    reason: str
    content: bytes


def run(names: Sequence[str], *, inputs: int = sys.maxsize, seconds: float = 1e9, number: int = 0) -> Result:
    """Run targets in a child, one after the other."""
    with TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "tests.fuzz", "--child", folder, *(f"--target={name}" for name in names)]
        words += ["--inputs", str(inputs), "--seconds", str(seconds), "--number", str(number)]
        end = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        now = Path(folder) / "now"
        name, count = now.read_text().split() if now.exists() else (names[0], "0")
        if end.returncode == 0:
            return Result(name, int(count), "", b"")
        reason = f"signal {-end.returncode}" if end.returncode < 0 else end.stderr[-3000:]
        file = Path(folder) / f"file{targets()[name].suffix}"
        return Result(name, int(count), reason, file.read_bytes() if file.exists() else b"")


def keep(name: str, content: bytes) -> Path:
    """Put a file that failed into the corpus."""
    path = CORPUS / name / hashlib.sha256(content).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def main() -> int:
    """Run what the command line asks for; return 1 if a file failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="at most, for each target")
    parser.add_argument("--number", type=int, default=None, help="which files; else others each time")
    parser.add_argument("--target", action="append", choices=sorted(targets()))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    number = random.randrange(1 << 32) if asked.number is None else asked.number
    names = asked.target or list(targets())
    if asked.child is not None:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.RLIM_INFINITY))
        run_child(names, Path(asked.child), asked.inputs, asked.seconds, number)
        return 0
    failed = 0
    for name in names:
        _, count, reason, content = run([name], inputs=asked.inputs, seconds=asked.seconds, number=number)
        print(
            f"{name}: {count:,} files" + (f", the next one failed: {keep(name, content)}\n{reason}" if reason else "")
        )
        sys.stdout.flush()
        failed += bool(reason)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
