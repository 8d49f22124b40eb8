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

NET_PROGRAM = """
import numpy as np
import deeplab_caffe as dc
from deeplab_caffe.inference import OptimizedNet

def f(net: dc.Net, photos: np.ndarray) -> OptimizedNet:
    reveal_type(net.optimize(dtype="float32", batch=2, size=(321, 513)))
    reveal_type(dc.optimize(net))
    fast: OptimizedNet = net.optimize()
    reveal_type(fast.tuning[0].algorithm)
    reveal_type(fast.input_shapes)
    reveal_type(fast.precision.tf32)
    fast.label_images(photos, crf=dc.CRFParams())
    dc.Segmenter(net.optimize())
    net.optimize(sise=321)
    net.optimize(precision="exact")
    net.optimize().label_images(photos, crf="voc")
    net.optimize().labelled(photos)
    return net.optimize()
"""


def types_and_errors(program: str, folder: Path) -> tuple[list[str], dict[str, str], str]:
    """What mypy reveals of a program, without modules' names; its errors, by what their lines say; and all of it."""
    pytest.importorskip("mypy")
    (folder / "config").write_text(CONFIG)
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--config-file", "config", "--cache-dir", "cache", "program.py"]
    found = subprocess.run(command, cwd=folder, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True)
    types = [re.sub(r"\b(\w+\.)+", "", one) for one in re.findall(r'Revealed type is "(.*)"', found.stdout)]
    lines = program.splitlines()
    wrong = re.findall(r"program.py:(\d+): error: .*\[(.*)\]", found.stdout)
    return types, {lines[int(number) - 1].strip(): code for number, code in wrong}, found.stdout + found.stderr


def test_marginals_are_of_the_library_of_the_scores(tmp_path: Path) -> None:
    types, wrong, said = types_and_errors(PROGRAM, tmp_path)
    assert types == [
        "ndarray[Any, dtype[floating[_32Bit]]]",
        "list[ndarray[Any, dtype[floating[_32Bit]]]]",
        "ndarray[Any, dtype[floating[_32Bit]]]",
    ], said
    assert wrong == {"dense_crf(one, image, iteration=5)": "call-overload"}, said


def test_an_optimized_net_has_its_type_by_the_method_too(tmp_path: Path) -> None:
    types, wrong, said = types_and_errors(NET_PROGRAM, tmp_path)
    assert types == ["OptimizedNet", "OptimizedNet", "str", "dict[str, tuple[int, ...]]", "bool"], said
    assert wrong == {
        "net.optimize(sise=321)": "call-arg",
        'net.optimize(precision="exact")': "arg-type",
        'net.optimize().label_images(photos, crf="voc")': "arg-type",
        "net.optimize().labelled(photos)": "attr-defined",
    }, said


def test_the_packages_names_have_types_and_no_others_are_there(tmp_path: Path) -> None:
    names = [*dir(deeplab_caffe), "crf.MeanField", "evaluation.evaluate"]
    wrong_names = ["dc.optimise", "dc.Nett", "dc.crf.MeanFild"]
    lines = ["import deeplab_caffe as dc", *(f"reveal_type(dc.{name})" for name in names), *wrong_names]
    types, wrong, said = types_and_errors("\n".join(lines), tmp_path)
    assert len(types) == len(names), said
    assert [name for name, one in zip(names, types, strict=True) if one == "Any"] == [], said
    assert wrong == dict.fromkeys(wrong_names, "attr-defined"), said
