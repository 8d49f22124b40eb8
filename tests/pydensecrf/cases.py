"""What is compared with pydensecrf: the same calls to its modules and to ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

WIDTH, HEIGHT, LABELS = 17, 13, 5


def image(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([20 + 12 * x, 90 + 60 * (y > 6) + 2 * x, 200 - 9 * y], axis=-1)
    return np.clip(smooth + rng.normal(scale=5, size=smooth.shape), 0, 255).astype(np.uint8)


def unary(rng: np.random.Generator, labels: int = LABELS, count: int = WIDTH * HEIGHT) -> np.ndarray:
    return rng.uniform(0, 3, size=(labels, count)).astype(np.float32)


def grid(dcrf: Any, rng: np.random.Generator, compat: Any, labels: int = LABELS, **how: Any) -> Any:
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, labels)
    crf.setUnaryEnergy(unary(rng, labels))
    crf.addPairwiseGaussian(sxy=(3, 2), compat=compat, **how)
    crf.addPairwiseBilateral(sxy=(9, 7), srgb=(20, 13, 25), rgbim=image(rng), compat=compat, **how)
    return crf


def cases(dcrf: Any, utils: Any) -> Iterator[tuple[str, Any]]:
    """Yields (name, array or number)."""
    seed = iter(range(1000))

    def rng() -> np.random.Generator:
        return np.random.default_rng(next(seed))

    normalizations = ("NO_NORMALIZATION", "NORMALIZE_BEFORE", "NORMALIZE_AFTER", "NORMALIZE_SYMMETRIC")
    kernels = ("CONST_KERNEL", "DIAG_KERNEL", "FULL_KERNEL")
    for normalization in normalizations:
        # Without normalization messages are some twenty times as large.
        compat = 0.1 if normalization == "NO_NORMALIZATION" else 3
        how = {"normalization": getattr(dcrf, normalization)}
        for kernel in kernels:
            crf = grid(dcrf, rng(), compat, kernel=getattr(dcrf, kernel), **how)
            yield f"{normalization} {kernel}", crf.inference(5)
        costs = rng().uniform(-1, 0.5, size=(LABELS, LABELS)).astype(np.float32) * compat
        yield f"{normalization} diagonal", grid(dcrf, rng(), np.diagonal(costs).copy(), **how).inference(5)
        yield f"{normalization} matrix", grid(dcrf, rng(), costs, **how).inference(5)
        generator = rng()
        crf = dcrf.DenseCRF(50, 3)
        crf.setUnaryEnergy(unary(generator, 3, 50))
        for dims in (1, 3, 6):
            features = generator.normal(size=(dims, 50)).astype(np.float32)
            crf.addPairwiseEnergy(features, compat=compat, **how)
        yield f"{normalization} features", crf.inference(4)

    yield "defaults", grid(dcrf, rng(), 3).inference(5)
    yield "two labels", grid(dcrf, rng(), 2, labels=2).inference(5)
    yield "forty labels", grid(dcrf, rng(), 2, labels=40).inference(2)
    yield "no iterations", grid(dcrf, rng(), 3).inference(0)
    without = dcrf.DenseCRF2D(WIDTH, HEIGHT, 3)
    without.addPairwiseGaussian(3, 3)
    yield "no unary", without.inference(2)

    crf = grid(dcrf, rng(), 3)
    marginals, tmp1, tmp2 = crf.startInference()
    for step in range(4):
        yield f"step {step} kl", crf.klDivergence(marginals)
        crf.stepInference(marginals, tmp1, tmp2)
    yield "steps", marginals

    generator = rng()
    crf = dcrf.DenseCRF(30, 4)
    weights, features = unary(generator, 4, 6), unary(generator, 6, 30)
    crf.setUnary(dcrf.ConstUnary(unary(generator, 4, 30)))
    yield "const unary", crf.inference(1)
    crf.setUnary(dcrf.LogisticUnary(weights, features))
    yield "logistic unary", crf.inference(1)

    generator = rng()
    labels = generator.integers(0, 4, size=(6, 5))
    yield "unary_from_labels", utils.unary_from_labels(labels, 3, gt_prob=0.7)
    yield "unary_from_labels sure", utils.unary_from_labels(labels, 4, gt_prob=0.7, zero_unsure=False)
    yield "compute_unary", utils.compute_unary(labels, 3)
    softmax = generator.dirichlet(np.full(3, 0.2), size=(6, 5)).transpose(2, 0, 1)
    softmax[0, 0, 0] = 0
    yield "unary_from_softmax", utils.unary_from_softmax(softmax)
    yield "unary_from_softmax scale", utils.unary_from_softmax(softmax, scale=0.6, clip=None)
    yield "softmax_to_unary", utils.softmax_to_unary(softmax, 0.8)
    yield "create_pairwise_gaussian", utils.create_pairwise_gaussian((3, 4, 2), (4, 3, 5))
    photo = image(generator)
    yield "create_pairwise_bilateral", utils.create_pairwise_bilateral((3, 4), (10, 20, 30), photo, chdim=2)
    yield "create_pairwise_bilateral one", utils.create_pairwise_bilateral((3, 4), 10, photo[..., 0])
