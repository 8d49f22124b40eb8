from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe import proto
from deeplab_caffe.data import CaffeRNG, ImageSource, Shard, load_image
from deeplab_caffe.data.sources.transform import SegTransform
from deeplab_caffe.errors import DataError, DeepLabCaffeError, NetError
from tests.goldens import case_dir

SIZES = [(9, 8), (7, 9), (8, 8), (9, 9)]


def layer(text: str):
    return proto.parse_net(f'layers {{ name: "d" type: IMAGE_DATA top: "x" top: "y" {text} }}').layer[0]


def param(folder: Path, image: str = "", transform: str = "", batch_size: int = 1):
    return layer(
        f'image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" batch_size: {batch_size} {image} }} '
        f"transform_param {{ {transform} }}"
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i + 10}\n" for i in range(len(SIZES))))
    return tmp_path


def test_pixels_where_the_original_gives_bytes_of_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = case_dir("image_data")
    monkeypatch.chdir(folder)
    source = ImageSource(proto.read_net("net.prototxt").layer[0], "TEST")
    data, label = source.next_batch()
    pixels = np.stack([load_image(f"im/{k}.png")[..., ::-1].transpose(2, 0, 1) for k in range(2)])
    np.testing.assert_array_equal(data, pixels.astype(np.float32) - 10)
    np.testing.assert_array_equal(label, np.load("02_out_label.npy"))
    theirs = np.load("01_out_data.npy")
    assert theirs.shape == data.shape
    # What the original gives there, byte by byte of the first pixel's doubles, less the mean.
    doubles = pixels[0].transpose(1, 2, 0).astype(np.float64)
    as_bytes = doubles.reshape(len(doubles), -1).view(np.uint8)[0, : 3 * data.shape[3]].reshape(-1, 3)
    np.testing.assert_array_equal(theirs[0, :, 0].T, as_bytes.astype(np.float32) - 10)


def test_random_crops_by_hand(photos: Path) -> None:
    source = ImageSource(
        param(photos, "shuffle: true", "crop_size: 5 mirror: true mean_value: 7 scale: 0.5", 3),
        "TRAIN",
        rng=CaffeRNG(1),
    )
    words = CaffeRNG(1).words(5)
    order, shuffler = np.arange(4), CaffeRNG(words[0])
    shuffler.shuffle(order)
    for k in range(2):
        drawn = CaffeRNG(words[2 + k]).words(9)
        data, label = source.next_batch()
        assert data.shape == (3, 3, 5, 5)
        for i in range(3):
            if k * 3 + i == 4:
                shuffler.shuffle(order)
            line = order[(k * 3 + i) % 4]
            assert label[i].item() == line + 10
            mirror, h_word, w_word = drawn[3 * i : 3 * i + 3]
            height, width = SIZES[line]
            h_off, w_off = h_word % (height - 4), w_word % (width - 4)
            image = load_image(photos / f"{line}.png")[h_off : h_off + 5, w_off : w_off + 5, ::-1]
            image = image[:, ::-1] if mirror % 2 else image
            np.testing.assert_array_equal(data[i], (image.transpose(2, 0, 1).astype(np.float32) - 7) * np.float32(0.5))


def test_small_images_are_padded_with_the_mean(photos: Path) -> None:
    data, _ = ImageSource(param(photos, "", "crop_size: 12 mean_value: 9"), "TEST").next_batch()
    image = load_image(photos / "0.png")[..., ::-1].transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_array_equal(data[0, :, :9, :8], image - 9)
    assert not data[0, :, 9:].any()
    assert not data[0, :, :, 8:].any()


def test_mean_file(photos: Path) -> None:
    mean = np.random.default_rng(1).normal(100, 9, (1, 3, 9, 8)).astype(np.float32)
    proto.write_blob(photos / "mean.binaryproto", mean)
    transform = f'mean_file: "{photos}/mean.binaryproto" crop_size: 5 scale: 2'
    source = ImageSource(param(photos, "", transform), "TEST")
    data, _ = source.next_batch()
    image = load_image(photos / "0.png")[2:7, 1:6, ::-1].transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_array_equal(data[0], (image - mean[0, :, 2:7, 1:6]) * 2)
    with pytest.raises(DataError, match=r"list\.txt:2: .*1\.png: the image is \(3, 7, 9\) .*mean file's \(3, 9, 8\)"):
        source.next_batch()
    with pytest.raises(NetError, match="mean_file and mean_value exclude each other"):
        ImageSource(param(photos, "", transform + " mean_value: 1"), "TEST")
    proto.write_blob(photos / "mean.binaryproto", np.zeros((2, 3, 9, 8), np.float32))
    with pytest.raises(NetError, match=r"mean\.binaryproto': expected one image"):
        ImageSource(param(photos, "", transform), "TEST")
    (photos / "mean.binaryproto").write_bytes(b"\xff\xff")
    with pytest.raises(DeepLabCaffeError, match=r"mean\.binaryproto"):
        ImageSource(param(photos, "", transform), "TEST")
    (photos / "mean.binaryproto").unlink()
    with pytest.raises(DeepLabCaffeError, match=r"mean\.binaryproto"):
        ImageSource(param(photos, "", transform), "TEST")


def test_labels(photos: Path) -> None:
    (photos / "list.txt").write_text("2.png 3 -4\n2.png\n2.png +5\n")
    source = ImageSource(param(photos, "max_labels: 3", "", 3), "TEST")
    assert source.shapes() == ((3, 3, 8, 8), (3, 3, 1, 1))
    assert source.next_batch()[1][..., 0, 0].tolist() == [[3, -4, -1], [-1, -1, -1], [5, -1, -1]]
    for image in ("has_label: false", "label_type: PIXEL"):
        assert ImageSource(param(photos, image, "", 3), "TEST").next_batch()[1].ravel().tolist() == [-1, -1, -1]
    with pytest.raises(DataError, match=r"list\.txt:1: '2\.png' has 2 labels, max_labels is 1"):
        ImageSource(param(photos), "TEST")
    (photos / "list.txt").write_text("2.png 3\n2.png cat\n")
    with pytest.raises(DataError, match=r"list\.txt:2: expected a label for '2\.png', a whole number, got 'cat'"):
        ImageSource(param(photos), "TEST")


def test_names_with_spaces(photos: Path) -> None:
    (photos / "0.png").rename(photos / "my photo 0.png")
    (photos / "list.txt").write_text("my photo 0.png 5\n")
    data, labels = ImageSource(param(photos), "TEST").next_batch()
    assert data.shape == (1, 3, *SIZES[0])
    assert labels.ravel().tolist() == [5]


def test_grey_and_resized(photos: Path) -> None:
    data, _ = ImageSource(param(photos, "is_color: false new_height: 4 new_width: 6"), "TEST").next_batch()
    assert data.shape == (1, 1, 4, 6)


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_and_shards(photos: Path, workers: int) -> None:
    message = param(photos, "shuffle: true rand_skip: 3", "crop_size: 5 mirror: true", 4)
    half = param(photos, "shuffle: true rand_skip: 3", "crop_size: 5 mirror: true", 2)
    rng = CaffeRNG(1)
    whole = ImageSource(message, "TRAIN", rng=rng)
    parts = [ImageSource(half, "TRAIN", rng=CaffeRNG(1), shard=Shard(rank, 2), workers=workers) for rank in range(2)]
    for k in range(4):
        expected = whole.next_batch()
        for blob, first, second in zip(expected, *(part.next_batch() for part in parts), strict=True):
            np.testing.assert_array_equal(np.concatenate([first, second]), blob)
        if k == 1:
            state, rng_state = whole.state_dict(), rng.state_dict()
    other_rng = CaffeRNG(7)
    other = ImageSource(message, "TRAIN", rng=other_rng, workers=workers)
    other.load_state_dict(state)
    other_rng.load_state_dict(rng_state)
    for _ in range(2):
        again = other.next_batch()
    np.testing.assert_array_equal(again[0], expected[0])
    for source in (*parts, other):
        source.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_name_line_and_file(photos: Path, workers: int) -> None:
    (photos / "1.png").unlink()
    source = ImageSource(param(photos, "", "crop_size: 4"), "TEST", workers=workers)
    source.next_batch()
    with pytest.raises(DataError, match=r"list\.txt:2: .*/1\.png: cannot be read: No such file"):
        source.next_batch()
    source.close()
    source = ImageSource(param(photos, "", "", 3), "TEST", workers=workers)
    Image.new("RGB", (8, 9)).save(photos / "1.png")
    with pytest.raises(DataError, match=r"list\.txt:3: .*2\.png: the image is \(3, 8, 8\) .* first one's \(3, 9, 8\)"):
        source.next_batch()
    source.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_data_param { batch_size: 1 }", "needs a source"),
        ('image_data_param { source: "l" batch_size: 1 new_width: 5 }', "go together, got 0 and 5"),
        ('image_data_param { source: "l" batch_size: 1 max_labels: 0 }', "max_labels must be positive, got 0"),
        ('image_data_param { source: "l" batch_size: 1 label_type: NONE }', "label_type NONE has no meaning"),
        (
            'image_data_param { source: "l" batch_size: 1 } transform_param { mean_value: 1 mean_value: 2 }',
            r"expected one mean_value or as many as channels \(3\), got 2 values",
        ),
    ],
)
def test_senseless_parameters(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        ImageSource(layer(text), "TEST")


def test_batch_size_is_asked_for(photos: Path) -> None:
    with pytest.raises(NetError, match="batch_size must be positive, got 0"):
        ImageSource(param(photos, batch_size=0), "TEST")


def test_check_of_sizes() -> None:
    SegTransform(crop_size=5).check((3, 4, 9), pads=True)
    with pytest.raises(ValueError, match=r"the image is 4 x 9 .*crop_size is 5"):
        SegTransform(crop_size=5).check((3, 4, 9), pads=False)
    with pytest.raises(ValueError, match=r"the image is 4 x 9 .*crop_size is 5"):
        SegTransform(crop_size=5, mean_image=np.zeros((3, 4, 9), np.float32)).check((3, 4, 9), pads=True)
