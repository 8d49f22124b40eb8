from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe import proto
from deeplab_caffe.data import CaffeRNG, ImageSegDataConfig, ImageSegSource
from deeplab_caffe.data.sources.transform import Phase
from deeplab_caffe.errors import DataError, NetError
from tests.goldens import case_dir, case_names, load_case

CASES = case_names("imageseg_")


def images(folder: Path, sizes: list[tuple[int, int]], seed: int = 0) -> list[np.ndarray]:
    """Write 0.png, 1.png, ... with label maps 0_label.png, ... and their list."""
    rng = np.random.default_rng(seed)
    written = []
    for i, (height, width) in enumerate(sizes):
        written.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        Image.fromarray(written[-1]).save(folder / f"{i}.png")
        Image.fromarray(np.full((height, width), i, np.uint8)).save(folder / f"{i}_label.png")
    (folder / "list.txt").write_text("".join(f"{i}.png {i}_label.png\n" for i in range(len(sizes))))
    return written


def config(folder: Path, **options) -> ImageSegDataConfig:
    return ImageSegDataConfig(
        **{"source": str(folder / "list.txt"), "root_folder": f"{folder}/", "label_type": "PIXEL", **options}
    )


@pytest.mark.parametrize("name", CASES)
def test_the_originals_blobs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, folder = load_case(name), case_dir(name)
    # The original has no other reading of palettes than by luminance.
    options = {"label_reading": "luminance"} if name == "imageseg_palette_png" else {}
    tolerance = 2 if name == "imageseg_jpg" else 0
    monkeypatch.chdir(folder)
    source, blobs = None, {}
    for step in case["steps"]:
        if step["op"] == "net":
            layer = proto.read_net(step["file"]).layer[0]
            rng = CaffeRNG(case["random_seed"])
            source = ImageSegSource.from_param(layer, case["phase"], rng=rng, **options)
        elif step["op"] == "forward":
            blobs = dict(zip(("data", "label", "dim"), source.next_batch(), strict=True))
            assert tuple(blob.shape for blob in blobs.values()) == source.shapes()
        else:
            assert step["op"] == "get_data"
            expected = np.load(step["file"])
            blob = blobs[step["blob"]]
            assert blob.dtype == np.float32
            np.testing.assert_allclose(
                blob, expected, rtol=0, atol=tolerance if step["blob"] == "data" else 0, err_msg=step["blob"]
            )


def test_palette_label_maps_give_indices_unless_asked_otherwise(tmp_path: Path, monkeypatch) -> None:
    images(tmp_path, [(2, 2)])
    label = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8))
    label.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * 759])
    label.save(tmp_path / "0_label.png")
    source = ImageSegSource(config(tmp_path), "TEST")
    assert source.next_batch()[1].tolist() == [[[[0, 1], [2, 255]]]]
    layer = proto.parse_net(
        f'layers {{ name: "d" type: IMAGE_SEG_DATA image_data_param {{ source: "{tmp_path}/list.txt" '
        f'root_folder: "{tmp_path}/" batch_size: 1 label_type: PIXEL }} }}'
    ).layer[0]
    assert ImageSegSource.from_param(layer, "TEST").config.label_reading == "index"
    monkeypatch.setenv("DEEPLAB_CAFFE_LABEL_READING", "luminance")
    source = ImageSegSource.from_param(layer, "TEST")
    assert source.next_batch()[1].tolist() == [[[[0, 38], [75, 0]]]]
    assert ImageSegSource.from_param(layer, "TEST", label_reading="index").config.label_reading == "index"
    monkeypatch.setenv("DEEPLAB_CAFFE_LABEL_READING", "colour")
    with pytest.raises(NetError, match="layer 'd': label_reading must be one of index, luminance, got 'colour'"):
        ImageSegSource.from_param(layer, "TEST")


def test_the_list_starts_again_within_a_batch(tmp_path: Path) -> None:
    images(tmp_path, [(3, 3)] * 3)
    source = ImageSegSource(config(tmp_path, batch_size=2), "TEST")
    seen = [source.next_batch()[1][:, 0, 0, 0].tolist() for _ in range(3)]
    assert seen == [[0, 1], [2, 0], [1, 2]]
    assert len(source) == 3


def test_dim_is_what_is_image(tmp_path: Path) -> None:
    images(tmp_path, [(3, 9), (7, 2)])
    source = ImageSegSource(config(tmp_path, batch_size=2, crop_size=5, mean_value=(7,)), "TEST")
    data, label, dim = source.next_batch()
    assert dim.tolist() == [[[[3, 5]]], [[[5, 2]]]]
    assert not data[0, :, 3:].any()
    assert (label[0, 0, 3:] == 255).all()
    assert (label[1, 0, :, 2:] == 255).all()
    assert (label[1, 0, :, :2] == 1).all()


@pytest.mark.parametrize("means", [(), (5.0,), (1.0, 2.0, 3.0)])
def test_padding_is_zero_with_any_mean(tmp_path: Path, means: tuple[float, ...]) -> None:
    images(tmp_path, [(2, 2)])
    data, _, _ = ImageSegSource(config(tmp_path, crop_size=4, mean_value=means, scale=0.5), "TEST").next_batch()
    assert not data[0, :, 2:].any()
    assert not data[0, :, :, 2:].any()
    assert data[0, :, :2, :2].any()


def test_grey(tmp_path: Path) -> None:
    written = images(tmp_path, [(2, 2)])
    grey = written[0][..., 0]
    Image.fromarray(grey).save(tmp_path / "0.png")
    source = ImageSegSource(config(tmp_path, is_color=False, mean_value=(2.0,), crop_size=3), "TEST")
    data, _, _ = source.next_batch()
    assert data.shape == (1, 1, 3, 3)
    np.testing.assert_array_equal(data[0, 0, :2, :2], grey.astype(np.float32) - 2)


def test_image_labels_are_atois(tmp_path: Path) -> None:
    images(tmp_path, [(2, 2)])
    (tmp_path / "list.txt").write_text("0.png 17x\n0.png /lab/0.png\n0.png\n0.png +3\n")
    source = ImageSegSource(config(tmp_path, label_type="IMAGE", batch_size=4, crop_size=3), "TEST")
    _, label, _ = source.next_batch()
    assert label[:, 0, 0, 0].tolist() == [17, 0, 0, 3]
    assert (label[:, 0, 2] == 255).all()
    for number, came in (("256", "256"), ("9" * 5000, "9999999999")):
        (tmp_path / "list.txt").write_text(f"0.png 5\n0.png {number}\n")
        source = ImageSegSource(config(tmp_path, label_type="IMAGE", batch_size=2), "TEST")
        with pytest.raises(DataError, match=rf"list\.txt:2: .*an image label must be from 0 to 255, got {came}$"):
            source.next_batch()


def test_a_line_without_a_label_map_is_named_when_the_list_is_read(tmp_path: Path) -> None:
    images(tmp_path, [(2, 3)])
    (tmp_path / "list.txt").write_text("0.png 0_label.png\n0.png\n")
    with pytest.raises(DataError, match=r"list\.txt:2: expected 'image label', got '0\.png' alone"):
        ImageSegSource(config(tmp_path, batch_size=1), "TEST")


def test_no_labels(tmp_path: Path) -> None:
    images(tmp_path, [(2, 2)])
    (tmp_path / "list.txt").write_text("0.png\n")
    source = ImageSegSource(config(tmp_path, label_type="NONE", ignore_label=7), "TEST")
    assert source.next_batch()[1].tolist() == [[[[7, 7], [7, 7]]]]


def test_flat_labels_stay_flat_when_images_are_resized(tmp_path: Path) -> None:
    images(tmp_path, [(5, 9)])
    source = ImageSegSource(config(tmp_path, label_type="NONE", ignore_label=201, new_height=4, new_width=3), "TEST")
    data, label, dim = source.next_batch()
    assert data.shape == (1, 3, 4, 3)
    assert (label == 201).all()
    assert dim.tolist() == [[[[4, 3]]]]


def test_exif_orientation_is_left_alone_as_label_maps_fit_the_stored_pixels(tmp_path: Path) -> None:
    written = images(tmp_path, [(2, 3)])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(written[0]).save(tmp_path / "0.png", exif=exif)
    assert ImageSegSource(config(tmp_path), "TEST").next_batch()[0].shape == (1, 3, 2, 3)
    turned = ImageSegSource(config(tmp_path, exif_orientation=True, label_type="NONE"), "TEST")
    assert turned.next_batch()[0].shape == (1, 3, 3, 2)


def words_drawn(folder: Path, reseeds: bool, phase: Phase, batches: int, **options) -> int:
    """Return how many words a source has drawn after some batches."""
    rng = CaffeRNG(5)
    source = ImageSegSource(config(folder, **options), phase, rng=rng, reseeds=reseeds)
    for _ in range(batches):
        source.next_batch()
    return CaffeRNG(5).words(20).index(rng.word())


def test_words_are_drawn_when_the_original_draws_them(tmp_path: Path) -> None:
    images(tmp_path, [(9, 9)] * 3)
    drawn_after = partial(words_drawn, tmp_path, True)
    assert drawn_after("TEST", 2, crop_size=4) == 0
    assert drawn_after("TRAIN", 2) == 0
    assert drawn_after("TRAIN", 0, crop_size=4) == 2
    assert drawn_after("TRAIN", 3, crop_size=4) == 5
    assert drawn_after("TEST", 1, mirror=True) == 3
    assert drawn_after("TRAIN", 1, crop_size=4, shuffle=True, rand_skip=2) == 5


def test_v2_draws_a_word_more_for_its_thread(tmp_path: Path) -> None:
    images(tmp_path, [(9, 9)] * 3)
    drawn_after = partial(words_drawn, tmp_path, False)
    # Counted on DeepLab v2's program, by the masks of a Dropout layer after the data.
    assert drawn_after("TEST", 2, crop_size=4) == 1
    assert drawn_after("TRAIN", 2) == 1
    assert drawn_after("TRAIN", 3, crop_size=4) == 3
    assert drawn_after("TEST", 1, mirror=True) == 3
    assert drawn_after("TRAIN", 1, crop_size=4, shuffle=True, rand_skip=2) == 5


def test_shuffling_goes_on_from_the_last_order(tmp_path: Path) -> None:
    images(tmp_path, [(1, 1)] * 7)
    source = ImageSegSource(config(tmp_path, shuffle=True, batch_size=7), "TEST", rng=CaffeRNG(9))
    shuffler, order = CaffeRNG(CaffeRNG(9).word()), np.arange(7)
    for _ in range(3):
        shuffler.shuffle(order)
        assert source.next_batch()[1].ravel().tolist() == order.tolist()


def test_rand_skip(tmp_path: Path) -> None:
    images(tmp_path, [(1, 1)] * 5)
    first = CaffeRNG(4).word() % 5
    source = ImageSegSource(config(tmp_path, rand_skip=5), "TEST", rng=CaffeRNG(4))
    assert source.next_batch()[1].item() == first
    with pytest.raises(DataError, match="not enough points to skip"):
        ImageSegSource(config(tmp_path, rand_skip=10**9), "TEST", rng=CaffeRNG(4))


def test_resuming_gives_the_same_batches(tmp_path: Path) -> None:
    images(tmp_path, [(9, 8), (7, 9), (8, 8), (9, 9)])
    options = {"crop_size": 5, "mirror": True, "shuffle": True, "batch_size": 3}
    rng = CaffeRNG(1)
    source = ImageSegSource(config(tmp_path, **options), "TRAIN", rng=rng)
    source.next_batch()
    state, rng_state = source.state_dict(), rng.state_dict()
    ahead = [source.next_batch() for _ in range(4)]
    other_rng = CaffeRNG(2)
    other = ImageSegSource(config(tmp_path, **options), "TRAIN", rng=other_rng)
    other.load_state_dict(state)
    other_rng.load_state_dict(rng_state)
    for batch in ahead:
        for blob, expected in zip(other.next_batch(), batch, strict=True):
            np.testing.assert_array_equal(blob, expected)


def test_a_position_of_another_list_is_refused(tmp_path: Path) -> None:
    images(tmp_path, [(2, 2)] * 3)
    state = ImageSegSource(config(tmp_path), "TEST").state_dict()
    with pytest.raises(DataError, match="setting of shuffle"):
        ImageSegSource(config(tmp_path, shuffle=True), "TEST").load_state_dict(state)
    images(tmp_path, [(2, 2)] * 4)
    with pytest.raises(DataError, match="another list of 3 images"):
        ImageSegSource(config(tmp_path), "TEST").load_state_dict(state)


def test_an_image_that_its_factor_leaves_nothing_of_names_its_line(tmp_path: Path) -> None:
    images(tmp_path, [(90, 90), (20, 90)])
    source = ImageSegSource(config(tmp_path, crop_size=9, scale_factors=(0.04,)), "TEST", rng=CaffeRNG(1))
    source.next_batch()
    with pytest.raises(DataError, match="nothing is left of 20 x 90 pixels scaled by 0.04") as error:
        source.next_batch()
    assert error.value.line == 2


def test_errors_name_line_and_file(tmp_path: Path) -> None:
    images(tmp_path, [(2, 3)] * 3)
    (tmp_path / "1.png").unlink()
    source = ImageSegSource(config(tmp_path), "TEST")
    source.next_batch()
    with pytest.raises(DataError, match=r"list\.txt:2: .*/1\.png: cannot be read: No such file") as caught:
        source.next_batch()
    assert caught.value.line == 2
    Image.new("RGB", (3, 2)).save(tmp_path / "1.png")
    Image.new("L", (2, 3)).save(tmp_path / "1_label.png")
    with pytest.raises(DataError, match=r"1_label\.png: the label map is 3 x 2 .*1\.png' 2 x 3"):
        source.next_batch()
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    Image.new("L", (4, 4)).save(tmp_path / "1_label.png")
    with pytest.raises(DataError, match=r"1\.png' is 4 x 4 .*the first one's 2 x 3"):
        source.next_batch()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_data_param { batch_size: 1 }", "needs a source"),
        ('image_data_param { source: "l" }', "batch_size must be positive, got 0"),
        ('image_data_param { source: "l" batch_size: 1 new_height: 5 }', "go together, got 5 and 0"),
        (
            'image_data_param { source: "l" batch_size: 1 ignore_label: -1 }',
            "from 0 to 255, as labels are bytes, got -1",
        ),
        ('image_data_param { source: "l" batch_size: 1 } transform_param { mean_file: "m" }', "not support mean_file"),
        (
            'image_data_param { source: "l" batch_size: 1 } transform_param { mean_value: 1 mean_value: 2 }',
            r"as many as channels \(3\), got 2 values",
        ),
        (
            'image_data_param { source: "l" batch_size: 1 is_color: false } '
            "transform_param { mean_value: 1 mean_value: 2 mean_value: 3 }",
            r"as many as channels \(1\), got 3 values",
        ),
    ],
)
def test_senseless_parameters_name_the_layer(text: str, message: str) -> None:
    layer = proto.parse_net(f'layers {{ name: "data" type: IMAGE_SEG_DATA {text} }}').layer[0]
    with pytest.raises(NetError, match=f"layer 'data': .*{message}"):
        ImageSegSource.from_param(layer, "TEST")


def test_unknown_words(tmp_path: Path) -> None:
    images(tmp_path, [(2, 2)])
    with pytest.raises(NetError, match="label_type must be one of NONE, IMAGE, PIXEL"):
        config(tmp_path, label_type="pixel")
    with pytest.raises(ValueError, match="phase must be TRAIN or TEST"):
        ImageSegSource(config(tmp_path), "test")  # type: ignore[arg-type]
