from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import deeplab_caffe
from deeplab_caffe.cli import GROUPS, VERBS
from deeplab_caffe.zoo import CAMVID_MODEL


def test_version_and_help(run) -> None:
    for words in (["--version"], ["-version"], ["--version=true"], ["-version=1", "train"], ["train", "-version"]):
        assert run(*words).out == f"deeplab-caffe, version {deeplab_caffe.__version__}\n"
    outcome = run("--help")
    for verb in ("crf", "net", "segment", "test", "time"):
        assert f"\n  {verb} " in outcome.out


def test_unknown_verb(run) -> None:
    outcome = run("segmnt")
    assert outcome.status == 2
    assert "segmnt" in outcome.err


def test_help_and_light_rooms_need_no_torch() -> None:
    code = (
        "import sys, deeplab_caffe, deeplab_caffe.cli, deeplab_caffe.proto, deeplab_caffe.data, deeplab_caffe.crf\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_module_is_the_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "deeplab_caffe", "--version"], capture_output=True, text=True, check=True
    )
    assert deeplab_caffe.__version__ in found.stdout


def test_sigterm_leaves_no_half_written_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "from deeplab_caffe.cli import _termination\n"
        "from deeplab_caffe.data import atomic_write\n"
        "with _termination(), atomic_write('x') as file:\n"
        "    file.write(b'1')\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(30)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_names_that_stdout_cannot_show_are_escaped(tmp_path: Path) -> None:
    """A strict stream's error ended in a traceback, after the work was done."""
    shutil.copy(CAMVID_MODEL.deploy, tmp_path / "x.prototxt")
    for encoding, name, shown in (
        ("utf-8:strict", os.fsdecode(b"caf\xe9.svg"), rb"caf\udce9.svg"),
        ("latin-1:strict", "\u732b.svg", rb"\u732b.svg"),
        ("utf-8:surrogateescape", os.fsdecode(b"caf\xe9.svg"), b"caf\xe9.svg"),
    ):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": encoding}
        command = [sys.executable, "-m", "deeplab_caffe", "net", "x.prototxt", "--svg", name]
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(b"wrote " + shown + b"\n")


def test_misspelt_verb_and_flag(run) -> None:
    assert "Did you mean `segment`?" in run("segmnt").err
    assert "'--solver'" in run("train", "--solvr", "x").err
    assert "Did you mean '--solver'?" in run("train", "-solvr", "x").err
    assert "Did you mean" not in run("frobnicate").err


def test_words_of_the_command_line_cannot_steer_the_terminal(run) -> None:
    escape = "\x1b]0;title\x07"
    for words in (
        (f"x{escape}",),
        ("net", f"--{escape}"),
        ("net", "n", "--size", 9, escape),
        ("time", "--gpu", escape),
    ):
        said = run(*words).err
        assert "\x1b" not in said
        assert r"\x1b]0;title\x07" in said


def test_the_verb_may_stand_behind_its_flags(run, tmp_path: Path) -> None:
    """As gflags has it: caffe --solver=x train."""
    missing = tmp_path / "none.prototxt"
    for words in (["train", f"--solver={missing}"], [f"-solver={missing}", "train"], ["-solver", missing, "train"]):
        assert run(*words).error_line().startswith(f"error: {missing}: cannot be read")
    glog = run("-logtostderr", "-log_dir=logs", "train", "-solver", missing, "-minloglevel", "1")
    assert glog.err.startswith("note: -logtostderr, -log_dir, -minloglevel: glog's, of no effect here")
    assert glog.err.splitlines()[1].startswith(f"error: {missing}: cannot be read")
    assert run("--help").status == 0
    assert "No such command" in run("nothing", "train").err


def without(module: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command where a module is not installed."""
    code = f"import sys; sys.modules[{module!r}] = None; from deeplab_caffe.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_torch_is_missing() -> None:
    """--help and what needs no network run; the others say in one line what to install."""
    assert without("torch", "--help").returncode == 0
    for verb in ("train", "test", "time", "segment", "net", "convert", "device-query"):
        found = without("torch", verb, "--help")
        assert (found.returncode, found.stdout) == (1, "")
        assert found.stderr == "error: torch is not installed: pip install 'deeplab-caffe[torch]'\n"
    for verb in ("crf", "eval", "boxes", "models"):
        assert without("torch", verb, "--help").returncode == 0


def test_the_shell_completes_without_torch() -> None:
    """Verbs, and the flags of those that can run; where a verb's are not known the line stays as it is."""

    def completed(line: str, place: int) -> tuple[list[str], str]:
        asked = {"_DEEPLAB_CAFFE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(place)}
        found = without("torch", **asked)
        return [word.removeprefix("plain,") for word in found.stdout.split()], found.stderr

    assert completed("deeplab-caffe ", 1) == (sorted(VERBS), "")
    assert completed("deeplab-caffe se", 1) == (["segment"], "")
    assert completed("deeplab-caffe --v", 1) == (["--version"], "")
    assert completed("deeplab-caffe crf --bi-w", 2) == (["--bi-w"], "")
    assert completed("deeplab-caffe segment --cr", 2) == ([], "")


def test_help_is_grouped(run) -> None:
    """Each verb once, below its group's title; --help of each ends with an example."""
    shown = run("--help").out
    places = [shown.index(f"\n{title}:") for title in GROUPS]
    assert places == sorted(places)
    assert re.findall(r"^  (\S+)", shown[places[0] :], re.MULTILINE) == list(VERBS)
    shown = run("net", "--help").out
    assert shown.endswith("Example:\n    deeplab-caffe net deploy.prototxt --svg net.svg\n")
