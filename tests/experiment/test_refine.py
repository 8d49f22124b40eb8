from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from deeplab_caffe import _C
from deeplab_caffe.cli.crf import crf
from deeplab_caffe.crf import CRFParams, dense_crf, layer_inference
from deeplab_caffe.data.io.bin import read_labels_bin, write_probabilities_bin
from deeplab_caffe.data.io.images import load_image, load_label, save_image
from deeplab_caffe.data.io.mat import read_blob_mat, write_blob_mat
from deeplab_caffe.errors import DataError
from deeplab_caffe.experiment.refine import Folders, default_params, detect_format, find_jobs, refine
from tests.crf.conftest import rng as rng
from tests.goldens import CRF_TOLERANCE, case_dir, case_names, load_case

HEIGHT, WIDTH, LABELS = 6, 9, 4
# The module, whose name the package has for the command.
crf_command = importlib.import_module("deeplab_caffe.cli.crf")


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three images with scores (one of them padded), as both programs want them."""
    for kind in ("img", "mat", "bin", "npy"):
        (tmp_path / kind).mkdir()
    for i, name in enumerate(("b", "a", "c")):
        image = rng.integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
        save_image(tmp_path / "img" / f"{name}{('.ppm', '.png', '.ppm')[i]}", image)
        scores = rng.normal(scale=2, size=(1, LABELS, HEIGHT + 2 * i, WIDTH + i)).astype(np.float32)
        write_blob_mat(tmp_path / "mat" / f"{name}_blob_0.mat", scores)
        np.save(tmp_path / "npy" / f"{name}.npy", scores if i else scores[0].astype(np.float64))
        powers = np.exp(scores[0, :, :HEIGHT, :WIDTH])
        write_probabilities_bin(tmp_path / "bin" / f"{name}.bin", powers / powers.sum(axis=0))
    return tmp_path


def run(folder: Path, *more: str, scores: str = "mat") -> Result:
    arguments = ["-id", str(folder / "img"), "-fd", str(folder / scores), "-sd", str(folder / "out")]
    return CliRunner().invoke(crf, [*arguments, *more])


def scores_of(folder: Path, name: str) -> np.ndarray:
    return read_blob_mat(folder / "mat" / f"{name}_blob_0.mat")[0, :, :HEIGHT, :WIDTH]


def image_of(folder: Path, name: str) -> np.ndarray:
    return load_image(next((folder / "img").glob(f"{name}.*")))


@pytest.mark.parametrize(
    ("scores", "params"),
    [("mat", CRFParams(3, 3, 5, 70, 5)), ("bin", CRFParams(3, 3, 10, 60, 20)), ("npy", CRFParams(3, 3, 5, 70, 5))],
)
def test_defaults_are_those_of_the_program_for_the_kind_of_input(folder: Path, scores: str, params: CRFParams) -> None:
    assert detect_format(folder / scores) == scores
    assert default_params(scores) == params
    result = run(folder, scores=scores)
    assert result.exit_code == 0, result.output
    assert "3 refined, 0 skipped, 0 failed" in result.output
    for name in "abc":
        expected = dense_crf(scores_of(folder, name), image_of(folder, name), params).argmax(axis=0)
        np.testing.assert_array_equal(read_labels_bin(folder / "out" / f"{name}.bin"), expected)


def test_short_and_long_flags_reach_the_kernels(folder: Path) -> None:
    short_names = "-i -px -py -pw -bx -by -br -bg -bb -bw"
    long_names = (
        "--iterations --pos-x-std --pos-y-std --pos-w --bi-x-std --bi-y-std --bi-r-std --bi-g-std --bi-b-std --bi-w"
    )
    values = ["3", "2", "4", "1.5", "33", "40", "80", "90", "120", "6"]
    params = CRFParams(1.5, ((2, 4),), 6, ((33, 40),), ((80, 90, 120),), iterations=3)
    for names in (short_names.split(), long_names.split()):
        flags = [part for pair in zip(names, values, strict=True) for part in pair]
        result = run(folder, "--overwrite", *flags)
        assert result.exit_code == 0, result.output
        for name in "abc":
            expected = dense_crf(scores_of(folder, name), image_of(folder, name), params).argmax(axis=0)
            np.testing.assert_array_equal(read_labels_bin(folder / "out" / f"{name}.bin"), expected)


def test_params_of_a_model(folder: Path) -> None:
    assert run(folder, "--crf", "DeepLab-MSc", "-bw", "30").exit_code == 0
    params = CRFParams.for_model("DeepLab-MSc").replace(bi_w=30)
    expected = dense_crf(scores_of(folder, "a"), image_of(folder, "a"), params).argmax(axis=0)
    np.testing.assert_array_equal(read_labels_bin(folder / "out" / "a.bin"), expected)


def test_png(folder: Path) -> None:
    assert run(folder, "--png").exit_code == 0
    for name in "abc":
        np.testing.assert_array_equal(
            load_label(folder / "out" / f"{name}.png"), read_labels_bin(folder / "out" / f"{name}.bin")
        )
    with Image.open(folder / "out" / "a.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]


def test_a_run_goes_on_where_it_stopped(folder: Path) -> None:
    assert run(folder).exit_code == 0
    (folder / "out" / "b.bin").unlink()
    (folder / "out" / "c.bin").write_bytes(b"old")
    assert "1 refined, 2 skipped, 0 failed" in run(folder).output
    assert (folder / "out" / "c.bin").read_bytes() == b"old"
    assert "3 refined, 0 skipped, 0 failed" in run(folder, "--png").output
    assert "3 refined, 0 skipped, 0 failed" in run(folder, "--overwrite").output
    assert (folder / "out" / "c.bin").read_bytes() != b"old"


def test_one_failure_does_not_stop_the_others(folder: Path) -> None:
    bad = folder / "mat" / "b_blob_0.mat"
    bad.write_bytes(bad.read_bytes()[:200])
    result = run(folder, "--png")
    assert result.exit_code == 1
    assert "2 refined, 0 skipped, 1 failed" in result.output
    assert f"error: {bad}: " in result.output
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.bin", "a.png", "c.bin", "c.png"]


def test_a_list_says_which_images_are_done(folder: Path) -> None:
    (folder / "ids.txt").write_text("c\na\n")
    result = run(folder, "--list", str(folder / "ids.txt"))
    assert (result.exit_code, "warning" in result.output) == (0, False), result.output
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.bin", "c.bin"]
    (folder / "ids.txt").write_text("a\nnobody\n")
    result = run(folder, "--list", str(folder / "ids.txt"))
    assert result.exit_code == 1
    assert "mat: holds no scores of 1 images, the first is 'nobody'" in result.output


def test_scores_without_an_image_fail_and_images_without_scores_are_told(folder: Path) -> None:
    next((folder / "img").glob("a.*")).unlink()
    save_image(folder / "img" / "other\x1b[2J.png", np.zeros((4, 4, 3), np.uint8))
    (folder / "img" / "notes.txt").write_text("no image")
    result = run(folder)
    assert result.exit_code == 1
    assert "a_blob_0.mat: no image of the name 'a' belongs to these scores" in result.output
    assert "warning:" in result.output
    assert "1 images have no scores" in result.output
    assert r"'other\x1b[2J'" in result.output


def test_scores_that_do_not_fit_their_image(folder: Path) -> None:
    save_image(next((folder / "img").glob("b.*")), np.zeros((HEIGHT + 1, WIDTH, 3), np.uint8))
    for scores, message in (
        ("mat", "smaller than the image"),
        ("bin", "but the image"),
        ("npy", "smaller than the image"),
    ):
        result = run(folder, "--overwrite", scores=scores)
        assert result.exit_code == 1
        assert message in result.output
        assert not (folder / "out" / "b.bin").exists()


def test_probabilities_that_are_none(folder: Path) -> None:
    write_probabilities_bin(folder / "bin" / "a.bin", np.full((LABELS, HEIGHT, WIDTH), -1.0, np.float32))
    result = run(folder, scores="bin")
    assert result.exit_code == 1
    assert f"error: {folder / 'bin' / 'a.bin'}: probabilities must not be negative" in result.output


def test_a_ppm_goes_before_other_images_of_its_name(folder: Path) -> None:
    save_image(folder / "img" / "b.bmp", np.zeros((3, 3, 3), np.uint8))
    save_image(folder / "img" / "b.png", np.zeros((3, 3, 3), np.uint8))
    jobs, without = find_jobs(Folders(folder / "img", folder / "mat", folder / "out", "mat"))
    assert [(job.name, job.image.name) for job in jobs] == [("a", "a.png"), ("b", "b.ppm"), ("c", "c.ppm")]
    assert without == []


def test_folders_that_will_not_do(folder: Path) -> None:
    (folder / "empty").mkdir()
    for scores, message in (("nowhere", "cannot be read as a folder"), ("empty", "neither *_blob_0.mat nor *.bin")):
        result = run(folder, scores=scores)
        assert result.exit_code == 1
        assert f"{folder / scores}: " in result.output
        assert message in result.output
    assert "holds no *.bin" in run(folder, "--input", "bin").output
    shutil.copy(folder / "bin" / "a.bin", folder / "mat")
    assert "both *_blob_0.mat and *.bin" in run(folder).output
    assert run(folder, "--input", "mat").exit_code == 0
    (folder / "mat" / "a.bin").unlink()
    shutil.copy(folder / "npy" / "a.npy", folder / "mat")
    assert detect_format(folder / "mat") == "mat"
    assert "1 refined" in run(folder, "--input", "npy", "--overwrite").output
    with pytest.raises(DataError, match="would overwrite the probabilities"):
        find_jobs(Folders(folder / "img", folder / "bin", folder / "bin", "bin"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-bx", "0"], "bi_xy_std must be a positive, finite number, got 0.0"),
        (["-pw", "nan"], "pos_w must be a finite number, got nan"),
        (["-i", "-1"], "-1"),
        (["--crf", "none such"], "no CRF parameters are known for 'none such'"),
        (["--input", "txt"], "'txt'"),
    ],
)
def test_bad_flags(folder: Path, flags: list[str], message: str) -> None:
    result = run(folder, *flags)
    assert result.exit_code != 0
    assert message in result.output
    assert not (folder / "out").exists()


@pytest.mark.parametrize(("asked", "found"), [(3, 3), (100_000, 4)])
def test_threads(folder: Path, asked: int, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crf_command, "usable_cores", lambda: 4)
    try:
        assert run(folder, "--threads", str(asked)).exit_code == 0
        assert _C.num_threads() == found
    finally:
        _C.set_num_threads(0)


def test_ids_with_folders(folder: Path) -> None:
    for kind in ("img", "mat", "bin"):
        (folder / kind / "aachen").mkdir()
        for path in (folder / kind).glob("[bc]*.*"):
            path.rename(folder / kind / "aachen" / path.name)
    (folder / "ids.txt").write_text("aachen/b\na\n")
    for scores in ("mat", "bin"):
        result = run(folder, "--list", str(folder / "ids.txt"), "--png", "--overwrite", scores=scores)
        assert result.exit_code == 0, result.output
        assert "2 refined, 0 skipped, 0 failed" in result.output
        written = sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.*"))
        assert written == ["a.bin", "a.png", "aachen/b.bin", "aachen/b.png"]
    for name in ("a", "aachen/b"):
        image, scores = load_image(next((folder / "img").glob(f"{name}.*"))), scores_of(folder, name)
        expected = dense_crf(scores, image, default_params("bin")).argmax(axis=0)
        np.testing.assert_array_equal(read_labels_bin(folder / "out" / f"{name}.bin"), expected)
    (folder / "mat" / "a_blob_0.mat").unlink()
    result = run(folder, "--list", str(folder / "ids.txt"))
    assert "mat: holds no scores of 1 images, the first is 'a'" in result.output
    assert "scores in folders inside it want a list of ids with those folders" in run(folder).output


@pytest.mark.parametrize("name", ["../a", "/etc/a", "b/../../a"])
def test_ids_that_lead_out(folder: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"the id '{name}' leads out of the folder of the results"):
        find_jobs(Folders(folder / "img", folder / "mat", folder / "out", "mat"), [name])
    # In a list it is the name of an image, as in val.txt.
    (folder / "ids.txt").write_text(f"{name}\n")
    assert run(folder, "--list", str(folder / "ids.txt")).exit_code == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.bin"]


def test_what_scores_are_can_be_said(folder: Path) -> None:
    scores = scores_of(folder, "a")
    probabilities = np.exp(scores) / np.exp(scores).sum(0)
    expected = dense_crf(scores, image_of(folder, "a"), default_params("mat")).argmax(0)
    (folder / "ids.txt").write_text("a\n")
    listed = ("--list", str(folder / "ids.txt"), "--overwrite")
    for kind, values in (("probabilities", probabilities), ("energies", -np.log(probabilities)), ("scores", scores)):
        write_blob_mat(folder / "mat" / "a_blob_0.mat", values[None])
        if kind != "scores":
            result = run(folder, *listed)
            assert result.exit_code == 1
            assert "a_blob_0.mat: " in result.output
            assert f'say kind="{kind}"' in result.output
        assert run(folder, *listed, "--kind", kind).exit_code == 0
        np.testing.assert_array_equal(read_labels_bin(folder / "out" / "a.bin"), expected)
    write_probabilities_bin(folder / "bin" / "a.bin", scores)
    assert "probabilities must not be negative" in run(folder, *listed, scores="bin").output
    assert run(folder, *listed, "--kind", "scores", scores="bin").exit_code == 0


def test_one_channel_is_the_foreground(folder: Path) -> None:
    foreground = np.random.default_rng(0).uniform(size=(1, HEIGHT, WIDTH)).astype(np.float32)
    write_probabilities_bin(folder / "bin" / "a.bin", foreground)
    assert run(folder, scores="bin").exit_code == 0
    both = np.concatenate([1 - foreground, foreground])
    expected = dense_crf(both, image_of(folder, "a"), default_params("bin"), kind="probabilities").argmax(0)
    np.testing.assert_array_equal(read_labels_bin(folder / "out" / "a.bin"), expected)


# What the original computed


def golden_params(arguments: list[str]) -> CRFParams:
    flags = {flag[1:]: value for flag, value in zip(arguments[::2], arguments[1::2], strict=True)}
    number = {name: float(value) for name, value in flags.items() if len(name) == 2 and name[1] != "d"}
    return CRFParams(
        number["pw"],
        ((number["px"], number["py"]),),
        number["bw"],
        ((number["bx"], number["by"]),),
        ((number["br"], number["bg"], number["bb"]),),
        iterations=int(flags["i"]),
    )


@pytest.mark.parametrize("name", case_names("refine_pascal"))
def test_golden_program(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load_case(name)
    shutil.copytree(case_dir(name), tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("res"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(crf, case["args"])
    assert result.exit_code == 0, result.output
    assert Path("res/cat.bin").read_bytes() == (case_dir(name) / "res" / "cat.bin").read_bytes()
    np.testing.assert_array_equal(read_labels_bin("res/cat.bin"), np.load("label_map.npy"))

    kind = detect_format("feat")
    assert kind == ("mat" if case["program"].endswith("_v4") else "bin")
    jobs, _ = find_jobs(Folders(Path("img"), Path("feat"), Path("res"), kind))
    marginals = refine(jobs[0], kind, golden_params(case["args"]))
    assert np.abs(marginals.transpose(1, 2, 0) - np.load("Q_hwc.npy")).max() < CRF_TOLERANCE


def test_golden_pipeline(tmp_path: Path) -> None:
    """The released test.prototxt's CRF, as the layer and as the program, from the original's own fc8 scores."""
    golden, case = case_dir("pipeline_test"), load_case("pipeline_test")
    arguments = [str(golden / value) if value in ("ppm", "fc8") else value for value in case["program_args"]]
    arguments[arguments.index("res_v4")] = str(tmp_path)
    result = CliRunner().invoke(crf, arguments)
    assert result.exit_code == 0, result.output
    names = [path.stem for path in sorted((golden / "res_v4").iterdir())]
    assert names
    for name in names:
        assert (tmp_path / f"{name}.bin").read_bytes() == (golden / "res_v4" / f"{name}.bin").read_bytes()

        scores = read_blob_mat(golden / "fc8" / f"{name}_blob_0.mat")
        photo = load_image(golden / "ppm" / f"{name}.ppm")
        height, width = photo.shape[:2]
        image = np.zeros((1, 3, *scores.shape[2:]), np.float32)
        mean = np.array([104.008, 116.669, 122.675], np.float32)
        image[0, :, :height, :width] = (photo[..., ::-1].astype(np.float32) - mean).transpose(2, 0, 1)
        marginals = layer_inference(scores, np.array([height, width]), image, CRFParams(3, 3, 5, 50, 10))
        expected = read_blob_mat(golden / "crf" / f"{name}_blob_0.mat")
        assert np.abs(marginals - expected).max() < CRF_TOLERANCE
        np.testing.assert_array_equal(marginals.argmax(axis=1), expected.argmax(axis=1))


def test_an_image_is_not_turned_and_the_user_is_told(folder: Path) -> None:
    """Of a square image turned scores would fit, but on other pixels."""
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(folder / "img" / "a.png") as image:
        image.save(folder / "img" / "a.png", exif=exif)
    with pytest.warns(UserWarning, match="a.png: EXIF orientation 3 is not applied: scores fit the photo's stored"):
        assert run(folder).exit_code == 0
