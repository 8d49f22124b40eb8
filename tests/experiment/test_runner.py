from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deeplab_caffe.data import load_label, read_blob_mat
from deeplab_caffe.experiment.runner import Runner, execute
from deeplab_caffe.experiment.settings import ExperimentError, ExperimentSettings
from tests.experiment.conftest import Commands

Make = Callable[..., ExperimentSettings]


class Session:
    """A runner whose lines can be looked at."""

    def __init__(self, settings: ExperimentSettings, commands: Commands) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.commands = commands
        self.runner = Runner(settings, echo=self.lines.append, warn=self.warnings.append, execute=commands)

    def run(self, steps: str, *, dry: bool = False) -> list[str]:
        self.lines.clear()
        self.warnings.clear()
        self.commands.words.clear()
        self.runner.run(steps.split(","), dry=dry)
        return self.commands.verbs


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_the_whole_flow(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(), commands)
    verbs = session.run("eval,crf,crf-search,test,train")
    assert verbs == ["train", "test", "crf-search", "crf", "eval", "eval"]
    toy = tmp_path / "exper" / "toy"
    assert {"config", "features", "features2", "list", "log", "model", "res"} == {path.name for path in toy.iterdir()}
    assert (toy / "list" / "val_id.txt").read_text() == "i2\ni3\ni4\n"
    assert (toy / "model" / "tiny" / "train_iter_4.caffemodel").is_file()
    assert "toy/list/train.txt" in (toy / "config" / "tiny" / "train_train.prototxt").read_text()
    assert read_blob_mat(toy / "features" / "tiny" / "val" / "fc8" / "i3_blob_0.mat").shape == (1, 2, 33, 33)
    (post,) = (toy / "res" / "features" / "tiny" / "val" / "fc8").glob("post_densecrf_W*_XStd5_RStd20_PosW3_PosXStd3")
    found = {name: json.loads((post.parent / name / "eval.json").read_text()) for name in ("post_none", post.name)}
    assert all(len(one["per_image"]) == 3 and list(one["trimap"]) == ["1", "2", "3"] for one in found.values())
    assert (post / "eval.html").is_file()
    labels = load_label(post / "results" / "toy" / "Segmentation" / "comp6_val_cls" / "i2.png")
    assert labels.shape == (30, 28)
    text = (toy / "res" / "tiny.md").read_text()
    assert f"| val, features, post_none | {found['post_none']['mean_iou']:.3f} |" in text
    assert "| set | mean IoU % within 1 px |" in text
    assert f"| val, features, {post.name} | {found[post.name]['trimap']['1']['mean_iou']:.3f} |" in text
    pytest.importorskip("matplotlib")
    assert (toy / "res" / "tiny_trimap.png").read_bytes().startswith(b"\x89PNG")
    # Once more, nothing is done.
    assert session.run("train,test,crf-search,crf,eval") == []
    assert session.lines[0] == "train: finished before"


def test_two_stages(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(crf="DeepLab"), commands)
    assert session.run("train,train2,test2,crf2,eval2") == ["train", "train", "test", "crf", "eval", "eval"]
    second, test = commands.words[1], commands.words[2]
    assert second[second.index("--weights") + 1].endswith("model/tiny/train_iter_4.caffemodel")
    assert test[test.index("--weights") + 1].endswith("model/tiny/train2_iter_2.caffemodel")
    res = tmp_path / "exper" / "toy" / "res" / "features2" / "tiny" / "test" / "fc8"
    # The test set has no labels: results are saved, and nothing is said of how good they are.
    assert (res / "post_none" / "results" / "toy" / "Segmentation" / "comp6_test_cls" / "i5.png").is_file()
    assert not list(res.rglob("eval.*"))
    assert any("test has no labels" in line for line in session.warnings)


def test_a_dry_run_does_nothing(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(), commands)
    session.run("train,test,crf-search,crf,eval,train2,test2", dry=True)
    assert commands.verbs == []
    assert not (tmp_path / "exper").exists()
    said = "\n".join(session.lines)
    assert "deeplab-caffe train --solver toy/config/tiny/solver_train.prototxt" in said
    assert "<the newest toy/model/tiny/train_iter_*.caffemodel>" in said
    assert said.count("deeplab-caffe eval") == 2


def test_a_step_that_failed_is_not_finished(settings: Make, commands: Commands) -> None:
    session = Session(settings(), commands)
    commands.fail_at = "train"
    with pytest.raises(ExperimentError, match="step train is not finished: .* status 130"):
        session.run("train,test")
    assert commands.verbs == ["train"]
    with pytest.raises(ExperimentError, match="step train is half finished"):
        session.run("test")
    commands.fail_at = None
    assert session.run("train,test") == ["train", "test"]


def test_a_command_that_says_it_is_done_is_not_believed(settings: Make, tmp_path: Path) -> None:
    runner = Runner(settings(), echo=lambda line: None, warn=lambda line: None, execute=lambda *_: 0)
    with pytest.raises(Exception, match=r"train_iter_4\.caffemodel: was not written"):
        runner.run(["train"])
    assert json.loads((tmp_path / "exper/toy/log/tiny/steps/train.json").read_text())["state"] == "begun"


def test_training_goes_on_from_its_snapshot(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(), commands)
    session.run("train")
    folder = tmp_path / "exper" / "toy" / "model" / "tiny"
    whole = (folder / "train_iter_4.caffemodel").read_bytes()
    # As if it had been broken off after the second iteration.
    for path in folder.glob("train_iter_4.*"):
        path.unlink()
    assert session.run("train") == ["train"]
    words = commands.words[0]
    assert words[words.index("--snapshot") + 1] == "toy/model/tiny/train_iter_2.solverstate"
    assert (folder / "train_iter_4.caffemodel").read_bytes() == whole


def test_a_truncated_snapshot_is_not_used(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(), commands)
    session.run("train")
    model = tmp_path / "exper" / "toy" / "model" / "tiny" / "train_iter_4.caffemodel"
    whole = model.read_bytes()
    model.write_bytes(whole[:-10])
    session.run("train")
    assert commands.words[0][commands.words[0].index("--snapshot") + 1].endswith("train_iter_2.solverstate")
    assert model.read_bytes() == whole


def test_another_training_moves_the_old_snapshots_aside(settings: Make, commands: Commands, tmp_path: Path) -> None:
    Session(settings(), commands).run("train,test")
    solver = tmp_path / "exper" / "toy" / "config" / "tiny" / "solver.prototxt"
    solver.write_text(solver.read_text().replace("max_iter: 4", "max_iter: 3"))
    session = Session(settings(), commands)
    assert session.run("train,test") == ["train", "test"]
    assert "--snapshot" not in commands.words[0]
    assert any("moved to" in line for line in session.warnings)
    assert any("the former is used" in line for line in session.warnings)
    folder = tmp_path / "exper" / "toy" / "model" / "tiny"
    assert (folder / "superseded1" / "train_iter_4.caffemodel").is_file()
    assert (folder / "train_iter_3.caffemodel").is_file()
    assert not (folder / "train_iter_4.caffemodel").exists()


def test_a_test_goes_on_where_it_was_broken_off(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(), commands)
    session.run("train,test")
    folder = tmp_path / "exper" / "toy" / "features" / "tiny" / "val" / "fc8"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "i2_blob_0.mat").unlink()
    (folder / "i4_blob_0.mat").write_bytes(before["i4_blob_0.mat"][:100])
    assert session.run("test,train") == ["test"]
    assert commands.words[0][commands.words[0].index("--iterations") + 1] == "2"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_test_by_lists_in_utf16_goes_on(settings: Make, commands: Commands, data_root: Path, tmp_path: Path) -> None:
    for name, text in (("val", (data_root / "list/val.txt").read_text()), ("val_id", "i2\ni3\ni4\n")):
        (data_root / "list" / f"{name}.txt").write_text(text, encoding="utf-16")
    session = Session(settings(), commands)
    assert session.run("train,test") == ["train", "test"]
    folder = tmp_path / "exper" / "toy" / "features" / "tiny" / "val" / "fc8"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["i2_blob_0.mat", "i3_blob_0.mat", "i4_blob_0.mat"]
    (folder / "i3_blob_0.mat").unlink()
    session.run("test")
    assert commands.words[0][commands.words[0].index("--iterations") + 1] == "1"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_other_weights_make_everything_behind_them_anew(settings: Make, commands: Commands, tmp_path: Path) -> None:
    Session(settings(crf="DeepLab"), commands).run("train,test,crf,eval")
    other = tmp_path / "exper" / "toy" / "model" / "tiny" / "train_iter_2.caffemodel"
    session = Session(settings(crf="DeepLab", weights=other), commands)
    assert session.run("test") == ["test"]
    # The CRF's results are of other scores now: they are not evaluated as if they were of these.
    assert session.run("eval") == ["eval"]
    assert any("of other scores" in line for line in session.warnings)
    assert session.run("crf,eval") == ["crf", "eval", "eval"]


def test_saved_pictures_are_part_of_the_step(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(test_sets=("test",)), commands)
    assert session.run("train,test,eval") == ["train", "test", "eval"]
    assert session.run("eval") == []
    (picture,) = (tmp_path / "exper/toy/res").rglob("i5.png")
    picture.unlink()
    assert session.run("eval") == ["eval"]
    assert picture.is_file()


def test_two_runs_at_once(settings: Make) -> None:
    pytest.importorskip("fcntl")

    def again(*_: object) -> int:
        with pytest.raises(ExperimentError, match="another run of this experiment is at work"):
            Runner(settings(), execute=lambda *_: 0).run(["train"])
        return 3

    with pytest.raises(ExperimentError, match="status 3"):
        Runner(settings(), execute=again).run(["train"])


def test_a_crf_that_was_broken_off_goes_on(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(crf="DeepLab"), commands)
    session.run("train,test,crf")
    (post,) = (tmp_path / "exper/toy/res/features/tiny/val/fc8").glob("post_densecrf*")
    kept = (post / "i3.bin").stat().st_mtime_ns
    (post / "i2.bin").unlink()
    session.run("crf")
    assert (post / "i3.bin").stat().st_mtime_ns == kept
    assert (post / "i2.bin").is_file()


def test_ids_with_folders(settings: Make, commands: Commands, data_root: Path, tmp_path: Path) -> None:
    for name, city in (("i2", "bonn"), ("i3", "ulm"), ("i4", "bonn")):
        for folder in ("JPEGImages", "SegmentationClass"):
            (data_root / folder / city).mkdir(exist_ok=True)
            (data_root / folder / f"{name}.png").rename(data_root / folder / city / f"{name}.png")
    images = [f"{folder}/{name}.png" for folder, name in (("bonn", "i2"), ("ulm", "i3"), ("bonn", "i4"))]
    lines = "".join(f"/JPEGImages/{image} /SegmentationClass/{image}\n" for image in images)
    (data_root / "list" / "val.txt").write_text(lines)
    session = Session(settings(crf="DeepLab"), commands)
    assert session.run("train,test,crf,eval") == ["train", "test", "crf", "eval", "eval"]
    res = tmp_path / "exper/toy/res/features/tiny/val/fc8"
    (post,) = res.glob("post_densecrf*")
    for folder in (post, res / "post_none"):
        found = json.loads((folder / "eval.json").read_text())
        assert list(found["per_image"]) == ["bonn/i2", "ulm/i3", "bonn/i4"]
    assert (post / "bonn" / "i2.bin").is_file()


def test_scores_from_elsewhere_are_taken_if_complete(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(crf="DeepLab"), commands)
    with pytest.raises(ExperimentError, match="step test-val is to be run first"):
        session.run("crf")
    session.run("train,test")
    (tmp_path / "exper/toy/log/tiny/steps/test-val.json").unlink()
    assert session.run("crf,eval") == ["crf", "eval", "eval"]


def test_the_newest_snapshot_is_tested(settings: Make, commands: Commands, tmp_path: Path) -> None:
    import os

    Session(settings(), commands).run("train")
    (tmp_path / "exper/toy/log/tiny/steps/train.json").unlink()
    folder = tmp_path / "exper" / "toy" / "model" / "tiny"
    os.utime(folder / "train_iter_2.caffemodel", (4e9, 4e9))
    session = Session(settings(), commands)
    session.run("test")
    assert str(folder / "train_iter_2.caffemodel") in commands.words[0]
    own = folder / "test.caffemodel"
    own.write_bytes((folder / "train_iter_4.caffemodel").read_bytes())
    session.run("test")
    assert str(own) in commands.words[0]


def test_snapshots_in_hdf5(settings: Make, commands: Commands, model: Path, tmp_path: Path) -> None:
    """A training goes on from one, and is tested by what it made."""
    pytest.importorskip("h5py", reason="HDF5 files need h5py")
    solver = model / "solver.prototxt"
    solver.write_text(solver.read_text() + "snapshot_format: HDF5\n")
    Session(settings(), commands).run("train")
    folder = tmp_path / "exper" / "toy" / "model" / "tiny"
    for path in folder.glob("train_iter_4.*"):
        path.unlink()
    session = Session(settings(), commands)
    assert session.run("train,test") == ["train", "test"]
    train, test = commands.words[-2:]
    assert train[train.index("--snapshot") + 1] == "toy/model/tiny/train_iter_2.solverstate.h5"
    assert test[test.index("--weights") + 1].endswith("model/tiny/train_iter_4.caffemodel.h5")


@pytest.mark.parametrize(
    ("changes", "steps", "message"),
    [
        ({}, "fly", "expected some of train, test, .* got 'fly'"),
        ({"train_set": "none"}, "train", "there is no list 'none'"),
        ({"model": "vgg"}, "train", "vgg"),
        ({"variables": {}}, "train", "NUM_LABELS"),
        ({}, "test", "no weights: neither test.caffemodel nor"),
        ({"init": "none.caffemodel"}, "train", "no such weights to begin with"),
        ({"data_root": "nowhere"}, "train", "no such data root"),
        ({"labels": "nowhere"}, "train,test,eval", "lacks labels of val"),
    ],
)
def test_what_is_missing_is_said(settings: Make, commands: Commands, changes: dict, steps: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        Session(settings(**changes), commands).run(steps)


def test_a_list_whose_images_are_not_there(settings: Make, commands: Commands, data_root: Path) -> None:
    (data_root / "JPEGImages" / "i0.png").unlink()
    with pytest.raises(ExperimentError, match=r"i0\.png of list 'train' is not there"):
        Session(settings(), commands).run("train")


def test_lists_of_voc_that_are_not_the_released_ones(settings: Make, commands: Commands) -> None:
    session = Session(settings(exp="voc12"), commands)
    session.run("train", dry=True)
    assert any(
        "list/train.txt has 2 lines, the released one 1464: numbers will not" in line for line in session.warnings
    )
    with pytest.raises(ExperimentError, match="the released one 1464"):
        Session(settings(exp="voc12", strict_lists=True), commands).run("train", dry=True)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("deeplab_largefov", "W4_XStd121_RStd5"),
        ("deeplab_bbox_rect", "W4_XStd121_RStd5"),
        ("deeplab", "W5_XStd50_RStd10"),
        ("tiny", "W5_XStd70_RStd5"),
    ],
)
def test_presets_of_the_dense_crf(settings: Make, commands: Commands, model: Path, name: str, folder: str) -> None:
    # The network of the toy; the name decides on the parameters.
    session = Session(settings(net_id=name), commands)
    session.run("test,crf", dry=True)
    assert f"post_densecrf_{folder}_PosW3_PosXStd3" in "\n".join(session.lines)


def test_parameters_of_the_dense_crf_are_run_as_they_are(settings: Make, commands: Commands, tmp_path: Path) -> None:
    """Whole numbers as a script has them; six digits would be 4.12346, 100.312 and 1.23457e+06."""
    numbers = {"pos_w": 2e-7, "pos_xy_std": 3.0, "bi_w": 4.1234567, "bi_xy_std": 100.3125, "bi_rgb_std": 1234567}
    path = tmp_path / "crf.json"
    path.write_text(json.dumps(numbers))
    Session(settings(crf=str(path)), commands).run("train,test,crf")
    words = commands.words[-1]
    assert words[words.index("-i") :] == [
        *("-i", "10", "-pw", "2e-07", "-bw", "4.1234567", "-px", "3", "-py", "3"),
        *("-bx", "100.3125", "-by", "100.3125", "-br", "1234567", "-bg", "1234567", "-bb", "1234567"),
    ]


def test_names_are_names_of_files(settings: Make) -> None:
    for bad in ({"exp": "../x"}, {"net_id": "a b"}, {"test_sets": ("val/x",)}):
        with pytest.raises(ExperimentError, match="names files"):
            settings(**bad)


def test_commands_are_processes_whose_words_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    assert execute(["--version"], tmp_path, log) == 0
    assert "deeplab-caffe" in capsys.readouterr().out
    assert execute(["eval", "--list", "nowhere"], tmp_path, log) == 2
    text = log.read_text()
    assert text.count("$ ") == 2
    assert "Usage:" in text


def test_names_of_classes_beside_the_model(settings: Make, commands: Commands, model: Path, data_root: Path) -> None:
    (data_root / "list" / "classes.txt").unlink()
    session = Session(settings(trimap=""), commands)
    with pytest.raises(ExperimentError, match="say --classes FILE"):
        session.run("train,test,eval")
    (model / "classes.txt").write_text("night\nday 1 2 3\n")
    session.run("train,test,eval")
    (found,) = settings().root.rglob("eval.json")
    assert list(json.loads(found.read_text())["classes"]) == ["night", "day"]
