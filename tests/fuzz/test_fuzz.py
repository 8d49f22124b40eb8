"""Every reader on what it once failed on, and on some hundred damaged files; `make fuzz` runs longer."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from deeplab_caffe.errors import DataError
from tests.fuzz import __main__ as driver
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import Target, targets

pytest.importorskip("h5py")
pytest.importorskip("lmdb")
pytest.importorskip("safetensors")


def test_no_reader_fails_on_the_corpus_or_on_damaged_files() -> None:
    result = driver.run(list(targets()), inputs=120)
    assert result.reason == "", f"{result.name}, file {result.count}: {driver.keep(result.name, result.content)}"
    assert (result.name, result.count) == (list(targets())[-1], 120 + len(driver.corpus(result.name)))


@pytest.mark.parametrize("name", list(targets()))
def test_seeds_are_sound(name: str, tmp_path: Path) -> None:
    # A seed that is refused leads nowhere. Some targets read a file in several ways, of which the last fits one seed.
    target, read = targets()[name], 0
    for content in target.seeds():
        (tmp_path / f"x{target.suffix}").write_bytes(content)
        try:
            target.read(tmp_path / f"x{target.suffix}")
            read += 1
        except driver.DeepLabCaffeError:
            pass
    assert read > 0
    assert all(len(content) < 100_000 for content in target.seeds())


def test_the_corpus_has_no_strangers() -> None:
    assert {path.name for path in driver.CORPUS.iterdir()} <= set(targets())
    assert list((driver.CORPUS / "log").iterdir())
    assert all(path.stat().st_size < 20_000 for path in driver.CORPUS.rglob("*"))


def raises(error: type[Exception]):
    def read(_: Path) -> None:
        raise error("x", "y") if error is DataError else error("x")

    return read


def test_what_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    driver.check(Target("", raises(DataError), list), path, b"x")
    with pytest.raises(KeyError):
        driver.check(Target("", raises(KeyError), list), path, b"x")

    def read_much(path: Path) -> int:
        return len(path.read_bytes() * (400 << 20))

    with pytest.raises(AssertionError, match="bytes of memory for a file of 3"):
        driver.check(Target("", read_much, list), path, b"xyz")


def test_a_signal_fails_and_tells_which_file(monkeypatch: pytest.MonkeyPatch) -> None:
    real = driver.subprocess.run

    def killed(words: list[str], **options: object):
        folder = Path(words[words.index("--child") + 1])
        (folder / "now").write_text("bin 7")
        (folder / "file.bin").write_bytes(b"bad")
        return real(["/bin/sh", "-c", "kill -11 $$"], **options)

    monkeypatch.setattr(driver.subprocess, "run", killed)
    assert driver.run(["bin"]) == driver.Result("bin", 7, f"signal {int(signal.SIGSEGV)}", b"bad")


def test_the_same_number_gives_the_same_files() -> None:
    def some(number: int) -> list[bytes]:
        generator = random.Random(number)
        return [mutate(generator, b"a seed of some bytes", (b"word",), (b"other",)) for _ in range(200)]

    assert some(1) == some(1) != some(2)
    assert len(set(some(1))) > 150
    assert any(b"word" in data for data in some(1))
