"""crf.DenseCRF and the drop-in for pydensecrf on a GPU, against the CPU's."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import deeplab_caffe.pydensecrf.densecrf as dcrf
import deeplab_caffe.pydensecrf.utils as utils
from deeplab_caffe.arrays import nvrtc
from deeplab_caffe.crf import CRFParams, DenseCRF, DenseCRF2D, dense_crf
from deeplab_caffe.crf.captured import CapturedCRF
from deeplab_caffe.errors import CRFError
from tests.crf.gpu import TOLERANCE, assert_alike, case
from tests.crf.gpu import arrays as arrays
from tests.pydensecrf import cases as peers
from tests.pydensecrf.test_densecrf import REFERENCE
from tests.pydensecrf.test_densecrf import TOLERANCE as PEER_TOLERANCE

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("normalization", ["none", "before", "after", "symmetric"])
@pytest.mark.parametrize("labels", [1, 3, 21])
def test_compatibilities(arrays: Any, normalization: str, labels: int, rng: np.random.Generator) -> None:
    scores, image = case(rng, labels, 9, 11)
    # Two kernels in one launch, of 3 and 6 corners, so that either buffer holds the result.
    compatibilities = [None, rng.uniform(-1, 0.5, labels), rng.uniform(-1, 0.5, (labels, labels))]
    scale = 0.1 if normalization == "none" else 1.0
    for first in compatibilities:
        for second in compatibilities:
            found = []
            for device in ("cpu", "cuda"):
                crf = DenseCRF2D((9, 11), device=device)
                crf.add_gaussian(3, scale * (2 if first is None else 1), normalization, compatibility=first)
                crf.add_bilateral(
                    image, 50, 60, scale * (2 if second is None else 1), normalization, compatibility=second
                )
                found.append(inferred(crf, scores))
            assert_alike(found[1], found[0])


def inferred(crf: DenseCRF2D, scores: np.ndarray) -> np.ndarray:
    """Marginals after three iterations, of one label too, which infer takes for a foreground."""
    if len(scores) > 1:
        return crf.infer(scores, 3)
    field = crf.field(1)
    field.start(crf.backend.take(scores, "scores"))
    crf.backend.run([field], 3)
    return crf.backend.like(scores, field.marginals())


@pytest.mark.parametrize("dims", [1, 2, 3, 4, 5, 6, 9, 16])
def test_features_of_any_dimension(arrays: Any, dims: int, rng: np.random.Generator) -> None:
    features = rng.normal(scale=0.5, size=(50, dims)).astype(np.float32)
    scores = rng.normal(size=(4, 50)).astype(np.float32)
    found = []
    for device, taken in (("cpu", features), ("cuda", arrays.take(features))):
        crf = DenseCRF(50, device=device)
        crf.add_pairwise(taken, 3.0)
        assert (crf.lattices[0].points, crf.lattices[0].dims) == (50, dims)
        found.append(crf.infer(scores, 3))
    assert_alike(found[1], found[0])


def test_one_object_many_scores(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    crf = DenseCRF2D.for_image(arrays.take(image), CRFParams(bi_rgb_std=60))
    for one in (scores, -scores, scores[:2]):
        found = crf.infer(arrays.take(one))
        assert type(found) is type(arrays.empty(1, "float32"))
        assert_alike(arrays.numpy(found), dense_crf(one, image, CRFParams(bi_rgb_std=60)))
    # Not on a GPU: copied there, and back.
    found = crf.infer(scores)
    assert type(found) is np.ndarray
    assert_alike(found, dense_crf(scores, image, CRFParams(bi_rgb_std=60)))


def test_step_by_step(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 5, 9, 11)
    costs = rng.uniform(-1, 0.5, (5, 5))
    runs = []
    for device in ("cpu", "cuda"):
        crf = DenseCRF2D((9, 11), device=device)
        crf.add_gaussian(3, 2.0)
        crf.add_bilateral(image, 50, 60, 1.0, "symmetric", compatibility=costs)
        runs.append(crf.start(scores))
    for step in range(4):
        (cpu, gpu) = (run.energies() for run in runs)
        np.testing.assert_allclose(gpu.entropy, cpu.entropy, rtol=1e-4)
        np.testing.assert_allclose(gpu.unary, cpu.unary, rtol=1e-4)
        np.testing.assert_allclose(gpu.pairwise, cpu.pairwise, rtol=1e-4)
        assert gpu == runs[1].energies()  # the same bits
        assert_alike(runs[1].marginals(), runs[0].marginals())
        assert [run.step().iterations for run in runs] == [step + 1] * 2
    uniform = np.full(scores.shape, 0.2, np.float32)
    assert_alike(*(run.set_marginals(uniform).step().marginals() for run in reversed(runs)))
    np.testing.assert_array_equal(runs[1].set_marginals(arrays.take(uniform)).marginals(), uniform)


def test_impossible_labels_have_no_energy(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    powers = np.exp(scores)
    powers[1, 4, 5] = 0
    runs = [DenseCRF2D.for_image(image, device=device).start(powers, probabilities=True) for device in ("cpu", "cuda")]
    cpu, gpu = (run.step(2).energies() for run in runs)
    np.testing.assert_allclose([gpu.entropy, gpu.unary], [cpu.entropy, cpu.unary], rtol=1e-4)


def test_bad_input(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    crf = DenseCRF2D((9, 11), device="cuda")
    with pytest.raises(CRFError, match="scores must be finite"):
        crf.infer(np.where(scores == scores.max(), np.nan, scores))
    with pytest.raises(CRFError, match=r"transpose\?"):
        crf.infer(arrays.take(scores.transpose(0, 2, 1).copy()))
    with pytest.raises(CRFError, match="scores must be floating point"):
        crf.infer(scores.astype(np.int32))
    with pytest.raises(CRFError, match="features must be finite"):
        DenseCRF(9, device="cuda").add_pairwise(np.full((9, 2), np.inf))
    with pytest.raises(CRFError, match="d from 1 to 16"):
        DenseCRF(9, device="cuda").add_pairwise(np.zeros((9, 17)))
    with pytest.raises(CRFError, match="lattice units from the origin"):
        DenseCRF(9, device="cuda").add_pairwise(np.full((9, 2), 1e9))
    with pytest.raises(CRFError, match="image are on a GPU, but this CRF computes on the CPU"):
        DenseCRF2D((9, 11)).add_bilateral(arrays.take(image), 3, 3)
    crf.add_gaussian(3, compatibility=np.zeros(4))
    with pytest.raises(CRFError, match="the compatibility of kernel 0 is"):
        crf.infer(scores)


# The drop-in


def test_pydensecrf_cases(arrays: Any) -> None:
    """All that is compared with pydensecrf, computed on the GPU."""
    on_gpu = SimpleNamespace(**{name: getattr(dcrf, name) for name in dir(dcrf) if not name.startswith("_")})
    on_gpu.DenseCRF = lambda *args: dcrf.DenseCRF(*args, device="cuda")
    on_gpu.DenseCRF2D = lambda *args: dcrf.DenseCRF2D(*args, device="cuda")
    with pytest.warns(FutureWarning, match="deprecated"):
        results = dict(peers.cases(on_gpu, utils))
    for name, found in results.items():
        tolerance = 1e-5 if name.endswith("kl") else 0
        np.testing.assert_allclose(
            np.asarray(found), REFERENCE[name], rtol=tolerance, atol=PEER_TOLERANCE, err_msg=name
        )


def test_pydensecrf_with_arrays_on_the_gpu(arrays: Any, rng: np.random.Generator) -> None:
    scores, image = case(rng, 3, 9, 11)
    energies = -scores.reshape(3, 99)
    energies[1, 40] = np.inf
    found = []
    for device, take in (("cpu", np.array), ("cuda", arrays.take)):
        crf = dcrf.DenseCRF2D(11, 9, 3, device=device)
        crf.setUnaryEnergy(take(energies))
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=50, srgb=60, rgbim=take(image), compat=2)
        crf.addPairwiseEnergy(take(utils.create_pairwise_gaussian((2, 3), (9, 11))), compat=1)
        marginals, *rest = crf.startInference()
        crf.stepInference(marginals, *rest)
        found.append((crf.inference(3), marginals, crf.map(3), crf.klDivergence(marginals)))
    (inferred, stepped, labels, divergence), gpu = found
    assert_alike(arrays.numpy(gpu[0]), inferred)
    assert_alike(arrays.numpy(gpu[1]), stepped)
    np.testing.assert_array_equal(arrays.numpy(gpu[2]), labels)
    np.testing.assert_allclose(gpu[3], divergence, rtol=1e-4)
    with pytest.raises(CRFError, match="Bad unary energy of variable 7"):
        crf.setUnaryEnergy(arrays.take(np.where(np.arange(99) == 7, np.nan, energies).astype(np.float32)))
    with pytest.raises(CRFError, match="Bad shape for unary energy"):
        crf.setUnaryEnergy(arrays.take(energies[:2]))
    with pytest.raises(CRFError, match="this CRF computes on the CPU"):
        dcrf.DenseCRF2D(11, 9, 3).setUnaryEnergy(arrays.take(energies))


# Graphs


def test_captured_inference(arrays: Any, rng: np.random.Generator) -> None:
    params = CRFParams(bi_rgb_std=60, iterations=3)
    (scores, image), other = case(rng, 3, 20, 30), case(rng, 3, 20, 30)
    if nvrtc.enabled():
        with pytest.raises(CRFError, match="CUDA graph cannot hold .* compiled at run time: CuPy"):
            CapturedCRF(arrays.take(scores), arrays.take(image), params)
        pytest.skip("a CUDA graph needs compiled kernels")
    captured = CapturedCRF(arrays.take(scores), arrays.take(image), params)
    for one_scores, one_image in ((scores, image), other, (scores, image)):
        found = captured(arrays.take(one_scores), arrays.take(one_image))
        expected = dense_crf(arrays.take(one_scores), arrays.take(one_image), params)
        np.testing.assert_array_equal(arrays.numpy(found), arrays.numpy(expected))
        assert_alike(arrays.numpy(found), dense_crf(one_scores, one_image, params))
    assert found is captured.marginals
    with ThreadPoolExecutor(1) as pool, pytest.raises(CRFError, match="is another thread's"):
        pool.submit(captured, arrays.take(scores), arrays.take(image)).result()
    for half in (False, True):
        alone = CapturedCRF(arrays.take(scores), None, params, half=half)
        expected = dense_crf(arrays.take(scores), None, params, half=half)
        np.testing.assert_array_equal(arrays.numpy(alone(arrays.take(scores), None)), arrays.numpy(expected))


def test_captured_inference_refuses_what_it_was_not_made_for(arrays: Any, rng: np.random.Generator) -> None:
    if nvrtc.enabled():
        pytest.skip("a CUDA graph needs compiled kernels")
    scores, image = (arrays.take(one) for one in case(rng, 3, 6, 7))
    captured = CapturedCRF(scores, image, CRFParams(iterations=1))
    with pytest.raises(CRFError, match="as recorded"):
        captured(scores[:2], image)
    with pytest.raises(CRFError, match="recorded with an image"):
        captured(scores, None)
    with pytest.raises(CRFError, match="image must be uint8"):
        captured(scores, image[:5])
    with pytest.raises(CRFError, match="image must be uint8"):
        CapturedCRF(scores, arrays.cast(image, "float32"))
    with pytest.raises(CRFError, match="a CUDA graph needs scores on a GPU"):
        CapturedCRF(np.zeros((3, 6, 7), np.float32), None)


# torch's operator; on a real GPU tests/ops/test_lattice_filter.py has more


def test_torchs_operator_calls_the_kernels(
    arrays: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(sys.modules.get("cupy"), "IS_STAND_IN"):
        pytest.skip("for the emulator, which has torch on the CPU alone")
    import torch

    from deeplab_caffe import _C
    from deeplab_caffe.arrays import TorchArrays
    from deeplab_caffe.crf import PairwiseKernel, cuda_lattice
    from deeplab_caffe.ops import lattice_filter as ops

    def as_on_gpu(self: TorchArrays, tensor: torch.Tensor) -> Any:
        return _C.TensorView(tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), "float32", 0)

    kernel = PairwiseKernel(1.0, (5.0, 5.0), (60.0, 60.0, 60.0))
    images = [case(rng, 1, 4, 5)[1] for _ in range(2)]
    lattices = cuda_lattice.build_lattices(arrays, [((4, 5), kernel, arrays.take(one)) for one in images], True)
    keys = ops.lattice_keys(lattices)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True), raising=False)
    monkeypatch.setattr(TorchArrays, "view", as_on_gpu)
    values = torch.randn(2, 20, 3, requires_grad=True)
    grad = torch.randn(2, 20, 3)
    found = ops.lattice_filter(values, keys)
    found.backward(grad)
    for item, lattice in enumerate(lattices):
        unit = torch.eye(20)[None]
        matrix = ops.lattice_filter(unit, ops.lattice_keys([lattice]))[0]
        torch.testing.assert_close(found[item], matrix @ values[item], rtol=1e-4, atol=TOLERANCE)
        torch.testing.assert_close(values.grad[item], matrix.T @ grad[item], rtol=1e-4, atol=TOLERANCE)
    with pytest.raises(ValueError, match="expected one row for each of the lattice's 20 points"):
        ops.lattice_filter(torch.zeros(2, 19, 3), keys)
