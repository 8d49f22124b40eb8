from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab_caffe.crf import CRFParams, DenseCRF2D, MeanField, PairwiseKernel, dense_crf, find_preset, layer_inference
from deeplab_caffe.crf.backend import usable_kernels
from deeplab_caffe.crf.params import active_kernels, validate_count
from deeplab_caffe.errors import CRFError, DataError


def test_one_kernel_of_each_kind() -> None:
    assert CRFParams(3, 2, 4, 121, 5).kernels == (
        PairwiseKernel(3.0, (2.0, 2.0)),
        PairwiseKernel(4.0, (121.0, 121.0), (5.0, 5.0, 5.0)),
    )


def test_tuples_are_kernels_and_tuples_within_them_are_axes_or_colours() -> None:
    params = CRFParams(pos_w=(2, 1), pos_xy_std=(3, (8, 9)), bi_w=(3,), bi_xy_std=((40, 30),), bi_rgb_std=((9, 8, 7),))
    assert params.kernels == (
        PairwiseKernel(2.0, (3.0, 3.0)),
        PairwiseKernel(1.0, (8.0, 9.0)),
        PairwiseKernel(3.0, (40.0, 30.0), (9.0, 8.0, 7.0)),
    )


def test_a_number_goes_with_every_kernel_and_an_empty_tuple_means_none() -> None:
    assert [kernel.weight for kernel in CRFParams(pos_w=2, pos_xy_std=(3, 5), bi_w=()).kernels] == [2, 2]
    assert CRFParams(pos_w=(), bi_xy_std=()).kernels == ()


def test_lists_and_arrays_become_tuples_so_that_parameters_compare_and_hash() -> None:
    one = CRFParams(pos_w=[1, 2], pos_xy_std=np.array([[3, 4], [5, 6]]), bi_w=np.float32(2), bi_rgb_std=np.array(5.0))
    same = CRFParams(pos_w=(1, 2), pos_xy_std=((3, 4), (5, 6)), bi_w=2.0, bi_rgb_std=5)
    assert one == same
    assert hash(one) == hash(same)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.iterations = 3  # type: ignore[misc]


def test_replace() -> None:
    assert CRFParams().replace(bi_w=9, iterations=2) == CRFParams(bi_w=9, iterations=2)
    with pytest.raises(CRFError, match="bi_w must be a finite number"):
        CRFParams().replace(bi_w="x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pos_xy_std": 0}, "pos_xy_std must be a positive, finite number, got 0"),
        ({"bi_rgb_std": -5.0}, "bi_rgb_std must be a positive, finite number, got -5.0"),
        ({"bi_xy_std": float("nan")}, "bi_xy_std must be a positive, finite number, got nan"),
        ({"bi_xy_std": float("inf")}, "bi_xy_std must be a positive, finite number, got inf"),
        ({"bi_xy_std": "50"}, "bi_xy_std must be a positive, finite number, got '50'"),
        ({"bi_xy_std": None}, "bi_xy_std must be a positive, finite number, got None"),
        ({"bi_rgb_std": ((1, 2),)}, "bi_rgb_std of one kernel must be one number or 3"),
        ({"pos_xy_std": ((1, 2, 3),)}, "pos_xy_std of one kernel must be one number or 2"),
        ({"pos_xy_std": ((1, 0),)}, "pos_xy_std must be a positive, finite number, got 0"),
        ({"pos_w": float("nan")}, "pos_w must be a finite number, got nan"),
        ({"pos_w": True}, "pos_w must be a finite number, got True"),
        ({"bi_w": (1, 2), "bi_xy_std": (1, 2, 3)}, "2 of bi_w, 3 of bi_xy_std"),
        ({"iterations": -1}, "iterations must not be negative, got -1"),
        ({"iterations": 2.5}, "iterations must be a whole number, got 2.5"),
        ({"iterations": float("nan")}, "iterations must be a whole number, got nan"),
        ({"iterations": float("inf")}, "iterations must be a whole number, got inf"),
        ({"pos_w": 1e15}, "pos_w must be from -1e\\+14 to 1e\\+14, got 1000000000000000.0"),
        ({"bi_w": -(10**400)}, "bi_w must be a finite number"),
        ({"iterations": "10"}, "iterations must be a whole number, got '10'"),
        ({"iterations": True}, "iterations must be a whole number, got True"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CRFError, match=message):
        CRFParams(**changes)


def test_parameters_at_their_bounds() -> None:
    params = CRFParams(pos_w=1e14, bi_w=-1e14, pos_xy_std=1e-3, iterations=2**31 - 1, min_probability=0.1)
    assert (params.pos_w, params.bi_w, params.iterations, params.min_probability) == (1e14, -1e14, 2**31 - 1, 0.1)
    assert CRFParams(iterations=0, min_probability=0).iterations == 0
    for changes, message in (
        ({"iterations": 2**31}, "iterations must be at most 2\\^31 - 1, got 2147483648"),
        ({"min_probability": 0.11}, "min_probability must be from 0 to 0.1, got 0.11"),
        ({"min_probability": -0.01}, "min_probability must be from 0 to 0.1, got -0.01"),
    ):
        with pytest.raises(CRFError, match=message):
            CRFParams(**changes)


def test_counts_at_their_bounds() -> None:
    assert [validate_count("points", value) for value in (1, 2**31 - 2, 3.0)] == [1, 2**31 - 2, 3]
    assert validate_count("points", 0, least=0) == 0
    for value, least, words in (
        (0, 1, "be positive"),
        (1, 2, "be at least 2"),
        (2**31 - 1, 1, "be at most 2\\^31 - 2"),
        (1.5, 1, "be a whole number"),
        (True, 1, "be a whole number"),
    ):
        with pytest.raises(CRFError, match=f"^points must {words}, got {value}$"):
            validate_count("points", value, least)


@pytest.mark.parametrize(
    ("changes", "iterations", "image", "weights"),
    [
        ({}, None, True, [3, 4]),
        ({}, None, False, [3]),
        ({}, 0, True, []),
        ({"iterations": 0}, None, True, []),
        ({"iterations": 0}, 1, True, [3, 4]),
        ({"pos_w": 0}, None, True, [4]),
        ({"bi_w": 0}, None, True, [3]),
        ({"pos_w": -1}, None, False, [-1]),
    ],
)
def test_active_kernels(changes: dict[str, Any], iterations: int | None, image: bool, weights: list[int]) -> None:
    params = CRFParams(3, 2, 4, 121, 5).replace(**changes)
    kernels = usable_kernels(active_kernels(params, iterations), np.zeros((1, 1, 3), np.uint8) if image else None)
    assert [one.weight for one in kernels] == weights


def test_active_kernels_refuse_a_bad_number_of_iterations() -> None:
    with pytest.raises(CRFError, match="iterations must not be negative, got -1"):
        active_kernels(CRFParams(), -1)


# Names and files


def test_a_name_is_a_presets_or_a_files(tmp_path: Path) -> None:
    path = str(tmp_path / "mine.JSON")
    CRFParams(iterations=2).to_file(path)
    assert CRFParams.named(path) == CRFParams(iterations=2)
    assert CRFParams.named("deeplab_msc") == CRFParams.for_model("DeepLab-MSc")


@pytest.mark.parametrize(
    "params",
    [
        CRFParams(),
        CRFParams.for_model("DeepLab-LargeFOV").replace(iterations=3),
        CRFParams((1, 2), (3, (4, 5)), (), (), ()),
        CRFParams(bi_rgb_std=((1.5, 2.5, 3.5),)),
        CRFParams(np.float32(2.5), np.int64(3), iterations=np.int32(4), min_probability=np.float32(0)),
        CRFParams(np.float32([1, 2]), 3, Fraction(1, 2)),
    ],
)
def test_parameters_come_back(tmp_path: Path, params: CRFParams) -> None:
    params.to_file(tmp_path / "made" / "params.json")
    assert CRFParams.from_file(tmp_path / "made" / "params.json") == params


def test_whole_numbers_of_iterations_are_integers() -> None:
    params = CRFParams(iterations=3.0)
    assert (params.iterations, type(params.iterations)) == (3, int)
    scores, image = np.zeros((2, 4, 5), np.float32), np.zeros((4, 5, 3), np.uint8)
    np.testing.assert_array_equal(dense_crf(scores, image, params), dense_crf(scores, image, params, iterations=3))


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"bi_w": 4, "bi_xy_std": 121}')
    assert CRFParams.from_file(tmp_path / "params.json") == CRFParams(bi_w=4, bi_xy_std=121)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON file"),
        (b"\xff\xfe{", "no JSON file"),
        (b"[" * 100_000, "no JSON file"),
        (b"[]", "expected an object with pos_w"),
        (b'{"w1": 5}', "got w1"),
        (b'{"bi_w": "5"}', "bi_w"),
        (b'{"bi_rgb_std": 0}', "bi_rgb_std"),
        (b'{"iterations": -1}', "iterations"),
        (b'{"bi_w": NaN}', "bi_w"),
        (b'{"bi_w": 1' + b"0" * 400 + b"}", "bi_w must be a finite number"),
        (b'{"iterations": 1' + b"0" * 400 + b"}", "iterations must be at most"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.json"
    path.write_bytes(content)
    with pytest.raises(CRFError, match=message) as caught:
        CRFParams.from_file(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(CRFError, match="No such file"):
        CRFParams.from_file(tmp_path / "missing.json")
    with pytest.raises(DataError, match="is a folder"):
        CRFParams().to_file(tmp_path)


@pytest.mark.parametrize("given", ["DeepLab-LargeFOV", "deeplab_largefov", find_preset("DeepLab-LargeFOV")])
def test_every_door_takes_a_presets_name(given: Any) -> None:
    assert CRFParams.of(given) == CRFParams(3, 3, 4, 121, 5)


def test_every_door_takes_a_file_a_dict_or_nothing(tmp_path: Path) -> None:
    params = CRFParams(bi_w=4, bi_xy_std=121, iterations=5)
    params.to_file(tmp_path / "best.json")
    assert CRFParams.of(tmp_path / "best.json") == CRFParams.of(str(tmp_path / "best.json")) == params
    assert CRFParams.of({"bi_w": 4, "bi_xy_std": 121, "iterations": 5}) == params
    assert CRFParams.of(params) is params
    assert CRFParams.of(None) == CRFParams.of({}) == CRFParams()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("DeepLab-LargeVOF", "no CRF parameters are known for 'DeepLab-LargeVOF'; there are some for DeepLab-LargeFOV"),
        ({"w1": 4}, "CRF parameters: expected an object with pos_w, .*, got w1"),
        ({"bi_w": "4"}, "CRF parameters: bi_w must be a finite number, got '4'"),
        ({3: 4}, "got 3"),
        (5, "params must be CRFParams, a preset's name, a .json file or a dict, got int"),
        ((3, 3, 5, 50, 10), "params must be CRFParams, .*, got tuple"),
        (Path("nowhere.json"), "nowhere.json: cannot be read"),
    ],
)
def test_what_are_no_parameters(given: Any, message: str) -> None:
    with pytest.raises(CRFError, match=message):
        CRFParams.of(given)


def test_the_doors(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(3, 4, 5)).astype(np.float32)
    image = rng.integers(0, 256, size=(4, 5, 3), dtype=np.uint8)
    expected = dense_crf(scores, image, CRFParams.for_model("DeepLab"))
    np.testing.assert_array_equal(dense_crf(scores, image, "DeepLab"), expected)
    np.testing.assert_array_equal(DenseCRF2D.for_image(image, {"bi_w": 5}).infer(scores), expected)
    blob = image.transpose(2, 0, 1)[None].astype(np.float32)
    layer = layer_inference(scores[None], None, blob, CRFParams.for_model("DeepLab"))
    np.testing.assert_array_equal(layer_inference(scores[None], None, blob, "DeepLab"), layer)
    assert MeanField(3, "DeepLab").params == CRFParams.for_model("DeepLab")
