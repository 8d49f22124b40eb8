from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from deeplab_caffe.data import MAX_PIXELS, load_grey, load_image, load_label, pixels_of, save_image, save_labels_png
from deeplab_caffe.data.io import label_samples
from deeplab_caffe.data.io.images import image_size, load_image_samples, load_native, load_stored_image
from deeplab_caffe.errors import DataError
from deeplab_caffe.viz import VOC_COLORMAP

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str = "x.png", **options) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def png(width: int, height: int, colour_type: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of 8 bits a sample put together by hand."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("name", ["x.png", "x.ppm", "x.bmp", "x.tiff"])
def test_rgb(tmp_path: Path, name: str) -> None:
    loaded = load_image(saved(tmp_path, Image.fromarray(RGB), name))
    np.testing.assert_array_equal(loaded, RGB)
    assert loaded.dtype == np.uint8
    assert loaded.flags.c_contiguous
    assert loaded.flags.writeable


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, mode: str) -> None:
    grey = RGB[..., 0]
    image = Image.fromarray(grey)
    if mode == "LA":
        image.putalpha(Image.fromarray(RGB[..., 1]))
    path = saved(tmp_path, image)
    np.testing.assert_array_equal(load_image(path), np.dstack([grey] * 3))
    np.testing.assert_array_equal(load_grey(path), grey)
    np.testing.assert_array_equal(load_label(path), grey)


def test_black_and_white(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[True, False]])))
    assert load_image(path).tolist() == [[[255] * 3, [0] * 3]]
    assert load_label(path).tolist() == [[1, 0]]


def test_alpha_is_dropped_not_composited(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    np.testing.assert_array_equal(load_image(saved(tmp_path, Image.fromarray(rgba))), RGB)


def test_palette_with_transparency_and_an_index_beyond_it(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    palette, transparency = (b"PLTE", bytes(range(1, 10))), (b"tRNS", bytes([0, 128, 255]))
    path.write_bytes(png(4, 1, 3, bytes([0, 0, 1, 2, 9]), palette, transparency))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path).tolist() == [[[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 0]]]
    assert load_label(path).tolist() == [[0, 1, 2, 9]]


def test_of_16_bits_the_upper_byte_is_kept(tmp_path: Path) -> None:
    samples = np.array([[0, 255, 256, 0x80FF, 0xFFFF]], np.uint16)
    for name in ("x.png", "x.tiff"):
        path = saved(tmp_path, Image.fromarray(samples), name)
        assert load_image(path)[..., 2].tolist() == [[0, 0, 1, 0x80, 0xFF]]
        assert load_grey(path).tolist() == [[0, 0, 1, 0x80, 0xFF]]


def test_samples_of_16_bits_are_whole(tmp_path: Path) -> None:
    samples = np.array([[0, 255, 256, 0x80FF, 0xFFFF]], np.uint16)
    found = load_image_samples(saved(tmp_path, Image.fromarray(samples)))
    assert found.dtype == np.uint16
    assert found.tolist() == np.repeat(samples[..., None], 3, axis=2).tolist()
    path = saved(tmp_path, Image.fromarray(RGB))
    np.testing.assert_array_equal(load_image_samples(path), load_image(path))


def test_16_bit_labels_are_taken_as_they_are(tmp_path: Path) -> None:
    assert load_label(saved(tmp_path, Image.fromarray(np.array([[0, 20, 255]], np.uint16)))).tolist() == [[0, 20, 255]]
    with pytest.raises(DataError, match="labels must be from 0 to 255, got 3 to 256"):
        load_label(saved(tmp_path, Image.fromarray(np.array([[3, 256]], np.uint16))))


@pytest.mark.parametrize(("mode", "message"), [("F", "floating-point"), ("I", "32 bits")])
def test_wide_samples_are_refused(tmp_path: Path, mode: str, message: str) -> None:
    for value in (0, 200, 4000, 70000):
        path = saved(tmp_path, Image.new(mode, (3, 2), value), "x.tiff")
        for read in (load_image, load_grey, load_native, lambda one: pixels_of(Image.open(one))):
            with pytest.raises(DataError, match=message):
                read(path)


def test_labels_may_have_wide_samples(tmp_path: Path) -> None:
    assert load_label(saved(tmp_path, Image.new("I", (3, 2), 20), "x.tiff")).tolist() == [[20] * 3] * 2


@pytest.mark.parametrize(
    ("mode", "dtype"), [("I;16", "<u2"), ("I;16L", "<u2"), ("I;16B", ">u2"), ("I;16N", "=u2"), ("I", "=i4")]
)
def test_of_an_image_of_16_bits_in_memory_the_upper_byte_is_kept(mode: str, dtype: str) -> None:
    samples = np.array([[0, 255, 256, 0x80FF, 0xFFFF]], dtype)
    pixels = pixels_of(Image.frombytes(mode, (5, 1), samples.tobytes()))
    assert pixels[..., 0].tolist() == [[0, 0, 1, 0x80, 0xFF]]
    assert pixels.shape == (1, 5, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_an_image_of_pil_has_the_pixels_of_its_file(tmp_path: Path, mode: str) -> None:
    wide = Image.fromarray(RGB[..., 0].astype(np.uint16) * 257)
    image = wide.convert(mode) if mode.startswith("I") else Image.fromarray(RGB).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(RGB[..., 1]))
    path = saved(tmp_path, image, "x.tiff" if mode == "CMYK" else "x.png")
    assert image.mode == mode
    with Image.open(path) as opened:
        for given in (image, opened):
            found = pixels_of(given)
            np.testing.assert_array_equal(found, load_image(path))
            assert found.dtype == np.uint8
            assert found.flags.c_contiguous
            assert found.flags.writeable


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            Image.new("F", (3, 2), 0.5),
            "^an image of PIL in mode F: floating-point .*: bring them to 0 to 255, as uint8$",
        ),
        (Image.new("I", (3, 2), 70000), "^an image of PIL in mode I: samples of 32 bits .*: bring them to 0 to 255"),
        (Image.new("I", (3, 2), -1), "samples of 32 bits"),
        (
            Image.new("I", (3, 2), 255),
            r"none above 255, .* image.convert\('L'\) for 8 bits, image.convert\('I;16'\) for",
        ),
        (Image.new("I", (0, 2)), "the image is empty: 0 x 2"),
    ],
)
def test_images_of_pil_that_are_refused(image: Image.Image, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pixels_of(image)


def test_an_image_of_pil_may_be_black_in_32_bits_or_a_dark_file_of_16(tmp_path: Path) -> None:
    assert pixels_of(Image.new("I", (1, 1))).tolist() == [[[0, 0, 0]]]
    assert pixels_of(Image.new("I", (1, 1), 256)).tolist() == [[[1, 1, 1]]]
    with Image.open(saved(tmp_path, Image.new("I", (1, 1), 255), "x.pgm")) as opened:
        assert pixels_of(opened).tolist() == [[[0, 0, 0]]]


def test_opened_images_of_pil_are_refused_by_their_files_names(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("F", (3, 2)), "wide.tiff")
    with Image.open(path) as image, pytest.raises(DataError, match=r"wide\.tiff: floating-point"):
        pixels_of(image)
    path = saved(tmp_path, Image.fromarray(RGB), "cut.png")
    path.write_bytes(path.read_bytes()[:-60])
    with Image.open(path) as image, pytest.raises(DataError, match=r"cut\.png: the image is damaged"):
        pixels_of(image)


def test_cmyk(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "x.jpg", quality=100)
    assert np.abs(load_image(path).astype(int) - (255, 0, 0)).max() <= 3


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("P", (4, 3), colour) for colour in (1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60])
    path = saved(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    assert load_image(path)[0, 0].tolist() == [10, 20, 30]


@pytest.mark.filterwarnings("ignore:.*a label map in JPEG")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_exif_orientation(tmp_path: Path, orientation: int, name: str) -> None:
    # Where the first row and column of the stored image lie when shown: EXIF 2.3, tag 0x0112.
    shown = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RGB), name, exif=exif)
    stored = load_image(path, exif_orientation=False)
    assert stored.shape == RGB.shape
    np.testing.assert_array_equal(load_image(path), shown(stored))
    np.testing.assert_array_equal(load_grey(path), shown(load_grey(path, exif_orientation=False)[..., None])[..., 0])
    with Image.open(path) as image:
        np.testing.assert_array_equal(pixels_of(image), shown(stored))
        np.testing.assert_array_equal(pixels_of(image, exif_orientation=False), stored)
    # Label maps fit the stored pixels.
    assert load_label(path, reading="luminance").shape == RGB.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_is_no_obstacle(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RGB), "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load_image(path).shape == RGB.shape


# What cv2.imread(..., IMREAD_GRAYSCALE) of OpenCV 4.6.0 gives for labels 0 to 21 in VOC's palette.
VOC_LUMINANCE = [0, 38, 75, 113, 14, 52, 89, 128, 19, 57, 94, 132, 33, 72, 108, 147, 37, 75, 112, 150, 52, 90]


def test_palette_labels_by_index_and_by_luminance(tmp_path: Path) -> None:
    labels = np.arange(22, dtype=np.uint8).reshape(2, 11)
    path = tmp_path / "label.png"
    save_labels_png(path, labels, VOC_COLORMAP)
    np.testing.assert_array_equal(load_label(path), labels)
    assert load_label(path, reading="luminance").ravel().tolist() == VOC_LUMINANCE
    np.testing.assert_array_equal(load_image(path), VOC_COLORMAP[labels])


def test_grey_by_each_decoders_own_formula(tmp_path: Path) -> None:
    # Expected values by OpenCV 4.6.0: libpng cuts off, OpenCV's own conversion rounds.
    image = Image.fromarray(np.array([[(10, 200, 30), (255, 0, 1), (3, 3, 3), (0, 0, 255), (17, 91, 201)]], np.uint8))
    assert load_grey(saved(tmp_path, image, "x.png")).tolist() == [[123, 76, 3, 29, 81]]
    assert load_grey(saved(tmp_path, image, "x.bmp")).tolist() == [[124, 76, 3, 29, 81]]
    assert load_grey(saved(tmp_path, image, "x.ppm")).tolist() == [[124, 76, 3, 29, 81]]


def test_grey_of_a_jpeg_is_its_y_channel(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8))), "x.jpg")
    with Image.open(path) as image:
        image.draft("YCbCr", image.size)
        expected = np.asarray(image.convert("YCbCr"))[..., 0]
    np.testing.assert_array_equal(load_grey(path), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palette_indices_of_few_bits(tmp_path: Path, bits: int) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % (1 << bits)
    image = Image.fromarray(labels)
    image.putpalette(VOC_COLORMAP[: 1 << bits].tobytes())
    np.testing.assert_array_equal(load_label(saved(tmp_path, image, bits=bits)), labels)


def test_a_colour_image_is_no_label_map(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.png: expected a palette or grey image"):
        load_label(saved(tmp_path, Image.fromarray(RGB)))
    grey = np.dstack([RGB[..., 0]] * 3)
    np.testing.assert_array_equal(load_label(saved(tmp_path, Image.fromarray(grey))), RGB[..., 0])


def test_an_unknown_reading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="index, luminance"):
        load_label(tmp_path / "x.png", reading="colour")  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [load_image, load_grey, load_label])
def test_what_is_no_image_gives_one_line_with_its_name(tmp_path: Path, load) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    for name, message in (
        ("missing.png", "No such file or directory"),
        (".", "Is a directory|Permission denied"),
        ("empty.png", "the file is empty"),
        ("text.jpg", "not an image in a format that Pillow reads"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            load(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(20_000, 20_000), (15_000, 12_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_above_the_limit_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png(*size, 2, bytes(50)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"too large: .*the limit is 178,956,970"):
        load_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_the_limit_is_an_argument(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RGB))
    assert load_image(path, max_pixels=35).shape == RGB.shape
    for load in (load_image, load_grey, load_label):
        with pytest.raises(DataError, match="too large: 7 x 5 pixels, the limit is 34"):
            load(path, max_pixels=34)
    assert MAX_PIXELS < 20_000 * 20_000


def test_a_size_of_zero(tmp_path: Path) -> None:
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P6 0 5 255\n")
    with pytest.raises(DataError):
        load_image(path)


def test_eps_starts_no_other_program(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RGB), "x.eps")
    with pytest.raises(DataError, match="EPS is not read"):
        load_image(path)


PNG, JPEG, TIFF = (io.BytesIO() for _ in range(3))
Image.fromarray(np.kron(RGB, np.ones((4, 4, 1), np.uint8))).save(PNG, "PNG")
Image.fromarray(np.kron(RGB, np.ones((4, 4, 1), np.uint8))).save(JPEG, "JPEG")
Image.fromarray(np.kron(RGB, np.ones((4, 4, 1), np.uint8))).save(TIFF, "TIFF", compression="tiff_lzw")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
@pytest.mark.parametrize("stream", [PNG, JPEG, TIFF], ids=["png", "jpeg", "tiff"])
def test_truncated_anywhere(tmp_path: Path, stream: io.BytesIO) -> None:
    content = stream.getvalue()
    whole = load_image_bytes(tmp_path, content)
    for length in range(0, len(content) - 1, 7):
        try:
            loaded = load_image_bytes(tmp_path, content[:length])
        except DataError:
            continue
        # Some formats end with bytes that no pixel needs.
        np.testing.assert_array_equal(loaded, whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kind=st.sampled_from([PNG, JPEG, TIFF]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damaged_anywhere(tmp_path: Path, kind: io.BytesIO, flips: list[tuple[int, int]]) -> None:
    content = bytearray(kind.getvalue())
    for position, bits in flips:
        content[position % len(content)] ^= bits
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = load_image_bytes(tmp_path, bytes(content), max_pixels=10**6)
    except DataError:
        return
    assert loaded.dtype == np.uint8
    assert loaded.shape[2] == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=200))
@example(b"\x89PNG\r\n\x1a\n")
@example(b"P6 99999999999 99999999999 255\n")
@example(b"BM" + bytes(60))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError):
        load_image_bytes(tmp_path, content)


def load_image_bytes(tmp_path: Path, content: bytes, **options) -> np.ndarray:
    path = tmp_path / "image"
    path.write_bytes(content)
    return load_image(path, **options)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3, 1), np.uint8), "shape"),
        (np.zeros((0, 3), np.uint8), "shape"),
        (np.array([[0.5]]), "whole numbers"),
        (np.array([[256]]), "got 256 to 256"),
        (np.array([[-1, 3]]), "got -1 to 3"),
    ],
)
def test_what_is_no_label_map_is_not_written(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        save_labels_png(tmp_path / "x.png", labels, VOC_COLORMAP)
    assert list(tmp_path.iterdir()) == []


def test_label_maps_of_any_whole_numbers(tmp_path: Path) -> None:
    labels = np.array([[0, 20], [255, 1]])
    for dtype in (np.uint8, np.int64, np.float32):
        save_labels_png(tmp_path / "new" / "x.png", labels.astype(dtype), VOC_COLORMAP[:21])
        np.testing.assert_array_equal(load_label(tmp_path / "new" / "x.png"), labels)
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]


def test_the_same_labels_give_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        save_labels_png(tmp_path / name, RGB[..., 0], VOC_COLORMAP)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_wrong_colormap(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="colormap"):
        save_labels_png(tmp_path / "x.png", RGB[..., 0], VOC_COLORMAP.astype(float))


@pytest.mark.parametrize("name", ["x.png", "deep/x.ppm", "x.BMP"])
def test_save_image(tmp_path: Path, name: str) -> None:
    save_image(tmp_path / name, RGB)
    np.testing.assert_array_equal(load_image(tmp_path / name), RGB)
    save_image(tmp_path / name, RGB[..., 1])
    np.testing.assert_array_equal(load_grey(tmp_path / name), RGB[..., 1])


@pytest.mark.parametrize("name", ["x", "x.xyz", "x.psd"])
def test_save_image_needs_a_known_ending(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no image format"):
        save_image(tmp_path / name, RGB)
    assert list(tmp_path.iterdir()) == []


def test_save_image_refuses_other_arrays(tmp_path: Path) -> None:
    for image in (RGB.astype(np.float32), RGB[..., :2], RGB[None]):
        with pytest.raises(ValueError, match="expected a uint8 image"):
            save_image(tmp_path / "x.png", image)


@pytest.mark.parametrize(("bits", "values"), [(1, 2), (2, 4), (4, 16), (8, 256)])
def test_grey_labels_of_few_bits_are_their_samples(tmp_path: Path, bits: int, values: int) -> None:
    labels = np.arange(values, dtype=np.uint8).reshape(1, -1).repeat(2, axis=0)
    packed = np.packbits(np.unpackbits(labels[..., None], axis=2)[..., 8 - bits :].reshape(2, -1), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", values, 2, bits, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "l.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))
    np.testing.assert_array_equal(load_label(tmp_path / "l.png"), labels)
    assert image_size(tmp_path / "l.png") == (2, values)


def test_the_size_alone_is_checked_too(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    content = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    (tmp_path / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    with pytest.raises(DataError, match="i.png: the image is too large: 10,000,000,000 pixels"):
        image_size(tmp_path / "i.png")


@pytest.mark.parametrize("largest", [1, 3, 15, 20, 100, 254, 255, 1000, 65535])
@pytest.mark.parametrize("plain", [True, False])
def test_pgm_labels_are_their_samples(tmp_path: Path, largest: int, plain: bool) -> None:
    """A PGM says its largest sample, and Pillow scales by it."""
    labels = np.arange(min(largest, 255) + 1)
    body = " ".join(map(str, labels)).encode() if plain else labels.astype(">u2" if largest > 255 else "u1").tobytes()
    head = f"P{2 if plain else 5}\n{len(labels)} 1\n{largest}\n".encode()
    (tmp_path / "x.pgm").write_bytes(head + body)
    np.testing.assert_array_equal(load_label(tmp_path / "x.pgm"), labels[None])


def test_ppm_labels_are_their_samples(tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P6 2 1 20\n" + bytes([0, 0, 0, 7, 7, 7]))
    assert load_label(tmp_path / "x.ppm").tolist() == [[0, 7]]
    (tmp_path / "x.ppm").write_bytes(b"P6 1 1 300\n" + bytes([0, 7] * 3))
    with pytest.raises(DataError, match="labels of 16 bits"):
        load_label(tmp_path / "x.ppm")


@pytest.mark.parametrize("bits", [2, 4])
def test_tiff_labels_of_few_bits_are_their_samples(tmp_path: Path, bits: int) -> None:
    values = 1 << bits
    packed = np.packbits(np.unpackbits(np.arange(values, dtype=np.uint8)[:, None], axis=1)[:, 8 - bits :].ravel())
    # Width, height, bits, no compression, black is 0, where the strip begins, rows in it, its bytes.
    facts = {256: values, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8 + 2 + 8 * 12 + 4, 278: 1, 279: len(packed)}
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in facts.items())
    directory = struct.pack("<H", len(facts)) + tags + struct.pack("<I", 0)
    (tmp_path / "x.tiff").write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + packed.tobytes())
    np.testing.assert_array_equal(load_label(tmp_path / "x.tiff"), np.arange(values)[None])


def test_interlaced_grey_labels_of_few_bits(tmp_path: Path) -> None:
    """A one-pixel image has one pass."""
    content = bytearray(png(1, 1, 0, b"\0\xc0"))
    content[24], content[28] = 2, 1
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    (tmp_path / "x.png").write_bytes(bytes(content))
    assert load_label(tmp_path / "x.png").tolist() == [[3]]


@pytest.mark.parametrize(("colour_type", "channels"), [(4, 2), (2, 3), (6, 4)])
def test_labels_whose_lower_byte_would_be_lost(tmp_path: Path, colour_type: int, channels: int) -> None:
    content = bytearray(png(1, 1, colour_type, b"\0" + b"\0\7" * channels))
    content[24] = 16
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    (tmp_path / "x.png").write_bytes(bytes(content))
    with pytest.raises(DataError, match="labels of 16 bits must be grey without alpha"):
        load_label(tmp_path / "x.png")


def test_jpeg_labels_are_warned_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_samples, "_jpeg_seen", threading.Event())
    for name in ("first.png", "a.jpg", "b.jpg"):
        saved(tmp_path, Image.new("L", (4, 4), 7), name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("first.png", "a.jpg", "b.jpg"):
            assert load_label(tmp_path / name)[0, 0] == load_label(tmp_path / name, reading="luminance")[0, 0] == 7
    (message,) = [str(one.message) for one in caught]
    assert message.startswith(f"{tmp_path / 'a.jpg'}: a label map in JPEG")


def test_an_orientation_of_labels_is_not_applied_but_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(np.array([[1, 2, 3]], np.uint8)), exif=exif)
    with pytest.warns(UserWarning, match="EXIF orientation 6 is not applied"):
        assert load_label(path).tolist() == [[1, 2, 3]]


def test_an_orientation_of_a_stored_image_is_not_applied_but_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 4, 3)
    path = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    with pytest.warns(UserWarning, match="x.png: EXIF orientation 3 is not applied: scores fit the photo's stored"):
        assert np.array_equal(load_stored_image(path, "scores"), pixels)
    assert np.array_equal(load_image(path), pixels[:, ::-1])
    exif[0x0112] = 1
    saved(tmp_path, Image.fromarray(pixels), exif=exif)
    assert load_stored_image(path, "scores").flags.writeable  # and no warning, which would fail the test


def test_formats_are_opened_by_name(tmp_path: Path) -> None:
    """Pillow's reader of IM files takes 38 numbers for a size."""
    (tmp_path / "x.im").write_bytes(
        b"Image type: Greyscale\r\nImage size (x*y): " + b"*".join([b"1"] * 38) + b"\r\n\x1a" + bytes(600)
    )
    for name, kind in (("x.tga", "TGA"), ("x.pcx", "PCX"), ("x.sgi", "SGI"), ("x.ico", "ICO")):
        saved(tmp_path, Image.new("RGB", (4, 4)), name, format=kind)
    for path in sorted(tmp_path.iterdir()):
        for read in (load_image, load_grey, load_label, image_size):
            with pytest.raises(DataError, match="not an image in a format that Pillow reads here: PNG, JPEG"):
                read(path)
    for name in ("x.gif", "x.webp", "x.jp2", "x.dib"):
        assert load_image(saved(tmp_path, Image.new("RGB", (4, 4)), name)).shape == (4, 4, 3)
