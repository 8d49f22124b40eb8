"""The differentiable mean field: the same marginals as dense_crf, and gradients that are true."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.func import functional_call

from deeplab_caffe.crf import CRFParams, Lattice, dense_crf
from deeplab_caffe.crf.module import MeanField
from deeplab_caffe.errors import CRFError
from deeplab_caffe.reference import image_features, mean_field
from tests.crf.scenes import CLASSES, scene

PARAMS = CRFParams(2, 2, 4, 5, 30, iterations=4)
TOLERANCE = 1e-5


def batch(count: int = 2, size: tuple[int, int] = (10, 13)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores (N, C, H, W), images (N, 3, H, W) uint8, labels (N, H, W)."""
    images, labels, scores = zip(*(scene(seed, size) for seed in range(count)), strict=True)
    return (
        torch.from_numpy(np.stack(scores)),
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack(labels)).long(),
    )


@pytest.mark.parametrize(
    "params",
    [
        CRFParams(),
        CRFParams.for_model("DeepLab-LargeFOV"),
        PARAMS,
        CRFParams((1, 2), (2, (1, 3)), (3, 1), (4, 9), ((10, 20, 30), 5)),
        CRFParams((), (), 3, 5, 20),
        CRFParams(bi_w=0, iterations=3),
        CRFParams(iterations=0),
    ],
)
@pytest.mark.parametrize("compatibility", ["potts", "diagonal", "full"])
@pytest.mark.parametrize("weights", ["scalar", "full"])
def test_as_constructed_it_is_dense_crf(params: CRFParams, compatibility: str, weights: str, device: str) -> None:
    scores, images, _ = batch()
    module = MeanField(CLASSES, params, compatibility_form=compatibility, weight_form=weights).to(device)
    found = module(scores.to(device), images.to(device)).detach().cpu().numpy()
    for item in range(len(scores)):
        expected = dense_crf(scores[item].numpy(), images[item].permute(1, 2, 0).numpy(), params)
        np.testing.assert_allclose(found[item], expected, rtol=0, atol=TOLERANCE)


def test_positions_alone_need_no_image() -> None:
    scores, _, _ = batch()
    params = CRFParams(3, 2, (), (), (), iterations=2)
    found = MeanField(CLASSES, params)(scores, None).detach().numpy()
    for item, expected in enumerate(scores.numpy()):
        np.testing.assert_allclose(found[item], dense_crf(expected, None, params), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", ["scalar", "diagonal", "full"])
def test_without_kernels_it_is_softmax(form: str) -> None:
    scores, _, _ = batch()
    module = MeanField(CLASSES, CRFParams((), (), (), (), ()), weight_form=form)
    assert len(module.kernel_weights) == 0
    torch.testing.assert_close(module(scores, None), scores.softmax(1), rtol=1e-6, atol=1e-6)


def test_against_the_slow_reference() -> None:
    scores, images, _ = batch(1, (6, 7))
    image = images[0].permute(1, 2, 0).numpy()
    kernels = [
        (image_features(6, 7, (2, 2)), 2.0),
        (image_features(6, 7, (5, 5), image, (30, 30, 30)), 4.0),
    ]
    expected = mean_field(scores[0].numpy().reshape(CLASSES, -1).T, kernels, 4)
    found = MeanField(CLASSES, PARAMS)(scores, images).detach().numpy()
    np.testing.assert_allclose(found.reshape(CLASSES, -1).T, expected, rtol=0, atol=TOLERANCE)


def by_hand(scores: np.ndarray, image: np.ndarray, normalization: str, matrices: dict) -> np.ndarray:
    """(C, H, W), plainly, in float64 but for the filter."""
    _, height, width = scores.shape
    unary = scores.reshape(CLASSES, -1).T.astype(np.float64)
    lattices = [
        Lattice.build(image_features(height, width, (2, 2))),
        Lattice.build(image_features(height, width, (5, 5), image, (30, 30, 30))),
    ]
    energies = unary
    for _ in range(PARAMS.iterations):
        powers = np.exp(energies - energies.max(1, keepdims=True))
        q = powers / powers.sum(1, keepdims=True)
        total = np.zeros_like(q)
        for lattice, weight in zip(lattices, matrices["weights"], strict=True):
            ones = lattice.filter(np.ones((len(q), 1)))
            before, after = {
                "after": (1, 1 / ones),
                "before": (1 / ones, 1),
                "symmetric": (ones**-0.5, ones**-0.5),
                "none": (1, 1),
            }[normalization]
            total += after * lattice.filter(before * q) @ weight.T
        energies = unary - total @ matrices["compatibility"].T
    powers = np.exp(energies - energies.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).T.reshape(scores.shape)


@pytest.mark.parametrize("normalization", ["after", "before", "symmetric", "none"])
def test_normalizations_and_full_matrices(normalization: str, device: str) -> None:
    scores, images, _ = batch(1)
    generator = torch.Generator().manual_seed(3)
    module = MeanField(CLASSES, PARAMS, weight_form="full", normalization=normalization)
    # Small, since without normalization messages are sums over many pixels.
    with torch.no_grad():
        module.kernel_weights.copy_(0.1 * torch.randn(2, CLASSES, CLASSES, generator=generator))
        module.compatibility.copy_(torch.randn(CLASSES, CLASSES, generator=generator))
    matrices = {
        "weights": module.kernel_weights.detach().numpy(),
        "compatibility": module.compatibility.detach().numpy(),
    }
    expected = by_hand(scores[0].numpy(), images[0].permute(1, 2, 0).numpy(), normalization, matrices)
    found = copy.deepcopy(module).to(device)(scores.to(device), images.to(device))[0].detach().cpu().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("normalization", ["after", "before", "symmetric", "none"])
@pytest.mark.parametrize(
    ("weights", "compatibility", "recompute"),
    [("scalar", "potts", False), ("diagonal", "full", False), ("full", "diagonal", False), ("full", "full", True)],
)
def test_gradients(normalization: str, weights: str, compatibility: str, recompute: bool) -> None:
    scores, images, _ = batch(2, (3, 4))
    params = PARAMS.replace(pos_w=0.3, bi_w=0.2, iterations=2)
    module = MeanField(
        CLASSES,
        params,
        weight_form=weights,
        compatibility_form=compatibility,
        normalization=normalization,
        recompute=recompute,
    ).double()
    filters = module.filters(images, 2, (3, 4))
    generator = torch.Generator().manual_seed(4)
    names = [name for name, _ in module.named_parameters()]
    values = [
        (value + 0.1 * torch.randn(value.shape, generator=generator)).detach().requires_grad_()
        for value in module.parameters()
    ]

    def marginals(scores: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        named = dict(zip(names, parameters, strict=True))
        return functional_call(module, named, (scores, None), {"filters": filters})

    # Every entry of the Jacobian is checked for one of the cases, a random projection of it for the others.
    fast = (normalization, weights) != ("after", "scalar")
    assert torch.autograd.gradcheck(marginals, (scores.double().requires_grad_(), *values), fast_mode=fast)


def test_float32_gradients_are_those_of_float64(device: str) -> None:
    scores, images, labels = batch()
    grads = {}
    for dtype, place in ((torch.float64, "cpu"), (torch.float32, device)):
        module = MeanField(CLASSES, PARAMS, weight_form="full").to(place, dtype)
        leaf = scores.to(place, dtype).requires_grad_()
        torch.nn.functional.nll_loss(module(leaf, images.to(place), log=True), labels.to(place)).backward()
        grads[dtype] = [value.grad.double().cpu() for value in (leaf, *module.parameters())]
    for found, expected in zip(grads[torch.float32], grads[torch.float64], strict=True):
        assert (found - expected).norm() < 1e-5 * expected.norm()


def test_recomputing_changes_nothing() -> None:
    scores, images, _ = batch()
    grads = []
    for recompute in (False, True):
        module = MeanField(CLASSES, PARAMS, recompute=recompute)
        module(scores, images).square().sum().backward()
        grads.append([value.grad for value in module.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*grads, strict=True))


def test_layouts_types_and_filters_of_the_same_image_agree() -> None:
    scores, images, _ = batch()
    module = MeanField(CLASSES, PARAMS)
    expected = module(scores, images)
    for other in (images.permute(0, 2, 3, 1), images.float(), images.double(), images.contiguous()):
        assert torch.equal(module(scores, other), expected)
    filters = module.filters(images, len(scores), scores.shape[2:])
    assert torch.equal(module(scores, None, filters=filters), expected)
    assert torch.equal(module(scores[1:], images[1:]), expected[1:])
    torch.testing.assert_close(module(scores, images, log=True).exp(), expected)
    torch.testing.assert_close(module.double()(scores.double(), images).float(), expected, rtol=0, atol=1e-6)


def test_half_precision_and_autocast_compute_in_float32() -> None:
    scores, images, _ = batch()
    module = MeanField(CLASSES, PARAMS)
    scores = scores.bfloat16().float()
    expected = module(scores, images)
    assert torch.equal(module(scores.bfloat16(), images), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(scores, images), expected)


def test_state_copies_and_iterations() -> None:
    scores, images, _ = batch()
    module = MeanField(CLASSES, PARAMS, weight_form="diagonal")
    assert sorted(module.state_dict()) == ["compatibility", "kernel_weights"]
    assert module.kernel_weights.shape == (2, CLASSES)
    with torch.no_grad():
        module.kernel_weights.mul_(1.5)
    other = MeanField(CLASSES, PARAMS, weight_form="diagonal")
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(scores, images), module(scores, images))
    assert torch.equal(copy.deepcopy(module)(scores, images), module(scores, images))
    other.iterations = 1
    expected = dense_crf(
        scores[0].numpy(),
        images[0].permute(1, 2, 0).numpy(),
        PARAMS.replace(pos_w=3.0, bi_w=6.0, iterations=1),
    )
    np.testing.assert_allclose(other(scores, images)[0].detach().numpy(), expected, rtol=0, atol=TOLERANCE)
    assert "kernels=2" in repr(module)


def test_weights_are_learned(device: str) -> None:
    # Whoever made these labels refined noisy scores with kernels; from weights of 0 the module finds what helps.
    scores, images, labels = (value.to(device) for value in batch(3, (16, 18)))
    module = MeanField(CLASSES, PARAMS, weight_form="diagonal").to(device)
    filters = module.filters(images, 3, (16, 18), device)
    with torch.no_grad():
        module.kernel_weights.zero_()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.2)
    losses, accuracies = [], []
    for _ in range(30):
        found = module(scores, None, log=True, filters=filters)
        loss = torch.nn.functional.nll_loss(found, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        accuracies.append((found.argmax(1) == labels).float().mean().item())
    assert losses[-1] < 0.3 * losses[0]
    assert accuracies[0] < 0.8
    assert accuracies[-1] > 0.95
    assert module.kernel_weights[1].min() > 1


@pytest.mark.parametrize(
    ("scores", "image", "message"),
    [
        (torch.zeros(2, 4, 10, 13), torch.zeros(2, 3, 10, 13), r"\(N, 3, H, W\)"),
        (torch.zeros(CLASSES, 10, 13), torch.zeros(2, 3, 10, 13), r"\(N, 3, H, W\)"),
        (torch.zeros(0, CLASSES, 10, 13), torch.zeros(0, 3, 10, 13), r"\(0, 3, 10, 13\)"),
        (torch.zeros(2, CLASSES, 10, 13, dtype=torch.int64), torch.zeros(2, 3, 10, 13), "floating point"),
        (torch.zeros(2, CLASSES, 10, 13), torch.zeros(2, 3, 13, 10), "the image is"),
        (torch.zeros(2, CLASSES, 10, 13), torch.zeros(1, 3, 10, 13), "the image is"),
        (torch.zeros(2, CLASSES, 10, 13), None, "an image is needed"),
        (torch.zeros(2, CLASSES, 10, 13), torch.full((2, 3, 10, 13), float("nan")), "bi_rgb_std|rgb_std|finite"),
        (torch.zeros(2, CLASSES, 10, 13, device="meta"), torch.zeros(2, 3, 10, 13), "not for meta"),
    ],
)
def test_bad_input(scores: torch.Tensor, image: torch.Tensor | None, message: str) -> None:
    with pytest.raises(CRFError, match=message):
        MeanField(CLASSES, PARAMS)(scores, image)


@pytest.mark.parametrize(
    ("kind", "wrong", "got"),
    [
        (None, float("nan"), "nan"),
        ("scores", float("inf"), "inf"),
        ("scores", float("nan"), "nan"),
        ("energies", float("-inf"), "-inf"),
        ("probabilities", float("nan"), "nan"),
    ],
)
def test_scores_that_are_not_finite_are_counted(kind: str | None, wrong: float, got: str) -> None:
    scores = torch.rand(2, CLASSES, 10, 13, generator=torch.Generator().manual_seed(1))
    scores[1, 2, 3, 4] = scores[1, 2, 5, 6] = wrong
    name, many = kind or "scores", scores.numel()
    message = rf"^{name} must be finite, got 2 of {many} that are not: the first is {got} at \[1, 2, 3, 4\]$"
    module = MeanField(CLASSES, PARAMS, kind=kind)
    for one in (scores, scores.clone().requires_grad_()):
        with pytest.raises(CRFError, match=message):
            module(one, torch.zeros(2, 3, 10, 13, dtype=torch.uint8))


def test_a_score_of_minus_infinity_excludes_a_label() -> None:
    scores = torch.rand(1, CLASSES, 10, 13, generator=torch.Generator().manual_seed(1))
    image = torch.zeros(1, 3, 10, 13, dtype=torch.uint8)
    scores[0, 0, 3, 4] = -torch.inf
    found = MeanField(CLASSES, PARAMS, kind="scores")(scores, image)
    assert found.isfinite().all()
    assert found[0, 0, 3, 4] == 0
    scores[0, :, 3, 4] = -torch.inf
    message = "^scores exclude all labels at 1 of 130 pixels, the first at row 3, column 4 of item 0: keep one"
    with pytest.raises(CRFError, match=message):
        MeanField(CLASSES, PARAMS, kind="scores")(scores, image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes"),
        ({"num_classes": 2.0}, "num_classes"),
        ({"weight_form": "matrix"}, "weight_form must be one of scalar, diagonal, full"),
        ({"compatibility_form": "none"}, "compatibility_form must be one of"),
        ({"normalization": "NORMALIZE_AFTER"}, "normalization must be one of"),
        ({"iterations": -1}, "iterations"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(CRFError, match=message):
        MeanField(**{"num_classes": CLASSES, **arguments})


def test_numpys_number_of_classes() -> None:
    assert type(MeanField(np.int64(CLASSES)).num_classes) is int


def test_torch_is_imported_with_the_module_alone() -> None:
    code = (
        "import sys\n"
        "from deeplab_caffe import crf\n"
        "from deeplab_caffe.crf import *\n"
        "assert 'torch' not in sys.modules\n"
        "assert crf.MeanField.__module__ == 'deeplab_caffe.crf.module'\n"
        "assert 'torch' in sys.modules\n"
        "try:\n    crf.Meanfield\nexcept AttributeError as exc:\n    assert 'Meanfield' in str(exc)\n"
        "else:\n    raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
