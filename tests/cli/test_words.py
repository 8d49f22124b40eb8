from __future__ import annotations

import click
import pytest

from deeplab_caffe.cli.words import asks_version, nearest, two_dashes


@click.command()
@click.option("--solver")
@click.option("--crop-size", nargs=2, type=int)
@click.option("--title")
@click.option("--quiet", is_flag=True)
@click.option("--crf", is_flag=False, flag_value="")
@click.option("-bw", "--bi-w")
@click.option("-i", "--iterations")
def command(**_: object) -> None:
    """Have flags of all kinds."""


def read(*words: str) -> list[str]:
    return two_dashes(click.Context(command, help_option_names=["-h", "--help"]), command, words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-solver", "x"], ["--solver", "x"]),
        (["-solver=x=y"], ["--solver=x=y"]),
        (["--solver=x"], ["--solver=x"]),
        (["-quiet", "photo.png", "-crf"], ["--quiet", "photo.png", "--crf"]),
        (["-crf", "-solver", "x"], ["--crf", "--solver", "x"]),
        (["--crop_size", "-1", "-2"], ["--crop-size", "-1", "-2"]),
        (["-bw", "5", "-i10", "-h"], ["-bw", "5", "-i10", "-h"]),
        # Values are left alone, whatever they look like, and so is what follows two dashes alone.
        (["--title", "-solver", "-solver", "-quiet"], ["--title", "-solver", "--solver", "-quiet"]),
        (["--", "-solver"], ["--", "-solver"]),
        (["-"], ["-"]),
        (["-solver"], ["--solver"]),
    ],
)
def test_flags_of_one_dash(words: list[str], expected: list[str]) -> None:
    assert read(*words) == expected


@pytest.mark.parametrize(
    ("words", "expected", "said"),
    [
        (["-log_dir", "logs", "-solver", "x"], ["--solver", "x"], "-log_dir"),
        (["--log_dir=logs", "-logtostderr", "x"], ["x"], "-log_dir, -logtostderr"),
        (["-alsologtostderr=1", "--minloglevel", "2"], [], "-alsologtostderr, -minloglevel"),
        (["--log-dir", "logs", "--", "-logtostderr"], ["--", "-logtostderr"], "-log_dir"),
        (["--title", "-logtostderr"], ["--title", "-logtostderr"], None),
    ],
)
def test_glogs_flags(words: list[str], expected: list[str], said: str | None, capsys: pytest.CaptureFixture) -> None:
    assert read(*words) == expected
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": glog's, of no effect here")[0] for line in lines] == [f"note: {said}"] * bool(said)


@click.command()
@click.option("--log-dir")
def with_its_own(**_: object) -> None:
    """Have a flag of glog's name."""


def test_a_commands_own_flag_goes_before_glogs(capsys: pytest.CaptureFixture) -> None:
    assert two_dashes(click.Context(with_its_own), with_its_own, ["-log_dir", "x"]) == ["--log-dir", "x"]
    assert capsys.readouterr().err == ""


@click.command("test")
@click.option("--model")
@click.option("--quiet", is_flag=True)
def caffes(**_: object) -> None:
    """Have a flag of Caffe's, in a verb of Caffe's."""


def test_caffes_verbs_take_all_flags_of_caffe(capsys: pytest.CaptureFixture) -> None:
    context = click.Context(caffes)
    words = ["-solver", "x", "-model", "-phase", "--sigint_effect=stop", "-iterations", "5", "-quiet"]
    assert two_dashes(context, caffes, words) == ["--model", "-phase", "--quiet"]
    said = capsys.readouterr().err
    assert said == "note: -solver, -sigint_effect, -iterations: of no effect with test, as in Caffe\n"
    with pytest.raises(click.NoSuchOption):
        two_dashes(context, caffes, ["-crf", "x"])
    with pytest.raises(click.NoSuchOption):
        read("-model", "x")


def test_asks_version() -> None:
    assert all(map(asks_version, ("-version", "--version", "-version=true", "--version=1")))
    assert not any(map(asks_version, ("version", "-version=false", "-versions", "-v")))


def test_misspelt_flag_of_one_dash() -> None:
    with pytest.raises(click.NoSuchOption) as caught:
        read("-solvr", "x")
    assert (caught.value.option_name, caught.value.possibilities) == ("-solvr", ["--solver"])


def test_nearest() -> None:
    assert nearest("Segmnt", ["train", "segment", "test"]) == ["segment"]
    assert nearest("zzz", ["train"]) == []
