from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import load_grey, load_image, load_label
from deeplab_caffe.data.io.zero_copy import zero_copy_pixels

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def images() -> dict[str, Image.Image]:
    colour = Image.fromarray(COLOURS)
    found = {mode: colour.convert(mode) for mode in ("L", "RGB", "RGBA", "CMYK", "YCbCr", "LA", "1", "I", "F")}
    found["P"] = colour.quantize(9)
    found["odd width"] = Image.fromarray(RNG.integers(0, 256, (3, 13), dtype=np.uint8))
    found["one pixel"] = Image.new("RGB", (1, 1), (1, 2, 3))
    found["of several blocks"] = Image.fromarray(RNG.integers(0, 256, (2100, 2100, 3), dtype=np.uint8))
    return found


@pytest.mark.parametrize("name", images())
def test_what_asarray_gives(name: str) -> None:
    image = images()[name]
    found, expected = zero_copy_pixels(image), np.asarray(image)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_pixels_outlive_the_image(mode: str) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    expected = np.asarray(image).copy()
    with image:
        found = zero_copy_pixels(image)
    del image
    gc.collect()
    others = [Image.new(mode, (7, 5), 255 if mode == "L" else (255,) * len(mode)) for _ in range(500)]
    np.testing.assert_array_equal(found, expected)
    assert not found.flags.writeable
    part = found[1:3]
    del found, others
    gc.collect()
    np.testing.assert_array_equal(part, expected[1:3])


def test_an_older_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Image.Image, "__arrow_c_array__", raising=False)
    np.testing.assert_array_equal(zero_copy_pixels(Image.fromarray(COLOURS)), COLOURS)


def test_readers_lend_only_where_one_asks(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "colour.png")
    Image.fromarray(COLOURS[..., 0]).save(tmp_path / "grey.png")
    for load, name in ((load_image, "colour"), (load_grey, "grey"), (load_label, "grey")):
        own, lent = load(tmp_path / f"{name}.png"), load(tmp_path / f"{name}.png", view=True)
        np.testing.assert_array_equal(own, lent)
        assert own.flags.c_contiguous
        assert own.flags.writeable
