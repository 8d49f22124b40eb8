from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.crf_search.samples import draw_samples, find_samples
from deeplab_caffe.data import save_image, save_labels_png, write_probabilities_bin
from deeplab_caffe.errors import CRFError, DataError
from deeplab_caffe.viz import VOC_COLORMAP
from tests.crf.scenes import scene, write_scenes

NAMES = ("b", "a", "c.x", "d")


def found(folder: Path, ids: Path | None = None) -> list:
    return find_samples(folder / "scores", folder / "images", folder / "labels", ids)


@pytest.mark.parametrize("kind", ["mat", "npy"])
def test_files_are_paired_by_name_and_cut_to_the_image(tmp_path: Path, kind: str) -> None:
    write_scenes(tmp_path, NAMES, kind)
    samples = found(tmp_path)
    assert [sample.name for sample in samples] == sorted(NAMES)
    for sample in samples:
        number = NAMES.index(sample.name)
        image, labels, scores = scene(number, (18 + number, 22))
        content = sample.load()
        np.testing.assert_array_equal(content.image, image)
        np.testing.assert_array_equal(content.scores, scores)
        np.testing.assert_array_equal(content.label[:-1], labels[:-1])
        assert (content.label[-1] == 255).all()
        assert content.scores.dtype == np.float32


def test_a_list_chooses_and_orders(tmp_path: Path) -> None:
    write_scenes(tmp_path, NAMES)
    ids = tmp_path / "ids.txt"
    ids.write_text("d\nb something else\n\nd\n")
    assert [sample.name for sample in found(tmp_path, ids)] == ["d", "b"]


@pytest.mark.parametrize("kind", ["mat", "npy"])
def test_ids_with_folders(tmp_path: Path, kind: str) -> None:
    (tmp_path / "scores" / "aachen").mkdir(parents=True)
    write_scenes(tmp_path, ("a", "aachen/b", "c"), kind)
    ids = tmp_path / "ids.txt"
    ids.write_text("aachen/b\na\n")
    samples = found(tmp_path, ids)
    assert [sample.name for sample in samples] == ["aachen/b", "a"]
    np.testing.assert_array_equal(samples[0].load().scores, scene(1, (19, 22))[2])
    assert [sample.name for sample in found(tmp_path)] == ["a", "c"]


def test_what_scores_are_is_noticed_or_said(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",), "npy")
    scores = found(tmp_path)[0].load().scores
    probabilities = np.exp(scores) / np.exp(scores).sum(0)
    folders = (tmp_path / "scores", tmp_path / "images", tmp_path / "labels")
    expected = np.log(probabilities)
    checksums = set()
    for kind, values in (("probabilities", probabilities), ("energies", -np.log(probabilities)), ("scores", expected)):
        np.save(tmp_path / "scores" / "a.npy", values)
        if kind != "scores":
            with pytest.raises(DataError, match=f'a.npy: .*say kind="{kind}"'):
                found(tmp_path)[0].load()
        (sample,) = find_samples(*folders, kind=kind)
        np.testing.assert_allclose(sample.load().scores, expected, atol=1e-5)
        checksums.add(sample.checksum())
    np.save(tmp_path / "scores" / "a.npy", probabilities)
    assert find_samples(*folders, kind="scores")[0].checksum() == found(tmp_path)[0].checksum() not in checksums
    with pytest.raises(CRFError, match="kind must be"):
        find_samples(*folders, kind="logits")


def test_probabilities_of_bin_files(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",), "npy")
    expected = found(tmp_path)[0].load().scores
    powers = np.exp(expected - expected.max(0))
    write_probabilities_bin(tmp_path / "scores" / "a.bin", powers / powers.sum(0))
    assert found(tmp_path)[0].scores.name == "a.npy"
    (tmp_path / "scores" / "a.npy").unlink()
    (sample,) = found(tmp_path)
    assert (sample.scores.name, sample.kind) == ("a.bin", "probabilities")
    scores = sample.load().scores
    np.testing.assert_allclose(scores - scores.max(0), expected - expected.max(0), atol=1e-5)
    write_probabilities_bin(sample.scores, np.full((3, 2, 2), 1 / 3, np.float32))
    with pytest.raises(DataError, match=r"a.bin: the probabilities are 2 x 2 .*, but the image is 18 x 22"):
        sample.load()


def test_the_originals_format_goes_first(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",))
    np.save(tmp_path / "scores" / "a.npy", np.zeros((3, 18, 22), np.float32))
    assert found(tmp_path)[0].scores.name == "a_blob_0.mat"


def test_draws_are_repeatable_and_nested(tmp_path: Path) -> None:
    names = tuple(f"{number:02d}" for number in range(12))
    write_scenes(tmp_path, names)
    samples = found(tmp_path)
    five = draw_samples(samples, 5, seed=0)
    # A literal: other machines and versions must draw the same.
    assert [sample.name for sample in five] == ["01", "04", "05", "07", "10"]
    assert set(five) <= set(draw_samples(samples, 8, seed=0))
    assert draw_samples(samples[::-1], 5, seed=0) == five[::-1]
    assert draw_samples(samples, 5, seed=1) != five
    assert draw_samples(samples, 100, seed=0) == samples


def test_checksum_changes_with_each_file(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",))
    sample = found(tmp_path)[0]
    checksums = {sample.checksum()}
    for path in (sample.scores, sample.image, sample.label):
        path.write_bytes(path.read_bytes() + b"\0")
        checksums.add(sample.checksum())
    assert len(checksums) == 4


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a folder"):
        found(tmp_path)
    write_scenes(tmp_path, NAMES)
    for folder, what in (("scores", "scores"), ("images", "image"), ("labels", "label map")):
        ids = tmp_path / "ids.txt"
        ids.write_text("a\nb\nd\n")
        moved = [next((tmp_path / folder).glob(f"{name}*")) for name in "bd"]
        for path in moved:
            path.rename(tmp_path / path.name)
        with pytest.raises(DataError, match=f"holds no {what} of 'b' and of 1 others") as caught:
            found(tmp_path, ids)
        assert caught.value.path == str(tmp_path / folder)
        for path in moved:
            (tmp_path / path.name).rename(path)
    ids.write_text("\n")
    with pytest.raises(DataError, match="holds no id"):
        found(tmp_path, ids)
    for path in (tmp_path / "scores").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"neither \*_blob_0.mat nor \*.npy"):
        found(tmp_path)


def test_a_photograph_is_not_its_own_label_map(tmp_path: Path) -> None:
    write_scenes(tmp_path, ("a",))
    with pytest.raises(DataError, match=r"images/a\.png: is both the image and the label map of 'a': keep them in two"):
        find_samples(tmp_path / "scores", tmp_path / "images", tmp_path / "images")


def write_npy(values: np.ndarray):
    return lambda folder: np.save(folder / "scores" / "a.npy", values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (write_npy(np.zeros((3, 17, 22), np.float32)), "smaller than the image"),
        (write_npy(np.zeros((18, 22), np.float32)), r"expected scores \(C, H, W\)"),
        (write_npy(np.zeros((2, 3, 18, 22), np.float32)), r"expected scores \(C, H, W\)"),
        (write_npy(np.zeros((3, 18, 22), np.int32)), "floating-point"),
        (write_npy(np.full((3, 18, 22), np.nan, np.float32)), "not all finite"),
        (write_npy(np.array([None])), "is no .npy file of numbers"),
        (lambda folder: (folder / "scores" / "a.npy").write_bytes(b""), "a.npy"),
        (lambda folder: (folder / "scores" / "a.npy").write_bytes(b"no array"), "is no .npy file of numbers"),
        (lambda folder: (folder / "scores" / "a.npy").unlink(), "No such file"),
        (lambda folder: (folder / "images" / "a.png").write_bytes(b"no image"), "is not an image"),
        (lambda folder: (folder / "labels" / "a.png").unlink(), "No such file"),
        (
            lambda folder: save_labels_png(folder / "labels" / "a.png", np.zeros((18, 21), np.uint8), VOC_COLORMAP),
            "the labels are 18 x 21",
        ),
        (
            lambda folder: save_image(folder / "labels" / "a.png", scene(0)[0]),
            "expected a palette or grey image",
        ),
    ],
)
def test_bad_files_are_named(tmp_path: Path, spoil, message: str) -> None:
    write_scenes(tmp_path, ("a",), "npy")
    sample = found(tmp_path)[0]
    spoil(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        sample.load()
    assert "a.npy" in caught.value.path or "a.png" in caught.value.path
