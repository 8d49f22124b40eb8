from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab_caffe import _C
from deeplab_caffe.arrays import NumpyArrays
from deeplab_caffe.data import resize_bilinear

# An arbitrary image, and what cv2.resize of OpenCV 4.6.0 (without IPP) makes of it.
SOURCE = (np.arange(20).reshape(4, 5) * 37 % 251).astype(np.uint8)


def opencv_by_hand(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same arithmetic pixel by pixel, in Python numbers."""

    def taps(out: int, size: int, out_size: int) -> tuple[int, int, int]:
        position = np.float32((out + 0.5) * (1.0 / (out_size / size)) - 0.5)
        low = math.floor(position)
        fraction = np.float32(position - np.float32(low))
        return low, int(np.rint((np.float32(1) - fraction) * 2048)), int(np.rint(fraction * 2048))

    rows, columns = image.shape
    result = np.empty((height, width), np.uint8)
    for y in range(height):
        top, upper, lower = taps(y, rows, height)
        for x in range(width):
            left, first, second = taps(x, columns, width)
            if left < 0 or left >= columns - 1:
                left, first, second = min(max(left, 0), columns - 1), 2048, 0
            right = min(left + 1, columns - 1)
            across = [
                int(image[min(max(row, 0), rows - 1), left]) * first
                + int(image[min(max(row, 0), rows - 1), right]) * second
                for row in (top, top + 1)
            ]
            result[y, x] = ((across[0] // 16 * upper // 65536) + (across[1] // 16 * lower // 65536) + 2) // 4
    return result


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (3, 3, [[43, 63, 125], [164, 101, 78], [76, 138, 172]]),
        (
            6,
            7,
            [
                [0, 21, 47, 74, 100, 127, 148],
                [93, 114, 104, 41, 67, 94, 115],
                [174, 195, 162, 39, 65, 74, 71],
                [130, 151, 166, 162, 188, 125, 27],
                [86, 107, 134, 160, 186, 159, 109],
                [53, 74, 100, 127, 153, 180, 201],
            ],
        ),
        (2, 5, [[93, 130, 41, 78, 115], [86, 123, 160, 197, 109]]),
        (4, 2, [[28, 120], [213, 54], [147, 177], [81, 173]]),
        (1, 1, [[101]]),
        (
            8,
            10,
            [
                [0, 9, 28, 46, 65, 83, 102, 120, 139, 148],
                [46, 55, 74, 77, 64, 67, 85, 104, 122, 132],
                [139, 148, 166, 138, 62, 34, 52, 71, 89, 99],
                [169, 178, 196, 168, 92, 63, 82, 85, 72, 66],
                [136, 145, 163, 166, 153, 156, 174, 146, 70, 33],
                [103, 112, 130, 149, 167, 186, 204, 176, 100, 62],
                [70, 79, 97, 116, 134, 153, 171, 174, 161, 155],
                [53, 62, 81, 99, 118, 136, 155, 173, 192, 201],
            ],
        ),
    ],
)
def test_opencvs_bytes(height: int, width: int, expected: list[list[int]]) -> None:
    assert resize_bilinear(SOURCE, height, width).tolist() == expected


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_against_the_same_arithmetic_by_hand(rows: int, columns: int, height: int, width: int, seed: int) -> None:
    if (rows, columns) in ((2 * height, 2 * width), (height, width)):
        height += 1
    image = np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)
    np.testing.assert_array_equal(resize_bilinear(image, height, width), opencv_by_hand(image, height, width))


def test_channels_are_resized_alike() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    for height, width in ((5, 4), (14, 3), (21, 22), (1, 1)):
        result = resize_bilinear(image, height, width)
        assert result.shape == (height, width, 3)
        for channel in range(3):
            np.testing.assert_array_equal(result[..., channel], resize_bilinear(image[..., channel], height, width))


def test_halving_both_sides_is_the_mean_of_four() -> None:
    image = np.array([[0, 1, 10, 20], [0, 1, 30, 40]], np.uint8)
    assert resize_bilinear(image, 1, 2).tolist() == [[1, 25]]
    # Not where there are two rows and columns more.
    assert resize_bilinear(np.full((5, 5), 7, np.uint8), 3, 3).tolist() == [[7] * 3] * 3


def test_the_same_size_is_the_same_image() -> None:
    assert resize_bilinear(SOURCE, 4, 5) is SOURCE


@pytest.mark.parametrize(
    ("image", "height", "width"),
    [
        (SOURCE.astype(np.float32), 2, 2),
        (np.zeros((0, 3), np.uint8), 2, 2),
        (np.zeros((1, 1, 1, 1), np.uint8), 2, 2),
        (SOURCE, 0, 2),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray, height: int, width: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        resize_bilinear(image, height, width)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"down": a["down"] + 4}, "down: index 4 is outside of 0 to 3"),
        (lambda a: a | {"across": a["across"] - 1}, "across: index -1 is outside of 0 to 4"),
        (lambda a: a | {"across": a["across"][:, :2]}, "across: expected"),
        (lambda a: a | {"down": a["down"].astype(np.int64)}, "down: expected int32"),
        (lambda a: a | {"out": a["out"][:, :, [0, 0]]}, "as many channels"),
        (lambda a: a | {"image": a["image"][0]}, "image: expected"),
    ],
)
def test_the_extension_reads_nothing_outside(change, message) -> None:
    taps = np.zeros((4, 3), np.int32)
    given = {"image": SOURCE[..., None], "out": np.zeros((3, 3, 1), np.uint8), "down": taps, "across": taps}
    view = NumpyArrays().view
    _C.resize_bilinear(*map(view, given.values()))
    with pytest.raises(ValueError, match=message):
        _C.resize_bilinear(*(view(np.ascontiguousarray(array)) for array in change(given).values()))
