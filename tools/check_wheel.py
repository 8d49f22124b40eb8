"""Install a wheel as users do and try it: ``python -m tools.check_wheel dist``.

For each Python that ``tools.wheels`` finds and that has a wheel in the folder, the wheel is installed into a clean
environment, without torch and without a compiler on PATH. The dense CRF, its command and the evaluation must run there,
and modules for networks must say what to install. Then torch is added from the environment of this script, if both have
the same Python, and ``segment`` must run. The script prints seconds and megabytes of the installation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

from tools.wheels import find_pythons, version_of

MOST_MEGABYTES = 200
TRY_CRF = Path(__file__).resolve().parent / "try_crf.py"

WITHOUT_TORCH = """
import importlib
for door in "net", "inference", "solver", "segmentation", "pycaffe", "convert":
    try:
        importlib.import_module(f"deeplab_caffe.{door}")
        raise SystemExit(f"deeplab_caffe.{door} was imported: torch is there")
    except ModuleNotFoundError as error:
        assert "deeplab-caffe[torch]" in str(error), error
"""


def megabytes(folder: Path) -> float:
    """Return the size of a folder's files on disk, as by ``du``, in units of 1e6 bytes."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


class Environment:
    """A virtual environment with only pip, and a PATH with only its programs."""

    def __init__(self, python: str, folder: Path) -> None:
        subprocess.run([python, "-m", "venv", folder], check=True)
        self.folder = folder
        (self.packages,) = (folder / "lib").glob("python3.*/site-packages")
        self._settings = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        self._settings["PATH"] = str(folder / "bin")

    def distributions(self) -> int:
        """Return the number of installed packages."""
        return len(list(self.packages.glob("*.dist-info")))

    def run(self, *words: str | Path, status: int = 0) -> str:
        """Run a command of the environment, outside of the checkout, and return its output."""
        command = [self.folder / "bin" / words[0], *words[1:]]
        found = subprocess.run(
            command, env=self._settings, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if found.returncode != status:
            raise SystemExit(
                f"{' '.join(map(str, words[:2]))}: status {found.returncode}\n{found.stdout}{found.stderr}"
            )
        return found.stdout + found.stderr


def check(python: str, wheel: Path, folder: Path) -> None:
    """Install one wheel and try it, first without torch.

    Raises:
        SystemExit: something does not work, or the installation is too large.
    """
    here = Environment(python, folder)
    before, there, began = megabytes(here.packages), here.distributions(), time.perf_counter()
    here.run("pip", "install", "--disable-pip-version-check", "-q", "--only-binary", ":all:", wheel)
    seconds, size = time.perf_counter() - began, megabytes(here.packages) - before
    names = here.distributions() - there
    print(f"{wheel.name}: installed in {seconds:.1f} s, {size:.0f} MB, {names} packages", flush=True)
    if size > MOST_MEGABYTES:
        raise SystemExit(f"{wheel.name}: {size:.0f} MB were installed, {MOST_MEGABYTES} are allowed")
    here.run("python", "-c", WITHOUT_TORCH)
    here.run("python", TRY_CRF)
    for verb in ("crf", "eval"):
        here.run("deeplab-caffe", verb, "--help")
    here.run("deeplab-caffe", "--help")
    assert "pip install 'deeplab-caffe[torch]'" in here.run("deeplab-caffe", "segment", "--help", status=1)
    print("  without torch: dense_crf, DenseCRF2D, pydensecrf's classes, `crf`, `eval`; `segment` says what to install")
    torch = Path(sysconfig.get_path("purelib"))
    if version_of(python) != sysconfig.get_python_version() or not (torch / "torch").is_dir():
        return
    (here.packages / "torch.pth").write_text(f"{torch}\n")
    photo = here.packages / "deeplab_caffe" / "zoo" / "chelsea.jpg"
    here.run("deeplab-caffe", "segment", photo, "--crf", "--out", folder / "out")
    assert list((folder / "out").glob("chelsea*.png")), "segment wrote nothing"
    print("  with torch: `segment --crf`", flush=True)


def main() -> None:
    """Check the wheels of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    checked = 0
    for python in find_pythons():
        tag = f"cp{version_of(python).replace('.', '')}"
        for wheel in folder.resolve().glob(f"*-{tag}-*.whl"):
            with tempfile.TemporaryDirectory() as scratch:
                check(python, wheel, Path(scratch))
            checked += 1
    print(f"{checked} wheels work")
    if not checked:
        raise SystemExit(f"{folder}: no wheel for a Python that is here")


if __name__ == "__main__":
    main()
