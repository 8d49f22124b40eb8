"""Leaving out the labels that an image cannot have."""

import numpy as np
import pytest
import torch

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.crf.likely import likely_labels
from deeplab_caffe.errors import CRFError
from tests.crf.test_functional import random_case


def with_unlikely(rng: np.random.Generator, depth: float = 9.0) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return scores of four labels with three unlikely ones between them, the image, and the positions of the four."""
    few, image = random_case(rng)
    scores = np.full((len(few) + 3, *few.shape[1:]), 0.0, np.float32)
    kept = [k for k in range(len(scores)) if k not in (0, 2, 5)][: len(few)]
    scores[:] = few.max(0) - depth
    scores[kept] = few
    return scores, image, kept


def test_by_hand() -> None:
    scores = np.log(np.array([[[0.5, 0.9]], [[0.4989, 0.0989]], [[0.0011, 0.0011]]], np.float32))
    assert likely_labels(scores, None, 0.001) == [0, 1, 2]
    # As parts of the likeliest label: 0.0022 and 0.0012.
    assert likely_labels(scores, None, 0.0023) == [0, 1]
    assert likely_labels(np.exp(scores), "probabilities", 0.0023) == [0, 1]
    assert likely_labels(np.exp(scores), "probabilities", 0.002) == [0, 1, 2]
    assert likely_labels(torch.from_numpy(scores), None, 0.0023) == [0, 1]
    assert likely_labels(scores[:, :0], None, 0.1) == [0, 1, 2]


def test_marginals_are_those_of_the_labels_that_are_left(rng: np.random.Generator) -> None:
    scores, image, kept = with_unlikely(rng)
    found = dense_crf(scores, image, CRFParams(min_probability=0.001))
    np.testing.assert_array_equal(found[kept], dense_crf(scores[kept], image))
    left_out = sorted(set(range(len(scores))) - set(kept))
    np.testing.assert_array_equal(found[left_out], 0)
    exact = dense_crf(scores, image)
    np.testing.assert_allclose(found, exact, atol=0.005)
    assert exact[left_out].max() < 0.001
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_nothing_is_left_out_unless_asked(rng: np.random.Generator) -> None:
    scores, image, _ = with_unlikely(rng)
    assert dense_crf(scores, image).min() > 0
    near, image, _ = with_unlikely(rng, depth=1.0)
    np.testing.assert_array_equal(dense_crf(near, image, CRFParams(min_probability=0.001)), dense_crf(near, image))


@pytest.mark.parametrize("kind", ["scores", "probabilities", "energies"])
def test_kinds(rng: np.random.Generator, kind: str) -> None:
    scores, image, kept = with_unlikely(rng)
    probabilities = np.exp(scores - scores.max(0))
    probabilities /= probabilities.sum(0)
    given = {"scores": scores, "probabilities": probabilities, "energies": -np.log(probabilities)}[kind]
    found = dense_crf(given, image, CRFParams(min_probability=0.001), kind=kind)
    np.testing.assert_allclose(found[kept], dense_crf(scores, image)[kept], atol=0.005)
    assert np.count_nonzero(found.max((1, 2))) == len(kept)


def test_batches_keep_labels_of_their_own(rng: np.random.Generator) -> None:
    scores, image, _ = with_unlikely(rng)
    near, other, _ = with_unlikely(rng, depth=1.0)
    params = CRFParams(min_probability=0.001)
    first, second = dense_crf([scores, near], [image, other], params)
    np.testing.assert_array_equal(first, dense_crf(scores, image, params))
    np.testing.assert_array_equal(second, dense_crf(near, other))
    of_torch = dense_crf(torch.from_numpy(np.stack([scores, near])), np.stack([image, other]), params)
    np.testing.assert_array_equal(of_torch.numpy(), [first, second])


def test_one_label_alone(rng: np.random.Generator) -> None:
    scores, image = random_case(rng)
    scores[1] = scores.max() + 20
    found = dense_crf(scores, image, CRFParams(min_probability=0.001))
    np.testing.assert_array_equal(found[1], 1)
    np.testing.assert_array_equal(np.delete(found, 1, 0), 0)


def test_what_is_wrong_with_a_label_that_would_go_is_told(rng: np.random.Generator) -> None:
    scores, image, _ = with_unlikely(rng)
    scores[0, 1, 2] = np.nan
    with pytest.raises(CRFError, match="scores must be finite"):
        dense_crf(scores, image, CRFParams(min_probability=0.001))
    probabilities = np.exp(scores[1:] - scores[1:].max(0))
    with pytest.raises(CRFError, match="probabilities"):
        dense_crf(probabilities / probabilities.sum(0), image, CRFParams(min_probability=0.001))


@pytest.mark.parametrize("bad", [-0.1, 0.2, np.nan, "0.1"])
def test_the_least_probability_is_small(bad: object) -> None:
    with pytest.raises(CRFError, match="min_probability must be"):
        CRFParams(min_probability=bad)
