from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deeplab_caffe.pydensecrf.densecrf as dcrf
import deeplab_caffe.pydensecrf.utils as utils
from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.errors import CRFError
from tests.pydensecrf.cases import cases

REFERENCE = np.load(Path(__file__).with_name("reference.npz"))
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    with pytest.warns(FutureWarning, match="deprecated"):
        return dict(cases(dcrf, utils))


@pytest.mark.parametrize("name", REFERENCE.files)
def test_as_pydensecrf(name: str, results: dict[str, Any]) -> None:
    actual, expected = np.asarray(results[name]), REFERENCE[name]
    assert actual.shape == expected.shape
    # Divergences are sums over all pixels, of the order of a thousand.
    np.testing.assert_allclose(actual, expected, rtol=1e-5 if name.endswith("kl") else 0, atol=TOLERANCE)


def test_all_cases_are_in_the_reference(results: dict[str, Any]) -> None:
    assert sorted(results) == sorted(REFERENCE.files)


def test_normalize_after_is_deeplabs() -> None:
    rng = np.random.default_rng(7)
    image = rng.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
    scores = rng.normal(size=(4, 6, 8)).astype(np.float32)
    crf = dcrf.DenseCRF2D(8, 6, 4)
    crf.setUnaryEnergy(-scores.reshape(4, -1))
    crf.addPairwiseGaussian(sxy=3, compat=2, normalization=dcrf.NORMALIZE_AFTER)
    crf.addPairwiseBilateral(sxy=30, srgb=13, rgbim=image, compat=5, normalization=dcrf.NORMALIZE_AFTER)
    expected = dense_crf(scores, image, CRFParams(2, 3, 5, 30, 13), iterations=7)
    np.testing.assert_array_equal(crf.inference(7).reshape(scores.shape), expected)
    np.testing.assert_array_equal(crf.map(7).reshape(6, 8), expected.argmax(axis=0))
    assert (crf.nlabels, crf.npixels) == (4, 48)


def test_fewer_iterations_than_none_are_none() -> None:
    crf = dcrf.DenseCRF2D(5, 4, 3)
    crf.setUnaryEnergy(np.random.default_rng(0).uniform(size=(3, 20)).astype(np.float32))
    crf.addPairwiseGaussian(sxy=2, compat=3)
    none = np.asarray(crf.inference(0))
    np.testing.assert_array_equal(crf.inference(-3), none)
    assert not np.array_equal(crf.inference(1), none)


def test_a_step_wants_marginals_that_it_can_write() -> None:
    crf = dcrf.DenseCRF2D(5, 4, 3)
    crf.setUnaryEnergy(np.zeros((3, 20), np.float32))
    marginals, tmp1, tmp2 = crf.startInference()
    marginals.flags.writeable = False
    for bad in (marginals, marginals.tolist()):
        with pytest.raises(CRFError, match="Q must be an array that can be written to"):
            crf.stepInference(bad, tmp1, tmp2)


def test_steps_are_inference() -> None:
    crf = dcrf.DenseCRF2D(5, 4, 3)
    crf.setUnaryEnergy(np.random.default_rng(0).uniform(size=(3, 20)).astype(np.float32))
    crf.addPairwiseGaussian(sxy=2, compat=3)
    marginals, tmp1, tmp2 = crf.startInference()
    for _ in range(3):
        crf.stepInference(marginals, tmp1, tmp2)
    np.testing.assert_array_equal(marginals, crf.inference(3))
    # A kernel that is added later counts from the next call on.
    crf.addPairwiseGaussian(sxy=1, compat=3)
    assert not np.array_equal(marginals, crf.inference(3))


def test_other_dtypes_and_layouts() -> None:
    energies = np.random.default_rng(0).uniform(size=(3, 20)).astype(np.float32)
    results = []
    for same in (energies, energies.astype(np.float64), np.asfortranarray(energies), energies.astype(">f4")):
        crf = dcrf.DenseCRF(20, 3)
        crf.setUnaryEnergy(same)
        crf.addPairwiseEnergy(np.arange(40).reshape(20, 2).T, 2)
        results.append(crf.inference(2))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_energies_of_weights_and_features() -> None:
    # pydensecrf asks for weights of the shape of the energies here, which then fit no features.
    weights, features = np.arange(6).reshape(3, 2), np.arange(24).reshape(2, 12) / 10
    marginals = []
    for call in ("crf.setUnaryEnergy(w, f)", "crf.setUnary(dcrf.LogisticUnary(w, f))", "crf.setUnaryEnergy(w @ f)"):
        crf = dcrf.DenseCRF2D(4, 3, 3)
        eval(call, {"crf": crf, "dcrf": dcrf, "w": weights, "f": features})
        marginals.append(crf.inference(1))
    np.testing.assert_allclose(marginals[0], marginals[2], atol=1e-6)
    np.testing.assert_array_equal(marginals[0], marginals[1])


def test_an_infinite_energy_is_an_impossible_label() -> None:
    energies = utils.unary_from_softmax(np.array([[[0.0, 0.5]], [[1.0, 0.5]]]), clip=None)
    crf = dcrf.DenseCRF2D(2, 1, 2)
    crf.setUnaryEnergy(energies)
    crf.addPairwiseGaussian(sxy=1, compat=2)
    marginals = crf.inference(3)
    assert marginals[0, 0] == 0
    assert np.isfinite(marginals).all()
    assert np.isfinite(crf.klDivergence(marginals))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("crf.setUnaryEnergy(np.zeros((4, 12)))", "Bad shape for unary energy (Need (3, 12), got (4, 12))"),
        ("crf.setUnaryEnergy(np.zeros((12, 3)))", "Bad shape for unary energy (Need (3, 12), got (12, 3)): transpose?"),
        ("crf.setUnaryEnergy(np.zeros((3, 3, 4)))", "need a matrix of real numbers, got float64 (3, 3, 4)"),
        ("crf.setUnaryEnergy(np.full((3, 12), np.nan))", "Bad unary energy of variable 0"),
        ("crf.setUnaryEnergy(np.full((3, 12), np.inf))", "nor infinite for every label"),
        ("crf.setUnaryEnergy(np.full((3, 12), -np.inf))", "must not be NaN or minus infinity"),
        ("crf.setUnaryEnergy(np.zeros((3, 2)), np.zeros((3, 12)))", "L is (3, 2) and f is (3, 12)"),
        ("crf.addPairwiseEnergy(np.zeros((2, 5)), 3)", "Bad shape for pairwise energy (Need (?, 12), got (2, 5))"),
        ("crf.addPairwiseEnergy(np.zeros((17, 12)), 3)", "d from 1 to 16"),
        ("crf.addPairwiseEnergy(np.full((2, 12), np.nan), 3)", "has a value that is not finite"),
        ("crf.addPairwiseGaussian(3, np.zeros((3, 3, 3)))", "LabelCompatibility of dimension >2 not meaningful"),
        ("crf.addPairwiseGaussian(3, np.zeros(2))", "Bad shape for compat (Need (3,), got (2,))"),
        ("crf.addPairwiseGaussian(3, np.zeros((2, 3)))", "Bad shape for compat (Need (3, 3), got (2, 3))"),
        ("crf.addPairwiseGaussian(3, np.nan)", "compat must be a finite number, got nan"),
        ("crf.addPairwiseGaussian(0, 3)", "must be a positive, finite number, got 0"),
        ("crf.addPairwiseGaussian(-3, 3)", "must be a positive, finite number, got -3"),
        ("crf.addPairwiseGaussian(3, 3, kernel=3)", "kernel must be CONST_KERNEL"),
        ("crf.addPairwiseGaussian(3, 3, normalization=4)", "normalization must be NO_NORMALIZATION"),
        (
            "crf.addPairwiseBilateral(3, 3, np.zeros((4, 3, 3), np.uint8), 3)",
            "(Need (3, 4, 3), got (4, 3, 3)): transpose?",
        ),
        ("crf.addPairwiseBilateral(3, 3, np.zeros((3, 4), np.uint8), 3)", "Bad shape for pairwise bilateral"),
        ("crf.addPairwiseBilateral(3, 3, np.zeros((3, 4, 1), np.uint8), 3)", "only works for RGB images"),
        ("crf.addPairwiseBilateral(3, 3, np.zeros((3, 4, 3)), 3)", "rgbim must be uint8 from 0 to 255, got float64"),
        ("crf.addPairwiseBilateral(3, 0, np.zeros((3, 4, 3), np.uint8), 3)", "bi_rgb_std must be a positive"),
        ("crf.klDivergence(np.zeros((3, 5)))", "Bad shape for Q (Need (3, 12), got (3, 5))"),
        ("crf.inference(1.5)", "number of iterations must be whole"),
        ("crf.inference(None)", "number of iterations must be whole, got None"),
        ("crf.addPairwiseGaussian((3,), 3)", "sxy must be a number or (x, y), got (3,)"),
        ("crf.addPairwiseBilateral(3, 3, np.zeros((3, 3, 4), np.uint8), 3)", "channels first? Take image.transpose"),
        ("dcrf.DenseCRF2D(4.5, 2, 3)", "width must be a whole number"),
        ("dcrf.DenseCRF2D(4, '3', 3)", "height must be a whole number"),
        ("dcrf.DenseCRF(3, None)", "nlabels must be"),
        ("dcrf.DenseCRF(0, 3)", "points must be"),
        ("dcrf.DenseCRF(3, 0)", "nlabels must be"),
        ("dcrf.DenseCRF(3, 1)", "2 or more, got 1: a foreground needs a background beside it"),
        ("crf.setUnaryEnergy(np.zeros((3, 4)))", "of a mask p of one class, unary_from_softmax(np.stack([1 - p, p]))"),
        ("crf.setUnaryEnergy(np.zeros((3, 12)), kind='logits')", "kind must be scores, probabilities or energies"),
        ("crf.addPairwiseGaussian(3, np.zeros(3))", "compat must be float32, got float64: take compat.astype"),
        ("crf.addPairwiseGaussian(3, np.eye(3, dtype=int))", "compat must be float32, got int64"),
        ("utils.unary_from_labels(np.zeros(3, int), 2, 1.0)", "`gt_prob` must be in (0,1), got 1.0"),
        ("utils.unary_from_labels(np.full(3, 255), 21, 0.7)", "labels must be from 0 to 21"),
        ("utils.unary_from_labels(np.full(3, 2), 2, 0.7, zero_unsure=False)", "labels must be from 0 to 1"),
        ("utils.unary_from_labels(np.zeros(3), 2, 0.7)", "labels must be whole numbers, got float64"),
        ("utils.unary_from_softmax(np.ones((2, 3)), scale=0)", "`scale` needs to be in (0,1], got 0"),
        ("utils.unary_from_labels(np.full(3, 255), 2, 0.7)", "are pixels of 255 unknown? Make them 0"),
        ("utils.unary_from_labels(np.zeros(3, int), '2', 0.7)", "`n_labels` must be a whole number"),
        ("utils.unary_from_labels(np.zeros(3, int), 2, None)", "`gt_prob` must be a finite number, got None"),
        ("utils.unary_from_softmax(np.ones((2, 3)), scale='a')", "`scale` must be a finite number"),
        ("utils.unary_from_softmax(np.ones((2, 3)), clip=2)", "`clip` must be less than 1, got 2"),
        ("utils.create_pairwise_gaussian(3, (3, 4))", "`sdims` must be numbers, one for each axis, got 3"),
        ("utils.create_pairwise_gaussian(('1', 2), (3, 4))", "`sdims` must be positive, finite numbers"),
        ("utils.create_pairwise_gaussian((1, 2), (3.5, 4))", "`shape` must be a whole number"),
        ("utils.create_pairwise_bilateral((1, 1), 2, np.zeros((3, 4, 3)), 5)", "`chdim` must be an axis of the image"),
        ("utils.unary_from_softmax(-np.ones((2, 3)), clip=None)", "are these scores?"),
        ("utils.create_pairwise_gaussian((1, 2), (3, 4, 5))", "`sdims` has 2 entries, but there are 3 axes"),
        ("utils.create_pairwise_gaussian((1, 0), (3, 4))", "`sdims` must be positive"),
        ("utils.create_pairwise_bilateral((1, 1), (1, 2), np.zeros((3, 4, 3)), 2)", "(3, 4, 3) has 3 channels"),
    ],
)
def test_bad_arguments(call: str, message: str) -> None:
    with pytest.raises(CRFError, match=re.escape(message)):
        eval(call, {"crf": dcrf.DenseCRF2D(4, 3, 3), "np": np, "dcrf": dcrf, "utils": utils})


def test_errors_are_value_errors_as_pydensecrfs_are() -> None:
    with pytest.raises(ValueError, match="Bad shape for unary energy"):
        dcrf.DenseCRF2D(4, 3, 3).setUnaryEnergy(np.zeros((3, 5), np.float32))
    with pytest.raises(TypeError, match="expected Unary, got ndarray"):
        dcrf.DenseCRF2D(4, 3, 3).setUnary(np.zeros((3, 12), np.float32))


def softmax_of(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores)
    return powers / powers.sum(0)


def test_what_unary_energies_are_can_be_said(recwarn: pytest.WarningsRecorder) -> None:
    scores = np.random.default_rng(1).normal(size=(3, 20)).astype(np.float32)
    probabilities = softmax_of(scores)
    found = []
    for kind, values in (
        (None, -np.log(probabilities)),
        ("energies", -np.log(probabilities)),
        ("probabilities", probabilities),
        ("scores", np.log(probabilities)),
        ("scores", scores),
    ):
        crf = dcrf.DenseCRF2D(5, 4, 3)
        crf.setUnaryEnergy(values, kind=kind)
        crf.addPairwiseGaussian(sxy=2, compat=3)
        found.append(crf.inference(2))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)
    assert not recwarn.list


def test_energies_that_are_something_else_are_named() -> None:
    probabilities = softmax_of(np.random.default_rng(1).normal(size=(3, 20)).astype(np.float32))
    for values, message in (
        (probabilities, r"sum to 1, as probabilities do: take unary_from_softmax\(u\)"),
        (np.log(probabilities), "are logarithms of probabilities: take minus them"),
    ):
        for call in ("crf.setUnaryEnergy(u)", "crf.setUnary(dcrf.ConstUnary(u))"):
            crf = dcrf.DenseCRF(20, 3)
            with pytest.warns(UserWarning, match=message):
                eval(call, {"crf": crf, "dcrf": dcrf, "u": values})
            # pydensecrf's result all the same
            np.testing.assert_allclose(crf.inference(0), softmax_of(-values), atol=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            crf.setUnaryEnergy(values, kind="energies")


def test_costs_of_labels_are_lists_too() -> None:
    found = []
    for costs in ([-1.0, -2.0, -3.0], np.array([-1, -2, -3], np.float32), np.float64(2), 2):
        crf = dcrf.DenseCRF2D(5, 4, 3)
        crf.setUnaryEnergy(np.random.default_rng(0).uniform(size=(3, 20)).astype(np.float32))
        crf.addPairwiseGaussian(sxy=2, compat=costs)
        found.append(crf.inference(2))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])


def test_one_object_two_threads() -> None:
    rng = np.random.default_rng(3)
    crf = dcrf.DenseCRF2D(40, 30, 5)
    crf.setUnaryEnergy(rng.uniform(size=(5, 1200)).astype(np.float32))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    expected = {count: crf.inference(count) for count in (1, 2, 5)}
    divergence = crf.klDivergence(expected[5])

    def work(count: int) -> None:
        np.testing.assert_array_equal(crf.inference(count), expected[count])
        assert crf.klDivergence(expected[5]) == divergence

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [1, 2, 5] * 40))


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, deeplab_caffe.pydensecrf.densecrf, deeplab_caffe.pydensecrf.utils; print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_copies_go_their_own_way_and_pickle_says_what_to_send_instead() -> None:
    energies = np.random.default_rng(1).normal(size=(3, 48)).astype(np.float32)
    crf = dcrf.DenseCRF2D(8, 6, 3)
    crf.setUnaryEnergy(energies)
    crf.addPairwiseGaussian(sxy=3, compat=2)
    for duplicate in (copy.copy, copy.deepcopy):
        copied, before = duplicate(crf), crf.inference(4)
        crf.addPairwiseGaussian(sxy=1, compat=4)
        crf.setUnaryEnergy(-energies)
        np.testing.assert_array_equal(copied.inference(4), before)
    with pytest.raises(TypeError, match="^DenseCRF2D cannot be pickled: send what its kernels and unary energies were"):
        pickle.dumps(crf)
