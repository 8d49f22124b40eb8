"""benchmarks/gpu_check.sh where there is no GPU: what it runs is noted, and does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_check.sh"
PYTHON = """#!/usr/bin/env bash
case "$*" in
  *EXT_SUFFIX*) echo .fake.so ;;
  *"import xdist"*) exit "${NO_XDIST:-0}" ;;
  *build_ext*)
    echo "build with CUDA=$DEEPLAB_CAFFE_CUDA" >>"$CALLS"
    [ "$DEEPLAB_CAFFE_CUDA$NO_NVCC" != 1yes ] || exit 1
    echo built >deeplab_caffe/_C.fake.so
    ;;
  -c*) ;;
  *crf.py*)
    echo "no such device"
    exit 3
    ;;
  *)
    echo "$*" >>"$CALLS"
    for word in "$@"; do case "$word" in *.json) echo "{}" >"$word" ;; esac; done
    ;;
esac
"""
# timeout -k 10 SECONDS COMMAND...
TIMEOUT = '#!/usr/bin/env bash\n[ "$1" != -k ] || { echo "$3" >>"$LIMITS"; shift 2; }\nshift\nexec "$@"\n'
SANITIZER = '#!/usr/bin/env bash\necho "sanitizer $*" >>"$CALLS"\n'

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("bash", "tar", "sha256sum"))), reason="no bash, no tar")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, something to build, and stand-ins for the commands."""
    root = tmp_path / "checkout"
    for name in ("benchmarks", "csrc", "deeplab_caffe", "bin"):
        (root / name).mkdir(parents=True)
    shutil.copy(SCRIPT, root / "benchmarks")
    (root / "csrc" / "a.cpp").write_text("a")
    (root / "setup.py").write_text("b")
    commands = {"python3": PYTHON, "timeout": TIMEOUT, "compute-sanitizer": SANITIZER, "nvcc": "#!/bin/sh\n"}
    for name, text in commands.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    return root


@pytest.fixture
def run(checkout: Path) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs the script: exit status, output, what it ran."""

    def call(*words: str, **variables: str) -> tuple[int, str, list[str]]:
        calls = checkout / "calls"
        calls.write_text("")
        environment = {name: text for name, text in os.environ.items() if name not in ("OUT", "PYTHON")}
        environment |= {"PATH": f"{checkout / 'bin'}:{environment['PATH']}", "CALLS": str(calls)}
        environment |= {"LIMITS": str(checkout / "limits"), **variables}
        script = str(checkout / "benchmarks" / "gpu_check.sh")
        done = subprocess.run(["bash", script, *words], env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()

    return call


def test_the_first_part(run: Callable, checkout: Path) -> None:
    status, text, calls = run()
    assert status == 1
    assert "   status 3 after" in text
    assert "no such device" in text
    assert text.splitlines()[-1] == "failed: crf"
    calls = calls[calls.index("build with CUDA=1") + 1 :]
    ran = [next(word for word in call.split() if word.endswith(".py") or word == "pytest") for call in calls]
    assert ran == ["benchmarks/fps.py", "pytest"]
    assert "-n 8" in calls[1]
    assert (checkout / "out" / "gpu_check" / "fps_cuda.json").is_file()
    assert "failed: crf" in (checkout / "out" / "gpu_check" / "summary.txt").read_text()


def test_the_second_part(run: Callable, checkout: Path) -> None:
    status, text, calls = run("second")
    assert (status, "failed" in text) == (0, False)
    calls = calls[calls.index("build with CUDA=1") + 1 :]
    ran = [next(word for word in call.split() if word.endswith(".py") or word == "pytest") for call in calls]
    scripts = [f"benchmarks/{name}.py" for name in ("fps", "kernels", "ends", "domain_transform")]
    assert ran == [*scripts[:3], "pytest", scripts[3]]
    assert calls[3].startswith("sanitizer --tool memcheck")
    for step in ("fps_compile", "kernels", "ends", "domain_transform"):
        assert (checkout / "out" / "gpu_check" / f"{step}_cuda.json").is_file()


def test_out_gets_two_files_and_the_extension_can_be_carried(run: Callable, checkout: Path, tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    out.mkdir()
    status, text, calls = run("fps", "ends", OUT=str(out), NO_XDIST="1")
    assert (status, calls.count("build with CUDA=1")) == (0, 1)
    assert sorted(path.name for path in out.iterdir()) == ["built.tgz", "gpu_check.tgz"]
    with tarfile.open(out / "gpu_check.tgz") as archive:
        names = archive.getnames()
    assert {"gpu_check/gpu.txt", "gpu_check/fps.log", "gpu_check/fps_cuda.json", "gpu_check/summary.txt"} <= set(names)
    shutil.rmtree(checkout / "out")
    (checkout / "deeplab_caffe" / "_C.fake.so").unlink()
    (checkout / "out").mkdir()
    shutil.copy(out / "built.tgz", checkout / "out")
    status, text, calls = run("tests", OUT=str(out))
    assert status == 0
    assert "out/built.tgz is of these sources" in text
    assert not any(call.startswith("build") for call in calls)
    assert (checkout / "deeplab_caffe" / "_C.fake.so").read_text() == "built\n"
    (checkout / "csrc" / "a.cpp").write_text("other")
    status, text, calls = run("tests", NO_XDIST="1")
    assert "build with CUDA=1" in calls
    assert "-n 8" not in calls[-1]


def test_without_a_compiler_the_rest_still_runs(run: Callable, checkout: Path) -> None:
    status, text, calls = run("fps", NO_NVCC="yes")
    assert status == 1
    assert text.splitlines()[-1] == "failed: build"
    assert [call for call in calls if "build" in call] == ["build with CUDA=1", "build with CUDA=0"]
    assert "benchmarks/fps.py" in calls[-1]
    # What has no kernels is not for another call.
    assert not (checkout / "out" / "built.tgz").exists()


def test_names(run: Callable) -> None:
    status, text, calls = run("fps", "fsp")
    assert (status, calls) == (2, [])
    assert "no step fsp: there are first second third fourth all fps" in text


def test_no_time_left(run: Callable) -> None:
    status, text, _ = run("fps", SECONDS_IN_ALL="5")
    assert status == 1
    assert "fps (no time left)" in text


@pytest.mark.parametrize(("part", "time"), [("first", 240), ("second", 330), ("third", 330), ("fourth", 330)])
def test_the_limits_of_a_part_are_no_more_than_the_time(run: Callable, checkout: Path, part: str, time: int) -> None:
    _, text, _ = run(part, SECONDS_IN_ALL="5000")
    limits = [int(line) for line in (checkout / "limits").read_text().split()]
    assert len(limits) == text.count("== ")
    assert 0 < sum(limits) <= time
