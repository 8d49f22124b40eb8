"""Tuner: dense_crf's bits for any order of parameters, and lattices kept."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from deeplab_caffe.crf import CRFParams, DenseCRF2D, dense_crf
from deeplab_caffe.data import load_image
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.data.colormap import VOC_COLORMAP
from deeplab_caffe.errors import CRFError
from deeplab_caffe.page import Tuner
from deeplab_caffe.zoo import DEMO_PHOTOS

CLASSES = Classes(("a", "b", "c"), VOC_COLORMAP)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.ascontiguousarray(load_image(DEMO_PHOTOS[0])[::6, ::6])


@pytest.fixture(scope="module")
def scores(image: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *image.shape[:2])).astype(np.float32)


def test_marginals_are_those_of_dense_crf(image: np.ndarray, scores: np.ndarray) -> None:
    tuner = Tuner(image, scores, CLASSES)
    changes = [
        {},
        {"bi_w": 9.0},
        {"iterations": 2},
        {"bi_rgb_std": 4.0},
        {"pos_w": 0.0},
        {"bi_w": 0.0},
        {"min_probability": 0.1},
        {},
    ]
    for change in changes:
        params = CRFParams(bi_xy_std=20).replace(**change)
        np.testing.assert_array_equal(tuner.refine(params).marginals, dense_crf(scores, image, params))


def test_lattices_are_built_only_for_other_deviations(image: np.ndarray, scores: np.ndarray) -> None:
    tuner, params = Tuner(image, scores, CLASSES), CRFParams(bi_xy_std=20)
    assert tuner.refine(params).lattices_built == 1
    assert tuner.refine(params.replace(bi_w=1.0, pos_w=7.0, iterations=3)).lattices_built == 0
    assert tuner.refine(params.replace(bi_rgb_std=3.0)).lattices_built == 1
    assert tuner.refine(params).lattices_built == 0


def test_probabilities_are_taken_as_such(image: np.ndarray, scores: np.ndarray) -> None:
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=0)
    tuner = Tuner(image, probabilities, CLASSES, kind="probabilities")
    np.testing.assert_array_equal(
        tuner.refine(CRFParams()).marginals, dense_crf(probabilities, image, kind="probabilities")
    )
    np.testing.assert_allclose(tuner.before, probabilities, atol=1e-6)


def test_curve_has_the_energies_of_each_iteration(image: np.ndarray, scores: np.ndarray) -> None:
    params = CRFParams(bi_xy_std=20, iterations=3)
    curve = Tuner(image, scores, CLASSES).curve(params)
    run, pixels = DenseCRF2D.for_image(image, params).start(scores), image.shape[0] * image.shape[1]
    assert curve.changed[0] == 0
    assert curve.changed[1] > 0
    assert len(curve.changed) == len(curve.kl_divergence) == 4
    for step, found in enumerate(curve.kl_divergence):
        assert found == pytest.approx(run.energies().kl_divergence / pixels), step
        run.step()


def test_scores_of_another_size_are_refused(image: np.ndarray, scores: np.ndarray) -> None:
    with pytest.raises(CRFError, match="image"):
        Tuner(image[1:], scores, CLASSES)


def test_masks_need_neither_torch_nor_gradio() -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['gradio'] = None; import deeplab_caffe.page.session"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_it_stays_in_its_process(image: np.ndarray, scores: np.ndarray) -> None:
    with pytest.raises(TypeError, match="^Tuner cannot be pickled or copied by copy.deepcopy: make another"):
        pickle.dumps(Tuner(image, scores, CLASSES))
