from __future__ import annotations

import copy
import pickle
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab_caffe.crf import CRFMemoryError, CRFParams, DenseCRF, DenseCRF2D, Inference, Lattice, dense_crf, memory
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.errors import CRFError

HEIGHT, WIDTH, LABELS = 7, 9, 4


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def scores(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(scale=2, size=(LABELS, HEIGHT, WIDTH)).astype(np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def messages(
    features: np.ndarray, q: np.ndarray, compatibility: Any, normalization: str, sse_padding: bool = True
) -> np.ndarray:
    """What kernels add to the scores (C, N), in float64 but for the filter."""
    lattice = Lattice.build(features, sse_padding=sse_padding)
    norm = 1 / lattice.filter(np.ones(lattice.points)).astype(np.float64)
    before = {"before": norm, "symmetric": np.sqrt(norm)}.get(normalization, 1)
    after = {"after": norm, "symmetric": np.sqrt(norm)}.get(normalization, 1)
    filtered = lattice.filter((q * before).T.astype(np.float32)).T * after
    costs = np.asarray(compatibility, np.float64)
    if costs.ndim == 0:
        return costs * filtered
    return -(costs @ filtered) if costs.ndim == 2 else -(costs[:, None] * filtered)


def test_with_the_defaults_it_is_dense_crf_to_the_bit(image: np.ndarray, scores: np.ndarray) -> None:
    params = CRFParams(pos_w=(2, 1), pos_xy_std=(3, (4, 2)), bi_w=5, bi_rgb_std=40)
    crf = DenseCRF2D.for_image(image, params)
    for several in (scores, scores[::-1].copy(), scores[:2]):
        np.testing.assert_array_equal(crf.infer(several, 4), dense_crf(several, image, params, iterations=4))
    probabilities = softmax(scores)
    expected = dense_crf(probabilities, image, params, iterations=4, probabilities=True)
    np.testing.assert_array_equal(crf.infer(probabilities, 4, probabilities=True), expected)


def test_it_keeps_the_iterations_of_its_parameters(image: np.ndarray, scores: np.ndarray, tmp_path: Path) -> None:
    CRFParams(bi_w=4, bi_rgb_std=20, iterations=3).to_file(tmp_path / "best.json")
    for params in (CRFParams(iterations=5), CRFParams.from_file(tmp_path / "best.json"), CRFParams(iterations=0)):
        crf = DenseCRF2D.for_image(image, params)
        np.testing.assert_array_equal(crf.infer(scores), dense_crf(scores, image, params))
        np.testing.assert_array_equal(crf.infer(scores, 2), dense_crf(scores, image, params, iterations=2))
    crf = DenseCRF2D((HEIGHT, WIDTH), iterations=2)
    crf.add_gaussian(3)
    np.testing.assert_array_equal(crf.infer(scores), crf.infer(scores, 2))


def test_a_weight_multiplies_the_costs_of_labels(image: np.ndarray, scores: np.ndarray) -> None:
    potts, costs = (DenseCRF2D((HEIGHT, WIDTH)) for _ in range(2))
    potts.add_bilateral(image, 8, 60, 2.5)
    costs.add_bilateral(image, 8, 60, 2.5, compatibility=-np.eye(LABELS))
    np.testing.assert_allclose(costs.infer(scores), potts.infer(scores), atol=1e-6)


def test_threads_may_share_it(image: np.ndarray, rng: np.random.Generator) -> None:
    crf = DenseCRF2D.for_image(image, CRFParams(iterations=3))
    cases = [rng.normal(size=(3, HEIGHT, WIDTH)).astype(np.float32) for _ in range(4)]
    expected = [crf.infer(one) for one in cases]

    class Watched:
        """A field that must be nobody else's while its marginals are read."""

        def __init__(self, field: Any) -> None:
            self.field = field

        def __getattr__(self, name: str) -> Any:
            return getattr(self.field, name)

        def marginals(self) -> np.ndarray:
            assert not crf._spare
            return self.field.marginals()

    crf._spare = [(Watched(field), *rest) for field, *rest in crf._spare]
    crf.infer(cases[0])
    crf._spare.clear()
    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            for number, found in enumerate(pool.map(crf.infer, cases * 4)):
                np.testing.assert_array_equal(found, expected[number % 4])


def test_threads_may_share_steps(image: np.ndarray, scores: np.ndarray) -> None:
    crf = DenseCRF2D.for_image(image, CRFParams())
    run = crf.start(scores)
    inside: list[int] = []

    class Watched:
        """A field that two threads must not run at once."""

        def __init__(self, field: Any) -> None:
            self.field = field

        def run(self, count: int) -> None:
            inside.append(count)
            time.sleep(0.001)
            self.field.run(count)
            assert len(inside) == 1
            inside.pop()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.field, name)

    run._field = Watched(run._field)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: run.step(), range(24)))
    np.testing.assert_array_equal(run.marginals(), crf.infer(scores, 24))


def test_kernels_that_threads_add_are_all_kept() -> None:
    class Slow(DenseCRF2D):
        @property
        def _terms(self) -> tuple:
            found = self.kept
            time.sleep(0.002)  # another thread has its turn
            return found

        @_terms.setter
        def _terms(self, terms: tuple) -> None:
            self.kept = terms

    crf = Slow((HEIGHT, WIDTH))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(crf.add_gaussian, range(1, 17)))
    assert len(crf.lattices) == 16


def test_step_by_step(image: np.ndarray, scores: np.ndarray) -> None:
    crf = DenseCRF2D.for_image(image, CRFParams())
    run = crf.start(scores)
    assert run.iterations == 0
    np.testing.assert_allclose(run.marginals(), softmax(scores), atol=1e-6)
    crf.infer(scores[:2], 3)  # another inference in between
    np.testing.assert_array_equal(run.step().step(2).marginals(), crf.infer(scores, 3))
    assert run.iterations == 3
    again = crf.start(scores).set_marginals(run.marginals()).step()
    np.testing.assert_array_equal(again.marginals(), crf.infer(scores, 4))


@pytest.mark.parametrize("normalization", ["after", "before", "symmetric", "none"])
@pytest.mark.parametrize("kind", ["potts", "diagonal", "full"])
@pytest.mark.parametrize("labels", [1, 3, 21])
def test_one_iteration_and_its_energies(kind: str, normalization: Any, labels: int, rng: np.random.Generator) -> None:
    scale = 0.1 if normalization == "none" else 1.5
    compatibility = {
        "potts": scale,
        "diagonal": rng.normal(scale=scale, size=labels),
        "full": rng.normal(scale=scale, size=(labels, labels)),
    }[kind]
    features = [rng.normal(size=(50, dims)).astype(np.float32) for dims in (2, 4, 5)]
    scores = rng.normal(size=(labels, 50)).astype(np.float32)
    crf = DenseCRF(50)
    for one in features:
        if kind == "potts":
            crf.add_pairwise(one, scale, normalization)
        else:
            crf.add_pairwise(one, normalization=normalization, compatibility=compatibility)
    assert [lattice.dims for lattice in crf.lattices] == [2, 4, 5]

    q = softmax(scores.astype(np.float64))
    if labels == 1:  # which start takes for a foreground
        field = crf.field(1)
        field.start(scores.reshape(1, 1, 50))
        run = Inference(crf.backend, field, scores)
    else:
        run = crf.start(scores)
    parts = [messages(one, q, compatibility, normalization) for one in features]
    energies = run.energies()
    np.testing.assert_allclose(energies.entropy, (q * np.log(q)).sum(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(energies.unary, -(q * scores).sum(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(energies.pairwise, [-(q * part).sum() for part in parts], rtol=1e-5, atol=1e-4)
    assert energies.kl_divergence == energies.entropy + energies.unary + sum(energies.pairwise)
    # Asking for energies changes nothing.
    np.testing.assert_allclose(run.marginals(), q, atol=1e-6)
    np.testing.assert_allclose(run.step().marginals(), softmax(scores + sum(parts)), atol=2e-6)


def test_inference_lowers_the_divergence(image: np.ndarray, scores: np.ndarray) -> None:
    crf = DenseCRF2D((HEIGHT, WIDTH))
    crf.add_gaussian(3, 1.0, "symmetric")
    crf.add_bilateral(image, 8, 60, 1.0, "symmetric")
    run = crf.start(scores)
    before = run.energies().kl_divergence
    assert run.step(5).energies().kl_divergence < before


def test_bit_equal_for_any_number_of_threads(for_threads: Callable, rng: np.random.Generator) -> None:
    features, scores = rng.normal(scale=3, size=(9001, 5)), rng.normal(size=(21, 9001))
    crf = DenseCRF(9001)
    crf.add_pairwise(features, normalization="symmetric", compatibility=rng.normal(size=(21, 21)) / 5)

    def everything() -> np.ndarray:
        run = crf.start(scores).step(2)
        return np.append(run.marginals().astype(np.float64), run.energies().kl_divergence)

    first, *others = for_threads(everything)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_torch_tensors(image: np.ndarray, scores: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    crf = DenseCRF2D.for_image(torch.from_numpy(image))
    leaf = torch.from_numpy(scores).requires_grad_()
    for tensor in (torch.from_numpy(scores), leaf):
        marginals = crf.infer(tensor, 3)
        assert isinstance(marginals, torch.Tensor)
        np.testing.assert_array_equal(marginals.numpy(), crf.infer(scores, 3))
    run = crf.start(torch.from_numpy(scores)).step(3)
    np.testing.assert_array_equal(run.marginals().numpy(), crf.infer(scores, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("DenseCRF(0)", "points must be positive, got 0"),
        ("DenseCRF(2.5)", "points must be a whole number"),
        ("DenseCRF('9')", "points must be a whole number"),
        ("DenseCRF2D((2.5, 4))", "height must be a whole number, got 2.5"),
        ("DenseCRF2D((4, None))", "width must be a whole number"),
        ("DenseCRF2D((3, 4, 3))", "size must be (height, width), got (3, 4, 3)"),
        ("DenseCRF2D('ab')", "size must be (height, width), got 'ab'"),
        ("points.add_pairwise(np.zeros((5, 2)))", "features must be (6, d), got (5, 2)"),
        ("points.add_pairwise(np.zeros((6, 0)))", "d from 1 to 16"),
        ("points.add_pairwise(np.zeros((6, 2)), 'a')", "weight must be a finite number, got 'a'"),
        ("points.add_pairwise(np.zeros((6, 2)), True)", "weight must be a finite number, got True"),
        ("points.add_pairwise(np.zeros((6, 2)), np.inf)", "weight must be a finite number, got inf"),
        ("points.add_pairwise(np.zeros((6, 2)), np.zeros(3))", "weight must be a finite number, got array"),
        ("points.add_pairwise(np.zeros((6, 2)), compatibility='a')", "compatibility must be of real numbers"),
        ("points.add_pairwise(np.zeros((6, 2)), compatibility=[True])", "compatibility must be of real numbers"),
        ("points.add_pairwise(np.zeros((6, 2)), compatibility=[np.inf])", "compatibility must be finite"),
        (
            "points.add_pairwise(np.zeros((6, 2)), compatibility=2)",
            "got shape (); one number is a weight",
        ),
        (
            "points.add_pairwise(np.zeros((6, 2)), compatibility=np.zeros((2, 3)))",
            "compatibility must be (C,) or (C, C)",
        ),
        ("points.add_pairwise(np.zeros((6, 2)), 1, 'After')", "normalization must be after, before, symmetric or none"),
        ("points.infer(np.zeros((3, 5)))", "scores must be (C, 6), got (3, 5)"),
        ("points.infer(np.zeros((3, 6)), -1)", "iterations must not be negative"),
        ("points.infer(np.full((3, 6), np.nan))", "scores must be finite"),
        ("points.start(np.zeros((3, 6))).step(0.5)", "iterations must be a whole number"),
        ("points.start(np.zeros((3, 6))).set_marginals(np.zeros((3, 5)))", "marginals must be floating point (3, 6)"),
        ("pixels.infer(np.zeros((2, 4, 3)))", "scores are (2, 4, 3) but the image is (3, 4, 3): transpose?"),
        ("pixels.add_bilateral(np.zeros((4, 3, 3)), 3, 3)", "image must be (3, 4, 3), got (4, 3, 3)"),
        ("pixels.add_bilateral(np.zeros((3, 4, 3)), 3, 0)", "bi_rgb_std must be a positive, finite number, got 0"),
        ("pixels.add_gaussian((1, 2, 3))", "pos_xy_std of one kernel must be one number or 2"),
        ("DenseCRF2D.for_image(np.zeros((3, 4)))", "image must be (H, W, 3), got (3, 4)"),
    ],
)
def test_bad_arguments(call: str, message: str) -> None:
    names = {"points": DenseCRF(6), "pixels": DenseCRF2D((3, 4)), "DenseCRF": DenseCRF, "DenseCRF2D": DenseCRF2D}
    with pytest.raises(CRFError, match=re.escape(message)):
        eval(call, {**names, "np": np})


def test_compatibilities_for_another_number_of_labels() -> None:
    crf = DenseCRF(6)
    crf.add_pairwise(np.zeros((6, 2)), compatibility=np.zeros((3, 3)))
    with pytest.raises(CRFError, match=re.escape("compatibility of kernel 0 is (3, 3), but there are 2 labels")):
        crf.infer(np.zeros((2, 6)))


def test_an_image_too_large_is_refused_before_it_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda **_: 30_000)
    monkeypatch.setattr(CpuBackend, "colours", lambda *_: pytest.fail("converts the image"))
    monkeypatch.setattr(CpuBackend, "pixel_lattices", lambda *_: pytest.fail("builds the lattice"))
    image = np.zeros((40, 50, 3), np.uint8)
    crf = DenseCRF2D((40, 50))
    for add in (
        lambda: crf.add_gaussian(3),
        lambda: crf.add_bilateral(image, 50, 10),
        lambda: DenseCRF2D.for_image(image),
    ):
        with pytest.raises(CRFMemoryError, match="50 x 40 image needs at least"):
            add()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_share_lattices_and_nothing_else(
    duplicate: Callable[[DenseCRF2D], DenseCRF2D], image: np.ndarray, scores: np.ndarray
) -> None:
    crf = DenseCRF2D.for_image(image)
    crf.infer(scores, 1)  # a field is kept for the next one
    copied = duplicate(crf)
    assert type(copied) is DenseCRF2D
    one_kernel_less = crf.infer(scores, 3)
    np.testing.assert_array_equal(copied.infer(scores, 3), one_kernel_less)
    assert [lattice.handle for lattice in copied.lattices] == [lattice.handle for lattice in crf.lattices]
    crf.add_gaussian(2)
    assert (len(crf.lattices), len(copied.lattices)) == (3, 2)
    np.testing.assert_array_equal(copied.infer(scores, 3), one_kernel_less)
    assert not np.array_equal(crf.infer(scores, 3), one_kernel_less)


def test_pickle_says_what_to_send_instead(image: np.ndarray, scores: np.ndarray) -> None:
    crf = DenseCRF2D.for_image(image)
    lattice = copy.deepcopy(crf.lattices[0])
    np.testing.assert_array_equal(lattice.keys, crf.lattices[0].keys)
    for one, instead in ((crf, "the image or features"), (lattice, "the features"), (crf.start(scores), "marginals")):
        with pytest.raises(TypeError, match=f"^{type(one).__name__} cannot be pickled.*{instead}"):
            pickle.dumps(one)
    with pytest.raises(TypeError, match="Inference cannot be pickled or copied by copy.deepcopy"):
        copy.deepcopy(crf.start(scores))
