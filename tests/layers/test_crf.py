from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from tests.layers.build import make, noise, run

PARAMS = "max_iter: 3 pos_xy_std: 3 pos_w: 3 bi_xy_std: 9 bi_rgb_std: 5 bi_w: 4"
SCORES, IMAGE = noise(2, 3, 8, 10), 40 * noise(2, 3, 8, 10, seed=1)


def dims(*sizes: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(sizes, dtype=torch.float32)[:, None, None, :]


def crf(*blobs: torch.Tensor, extra: str = "", **options: object) -> torch.Tensor:
    return run("DenseCRF", f"dense_crf_param {{ {PARAMS} {extra} }}", *blobs, **options)


def test_no_iterations_is_the_softmax() -> None:
    params = f"dense_crf_param {{ {PARAMS.replace('max_iter: 3', 'max_iter: 0')} }}"
    found = run("DenseCRF", params, SCORES, dims((8, 10), (8, 10)), IMAGE)
    torch.testing.assert_close(found, SCORES.softmax(1), rtol=1e-4, atol=1e-5)


def test_marginals_are_distributions_and_their_logarithm() -> None:
    found = crf(SCORES, dims((8, 10), (8, 10)), IMAGE)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 8, 10))
    logs = crf(SCORES, dims((8, 10), (8, 10)), IMAGE, extra="output_probability: false")
    torch.testing.assert_close(logs, found.clamp(min=torch.finfo(torch.float32).tiny).log(), rtol=1e-4, atol=1e-4)


def test_each_item_is_cut_to_its_own_size() -> None:
    found = crf(SCORES, dims((8, 10), (5, 6)), IMAGE)
    alone = crf(SCORES[1:, :, :5, :6].contiguous(), dims((5, 6)), IMAGE[1:, :, :5, :6].contiguous())
    assert torch.equal(found[1:, :, :5, :6], alone)
    assert found[1, :, 5:].abs().max() == 0
    assert found[1, :, :, 6:].abs().max() == 0
    assert torch.equal(found[:1], crf(SCORES[:1], dims((99, 10)), IMAGE[:1]))


def test_each_item_has_its_own_image_unless_asked_otherwise() -> None:
    sizes = dims((8, 10), (8, 10))
    own = crf(SCORES, sizes, IMAGE)
    first = crf(SCORES, sizes, IMAGE, crf_image_of_first=True)
    assert torch.equal(own[1:], crf(SCORES[1:], sizes[1:], IMAGE[1:]))
    assert torch.equal(first[1:], crf(SCORES[1:], sizes[1:], IMAGE[:1]))
    assert torch.equal(own[0], first[0])
    assert not torch.equal(own[1], first[1])


def test_without_an_image_the_gaussian_kernels_act() -> None:
    found = crf(SCORES, dims((8, 10), (8, 10)))
    torch.testing.assert_close(found.sum(1), torch.ones(2, 8, 10))
    assert not torch.allclose(found, SCORES.softmax(1), atol=1e-3)


def test_no_gradient_and_any_dtype() -> None:
    sizes = dims((8, 10), (8, 10))
    found = crf(SCORES.double().requires_grad_(), sizes, IMAGE)
    assert found.dtype == torch.float64
    assert not found.requires_grad
    torch.testing.assert_close(found.float(), crf(SCORES, sizes, IMAGE))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3, 8, 10), (1, 1, 1, 2)], r"data_dim for scores \(2, 3, 8, 10\) must be \(2, 1, 1, 2\)"),
        ([(2, 3, 8, 10), (2, 1, 1, 2), (2, 3, 8, 9)], r"the image for scores \(2, 3, 8, 10\) must be \(2, 3, 8, 10\)"),
        ([(2, 3, 8, 10), (2, 1, 1, 2), (2, 1, 8, 10)], "the image for scores"),
    ],
)
def test_shapes_that_do_not_fit(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("DenseCRF", f"dense_crf_param {{ {PARAMS} }}", shapes)


def test_bad_values_name_the_layer() -> None:
    with pytest.raises(NetError, match="layer 'l': "):
        make("DenseCRF", "dense_crf_param { max_iter: 2 pos_xy_std: 3 bi_xy_std: 9 bi_rgb_std: 5 bi_w: 4 }", bottoms=3)
    with pytest.raises(NetError, match="layer 'l': .*finite"):
        crf(torch.full_like(SCORES, float("nan")), dims((8, 10), (8, 10)), IMAGE)
    with pytest.raises(NetError, match="layer 'l': data_dim"):
        crf(SCORES, dims((8, 10), (0, 10)), IMAGE)
