from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_caffe import viz
from deeplab_caffe.data import load_label, read_blob_mat
from deeplab_caffe.net import Net
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.segmentation.segmenter import Segmenter
from deeplab_caffe.viz import CAMVID_COLORMAP, VOC_COLORMAP
from deeplab_caffe.zoo.default import CAMVID_MODEL, DEFAULT_MODEL


def test_the_built_in_network_writes_labels_and_overlay(run, photo: Path, tmp_path: Path) -> None:
    outcome = run("segment", photo, "--out", tmp_path / "out", "--device", "cpu")
    assert outcome.status == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo_labels.png", "photo_overlay.png"]
    labels = load_label(tmp_path / "out" / "photo_labels.png")
    expected = Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu")(np.asarray(Image.open(photo)))
    np.testing.assert_array_equal(labels, expected)
    with Image.open(tmp_path / "out" / "photo_labels.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image.getpalette()[:63]).reshape(21, 3), VOC_COLORMAP[:21])


def test_the_other_network_of_the_package_by_name(run, photo: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path, "--device", "cpu", "--model", CAMVID_MODEL.name)
    outcome = run("segment", photo, *words)
    assert outcome.status == 0, outcome.err
    expected = Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu")(np.asarray(Image.open(photo)))
    np.testing.assert_array_equal(load_label(tmp_path / "photo_labels.png"), expected)
    both = run("segment", photo, *words, "--weights", CAMVID_MODEL.weights)
    assert "--model and --weights go together" in both.err


def test_the_net_layer_by_layer_on_request(run, photo: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path, "--device", "cpu", "--marginals", "npy", "--no-optimize")
    assert run("segment", photo, *words).status == 0
    segmenter = Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu", optimize=False)
    expected = segmenter.segment(np.asarray(Image.open(photo))).probabilities()
    np.testing.assert_array_equal(np.load(tmp_path / "photo_marginals.npy"), expected)


def test_convolutions_that_round_more_on_request(run, photo: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path, "--device", "cpu", "--marginals", "npy", "--precision", "fast")
    assert run("segment", photo, *words, "--model", CAMVID_MODEL.name).status == 0
    segmenter = Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu", precision="fast")
    expected = segmenter.segment(np.asarray(Image.open(photo))).probabilities()
    np.testing.assert_array_equal(np.load(tmp_path / "photo_marginals.npy"), expected)


@pytest.mark.parametrize("kind", ["npy", "mat"])
def test_marginals_on_request(run, photo: Path, tmp_path: Path, kind: str) -> None:
    outcome = run("segment", photo, "--out", tmp_path, "--device", "cpu", "--marginals", kind, "--crf")
    assert outcome.status == 0, outcome.err
    path = tmp_path / f"photo_marginals.{kind}"
    marginals = np.load(path) if kind == "npy" else read_blob_mat(path)[0]
    assert marginals.shape == (21, 97, 129)
    np.testing.assert_allclose(marginals.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(marginals.argmax(0), load_label(tmp_path / "photo_labels.png"))


def test_crf_overrides_change_the_result(run, photo: Path, tmp_path: Path) -> None:
    for name, words in {
        "none": (),
        "crf": ("--crf",),
        "preset": ("--crf", "--preset", "deeplab_largefov"),
        "name": ("--crf", "deeplab_largefov"),
        "zero": ("--crf", "--iterations", "0"),
    }.items():
        words = ("--model", CAMVID_MODEL.name, *words)
        assert run("segment", photo, "--out", tmp_path / name, "--device", "cpu", *words).status == 0
    labels = {p.name: load_label(p / "photo_labels.png") for p in tmp_path.iterdir() if p.is_dir()}
    np.testing.assert_array_equal(labels["zero"], labels["none"])
    assert (labels["crf"] != labels["none"]).any()
    assert (labels["preset"] != labels["crf"]).any()
    np.testing.assert_array_equal(labels["name"], labels["preset"])


def test_several_views(run, photo: Path, tmp_path: Path) -> None:
    words = ("--scales", "0.75,1", "--flip", "--window", "97", "--stride", "32")
    assert run("segment", photo, "--out", tmp_path, "--device", "cpu", "--marginals", "npy", *words).status == 0
    segmenter = Segmenter(
        DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu", scales=(0.75, 1), flip=True, window=97, stride=32
    )
    expected = segmenter.segment(np.asarray(Image.open(photo)))
    np.testing.assert_array_equal(load_label(tmp_path / "photo_labels.png"), expected.labels)
    # The scores first, from which the probabilities come: if bits ever differ, this tells where.
    again = segmenter.segment(np.asarray(Image.open(photo)))
    np.testing.assert_array_equal(again.scores, expected.scores)
    np.testing.assert_array_equal(np.exp(again.scores), np.exp(expected.scores))
    np.testing.assert_array_equal(again.probabilities(), expected.probabilities())
    np.testing.assert_array_equal(np.load(tmp_path / "photo_marginals.npy"), expected.probabilities())
    assert run("segment", photo, "--out", tmp_path, "--scales", "big").status == 2


def test_a_bad_photo_does_not_stop_the_others(run, photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    outcome = run("segment", bad, photo, "--out", tmp_path / "out", "--device", "cpu")
    assert "bad.jpg" in outcome.error_line()
    assert (tmp_path / "out" / "photo_labels.png").exists()
    assert not list((tmp_path / "out").glob("bad*"))


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P", "LA", "1"])
def test_every_kind_of_photo(run, tmp_path: Path, mode: str) -> None:
    grey = (np.arange(30 * 40).reshape(30, 40) % 251).astype(np.uint8)
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "x.png")
    else:
        Image.fromarray(grey).convert("RGB").convert(mode).save(tmp_path / "x.png")
    outcome = run("segment", tmp_path / "x.png", "--out", tmp_path / "out", "--device", "cpu")
    assert outcome.status == 0, outcome.err
    assert load_label(tmp_path / "out" / "x_labels.png").shape == (30, 40)


def _zero_size(path: Path) -> None:
    path.write_bytes(b"P6\n0 0\n255\n")


def _huge(path: Path) -> None:
    # 20,000 x 20,000 pixels of one colour make a small file.
    Image.new("1", (20_000, 20_000)).save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)


def _truncated(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:700])


@pytest.mark.parametrize("make", [_zero_size, _huge, _truncated, lambda path: path.mkdir(), lambda path: None])
def test_photos_that_are_none(run, tmp_path: Path, make) -> None:
    path = tmp_path / "photo.jpg"
    make(path)
    outcome = run("segment", path, "--out", tmp_path / "out", "--device", "cpu")
    assert "photo.jpg" in outcome.error_line()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "missing.prototxt", "--weights", "w.caffemodel"), "missing.prototxt"),
        (("--model", CAMVID_MODEL.deploy, "--weights", "missing.caffemodel"), "missing.caffemodel"),
        (("--model", CAMVID_MODEL.weights, "--weights", CAMVID_MODEL.weights), "camvid.caffemodel"),
        (("--model", CAMVID_MODEL.deploy, "--weights", CAMVID_MODEL.deploy), "deploy.prototxt"),
        (("--device", "tpu"), "auto, cpu or cuda"),
        (("--blob", "nothing"), "nothing"),
        (("--crf", "--preset", "nothing"), "nothing"),
        (("--crf", "nothing"), "nothing"),
        (("--crf", "--bi-rgb-std", "0"), "bi_rgb_std"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(run, photo: Path, tmp_path: Path, words: tuple, message: str) -> None:
    outcome = run("segment", photo, "--out", tmp_path / "out", *words)
    assert message in outcome.error_line()
    assert not (tmp_path / "out").exists()


def test_truncated_and_foreign_weights(run, photo: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.caffemodel"
    cut.write_bytes(CAMVID_MODEL.weights.read_bytes()[:1_000_000])
    outcome = run("segment", photo, "--model", CAMVID_MODEL.deploy, "--weights", cut, "--out", tmp_path / "out")
    assert "cut.caffemodel" in outcome.error_line()
    other = tmp_path / "other.prototxt"
    text = CAMVID_MODEL.deploy.read_text()
    other.write_text(text.replace("num_output: 16 ", "num_output: 24 "))
    outcome = run("segment", photo, "--model", other, "--weights", CAMVID_MODEL.weights, "--out", tmp_path / "out")
    assert "layer 'conv1_1'" in outcome.error_line()
    other.write_text(text.replace("conv5_1", "renamed"))
    outcome = run("segment", photo, "--model", other, "--weights", CAMVID_MODEL.weights, "--out", tmp_path / "out")
    assert "'renamed'" in outcome.error_line()
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_nothing(run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "photo_overlay.png").mkdir(parents=True)
    outcome = run("segment", photo, "--out", tmp_path / "out", "--device", "cpu")
    assert "photo_overlay.png" in outcome.error_line()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_overlay.png"]


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "only.prototxt"),
        ("--preset", "deeplab"),
        ("--crf", "deeplab", "--preset", "deeplab"),
        ("--marginals", "npy", "--max-side", "64"),
        ("--marginals", "bmp"),
    ],
)
def test_wrong_usage(run, photo: Path, words: tuple) -> None:
    outcome = run("segment", photo, *words)
    assert outcome.status == 2
    assert "Usage:" in outcome.err


def test_a_photo_behind_crf_is_no_name_of_parameters(run, photo: Path) -> None:
    for words in ((photo,), (photo, photo)):
        outcome = run("segment", "--crf", *words)
        assert outcome.status == 2
        assert "put --crf behind the photos" in outcome.err
    assert "Missing argument 'PHOTOS...'" in run("segment", "--crf").err


def test_seven_classes_are_not_vocs(run, photo: Path, tmp_path: Path, seven: tuple[object, ...]) -> None:
    words = ("segment", photo, "--out", tmp_path / "out", *seven)
    assert f"{photo}: class 6 100 %" in run(*words).out
    assert "class 6 100 %" in run(*words, "--colormap", "voc").out
    (tmp_path / "names.txt").write_text("".join(f"part {number}\n" for number in "abcdefg"))
    assert "part g 100 %" in run(*words, "--classes", tmp_path / "names.txt").out
    assert "21 names are given, the model has 7 classes" in run(*words, "--classes", "voc12").error_line()


def test_names_and_colours_beside_the_weights(run, photo: Path, tmp_path: Path, seven: tuple[object, ...]) -> None:
    (tmp_path / "net" / "classes.txt").write_text("a\nb\nc\nd\ne\nf\ntraffic light 250 170 30\n")
    outcome = run("segment", photo, "--out", tmp_path / "out", *seven)
    assert "traffic light 100 %" in outcome.out
    with Image.open(tmp_path / "out" / "photo_labels.png") as image:
        assert image.getpalette()[18:21] == [250, 170, 30]
    (tmp_path / "net" / "classes.txt").write_text("a\nb\n")
    outcome = run("segment", photo, "--out", tmp_path / "out", *seven)
    assert "class 6 100 %" in outcome.out
    assert "classes.txt: 2 names are not the model's, which has 7" in outcome.err


def test_what_the_net_puts_out(run, photo: Path, tmp_path: Path, seven: tuple[object, ...]) -> None:
    """Scores that sum to 1 as probabilities do, without a SOFTMAX layer: the error names the flag."""
    net = Net(seven[1])
    net.by_name["s"].weight.data.zero_()
    net.by_name["s"].bias.data[:] = torch.tensor([0, 0, 0, 0, 0.2, 0.3, 0.5])
    save_weights(net, seven[3])
    words = ("segment", photo, "--out", tmp_path / "out", *seven, "--marginals", "npy", "--crf", "--iterations", "0")
    assert 'say kind="probabilities"' in run(*words).error_line()
    assert run(*words, "--kind", "probabilities").status == 0
    marginals = np.load(tmp_path / "out" / "photo_marginals.npy")
    np.testing.assert_allclose(marginals[:, 5, 7], [0, 0, 0, 0, 0.2, 0.3, 0.5], atol=1e-5)


def _overlay(folder: Path) -> np.ndarray:
    with Image.open(folder / "photo_overlay.png") as image:
        return np.asarray(image)


def test_legend_and_outlines(run, photo: Path, tmp_path: Path) -> None:
    words = ("segment", photo, "--model", CAMVID_MODEL.name, "--device", "cpu", "--out")
    assert run(*words, tmp_path / "both").status == 0
    assert run(*words, tmp_path / "lines", "--no-legend").status == 0
    assert run(*words, tmp_path / "none", "--no-legend", "--no-outlines").status == 0
    image = np.asarray(Image.open(photo))
    labels = load_label(tmp_path / "none" / "photo_labels.png")
    plain = viz.overlay(image, labels, CAMVID_COLORMAP)
    lined = viz.outlined(plain, labels)
    np.testing.assert_array_equal(_overlay(tmp_path / "none"), plain)
    np.testing.assert_array_equal(_overlay(tmp_path / "lines"), lined)
    both = _overlay(tmp_path / "both")
    assert both.shape[0] > image.shape[0]
    np.testing.assert_array_equal(both[:97, :129], lined)
    labels_png = [(tmp_path / name / "photo_labels.png").read_bytes() for name in ("both", "none")]
    assert labels_png[0] == labels_png[1]


def test_names_and_colours_on_the_command_line(run, photo: Path, tmp_path: Path, seven: tuple[object, ...]) -> None:
    words = ("segment", photo, "--out", tmp_path / "out", *seven)
    assert "cat 100 %" in run(*words, "--classes", "a,b,c,d,e,f,cat").out
    assert "7 classes" in run(*words, "--classes", "a,b").error_line()
    (tmp_path / "colours.txt").write_text("1 2 3\n" * 6 + "9 8 7\n")
    for colors, expected in (("camvid", [192, 128, 128]), (tmp_path / "colours.txt", [9, 8, 7])):
        assert run(*words, "--colors", colors).status == 0
        with Image.open(tmp_path / "out" / "photo_labels.png") as image:
            assert image.getpalette()[18:21] == expected
    assert run(*words, "--colors", "distinct").status == 0
    (tmp_path / "colours.txt").write_text("1 2 3\n")
    assert "expected 7 to 256 colours" in run(*words, "--colors", tmp_path / "colours.txt").error_line()


def test_the_mean(run, photo: Path, tmp_path: Path, seven: tuple[object, ...]) -> None:
    words = ("segment", photo, "--out", tmp_path, *seven, "--marginals", "npy", "--no-optimize", "--mean")
    net = Net(seven[1])
    net.by_name["s"].weight.data.zero_()
    net.by_name["s"].weight.data[:3, :, 0, 0] = torch.eye(3) / 50
    net.by_name["s"].bias.data.zero_()
    save_weights(net, seven[3])
    assert run(*words, "1,20.5,300").status == 0
    scores = (np.asarray(Image.open(photo)).astype(np.float64)[..., ::-1] - (1, 20.5, 300)) / 50
    found = np.log(np.load(tmp_path / "photo_marginals.npy").astype(np.float64))
    np.testing.assert_allclose((found[:3] - found[3]).transpose(1, 2, 0), scores, atol=1e-3)
    assert run(*words, "127").status == 0
    found = np.log(np.load(tmp_path / "photo_marginals.npy").astype(np.float64))
    np.testing.assert_allclose(found[0] - found[3], scores[..., 0] + (1 - 127) / 50, atol=1e-3)
    for wrong in ("1,2", "a,b,c", "1,2,nan", "1,2,1e39", "1,2,3,4", ""):
        outcome = run(*words, wrong)
        assert outcome.status == 2
        assert "expected three numbers" in outcome.err


@pytest.mark.parametrize("more", [(), ("--crf",), ("--scales", "0.5,1"), ("--no-optimize", "--marginals", "npy")])
def test_weights_of_nan_are_an_error(run, photo: Path, tmp_path: Path, seven: tuple[object, ...], more: tuple) -> None:
    net = Net(seven[1])
    net.by_name["s"].bias.data[2] = torch.nan
    save_weights(net, seven[3])
    line = run("segment", photo, "--out", tmp_path / "out", *seven, *more).error_line()
    assert "photo.png" in line
    assert f"the scores in blob 's' are not finite, but NaN or infinity: look at the weights of {seven[3]}" in line
    assert not (tmp_path / "out").exists()


def test_areas_and_boxes_as_json(run, photo: Path, tmp_path: Path, seven: tuple[object, ...]) -> None:
    words = ("segment", photo, tmp_path / "missing.jpg", "--out", tmp_path / "out", *seven, "--json")
    expected = [
        {
            "photo": str(photo),
            "size": [129, 97],
            "classes": [{"id": 6, "name": "class 6", "pixels": 12513, "share": 1.0, "boxes": [[0, 0, 129, 97]]}],
        }
    ]
    outcome = run(*words, "-")
    assert "missing.jpg" in outcome.err
    assert json.loads(outcome.out) == expected
    assert f"{photo}: class 6 100 %" in outcome.err
    assert run(*words, tmp_path / "new" / "found.json").status == 1
    assert json.loads((tmp_path / "new" / "found.json").read_text()) == expected
    assert str(tmp_path) in run(*words[:2], *words[3:], tmp_path).error_line()


def test_boxes_of_the_larger_regions(run, photo: Path, tmp_path: Path) -> None:
    counts = []
    for min_share in ("0", "0.05", "1"):
        words = ("--device", "cpu", "--json", "-", "--min-share", min_share)
        words = ("segment", photo, "--model", CAMVID_MODEL.name, "--out", tmp_path, *words)
        (picture,) = json.loads(run(*words).out)
        counts.append(sum(len(one["boxes"]) for one in picture["classes"]))
        assert sum(one["pixels"] for one in picture["classes"]) == 97 * 129
    assert counts[0] > counts[1] > counts[2] == 0
    assert run("segment", photo, "--json", "-", "--min-share", "1.5").status == 2
