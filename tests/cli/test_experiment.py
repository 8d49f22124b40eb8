from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiment.conftest import data_root, model  # noqa: F401


def test_dry_run(run, data_root: Path, model: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ("experiment", "toy", "--data-root", data_root, "--model", model, "--exper-root", tmp_path / "exper")
    words += ("--train-set", "train", "--var", "NUM_LABELS=2")
    outcome = run(*words, "--dry-run", "--search-options", "--samples 2", "--steps", "train,test,crf-search,crf,eval")
    assert outcome.status == 0, outcome.err
    assert "deeplab-caffe crf-search" in outcome.out
    assert "--samples 2" in outcome.out
    assert not (tmp_path / "exper").exists()


def test_lists_may_have_blanks(run, data_root: Path, model: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ("experiment", "toy", "--data-root", data_root, "--model", model, "--exper-root", tmp_path / "exper")
    words += ("--train-set", "train", "--var", "NUM_LABELS=2", "--dry-run")
    outcome = run(*words, "--steps", "train, test", "--test-set", "val, train")
    assert outcome.status == 0, outcome.err
    assert outcome.out == run(*words, "--steps", "train,test", "--test-set", "val,train").out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--steps", "dance"), "expected some of train"),
        (("--train-set", "none"), "no list 'none'"),
        (("--model", "none"), "none"),
    ],
)
def test_errors_are_one_line(run, data_root: Path, model: Path, more: tuple, message: str, tmp_path: Path) -> None:  # noqa: F811
    words = ("experiment", "toy", "--data-root", data_root, "--model", model, "--exper-root", tmp_path / "exper")
    assert message in run(*words, "--train-set", "train", "--steps", "train", *more).error_line()
