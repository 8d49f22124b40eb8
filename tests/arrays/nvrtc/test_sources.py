from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deeplab_caffe.arrays.nvrtc import program, sources
from deeplab_caffe.errors import KernelError


def test_includes_are_put_in() -> None:
    text = program("interp/interp_kernels.cuh")
    assert '#include "' not in text
    assert "#pragma once" not in text
    assert text.index("typedef long long int64_t") < text.index("struct Axis") < text.index("void forward_kernel")


def test_what_comes_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "op/kernels.cuh": '#include <vector>\n#include <cstdint>\n#include "a.h"\n  # include "../b.h"\nint last;\n',
        "op/a.h": '#pragma once\n#if 0\n#include "../c.h"\n#endif\n#include "../b.h"\nint a;\n',
        "b.h": '#pragma once\n#include "c.h"\n#include <cstdint>\nint b;\n',
        "c.h": '#pragma once\n#include "b.h"\nint c;\n',
        "nvrtc/cstdint": "#pragma once\nint standard;\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sources, "csrc_folder", lambda: tmp_path)
    text = sources.program.__wrapped__("op/kernels.cuh")
    assert "#include <vector>" in text  # not stood in for: NVRTC's business
    text = text.replace("#include <vector>", "")
    # The preprocessor alone can say what an #if leaves.
    lines = subprocess.run(
        ["g++", "-E", "-P", "-x", "c++", "-"], input=text, capture_output=True, text=True, check=True
    )
    assert " ".join(lines.stdout.split()) == "int standard; int c; int b; int a; int last;"
    # An error's line is that of the file.
    lines = subprocess.run(["g++", "-E", "-x", "c++", "-"], input=text, capture_output=True, text=True, check=True)
    assert lines.stdout.rstrip().splitlines()[-2:] == ['# 5 "op/kernels.cuh"', "int last;"]


def test_a_missing_file() -> None:
    with pytest.raises(KernelError, match="a kernel's source cannot be read: .*no_such_kernels.cuh"):
        program("interp/no_such_kernels.cuh")


def test_a_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "files", lambda _: tmp_path / "deeplab_caffe")
    with pytest.raises(KernelError, match="the folder csrc is missing"):
        sources.csrc_folder()
    (tmp_path / "csrc" / "nvrtc").mkdir(parents=True)
    assert sources.csrc_folder() == tmp_path / "csrc"
    (tmp_path / "deeplab_caffe" / "csrc" / "nvrtc").mkdir(parents=True)
    assert sources.csrc_folder() == tmp_path / "deeplab_caffe" / "csrc"
