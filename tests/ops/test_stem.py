from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe import _C, reference
from deeplab_caffe.arrays import TorchArrays
from deeplab_caffe.ops.stem import MOST_CHANNELS, _stem_conv2d, stem_conv2d, stem_panels
from tests.goldens import relative_error

ON_CPU = TorchArrays(torch.device("cpu"))


def problem(
    n: int, channels: int, outputs: int, kernel: tuple, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and bias."""
    generator = torch.Generator().manual_seed(2014)
    x = torch.randn((n, channels, height, width), generator=generator)
    weight = torch.randn((outputs, channels, *kernel), generator=generator)
    return x, weight, torch.randn(outputs, generator=generator)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, **given: object) -> Tensor:
    return stem_conv2d(x, stem_panels(weight), weight.shape[0], bias, **given)


def test_by_hand() -> None:
    # One pixel: its eight neighbours and itself see one tap each.
    x = torch.zeros((1, 2, 3, 3))
    x[0, 1, 1, 1] = 2
    weight = torch.zeros((1, 2, 3, 3))
    weight[0, 1] = torch.arange(1.0, 10).view(3, 3)
    found = convolve(x, weight, torch.tensor([0.5]), pad=1)
    assert found.flatten().tolist() == [18.5, 16.5, 14.5, 12.5, 10.5, 8.5, 6.5, 4.5, 2.5]
    # Every second output, two channels: 1 + 2 of each pixel that the kernel of two columns meets.
    x = torch.tensor([[1.0, 2, 3, 4, 5]]).view(1, 1, 1, 5).expand(1, 2, 1, 5)
    weight = torch.tensor([1.0, 2]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    assert convolve(x, weight, stride=(1, 2)).flatten().tolist() == [9, 21]


def test_panels_by_hand() -> None:
    weight = torch.arange(1.0, 1 + 17 * 2 * 3 * 2).view(17, 2, 3, 2)
    found = stem_panels(weight)
    assert found.shape == (2, 3, 2, 2, 16)
    assert found.is_contiguous()
    assert found[0, 2, 1, 0, 5] == weight[5, 0, 2, 1]
    assert found[1, 0, 1, 1, 0] == weight[16, 1, 0, 1]
    assert not found[1, ..., 1:].any()  # there are 17 outputs
    assert np.array_equal(stem_panels(weight.numpy()), found.numpy())


# (N, C, O, kernel, H, W), stride, pad
CASES = [
    ((1, 3, 64, (3, 3), 33, 41), 1, 1),
    ((2, 3, 64, (7, 7), 41, 33), 2, 3),
    ((1, 3, 32, (3, 3), 97, 97), 2, 1),
    ((1, 1, 1, (1, 1), 1, 1), 1, 0),
    ((2, 4, 21, (3, 3), 9, 8), 1, 1),
    ((1, 2, 33, (5, 2), 10, 25), (3, 2), (4, 0)),
    ((1, 3, 40, (2, 5), 3, 70), (1, 3), (0, 7)),
    ((3, 3, 48, (11, 11), 30, 25), 4, 0),
    ((1, 3, 16, (3, 3), 2, 2), 1, 5),
    ((1, 3, 16, (1, 1), 9, 13), 4, 0),
]


@pytest.mark.parametrize("case", CASES)
def test_it_is_torchs_in_double_precision(case: tuple) -> None:
    shape, stride, pad = case
    x, weight, bias = problem(*shape)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), stride, pad)
    found = convolve(x, weight, bias, stride=stride, pad=pad)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.shape == expected.shape
    assert relative_error(found.double().numpy(), expected.numpy()) < 1e-6


@pytest.mark.parametrize("case", [CASES[0], CASES[5], CASES[6]])
def test_it_is_the_slow_reference(case: tuple) -> None:
    shape, stride, pad = case
    x, weight, bias = problem(*shape)
    pairs = [each if isinstance(each, tuple) else (each, each) for each in (stride, pad)]
    expected = reference.conv2d(x.double().numpy(), weight.double().numpy(), bias.double().numpy(), *pairs)
    assert relative_error(convolve(x, weight, bias, stride=stride, pad=pad).numpy(), expected) < 1e-6


@pytest.mark.parametrize("outputs", [32, 21])
def test_rectifier_and_ceiling(outputs: int) -> None:
    x, weight, bias = problem(2, 3, outputs, (3, 3), 9, 8)
    bare = convolve(x, weight, bias, pad=1)
    assert torch.equal(convolve(x, weight, bias, pad=1, relu=True), bare.clamp(min=0))
    assert torch.equal(convolve(x, weight, bias, pad=1, relu=True, ceiling=0.75), bare.clamp(0, 0.75))
    assert torch.equal(convolve(x, weight, bias, pad=1, ceiling=0.1), bare)  # of what is rectified alone
    assert torch.equal(convolve(x, weight, pad=1), convolve(x, weight, torch.zeros(outputs), pad=1))


def test_strides_and_libraries() -> None:
    x, weight, bias = problem(2, 3, 20, (3, 3), 9, 8)
    panels = stem_panels(weight)
    expected = stem_conv2d(x, panels, 20, bias, 2, 1)

    def loose(t: Tensor) -> Tensor:
        return torch.stack([t, t + 1], -1)[..., 0]

    assert torch.equal(stem_panels(loose(weight)), panels)
    for change in (lambda t: t.contiguous(memory_format=torch.channels_last), loose):
        assert torch.equal(stem_conv2d(change(x), loose(panels), 20, loose(bias), 2, 1), expected)
    found = stem_conv2d(x.numpy(), panels.numpy(), 20, bias.numpy(), 2, 1)
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, expected.numpy())
    flipped = x.numpy()[:, ::-1, ::-1]
    assert np.array_equal(stem_conv2d(flipped, panels.numpy(), 20), stem_conv2d(flipped.copy(), panels.numpy(), 20))


def test_the_same_bits_with_any_number_of_threads() -> None:
    x, weight, bias = problem(2, 3, 40, (3, 3), 67, 50)
    found = []
    for threads in (1, 2, 3, 7):
        _C.set_num_threads(threads)
        try:
            found.append(convolve(x, weight, bias, pad=1))
        finally:
            _C.set_num_threads(0)
    assert all(torch.equal(each, found[0]) for each in found)
    # And alone or in a batch.
    assert torch.equal(convolve(x[:1], weight, bias, pad=1), found[0][:1])


def test_what_is_not_finite() -> None:
    x, weight, bias = problem(1, 3, 16, (3, 3), 12, 12)
    expected = convolve(x, weight, bias, pad=1, relu=True)
    x[0, 1, 0, 0] = float("nan")
    found = convolve(x, weight, bias, pad=1, relu=True)
    assert found[0, :, :2, :2].isnan().all()  # a rectifier does not hide it
    assert torch.equal(found[0, :, 2:], expected[0, :, 2:])


def test_nothing() -> None:
    _, weight, bias = problem(1, 3, 16, (3, 3), 1, 1)
    assert convolve(torch.zeros((0, 3, 4, 4)), weight, bias).shape == (0, 16, 2, 2)
    found = convolve(torch.zeros((1, 3, 0, 2)), weight, bias, pad=2)
    assert torch.equal(found, bias.view(1, -1, 1, 1).expand(1, 16, 2, 4))
    assert convolve(torch.zeros((1, 3, 3, 3)), weight[:0]).shape == (1, 0, 1, 1)


def test_opcheck() -> None:
    x, weight, bias = problem(2, MOST_CHANNELS, 18, (3, 2), 5, 6)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.library.opcheck(_stem_conv2d.torch, (given, stem_panels(weight), bias, 18, [2, 1], [1, 0], True, 6.0))


def test_refusals() -> None:
    x, weight, bias = problem(1, 3, 16, (3, 3), 5, 5)
    panels = stem_panels(weight)
    with pytest.raises(ValueError, match=r"expected a weight \(O, C, KH, KW\), got shape \(16, 3, 3\)"):
        stem_panels(weight[..., 0])
    with pytest.raises(ValueError, match="expected x of float32, got float64"):
        stem_conv2d(x.double(), panels, 16)
    for other, outputs in ((weight, 16), (panels, 17), (panels, 0), (panels[:, :, :, :2], 16), (panels[..., :8], 16)):
        with pytest.raises(
            ValueError, match=f"from stem_panels for 3 channels and {outputs} outputs, got one of shape"
        ):
            stem_conv2d(x, other, outputs)
    with pytest.raises(ValueError, match="is float32 on cpu, but the panels is float32 on meta"):
        stem_conv2d(x, panels.to("meta"), 16)
    with pytest.raises(ValueError, match=r"bias: expected shape \(16\), got float32 \(15\)"):
        stem_conv2d(x, panels, 16, bias[:15])
    with pytest.raises(ValueError, match="does not fit into 2 with pad 0"):
        stem_conv2d(x[:, :, :2], panels, 16)
    with pytest.raises(ValueError, match="stride"):
        stem_conv2d(x, panels, 16, stride=0)
    y = torch.empty((1, 16, 3, 3))
    views = [ON_CPU.view(each) for each in (x, panels, y, y.contiguous(memory_format=torch.channels_last))]
    with pytest.raises(ValueError, match="y: expected channels-last memory without gaps"):
        _C.stem_forward(views[0], views[1], None, views[2], (1, 1), (0, 0), False, 6.0)
    with pytest.raises(ValueError, match=r"y: expected shape \(1, 16, 5, 5\)"):
        _C.stem_forward(views[0], views[1], None, views[3], (1, 1), (1, 1), False, 6.0)
