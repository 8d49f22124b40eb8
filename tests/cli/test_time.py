from __future__ import annotations

from pathlib import Path

import pytest

NET = """
name: "n" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layers { name: "r" type: RELU bottom: "c" top: "c" }
"""


@pytest.mark.parametrize("words", [(), ("--engine", "CAFFE"), ("--forward-only",)])
def test_table(run, tmp_path: Path, words: tuple) -> None:
    (tmp_path / "n.prototxt").write_text(NET)
    outcome = run("time", "--model", tmp_path / "n.prototxt", "--iterations", 2, "--device", "cpu", *words)
    assert outcome.status == 0, outcome.err
    rows = {line.split()[0]: line.split()[1:] for line in outcome.out.splitlines() if line}
    assert rows["c"][0] == "Convolution"
    assert float(rows["c"][1]) > 0
    if words == ("--forward-only",):
        assert rows["c"][2] == rows["total"][1] == "-"
    else:
        assert float(rows["c"][2]) > 0
        # Each cell is rounded to a thousandth.
        assert float(rows["total"][0]) == pytest.approx(float(rows["c"][1]) + float(rows["r"][1]), abs=0.002)


def test_missing_file(run) -> None:
    assert "none.prototxt" in run("time", "--model", "none.prototxt").error_line()


@pytest.mark.parametrize("verb", ["time", "convert"])
def test_a_training_file_is_called_so(run, tmp_path: Path, verb: str) -> None:
    path = tmp_path / "train.prototxt"
    path.write_text('layers { name: "data" type: DATA top: "data" data_param { source: "no_lmdb" batch_size: 1 } }')
    words = {"time": (), "convert": ("x.caffemodel", "--out", tmp_path / "x.pth")}[verb]
    line = run(verb, *words, "--model", path).error_line()
    assert "train.prototxt: this is a training file" in line
    assert "expected a deploy.prototxt" in line
