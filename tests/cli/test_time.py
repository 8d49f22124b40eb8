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


def test_level_and_stages_choose_layers(run, tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    path.write_text(
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4\n'
        'layers { name: "always" type: RELU bottom: "data" top: "a" }\n'
        'layers { name: "deployed" type: RELU bottom: "a" top: "b" include { stage: "deploy" } }\n'
        'layers { name: "third" type: RELU bottom: "a" top: "c" include { min_level: 3 } }\n'
    )
    words = ("time", "-model", path, "-iterations", "1")
    for more, expected in (
        ((), [True, False, False]),
        (("-stage", "x,deploy"), [True, True, False]),
        (("-level=3",), [True, False, True]),
    ):
        out = run(*words, *more).out
        assert [name in out for name in ("always", "deployed", "third")] == expected
