from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.data import load_image
from deeplab_caffe.data.colormap import CAMVID_CLASSES, CAMVID_COLORMAP
from deeplab_caffe.data.sources.transform import image_to_blob
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference import optimized
from deeplab_caffe.net.graph import Graph, Step
from deeplab_caffe.segmentation import in_order
from deeplab_caffe.zoo.default import CAMVID_MODEL, DEMO_PHOTO

TOY = """
name: "toy" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "c" type: CONVOLUTION bottom: "data" top: "s" convolution_param { num_output: 2 kernel_size: 1 } }
"""
STRIDE8 = """
name: "stride8" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "p" type: POOLING bottom: "data" top: "p" pooling_param { pool: AVE kernel_size: 9 stride: 8 pad: 4 } }
"""


def toy_segmenter(text: str = TOY, **options: object) -> dc.Segmenter:
    seg = dc.Segmenter(proto.parse_net(text), None, device="cpu", **options)
    if text is TOY:
        # Class 1 where blue (channel 0 of BGR) is above its mean, class 0 where below.
        seg.net.by_name["c"].weight.data.zero_()
        seg.net.by_name["c"].weight.data[1, 0] = 1
    return seg


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return load_image(DEMO_PHOTO)


@pytest.fixture(scope="module")
def bundled() -> dc.Segmenter:
    return dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu")


def test_by_hand() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1, 2] = 105  # blue, above its mean of 104.008
    assert toy_segmenter()(image).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_images_at_a_time_give_the_labels_of_one(bundled: dc.Segmenter, photo: np.ndarray) -> None:
    photos = [np.roll(photo, 40 * shift, axis=1)[: 200 + shift] for shift in range(5)]
    alone = [bundled.segment(one) for one in photos]
    for found, expected in zip(in_order(photos, bundled.segment, 2), alone, strict=True):
        assert np.array_equal(found.labels, expected.labels)
        assert np.array_equal(found.scores, expected.scores)


def test_how_many_images_at_a_time() -> None:
    total = torch.get_num_threads()
    try:
        segmenter = toy_segmenter()
        torch.set_num_threads(3)
        assert [segmenter.images_at_once(count) for count in (None, 0, 1, 2, 9)] == [3, 1, 1, 2, 3]
        torch.set_num_threads(1)
        assert segmenter.images_at_once(9) == 1
        torch.set_num_threads(32)
        assert segmenter.images_at_once() == 8
        text = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
        layer { name: "ones" type: "DummyData" top: "ones" dummy_data_param { shape { dim: 1 } } }
        layer { name: "kept" type: "Filter" bottom: "data" bottom: "ones" top: "kept" }
        """
        waits = dc.Segmenter(proto.parse_net(text), None, blob="kept", device="cpu")
        assert waits.images_at_once(9) == 1
    finally:
        torch.set_num_threads(total)


def test_memory_of_an_image_by_hand() -> None:
    # Blobs of three and of two channels are alive together, in float32, and scores and marginals at full size.
    plain = (3 + 2) * 4 + 8 * 2
    assert toy_segmenter().memory_needed(10, 20) == 200 * plain
    assert toy_segmenter(crf=dc.CRFParams()).memory_needed(10, 20) == 200 * (plain + 256)
    assert toy_segmenter(max_side=100).memory_needed(100, 400) == 25 * 100 * plain
    assert toy_segmenter(window=10, stride=5).memory_needed(10, 20) == 100 * (3 + 2) * 4 + 200 * 8 * 2
    assert toy_segmenter(scales=(0.5, 2)).memory_needed(10, 20) == 800 * (3 + 2) * 4 + 200 * 8 * 2


def test_ties_go_to_the_larger_class_without_crf_and_to_the_smaller_with_one() -> None:
    seg = toy_segmenter()
    seg.net.by_name["c"].weight.data.zero_()
    image = np.zeros((4, 5, 3), np.uint8)
    assert seg(image).tolist() == np.ones((4, 5)).tolist()
    seg.crf = dc.CRFParams(iterations=1)
    assert seg(image).tolist() == np.zeros((4, 5)).tolist()


@pytest.mark.parametrize("size", [(1, 1), (8, 17), (97, 129), (100, 130)])
def test_any_size(bundled: dc.Segmenter, photo: np.ndarray, size: tuple[int, int]) -> None:
    image = photo[: size[0], : size[1]]
    found = bundled.segment(image)
    assert found.labels.shape == size
    assert found.labels.dtype == np.uint8
    assert found.scores.shape == (11, *size)
    np.testing.assert_array_equal(found.labels, found.scores.argmax(0))


def test_padding_is_the_mean_at_the_bottom_and_right(bundled: dc.Segmenter, photo: np.ndarray) -> None:
    image = photo[100:190, 200:300]
    blob = np.zeros((1, 3, 97, 105), np.float32)
    mean = np.array([104.008, 116.669, 122.675], np.float32)[:, None, None]
    blob[0, :, :90, :100] = image[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) - mean
    with torch.no_grad():
        expected = dc.Net(CAMVID_MODEL.deploy, CAMVID_MODEL.weights)(torch.from_numpy(blob))[0, :, :90, :100].numpy()
    np.testing.assert_allclose(bundled.scores(image), expected, rtol=1e-4, atol=1e-4)


def test_crop_size_pads_as_the_released_test_net_does(photo: np.ndarray) -> None:
    seg = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu", crop_size=129, optimize=False)
    seen = []
    seg.net.layers[0].register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    seg(photo[:50, :60])
    assert seen == [(1, 3, 129, 129)]


def test_a_net_without_interp_is_brought_to_the_image(photo: np.ndarray) -> None:
    found = toy_segmenter(STRIDE8).segment(photo[:30, :45])
    assert found.scores.shape == (3, 30, 45)


@pytest.mark.parametrize("crf", ["camvid", {"pos_w": 1, "pos_xy_std": 3, "bi_w": 3, "bi_xy_std": 30, "bi_rgb_std": 5}])
def test_crf_parameters_by_name_or_as_a_dict(crf: object, photo: np.ndarray) -> None:
    assert CAMVID_MODEL.crf == dc.CRFParams(1, 3, 3, 30, 5)
    image = np.ascontiguousarray(photo[100:160, 200:280])
    found, expected = (
        dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, crf=one, device="cpu")(image)
        for one in (crf, CAMVID_MODEL.crf)
    )
    np.testing.assert_array_equal(found, expected)


def test_crf_refines_on_the_rgb_image(bundled: dc.Segmenter, photo: np.ndarray) -> None:
    image = np.ascontiguousarray(photo[100:160, 200:280])
    params = CAMVID_MODEL.crf
    seg = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, crf=params, device="cpu")
    found = seg.segment(image)
    expected = dc.dense_crf(bundled.scores(image), image, params)
    np.testing.assert_array_equal(found.marginals, expected)
    np.testing.assert_array_equal(found.labels, expected.argmax(0))
    np.testing.assert_allclose(found.probabilities().sum(0), 1, atol=1e-5)


def test_max_side_gives_labels_at_full_size(photo: np.ndarray) -> None:
    seg = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu", max_side=160)
    found = seg.segment(photo)
    assert found.labels.shape == photo.shape[:2]
    assert found.scores.shape == (11, 107, 160)


def test_same_bits_twice(bundled: dc.Segmenter, photo: np.ndarray) -> None:
    np.testing.assert_array_equal(bundled.scores(photo[:97, :129]), bundled.scores(photo[:97, :129]))


def test_bfloat16_labels_agree(bundled: dc.Segmenter, photo: np.ndarray) -> None:
    seg = dc.Segmenter(
        CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu", dtype=torch.bfloat16, channels_last=True
    )
    assert (seg(photo) == bundled(photo)).mean() > 0.98


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 RGB image \(H, W, 3\), got uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "got float32"),
        (np.zeros((4, 4, 4), np.uint8), r"got uint8 \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        ([[1]], "got list"),
    ],
)
def test_bad_images(image: object, message: str) -> None:
    with pytest.raises(dc.NetError, match=message):
        toy_segmenter()(image)


def test_the_memory_of_a_size_is_estimated_once(monkeypatch: pytest.MonkeyPatch, photo: np.ndarray) -> None:
    """The command asks for it to share out the memory, and the segmenter to refuse what is too large."""
    seg, asked = toy_segmenter(), []
    estimate = Graph.activation_bytes
    monkeypatch.setattr(Graph, "activation_bytes", lambda *args: asked.append(args) or estimate(*args))
    first = seg.memory_needed(*photo.shape[:2])
    seg(photo)
    assert seg.memory_needed(*photo.shape[:2]) == first
    assert len(asked) == 1
    seg.crop_size = 2 * max(photo.shape[:2])
    assert seg.memory_needed(*photo.shape[:2]) > first


def test_an_image_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplab_caffe.segmentation.segmenter.available_memory", lambda device: 10_000)
    with pytest.raises(dc.NetError, match=r"an image of 200x100 needs about .* set max_side"):
        toy_segmenter()(np.zeros((100, 200, 3), np.uint8))


def test_nets_that_cannot_segment() -> None:
    two = TOY.replace("input:", 'input: "other" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1 input:', 1)
    with pytest.raises(dc.NetError, match="one input"):
        toy_segmenter(two)
    with pytest.raises(dc.NetError, match="3 channels, it has 4"):
        toy_segmenter(TOY.replace("input_dim: 3", "input_dim: 4"))
    with pytest.raises(dc.NetError, match="no blob 'fc8'"):
        toy_segmenter(TOY, blob="fc8")
    both = TOY + 'layers { name: "d" type: CONVOLUTION bottom: "data" top: "t" convolution_param { num_output: 2 '
    with pytest.raises(dc.NetError, match="say which blob"):
        toy_segmenter(both + "kernel_size: 1 } }")


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda")
    assert available_memory(torch.device("cpu")) > 0
    for name in ("gpu", "meta", "tpu:1"):
        with pytest.raises(dc.NetError, match="auto, cpu or cuda"):
            resolve_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(dc.NetError, match="sees no CUDA device"):
            resolve_device("cuda")


CONV = 'layers { name: "c" type: CONVOLUTION bottom: "data" top: "s" convolution_param { num_output: 4 '
STRIDED = (
    'name: "n" input: "data" input_dim: 1 input_dim: 3 input_dim: 17 input_dim: 17 '
    + CONV
    + "kernel_size: 9 stride: 8 pad: 4 } } "
)
ZOOMED = STRIDED + 'layers { name: "i" type: INTERP bottom: "s" top: "f" interp_param { zoom_factor: 8 } } '
ENDS = {
    "zoom": ZOOMED,
    "own stride": STRIDED,
    "full size": STRIDED.replace("kernel_size: 9 stride: 8 pad: 4", "kernel_size: 3 pad: 1"),
    "crop behind": ZOOMED.replace("pad: 4", "pad: 11")
    + 'layers { name: "p" type: PADDING bottom: "f" top: "g" padding_param { pad_beg: -7 pad_end: -9 } }',
    "crop inside": STRIDED.replace("pad: 4", "pad: 12")
    + 'layers { name: "i" type: INTERP bottom: "s" top: "f" interp_param { zoom_factor: 8 pad_beg: -1 pad_end: -1 } }',
    "padding behind": ZOOMED
    + 'layers { name: "p" type: PADDING bottom: "f" top: "g" padding_param { pad_beg: 1 pad_end: -1 } }',
    "layer behind": ZOOMED + 'layers { name: "a" type: ABSVAL bottom: "f" top: "f" }',
    "another reader": ZOOMED + 'layers { name: "a" type: ABSVAL bottom: "f" top: "a" }',
    "input's size": STRIDED
    + 'layers { name: "i" type: INTERP bottom: "s" bottom: "data" top: "f" interp_param { align_corners: false } } ',
    "wrong zoom": ZOOMED.replace("zoom_factor: 8", "zoom_factor: 3"),
}


def ends_with(name: str, **options: object) -> dc.Segmenter:
    seg = dc.Segmenter(proto.parse_net(ENDS[name]), None, device="cpu", blob=BLOBS.get(name), **options)
    weight = seg.net.by_name["c"].weight
    values = torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))
    weight.data.copy_(values)
    return seg


BLOBS = {"another reader": "f"}
# Rows that a crop behind the INTERP layer takes off at the top.
FOUND = {"zoom": 0, "input's size": 0, "wrong zoom": 0, "crop behind": 7, "crop inside": 0, "another reader": 0}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"optimize": False}, {"dtype": "bfloat16", "optimize": False}, {"channels_last": True, "optimize": False}],
    ids=["optimized", "net", "bf16", "cl"],
)
def test_labels_are_those_of_the_scores(photo: np.ndarray, name: str, options: dict) -> None:
    seg = ends_with(name, **options)
    head = seg._runner.head
    assert (head.crop[0] if head.resize else None) == FOUND.get(name)
    for height, width in ((1, 1), (50, 83), (57, 65)):
        image = photo[90 : 90 + height, 200 : 200 + width]
        found = seg.segment(image)
        assert found.scores.shape == (4, height, width)
        np.testing.assert_array_equal(seg(image), found.labels)
        np.testing.assert_array_equal(seg(image), 3 - found.scores[::-1].argmax(0))


def test_scores_at_full_size_are_not_computed_for_labels(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    seg = ends_with("zoom", optimize=False)
    sizes = []
    real = seg.net.by_name["i"].forward
    monkeypatch.setattr(seg.net.by_name["i"], "forward", lambda *x: sizes.append(x[0].shape) or real(*x))
    seg(photo[:60, :60])
    assert not sizes
    seg.segment(photo[:60, :60])
    assert len(sizes) == 1


def test_probabilities_of_several_views_come_from_the_coarse_scores(photo: np.ndarray) -> None:
    image = photo[90:140, 200:283]
    mirrored = np.ascontiguousarray(image[:, ::-1])
    for name in ("zoom", "crop behind", "own stride", "full size"):
        seg = ends_with(name)
        both = [torch.softmax(torch.from_numpy(seg.scores(one)), 0) for one in (image, mirrored)]
        seen = np.exp(ends_with(name, flip=True).scores(image))
        np.testing.assert_allclose(seen, ((both[0] + both[1].flip(-1)) / 2).numpy(), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"max_side": 40}, {"flip": True}, {"crf": dc.CRFParams(iterations=1)}])
def test_batch(photo: np.ndarray, options: dict) -> None:
    seg = ends_with("zoom", **options)
    images = np.stack([photo[i : i + 50, i : i + 70] for i in (0, 100, 200)])
    found = seg.batch(images)
    assert found.dtype == np.uint8
    assert found.shape == (3, 50, 70)
    np.testing.assert_array_equal(found, seg.batch(list(images)))
    for one, image in zip(found, images, strict=True):
        assert (one == seg(image)).mean() > 0.999


def test_batch_refuses_what_is_none(photo: np.ndarray) -> None:
    seg = ends_with("zoom")
    with pytest.raises(dc.NetError, match="a batch needs images of one size, got none"):
        seg.batch([])
    with pytest.raises(dc.NetError, match="a batch needs images of one size, got 20x30, 21x30"):
        seg.batch([photo[:20, :30], photo[:21, :30]])
    with pytest.raises(dc.NetError, match="uint8 RGB image"):
        seg.batch([photo[..., 0]])


def test_a_photo_that_must_not_be_written_is_taken(photo: np.ndarray) -> None:
    seg = ends_with("zoom")
    locked = photo[:30, :40].copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(seg(locked), seg(photo[:30, :40]))
    np.testing.assert_array_equal(seg(photo[:30, :40][::-1]), seg(photo[:30, :40][::-1].copy()))


def test_a_built_net_is_run_as_it_is(photo: np.ndarray) -> None:
    net = dc.Net(CAMVID_MODEL.deploy, CAMVID_MODEL.weights)
    image = photo[100:150, 200:280]
    seg, plain = dc.Segmenter(net), dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, optimize=False)
    np.testing.assert_array_equal(seg.scores(image), plain.scores(image))
    with torch.no_grad():
        net.by_name[net.steps[0].layer.name].weight.zero_()
    assert not np.array_equal(seg.scores(image), plain.scores(image))
    with pytest.raises(dc.NetError, match="a built net has weights already"):
        dc.Segmenter(net, CAMVID_MODEL.weights)


@pytest.mark.parametrize("crf", [None, dc.CRFParams(iterations=2)])
def test_an_optimized_net_is_taken_and_gives_the_same(photo: np.ndarray, crf: dc.CRFParams | None) -> None:
    image = photo[100:150, 200:280]
    fast = dc.optimize(dc.Net(CAMVID_MODEL.deploy, CAMVID_MODEL.weights), size=57)
    seg, own = dc.Segmenter(fast, crf=crf), dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, crf=crf)
    assert seg.num_classes == own.num_classes == 11
    np.testing.assert_allclose(seg.scores(image), own.scores(image), rtol=1e-4, atol=1e-4)
    labels = fast.label_images(image[None], crf=crf)[0].numpy()
    assert (seg(image) == labels).all()
    assert (own(image) == labels).mean() > 0.999
    with pytest.raises(dc.NetError, match="weights and blobs of its own"):
        dc.Segmenter(fast, optimize=False)


def test_convolutions_that_round_more_on_request(photo: np.ndarray) -> None:
    image = photo[100:160, 200:290]
    strict, fast = (
        dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu", precision=each)
        for each in ("strict", "fast")
    )
    scores = fast.scores(image)
    np.testing.assert_allclose(scores, strict.scores(image), rtol=1e-3, atol=1e-3)
    assert not np.array_equal(scores, strict.scores(image))
    with pytest.raises(dc.NetError, match="precision must be strict or fast, got 'exact'"):
        dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, precision="exact")
    net = dc.Net(CAMVID_MODEL.deploy, CAMVID_MODEL.weights)
    with pytest.raises(dc.NetError, match="an optimized net has its precision"):
        dc.Segmenter(net.optimize(), precision="fast")


def test_labels_on_the_bundled_photo_are_the_nets(photo: np.ndarray, bundled: dc.Segmenter) -> None:
    plain = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu", optimize=False)
    np.testing.assert_array_equal(bundled(photo), plain(photo))
    assert all(parameter.is_meta for parameter in bundled.net.parameters())


SOFTMAX = TOY + 'layers { name: "p" type: SOFTMAX bottom: "s" top: "p" }'
SIGMOID = TOY.replace("num_output: 2", "num_output: 1") + 'layers { name: "p" type: SIGMOID bottom: "s" top: "p" }'
ARGMAX = TOY + 'layers { name: "a" type: ARGMAX bottom: "s" top: "a" argmax_param { out_max_val: true } }'


def blue(text: str, **options: object) -> dc.Segmenter:
    """The last channel is as much as blue (channel 0 of BGR) is above its mean, a hundredth of it."""
    seg = dc.Segmenter(proto.parse_net(text), None, device="cpu", **options)
    seg.net.by_name["c"].weight.data.zero_()
    seg.net.by_name["c"].weight.data[-1, 0] = 0.01
    return seg


@pytest.mark.parametrize("optimize", [None, False])
@pytest.mark.parametrize("text", [TOY, SOFTMAX, SIGMOID, SIGMOID[: SIGMOID.index('layers { name: "p"')], ARGMAX])
def test_heads_of_all_kinds_agree(photo: np.ndarray, text: str, optimize: bool | None) -> None:
    image = np.ascontiguousarray(photo[100:130, 200:240])
    seg, options = blue(text, optimize=optimize), {"optimize": optimize}
    expected = (image[..., 2] > 104.008).astype(np.uint8)
    found = seg.segment(image)
    np.testing.assert_array_equal(seg(image), expected)
    np.testing.assert_array_equal(found.labels, expected)
    np.testing.assert_array_equal(seg.batch([image, image])[1], expected)
    np.testing.assert_array_equal(blue(text, flip=True, **options)(image), expected)
    assert seg.num_classes == 2
    foreground = 1 / (1 + np.exp(-0.01 * (image[..., 2] - np.float32(104.008))))
    np.testing.assert_allclose(found.probabilities()[-1], foreground, atol=1e-5)
    several = blue(text, flip=True, **options).segment(image)
    np.testing.assert_allclose(several.probabilities()[-1], foreground, atol=1e-5)
    if text is ARGMAX:
        with pytest.raises(dc.NetError, match="the net ends in the ARGMAX layer 'a': .* blob='s'"):
            blue(text, crf=dc.CRFParams(), **options)
        text, options = text, {**options, "blob": "s"}
    params = dc.CRFParams(iterations=3)
    marginals = dc.dense_crf(np.stack([1 - foreground, foreground]), image, params, probabilities=True)
    for more in ({}, {"flip": True}):
        refined = blue(text, crf=params, **more, **options).segment(image)
        np.testing.assert_allclose(refined.marginals, marginals, atol=2e-3)
        np.testing.assert_array_equal(refined.labels, refined.marginals.argmax(0))


def test_names_of_classes(bundled: dc.Segmenter) -> None:
    assert bundled.classes.names == CAMVID_CLASSES
    np.testing.assert_array_equal(bundled.classes.colormap[:11], CAMVID_COLORMAP)
    assert toy_segmenter().classes.names == ("class 0", "class 1")
    assert toy_segmenter(classes=["sea", "sky"]).classes.names == ("sea", "sky")
    with pytest.raises(dc.EvaluationError, match="21 names are given, the model has 2 classes"):
        toy_segmenter(classes="voc12")
    seven = toy_segmenter(TOY.replace("num_output: 2", "num_output: 7"))
    assert seven.classes.names[6] == "class 6"


def test_names_beside_the_prototxt(tmp_path: Path) -> None:
    (tmp_path / "deploy.prototxt").write_text(TOY)
    (tmp_path / "classes.txt").write_text("sea 0 0 255\nland\n")
    found = dc.Segmenter(tmp_path / "deploy.prototxt", None, device="cpu").classes
    assert found.names == ("sea", "land")
    assert found.colormap[0].tolist() == [0, 0, 255]


def test_a_net_that_ends_in_argmax_has_the_classes_of_its_scores() -> None:
    text = TOY + 'layers { name: "m" type: ARGMAX bottom: "s" top: "m" }'
    assert toy_segmenter(text).classes.names == ("class 0", "class 1")
    assert toy_segmenter(text, classes=["sea", "sky"]).classes.names == ("sea", "sky")


@pytest.mark.parametrize("optimize", [None, False])
def test_the_caller_says_what_the_net_puts_out(photo: np.ndarray, optimize: bool | None) -> None:
    """A net without a SOFTMAX layer at its end whose scores are probabilities: p and 1 - p of each pixel."""
    image = np.ascontiguousarray(photo[100:130, 200:240])
    params = dc.CRFParams(iterations=3)

    def halves(**options: object) -> dc.Segmenter:
        seg = toy_segmenter(optimize=optimize, crf=params, **options)
        layer = seg.net.by_name["c"]
        layer.weight.data[:, 0] = torch.tensor([[-0.003], [0.003]])[..., None]
        layer.bias.data[:] = 0.5
        return seg

    with pytest.raises(dc.CRFError, match='say kind="probabilities"'):
        halves()(image)
    scores = halves().scores(image)
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    for kind in ("scores", "probabilities"):
        found = halves(kind=kind).segment(image)
        np.testing.assert_array_equal(found.marginals, dc.dense_crf(scores, image, params, kind=kind))
        seg = halves(kind=kind)
        seg.crf = None
        expected = scores if kind == "probabilities" else np.exp(scores) / np.exp(scores).sum(0)
        np.testing.assert_allclose(seg.segment(image).probabilities(), expected, atol=1e-5)
    with pytest.raises(dc.NetError, match="of a net that puts out energies take the negatives"):
        toy_segmenter(kind="energies")
    with pytest.raises(dc.CRFError, match="kind must be scores, probabilities or energies, got 'logits'"):
        toy_segmenter(kind="logits")


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.astype(np.float32),
        lambda image: image.astype(np.float64),
        lambda image: image.astype(np.uint16),
        lambda image: torch.from_numpy(image),
        lambda image: torch.from_numpy(image).long(),
    ],
)
def test_0_to_255_of_another_dtype_is_the_uint8_image(photo: np.ndarray, change) -> None:
    seg, image = toy_segmenter(crf=dc.CRFParams(iterations=1)), np.ascontiguousarray(photo[100:120, 200:230])
    np.testing.assert_array_equal(seg(change(image)), seg(image))
    np.testing.assert_array_equal(seg.segment(change(image)).marginals, seg.segment(image).marginals)
    np.testing.assert_array_equal(seg.scores(change(image)), seg.scores(image))
    np.testing.assert_array_equal(seg.batch([change(image)] * 2)[1], seg(image))


def test_what_black_and_white_are(photo: np.ndarray) -> None:
    image = np.ascontiguousarray(photo[:20, :30])
    expected = toy_segmenter().scores(image)
    np.testing.assert_array_equal(toy_segmenter(image_range=(0, 1)).scores(image / np.float32(255)), expected)
    np.testing.assert_array_equal(toy_segmenter(image_range=(0, 65535)).scores(image.astype(np.uint16) * 257), expected)
    np.testing.assert_array_equal(toy_segmenter(image_range=(0, 255)).scores(image + 0.25), expected)
    for given, message in (
        (image / 255, r"got float64: .*from 0 to 1\? Say image_range=\(0, 1\)"),
        ((image / 255 - 0.45) / 0.22, r"normalised\? Undo it"),
        (image + 0.25, r"with fractions: take image.round\(\).astype\(np.uint8\), or say image_range=\(0, 255\)"),
        (image.astype(np.uint16) * 257, r"more than 8 bits\?"),
        (image * np.float32(np.nan), "image must be finite"),
        (image.transpose(2, 0, 1), r"got uint8 \(3, 20, 30\) \(channels first\? Take image.transpose\(1, 2, 0\)\)"),
    ):
        with pytest.raises(dc.NetError, match=message):
            toy_segmenter()(given)
    with pytest.warns(UserWarning, match=r"say image_range=\(0, 1\)"):
        toy_segmenter()(image // 200)
    for image_range, given in (
        ((0, 255), image // 2 - np.array([123.0, 117, 104])),
        ((0, 255), -image.astype(np.int16)),
        ((0, 255), np.full((4, 5, 3), 255.6)),
        ((0, 1), image / 255 - 0.9),
    ):
        with pytest.raises(
            dc.NetError, match=r"image_range says 0 to \d+, but image is not: got values from.*add the mean"
        ):
            toy_segmenter(image_range=image_range)(given)
    np.testing.assert_array_equal(toy_segmenter(image_range=(-1, 1)).scores(image / 127.5 - 1), expected)
    with pytest.raises(dc.NetError, match="is a mean subtracted[?] Add it$"):
        toy_segmenter()(image // 2 - np.array([123.0, 117, 104]))
    with pytest.raises(dc.CRFError, match="image_range must be"):
        toy_segmenter(image_range=1)


@pytest.mark.parametrize("optimize", [True, False])
def test_the_mean_is_what_the_net_says(optimize: bool) -> None:
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } '
    text += "transform_param { mean_value: 10 mean_value: 20 mean_value: 30 } }"
    text += 'layer { name: "p" type: "Power" bottom: "data" top: "p" power_param { scale: 2 } }'
    image = np.zeros((5, 6, 3), np.uint8)
    net = proto.parse_net(text)
    for seg in (dc.Segmenter(net, device="cpu", optimize=optimize), dc.Segmenter(dc.Net(net).optimize())):
        assert seg.mean == (10, 20, 30)
        assert seg.scores(image)[:, 0, 0].tolist() == [-20, -40, -60]
    for mean in ((1, 2, 3), np.array([1.0, 2, 3])):
        seg = dc.Segmenter(net, device="cpu", mean=mean, optimize=optimize)
        assert seg.scores(image)[:, 0, 0].tolist() == [-2, -4, -6]
    assert dc.Net(net).optimize().label_images(image[None]).unique().tolist() == [0]


def test_a_residual_block_is_run_layer_by_layer() -> None:
    """Only `optimize` has BatchNorm, Scale and the sum go with the convolution before them."""
    text = """input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
      layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 kernel_size: 1 } }
      layer { name: "b" type: "Convolution" bottom: "a" top: "b"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false } }
      layer { name: "bn" type: "BatchNorm" bottom: "b" top: "b" }
      layer { name: "scale" type: "Scale" bottom: "b" top: "b" scale_param { bias_term: true } }
      layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
      layer { name: "relu" type: "ReLU" bottom: "sum" top: "sum" }
      layer { name: "scores" type: "Convolution" bottom: "sum" top: "scores"
        convolution_param { num_output: 2 kernel_size: 1 } }"""
    net = dc.Net(proto.parse_net(text), None, "TEST", seed=1)
    torch.manual_seed(0)
    for layer in net.layers:
        for blob in layer.blobs:
            blob.data.copy_(torch.rand_like(blob) + 0.5)
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    found = dc.Segmenter(net, optimize=False).segment(image).scores
    blob = torch.from_numpy(image_to_blob(image))
    with torch.no_grad():
        expected = net(blob)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_net_says_that_its_weights_were_taken(photo: np.ndarray, tmp_path: Path) -> None:
    """Raw errors of meta tensors, or silence, from the first image on."""
    pytest.importorskip("onnx")
    seg = toy_segmenter()
    path = tmp_path / "before.caffemodel"
    seg.net.save(path)
    seg(photo)
    for use in (
        lambda: seg.net.save(tmp_path / "after.caffemodel"),
        lambda: seg.net.save(tmp_path / "after.pth"),
        lambda: seg.net.copy_from(path),
        lambda: seg.net.load_state_dict({}, strict=False),
        lambda: dc.Segmenter(seg.net),
        lambda: dc.convert.to_onnx(seg.net, tmp_path / "after.onnx"),
    ):
        with pytest.raises(dc.NetError, match="no weights any more .* build it anew by deeplab_caffe.Net"):
            use()
    assert [each.name for each in tmp_path.iterdir()] == ["before.caffemodel"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_first_image_that_is_broken_off(
    error: type[BaseException], photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the weights were gone then, and no image could be segmented any more."""
    expected = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights)(photo)
    broken, changed = (dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights) for _ in range(2))
    changed.net.load_state_dict({name: 2 * value for name, value in changed.net.state_dict().items()})

    def prepare(step: Step, *more: object, **options: object) -> object:
        if step.layer.name == "conv3_1":
            raise error
        return prepared(step, *more, **options)

    prepared = optimized.prepare
    with monkeypatch.context() as patch:
        patch.setattr(optimized, "prepare", prepare)
        for seg in (broken, broken, changed):
            with pytest.raises((error, dc.NetError), match="not enough memory" if error is MemoryError else None):
                seg(photo)
    np.testing.assert_array_equal(broken(photo), expected)
    with pytest.raises(dc.NetError, match="no weights any more"):
        changed(photo)


def test_a_copy_shares_the_optimized_net(photo: np.ndarray) -> None:
    """The copy took the weights of the net of both, and the original could compute nothing then."""
    seg = toy_segmenter()
    other = copy.copy(seg)
    assert (other(photo) == seg(photo)).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_side": 0}, "max_side must be at least 8, got 0"),
        ({"max_side": -1}, "max_side must be at least 8, got -1"),
        ({"crop_size": -1}, "crop_size must not be negative, got -1"),
        ({"mean": (1, 2, 3, 4)}, r"mean: expected three finite numbers .*, got \(1, 2, 3, 4\)"),
    ],
)
def test_options_out_of_range(options: dict, words: str) -> None:
    with pytest.raises(dc.NetError, match=words):
        toy_segmenter(**options)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_without_memory_of_their_own() -> None:
    image = torch.zeros(9, 9, 3)
    with pytest.raises(dc.NetError, match=r"sparse tensor: take array.to_dense\(\)"):
        toy_segmenter()(image.to_sparse())
    with pytest.raises(dc.NetError, match=r"quantized tensor: take array.dequantize\(\)"):
        toy_segmenter()(torch.quantize_per_tensor(image, 1.0, 0, torch.quint8))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("options", [{"optimize": False}, {}, {"crf": dc.CRFParams(iterations=1)}, {"flip": True}])
def test_scores_that_are_not_finite_are_an_error(bad: float, options: dict) -> None:
    seg = toy_segmenter(**options)
    seg.net.by_name["c"].bias.data[1] = bad
    image = np.zeros((9, 9, 3), np.uint8)
    for call in (seg, seg.segment, seg.scores, seg.output, lambda one: seg.batch([one, one])):
        with pytest.raises(dc.NetError, match=r"net 'toy': the scores.* in blob 's' are not finite.*104\.008, 116"):
            call(image)


def test_the_layers_that_are_broken_are_named() -> None:
    seg = toy_segmenter(optimize=False)
    seg.net.by_name["c"].bias.data[1] = torch.nan
    with pytest.raises(dc.NetError, match=r"look at the weights \(not finite: c\.bias\)"):
        seg(np.zeros((9, 9, 3), np.uint8))


def test_an_optimized_net_with_broken_weights_is_named() -> None:
    net = dc.Net(proto.parse_net(TOY))
    net.by_name["c"].bias.data[:] = torch.nan
    with pytest.raises(dc.NetError, match="the net: the scores in blob 's' are not finite"):
        dc.Segmenter(net.optimize())(np.zeros((9, 9, 3), np.uint8))


def test_a_class_may_be_ruled_out() -> None:
    seg = toy_segmenter()
    seg.net.by_name["c"].bias.data[1] = -torch.inf
    assert not seg(np.zeros((9, 9, 3), np.uint8)).any()


@pytest.mark.parametrize("mean", [(np.nan, 0, 0), (0, 1e39, 0), (1, 2), "a"])
def test_a_mean_is_three_finite_numbers(mean: object) -> None:
    with pytest.raises(dc.NetError, match="mean: expected three finite numbers"):
        toy_segmenter(mean=mean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": "127"}, "mean: expected three finite numbers .*, got '127'"),
        ({"crop_size": "513"}, "crop_size must be a whole number of pixels, got '513'"),
        ({"max_side": "300"}, "max_side must be a whole number of pixels, got '300'"),
        ({"max_side": 20.5}, "max_side must be a whole number of pixels, got 20.5"),
        ({"crop_size": 20.5}, "crop_size must be a whole number of pixels, got 20.5"),
        ({"flip": "no"}, "flip must be True or False, got 'no'"),
        ({"flip": 2}, "flip must be True or False, got 2"),
        ({"optimize": "no"}, "optimize must be True or False, got 'no'"),
        ({"scales": "12"}, "scales must be several numbers, .*, got '12'"),
        ({"scales": 1.5}, r"scales must be several numbers, \(1.0,\) for one, got 1.5"),
        ({"window": "5"}, "the window must be a whole number of pixels, got '5'"),
        ({"window": 9, "stride": 4.5}, "the stride must be a whole number of pixels, got 4.5"),
        ({"seed": "a"}, "seed must be a whole number, got 'a'"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_arguments_of_other_types_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(NetError, match=message):
        toy_segmenter(**options)


def test_a_file_or_an_image_of_pil_in_place_of_an_array() -> None:
    seg = toy_segmenter()
    for wrong in ("photo.jpg", Path("photo.jpg"), b"photo.jpg"):
        with pytest.raises(NetError, match=r"got \w+: read the file first, an image by deeplab_caffe.data.load_image$"):
            seg(wrong)
    with pytest.raises(NetError, match=r"got Image \(PIL's\? Take np.asarray\(image.convert\('RGB'\)\)\)"):
        seg(Image.new("RGB", (3, 2)))


def pickled(seg: dc.Segmenter) -> dc.Segmenter:
    copied = pickle.loads(pickle.dumps(seg))
    assert isinstance(copied, dc.Segmenter)
    return copied


COPIES = [pickled, copy.deepcopy]


@pytest.mark.parametrize("duplicate", COPIES)
@pytest.mark.parametrize("optimize", [None, False])
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_has_the_same_bits(
    photo: np.ndarray, duplicate: Callable[[dc.Segmenter], dc.Segmenter], optimize: bool | None, used: bool
) -> None:
    image = photo[:65, :81]
    seg = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu", crf=dc.CRFParams(), optimize=optimize)
    if used:
        seg(image)
    copies = [duplicate(seg), duplicate(duplicate(seg))]
    found = seg.segment(image)
    for one in [*copies, duplicate(copies[0])]:
        again = one.segment(image)
        for name in ("labels", "scores", "marginals"):
            np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
        assert one.classes.names == seg.classes.names


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_has_weights_that_were_put_in(duplicate: Callable[[dc.Segmenter], dc.Segmenter]) -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1, 2] = 105
    seg = toy_segmenter()
    copied = duplicate(seg)
    assert copied(image).tolist() == seg(image).tolist() == [[0, 1, 0], [0, 0, 0]]
    # Now they are in the optimized net alone.
    for one in (seg, copied):
        with pytest.raises(TypeError, match="before its first image, or make it with optimize=False"):
            duplicate(one)


@pytest.mark.parametrize("seed", [None, 3])
def test_after_the_first_image_weights_without_a_file_are_drawn_from_the_seed(seed: int | None) -> None:
    text = TOY.replace("kernel_size: 1", 'kernel_size: 1 weight_filler { type: "gaussian" std: 1 }')
    seg = dc.Segmenter(proto.parse_net(text), None, device="cpu", seed=seed)
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    scores = seg.scores(image)
    if seed is None:
        with pytest.raises(TypeError, match="cannot be read from a file again"):
            pickle.dumps(seg)
    else:
        np.testing.assert_array_equal(pickled(seg).scores(image), scores)


def test_of_an_optimized_net_there_is_no_copy() -> None:
    optimized_net = dc.Net(proto.parse_net(TOY)).optimize()
    with pytest.raises(TypeError, match="OptimizedNet cannot be pickled .*send or copy the net that it was made of"):
        pickle.dumps(optimized_net)
    with pytest.raises(TypeError, match="send the net that was optimized"):
        copy.deepcopy(dc.Segmenter(optimized_net))
