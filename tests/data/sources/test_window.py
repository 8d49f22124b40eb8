from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe import proto
from deeplab_caffe.data import CaffeRNG, Shard, WindowSource, load_image, resize_bilinear
from deeplab_caffe.data.io.windows import ImageWindow
from deeplab_caffe.data.sources.transform import Phase
from deeplab_caffe.data.sources.window import warp_window
from deeplab_caffe.errors import DataError, NetError

IMAGE = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)


def window(x1: int, y1: int, x2: int, y2: int) -> ImageWindow:
    return ImageWindow("0.png", 1, 5, x1, y1, x2, y2)


def test_a_window_of_the_crops_size_is_cut_out() -> None:
    for mirror in (False, True):
        found = warp_window(IMAGE, window(3, 2, 6, 5), 4, mirror=mirror)
        cut = IMAGE[2:6, 3:7]
        np.testing.assert_array_equal(found.pixels, cut[:, ::-1] if mirror else cut)
        assert (found.top, found.left) == (0, 0)


def test_a_window_is_warped() -> None:
    found = warp_window(IMAGE, window(0, 1, 11, 4), 6)
    np.testing.assert_array_equal(found.pixels, resize_bilinear(IMAGE[1:5], 6, 6))


def test_context_around_a_window() -> None:
    # 4 x 4 around (4, 5): twice as far is from 0 to 8 and from 1 to 9, both ends counted, as the original counts them.
    found = warp_window(IMAGE, window(2, 3, 5, 6), 8, context_pad=2)
    np.testing.assert_array_equal(found.pixels, resize_bilinear(IMAGE[1:10, 0:9], 8, 8))
    assert (found.top, found.left) == (0, 0)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    ("corners", "seen", "side", "top", "lefts"),
    [
        # 4 x 4 around (2, 2): from -2 to 6, 9 pixels of which 7 are there; 7 * 8 / 9 is about 6, 2 * 8 / 9 about 2.
        ((0, 0, 3, 3), IMAGE[0:7, 0:7], 6, 2, (2, 0)),
        # 4 x 4 around (10, 8): to 14 and 12, 9 pixels of which 6 are there; 6 * 8 / 9 is about 5, 3 * 8 / 9 about 3.
        ((8, 6, 11, 9), IMAGE[4:10, 6:12], 5, 0, (0, 3)),
    ],
    ids=["top left", "bottom right"],
)
def test_context_beyond_the_image(
    corners: tuple[int, int, int, int], seen: np.ndarray, side: int, top: int, lefts: tuple[int, int], mirror: bool
) -> None:
    found = warp_window(IMAGE, window(*corners), 8, context_pad=2, mirror=mirror)
    pixels = resize_bilinear(seen, side, side)
    np.testing.assert_array_equal(found.pixels, pixels[:, ::-1] if mirror else pixels)
    # What is missing on the left is missing on the right of the mirrored crop.
    assert (found.top, found.left) == (top, lefts[mirror])


def test_the_square_around_a_window() -> None:
    # 4 wide, 2 high around (4, 5): from 2 to 6 and from 3 to 7.
    found = warp_window(IMAGE, window(2, 4, 5, 5), 5, square=True)
    np.testing.assert_array_equal(found.pixels, IMAGE[3:8, 2:7])


def test_rounding_never_leaves_the_crop() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        (x1, x2), (y1, y2) = (sorted(rng.integers(0, size, 2).tolist()) for size in (12, 10))
        for square in (False, True):
            found = warp_window(IMAGE, window(x1, y1, x2, y2), 7, 2, square=square, mirror=bool(rng.integers(2)))
            height, width, _ = found.pixels.shape
            assert found.top >= 0
            assert found.left >= 0
            assert found.top + height <= 7
            assert found.left + width <= 7


@pytest.mark.parametrize("box", [(3, 3, 2, 5), (0, 0, 12, 5), (0, -1, 3, 3), (2, 2, 5, 10)])
def test_windows_outside(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"is empty or not inside the image of 10 x 12"):
        warp_window(IMAGE, window(*box), 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, in each three foreground windows with classes of their own and two of background, 4 x 4 all."""
    rng = np.random.default_rng(0)
    text = ""
    for k in range(2):
        Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
        text += f"# {k}\n{k}.png\n3 10 12\n5\n"
        for i, overlap in enumerate((0.9, 0.6, 0.5, 0.2, 0.1)):
            text += f"{10 * k + i + 1} {overlap} {i} {i} {i + 3} {i + 3}\n"
    (tmp_path / "windows.txt").write_text(text)
    return tmp_path


def param(folder: Path, window: str = "", transform: str = "crop_size: 4", batch_size: int = 4):
    return proto.parse_net(
        f'layers {{ name: "d" type: WINDOW_DATA top: "x" top: "y" window_data_param {{ source: "{folder}/windows.txt" '
        f'root_folder: "{folder}/" batch_size: {batch_size} {window} }} transform_param {{ {transform} }} }}'
    ).layer[0]


@pytest.mark.parametrize("reseeds", [True, False])
@pytest.mark.parametrize("options", ["fg_fraction: 0.5", "fg_fraction: 0.5 cache_images: true"])
def test_batches_by_hand(folder: Path, options: str, reseeds: bool) -> None:
    transform = "crop_size: 4 mirror: true mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5"
    rng = CaffeRNG(3)
    source = WindowSource(param(folder, options, transform), "TRAIN", rng=rng, reseeds=reseeds)
    assert source.shapes() == ((4, 3, 4, 4), (4, 1, 1, 1))
    words = CaffeRNG(3).words(6)
    # v2 draws the word of every data layer's set-up before the chooser's.
    chooser = CaffeRNG(words[0 if reseeds else 1])
    background = [(k, i) for k in range(2) for i in (3, 4)]
    foreground = [(k, i) for k in range(2) for i in (0, 1, 2)]
    mean = np.float32([1, 2, 3]).reshape(3, 1, 1)
    for _ in range(2):
        data, label = source.next_batch()
        for item, boxes in enumerate((background, background, foreground, foreground)):
            k, i = boxes[chooser.word() % len(boxes)]
            mirror = chooser.word() % 2
            cut = load_image(folder / f"{k}.png")[i : i + 4, i : i + 4, ::-1].transpose(2, 0, 1).astype(np.float32)
            expected = (cut - mean) * np.float32(0.5)
            np.testing.assert_array_equal(data[item], expected[..., ::-1] if mirror else expected)
            assert label[item].item() == (10 * k + i + 1 if boxes is foreground else 0)
    # One word for the chooser, and those that every data layer draws: two, and one a batch, or in v2 its thread's.
    assert rng.word() == words[5 if reseeds else 4]


@pytest.mark.parametrize(("phase", "mirror", "draws"), [("TRAIN", "", 1), ("TEST", "", 0), ("TEST", "mirror: true", 1)])
def test_later_caffe_seeds_the_generator_of_crops_first(folder: Path, phase: Phase, mirror: str, draws: int) -> None:
    # base_data_layer.cpp: InitRand, which draws a word if it needs a generator; DataLayerSetUp; InitRand again.
    rng = CaffeRNG(3)
    source = WindowSource(param(folder, "fg_fraction: 1", f"crop_size: 4 {mirror}"), phase, rng=rng, reseeds=False)
    words = CaffeRNG(3).words(5)
    chooser = CaffeRNG(words[draws])
    for _ in range(2):
        labels = []
        for _ in range(4):
            k, i = divmod(chooser.word() % 6, 3)
            labels.append(10 * k + i + 1)
            chooser.words(1 if mirror else 0)
        assert source.next_batch()[1].flatten().tolist() == labels
    assert rng.word() == words[2 * draws + 2]  # and one for the thread


def test_the_share_of_foreground_is_rounded_down_in_float(folder: Path) -> None:
    for fraction, batch_size, expected in ((0.25, 7, 1), (0.3, 10, 3), (1.0, 3, 3), (0.0, 3, 0)):
        source = WindowSource(
            param(folder, f"fg_fraction: {fraction}", batch_size=batch_size), "TRAIN", rng=CaffeRNG(1)
        )
        assert (source.next_batch()[1] > 0).sum() == expected


@pytest.mark.parametrize("shape", [(3, 6, 12), (3, 12, 3), (1, 9, 9)])
def test_a_mean_file_without_the_crop_is_refused(folder: Path, shape: tuple[int, int, int]) -> None:
    # The original counts the rows' offset from the width: (12 - 4) / 2 + 4 of 6 rows are too many.
    proto.write_blob(folder / "mean", np.zeros((1, *shape), np.float32))
    with pytest.raises(NetError, match=r"has no crop \(3, 4, 4\) in its middle"):
        WindowSource(param(folder, "", f'crop_size: 4 mean_file: "{folder}/mean"'), "TEST")


def test_a_mean_file_counts_in_its_middle_and_padding_stays_zero(folder: Path) -> None:
    mean = np.random.default_rng(1).normal(99, 9, (3, 9, 9)).astype(np.float32)
    proto.write_blob(folder / "mean", mean[None])
    (folder / "windows.txt").write_text("# 0\n0.png\n3 10 12\n1\n7 1 0 0 3 3\n")
    transform = f'crop_size: 8 mean_file: "{folder}/mean"'
    source = WindowSource(param(folder, "context_pad: 2 fg_fraction: 1", transform, 1), "TEST")
    data, label = source.next_batch()
    assert label.item() == 7
    pixels = resize_bilinear(load_image(folder / "0.png")[0:7, 0:7], 6, 6)[..., ::-1].transpose(2, 0, 1)
    expected = np.zeros((3, 8, 8), np.float32)
    expected[:, 2:, 2:] = pixels - mean[:, 2:8, 2:8]
    np.testing.assert_array_equal(data[0], expected)
    proto.write_blob(folder / "mean", mean[None, :, :, :7])
    with pytest.raises(NetError, match=r"the mean file is \(3, 9, 7\) .* no crop \(3, 8, 8\) in its middle"):
        WindowSource(param(folder, "fg_fraction: 1", transform, 1), "TEST")


@pytest.mark.parametrize("workers", [0, 3])
def test_resuming_and_shards(folder: Path, workers: int) -> None:
    options = ("fg_fraction: 0.5", "crop_size: 4 mirror: true")
    rng = CaffeRNG(1)
    whole = WindowSource(param(folder, *options, 8), "TRAIN", rng=rng)
    parts = [
        WindowSource(param(folder, *options, 4), "TRAIN", rng=CaffeRNG(1), shard=Shard(r, 2), workers=workers)
        for r in range(2)
    ]
    for k in range(4):
        expected = whole.next_batch()
        for blob, first, second in zip(expected, *(part.next_batch() for part in parts), strict=True):
            np.testing.assert_array_equal(np.concatenate([first, second]), blob)
        if k == 1:
            state = whole.state_dict()
    other = WindowSource(param(folder, *options, 8), "TRAIN", rng=CaffeRNG(7), workers=workers)
    other.load_state_dict(state)
    for _ in range(2):
        again = other.next_batch()
    np.testing.assert_array_equal(again[0], expected[0])
    for source in (*parts, other):
        source.close()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("options", ["", "cache_images: true"])
def test_errors_name_line_and_file(folder: Path, workers: int, options: str) -> None:
    (folder / "windows.txt").write_text("# 0\n0.png\n3 10 12\n1\n7 1 0 0 3 10\n")
    source = WindowSource(param(folder, f"fg_fraction: 1 {options}"), "TRAIN", rng=CaffeRNG(1), workers=workers)
    with pytest.raises(DataError, match=r"windows\.txt:5: .*/0\.png: the window from \(0, 0\) to \(3, 10\)"):
        source.next_batch()
    source.close()
    (folder / "0.png").unlink()
    source = WindowSource(param(folder, f"fg_fraction: 1 {options}"), "TRAIN", rng=CaffeRNG(1), workers=workers)
    with pytest.raises(DataError, match=r"windows\.txt:5: .*/0\.png: cannot be read: No such file"):
        source.next_batch()
    source.close()


@pytest.mark.parametrize(
    ("window", "transform", "message"),
    [
        ("", "mirror: true", "needs a crop_size"),
        ('crop_mode: "round"', "crop_size: 4", "crop_mode must be one of warp, square, got 'round'"),
        ("context_pad: 2", "crop_size: 4", "context_pad 2 on both sides leaves nothing of crop_size 4"),
        ("fg_fraction: 1.5", "crop_size: 4", "fg_fraction must be from 0 to 1, got 1.5"),
        ("", "crop_size: 4 mean_value: 1 mean_value: 2", r"as many as channels \(3\), got 2 values"),
        ("fg_threshold: 0.95", "crop_size: 4", "has no foreground window, 1 of each batch are to be foreground"),
        ("bg_threshold: 0.05", "crop_size: 4", "has no background window, 3 of each batch are to be background"),
    ],
)
def test_senseless_parameters(folder: Path, window: str, transform: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        WindowSource(param(folder, window, transform), "TRAIN")


def test_grey_images_and_no_source(folder: Path) -> None:
    (folder / "windows.txt").write_text("# 0\n0.png\n1 10 12\n2\n7 1 0 0 3 3\n7 0 0 0 3 3\n")
    with pytest.raises(NetError, match="images must have 3 channels, got 1"):
        WindowSource(param(folder), "TRAIN")
    message = param(folder)
    message.window_data_param.source = ""
    with pytest.raises(NetError, match="needs a source"):
        WindowSource(message, "TRAIN")
