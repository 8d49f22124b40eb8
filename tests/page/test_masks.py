"""Masks of any tool."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import load_label
from deeplab_caffe.data.colormap import VOC_COLORMAP
from deeplab_caffe.errors import CRFError, DataError
from deeplab_caffe.page import read_mask
from deeplab_caffe.pydensecrf.utils import unary_from_labels

BINARY = np.zeros((4, 6), np.uint8)
BINARY[1:3, 2:5] = 1


def saved(folder: Path, values: np.ndarray, name: str = "mask.png") -> Path:
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (BINARY * 255, "mask.png"),
        (BINARY, "mask.png"),
        (BINARY.astype(bool), "mask.npy"),
        (BINARY[None].astype(bool), "mask.npy"),
        (BINARY.astype(np.int64), "mask.npy"),
    ],
)
def test_binary(tmp_path: Path, values: np.ndarray, name: str) -> None:
    mask = read_mask(saved(tmp_path, values, name), (4, 6), certainty=0.9)
    assert mask.kind == "binary"
    assert mask.classes.names == ("background", "foreground")
    np.testing.assert_allclose(mask.probabilities[1], np.where(BINARY, 0.9, 0.1), atol=1e-6)
    energies = unary_from_labels(BINARY, 2, 0.9, zero_unsure=False).reshape(2, 4, 6)
    np.testing.assert_allclose(-np.log(mask.probabilities), energies, atol=1e-5)


def test_label_map_with_a_palette_and_unknown_pixels(tmp_path: Path) -> None:
    labels = BINARY * np.uint8(15)
    labels[0, 0] = 255
    image = Image.fromarray(labels, "L").convert("P")
    image.putdata(labels.ravel().tolist())
    image.putpalette(VOC_COLORMAP.ravel().tolist())
    image.save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", (4, 6))
    assert mask.kind == "labels"
    assert mask.classes.names == ("class 0", "class 15")
    np.testing.assert_allclose(mask.probabilities[:, 0, 0], 0.5)
    np.testing.assert_allclose(mask.probabilities[:, 1, 2], [0.2, 0.8], atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, "pgm", "pgm16"])
def test_grey_of_few_bits_holds_labels_as_they_stand_in_the_file(tmp_path: Path, bits: int | str) -> None:
    """The largest label was 255, unknown, and the others were scaled."""
    count = 2 if bits == 1 else 4
    labels = (np.arange(24).reshape(4, 6) % count).astype(np.uint8)
    if bits == 1:
        path = saved(tmp_path, labels.astype(bool))
    elif isinstance(bits, int):
        path = tmp_path / "mask.png"
        path.write_bytes(grey_png(labels, bits))
    else:
        path = tmp_path / "mask.pgm"
        most = 3 if bits == "pgm" else 300
        path.write_bytes(f"P5 6 4 {most}\n".encode() + labels.astype(np.uint8 if most < 256 else ">u2").tobytes())
    mask = read_mask(path, (4, 6), kind="labels")
    assert mask.classes.names == tuple(f"class {i}" for i in range(count))
    assert (mask.probabilities.argmax(0) == load_label(path)).all()
    if count > 2:
        assert read_mask(path, (4, 6)).kind == "labels"
    soft = read_mask(path, (4, 6), kind="soft", certainty=0.99)
    most = {1: 1, 2: 3, 4: 15, "pgm": 3, "pgm16": 300}[bits]
    np.testing.assert_allclose(soft.probabilities[1], 0.01 + 0.98 * labels / most, atol=1e-4)


def grey_png(labels: np.ndarray, bits: int) -> bytes:
    """Return a grey PNG of few bits a sample, which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = labels.shape
    digits = np.unpackbits(labels[..., None], axis=-1)[..., 8 - bits :].reshape(height, width * bits)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(digits, axis=1))
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_are_labels(tmp_path: Path) -> None:
    mask = read_mask(saved(tmp_path, VOC_COLORMAP[BINARY * 12]), (4, 6))
    assert mask.classes.names == ("#000000", "#400080")
    assert mask.classes.colormap.tolist() == [[0, 0, 0], [64, 0, 128]]


def test_soft_masks(tmp_path: Path) -> None:
    ramp = np.arange(96 * 2, dtype=np.uint8).reshape(12, 16)
    soft = read_mask(saved(tmp_path, ramp), (12, 16), certainty=0.99)
    assert soft.kind == "soft"
    np.testing.assert_allclose(soft.probabilities[1], 0.01 + 0.98 * ramp / 255, atol=1e-6)
    np.testing.assert_allclose(soft.probabilities.sum(axis=0), 1, atol=1e-6)
    cut_out = np.dstack([np.full((12, 16, 3), 7, np.uint8), ramp])
    np.testing.assert_array_equal(
        read_mask(saved(tmp_path, cut_out), (12, 16), certainty=0.99).probabilities, soft.probabilities
    )
    logits = np.linspace(-6, 6, 192).reshape(12, 16)
    found = read_mask(saved(tmp_path, logits, "m.npy"), (12, 16), certainty=0.9999).probabilities[1]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-4)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_jpeg_made_of_two_values_is_no_label_map(tmp_path: Path, mode: str) -> None:
    binary = np.zeros((24, 32), np.uint8)
    binary[5:17, 9:25] = 255
    Image.fromarray(binary).convert(mode).save(tmp_path / "mask.jpg")
    with Image.open(tmp_path / "mask.jpg") as image:
        assert 2 < len(np.unique(np.asarray(image))) <= 40
    mask = read_mask(tmp_path / "mask.jpg", (24, 32))
    assert mask.kind == "soft"
    assert mask.classes.names == ("background", "foreground")
    np.testing.assert_array_equal(mask.probabilities.argmax(axis=0), binary // 255)


def test_a_mask_of_another_size_is_resized_and_one_of_another_shape_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, BINARY * 255)
    found = read_mask(path, (8, 12)).probabilities[1] > 0.5
    np.testing.assert_array_equal(found, BINARY.repeat(2, 0).repeat(2, 1))
    with pytest.raises(DataError, match="turned"):
        read_mask(saved(tmp_path, np.tile(BINARY, (10, 10))), (60, 40))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mask.png", b"no image", "not an image"),
        ("mask.png", b"", "empty"),
        ("mask.npy", b"\x93NUMPY junk", "readable"),
        ("mask.npy", b"", "readable"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_mask(tmp_path / name, (4, 6))


@pytest.mark.parametrize("size", [(4, 6), (8, 12)])
def test_a_soft_mask_in_colour(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path, VOC_COLORMAP[BINARY * 12])
    with pytest.raises(DataError, match="is in colour: a soft mask has one channel"):
        read_mask(path, size, kind="soft")


def test_what_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to refine"):
        read_mask(saved(tmp_path, np.zeros((4, 6), np.uint8)), (4, 6))
    with pytest.raises(CRFError, match="certainty"):
        read_mask(saved(tmp_path, BINARY), (4, 6), certainty=0.5)
    with pytest.raises(CRFError, match="kind"):
        read_mask(saved(tmp_path, BINARY), (4, 6), kind="other")  # type: ignore[arg-type]
