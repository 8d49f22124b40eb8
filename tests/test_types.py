"""What type checkers know of the package's most used results."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import deeplab_caffe

ROOT = Path(deeplab_caffe.__file__).parent.parent
# torch takes mypy a minute.
CONFIG = """
[mypy]
strict = True
[mypy-torch.*]
follow_imports = skip
[mypy-deeplab_caffe.*]
follow_imports = silent
"""
PROGRAM = """
import numpy as np
from numpy.typing import NDArray
from deeplab_caffe.crf import DenseCRF, dense_crf

def f(one: NDArray[np.float64], image: NDArray[np.uint8]) -> None:
    reveal_type(dense_crf(one, image))
    reveal_type(dense_crf([one, one], [image, image], "DeepLab", iterations=5))
    reveal_type(DenseCRF(4).infer(one, kind="scores"))
    dense_crf(one, image, iteration=5)
"""


def test_marginals_are_of_the_library_of_the_scores(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file", "config", "--cache-dir", "cache", "program.py"]
    found = subprocess.run(command, cwd=tmp_path, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True)
    types = re.findall(r'Revealed type is "(.*)"', found.stdout)
    assert [re.sub(r"\b(\w+\.)+", "", one) for one in types] == [
        "ndarray[Any, dtype[floating[_32Bit]]]",
        "list[ndarray[Any, dtype[floating[_32Bit]]]]",
        "ndarray[Any, dtype[floating[_32Bit]]]",
    ], found.stdout
    assert {line.split(":")[1] for line in found.stdout.splitlines() if ": error:" in line} == {"10"}, found.stdout
